"""What a run learns from: its data found, its tokenizer learned, its stories encoded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tinybuddy.config import Recipe
from tinybuddy.corpus import Corpus, Survey, cache_folder, open_corpus, survey
from tinybuddy.corpus.hub import STORIES
from tinybuddy.corpus.packed import Tokens, pack
from tinybuddy.corpus.ranges import Unreachable
from tinybuddy.disk import write_text
from tinybuddy.errors import TinybuddyError
from tinybuddy.progress import Hooks
from tinybuddy.tokenizer import (
    MAX_TRAINING_CHARACTERS,
    Tokenizer,
    load_tokenizer,
    train_tokenizer,
)
from tinybuddy.training.checkpoint import read_record, write_recipe


@dataclass(frozen=True)
class Material:
    """What a run learns from and is scored on."""

    survey: Survey
    tokenizer: Tokenizer
    train: Callable[[], Iterator[str]]
    tokens: Tokens
    validation: list[str]


def read_data(run: Path, recipe: Recipe, hooks: Hooks) -> tuple[Recipe, Corpus, Survey]:
    """Open and survey the data; ``auto`` is resolved for good.

    Raises:
        TinybuddyError: if it cannot be read, or is not what the run began with.
    """
    config = recipe.train

    def read(data: str) -> tuple[Corpus, Survey]:
        corpus = open_corpus(
            data,
            config.stories,
            config.clean,
            on_progress=lambda done, total: hooks.on_progress(f"reading {data}", done, total),
        )
        return survey(corpus, lambda done: hooks.on_progress("reading the stories", done, 0))

    if config.data == "-":
        raise TinybuddyError(f"Standard input of {run} was not read to its end: begin a new run.")
    data = STORIES if config.data == "auto" else config.data
    try:
        corpus, found = read(data)
    except Unreachable as error:
        if config.data != "auto":
            raise
        data = "tales"
        hooks.on_note(f"{error}\nTRAINING ON THE BUILT-IN TALES instead of TinyStories.")
        corpus, found = read(data)
    if data != config.data:
        recipe = recipe.with_settings({"data": data})
        write_recipe(run, recipe)
    known = read_record(run).get("data", {}).get("sha256", found.sha256)
    if known != found.sha256:
        raise TinybuddyError(
            f"The data of {run} has changed since the run began: put it back, or begin a new run."
        )
    return recipe, corpus, found


def learn_tokenizer(
    run: Path, recipe: Recipe, corpus: Corpus, found: Survey, hooks: Hooks
) -> Tokenizer:
    """Learn the tokenizer of a run, once: a run that goes on reads what was learned.

    Where there is more text than it looks at, every second, third, ... story is taken, since the
    beginning may be of one kind.
    """
    path = run / "tokenizer.json"
    if not path.exists():
        every = math.ceil(found.bytes / MAX_TRAINING_CHARACTERS)
        stories = _told(hooks, "learning the tokenizer", corpus.train(), found.stories)
        stories = islice(stories, 0, None, every)
        size, kind = recipe.model.vocab_size, recipe.train.tokenizer
        write_text(path, train_tokenizer(stories, size, kind).to_json())
    return load_tokenizer(path)


def pack_stories(
    corpus: Corpus, found: Survey, tokenizer: Tokenizer, recipe: Recipe, hooks: Hooks
) -> Material:
    """Encode the training stories, or find them in the cache.

    Raises:
        TinybuddyError: if they are fewer tokens than one crop needs.
    """
    stories = _told(hooks, "encoding the stories", corpus.train(), found.stories)
    tokens = pack(stories, tokenizer, found.sha256, cache_folder())
    needed = recipe.model.max_position_embeddings + 1
    if len(tokens) < needed:
        raise TinybuddyError(
            f"{found.source} is too little text: it needs at least {needed:,} tokens to train on, "
            f"has {len(tokens):,}. Give more text, or set max_position_embeddings lower."
        )
    return Material(found, tokenizer, corpus.train, tokens, corpus.validation())


def _told(hooks: Hooks, what: str, stories: Iterator[str], total: int) -> Iterator[str]:
    """Yield the stories, telling how many have gone by."""
    for number, story in enumerate(stories, start=1):
        hooks.on_progress(what, number, total)
        yield story
