"""What a run trains on: its data found, its tokenizer trained, its stories encoded."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from tinybuddy.config import Recipe
from tinybuddy.corpus import Corpus, Survey, in_memory, open_corpus, survey, verified
from tinybuddy.corpus.cache import cache_folder
from tinybuddy.corpus.hub import STORIES
from tinybuddy.corpus.kept import INPUT
from tinybuddy.corpus.packed import Tokens, bytes_of, pack
from tinybuddy.corpus.ranges import Unreachable
from tinybuddy.corpus.statistics import TextStatistics, text_statistics
from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.hub import read_model
from tinybuddy.progress import Hooks
from tinybuddy.tokenizer import Tokenizer
from tinybuddy.tokenizer.training import MAX_TRAINING_CHARACTERS, train_tokenizer

FEWEST_STEPS = 20
LOST_ENOUGH = 1e-3  # of a text's bytes, to say so


@dataclass(frozen=True)
class Dataset:
    """What runs train on and are scored on; `prepare` makes one, any number of runs may share it.

    Attributes:
        data: what was read, as a recipe names it; ``auto`` is resolved.
        corpus: the stories, to be read again.
        survey: what they were found to hold.
        tokenizer: of all runs on it.
        tokens: ids of the training stories, one after the other.
        validation: stories to score.
        seconds, cpu_seconds: that preparing it took.
    """

    data: str
    corpus: Corpus
    survey: Survey
    tokenizer: Tokenizer
    tokens: Tokens
    validation: list[str]
    seconds: float
    cpu_seconds: float

    @cached_property
    def statistics(self) -> TextStatistics:
        """What must be known of the training text to judge a model; the stories are read once."""
        return text_statistics(self.corpus.train())

    def but(self, **changes: Any) -> Dataset:
        """Return the same stories with other attributes, and with what is known of them."""
        other = replace(self, **changes)
        if "statistics" in vars(self):  # they take 7 s of 19,390 stories, and are the same
            vars(other)["statistics"] = self.statistics
        return other


def prepare(
    recipe: Recipe,
    *,
    tokenizer: Tokenizer | None = None,
    sha256: str | None = None,
    kept: Path | None = None,
    held: bool = False,
    hooks: Hooks | None = None,
) -> Dataset:
    """Read the data of a recipe, train its tokenizer and encode its stories.

    Args:
        recipe: what to read, and how.
        tokenizer: to encode with; by default that of the model to go on from, or a new one.
        sha256: hash that the data must have: a run that goes on must find what it began with.
        kept: file with the text of a recipe whose data is ``-``, see `tinybuddy.corpus.kept`.
        held: hold the stories in memory, which spares reading them again for each tokenizer.
        hooks: called with the progress.

    Raises:
        TinybuddyError: if the data cannot be read, has another hash, or is less than one context.
    """
    hooks = hooks or Hooks()
    began, cpu_began = time.monotonic(), time.process_time()
    data, corpus, found = _read(recipe, kept, hooks)
    if sha256 not in (None, found.sha256):
        raise TinybuddyError(
            f"{found.source} has changed since the run began: put it back, or begin a new run."
        )
    if held:
        corpus = in_memory(corpus)
    if tokenizer is None and recipe.train.from_model:
        tokenizer = read_model(Path(recipe.train.from_model)).tokenizer
    if tokenizer is None:
        tokenizer = _train_tokenizer(recipe, corpus, found, hooks)
    tokens = _encode(recipe, tokenizer, corpus, found, hooks)
    return Dataset(
        data=data,
        corpus=corpus,
        survey=found,
        tokenizer=tokenizer,
        tokens=tokens,
        validation=[s for split, s in verified(corpus, found) if split == "validation"],
        seconds=time.monotonic() - began,
        cpu_seconds=time.process_time() - cpu_began,
    )


def with_tokenizer_of(recipe: Recipe, dataset: Dataset, hooks: Hooks | None = None) -> Dataset:
    """Return the same stories under the tokenizer of another recipe, with what is known of them.

    Raises:
        TinybuddyError: if they have changed since, or are less than one context.
    """
    hooks = hooks or Hooks()
    began, cpu_began = time.monotonic(), time.process_time()
    tokenizer = _train_tokenizer(recipe, dataset.corpus, dataset.survey, hooks)
    tokens = _encode(recipe, tokenizer, dataset.corpus, dataset.survey, hooks)
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu_began
    return dataset.but(tokenizer=tokenizer, tokens=tokens, seconds=seconds, cpu_seconds=cpu_seconds)


def _encode(
    recipe: Recipe, tokenizer: Tokenizer, corpus: Corpus, found: Survey, hooks: Hooks
) -> Tokens:
    train = (story for split, story in verified(corpus, found) if split == "train")
    stories = _counted(hooks, "encoding the stories", train, found.stories)
    tokens = pack(stories, tokenizer, found.sha256, cache_folder())
    if note := _note_of_lost(tokenizer, tokens, corpus, found):
        hooks.on_note(note)
    needed = recipe.model.max_position_embeddings + 1
    if len(tokens) < needed:
        raise TinybuddyError(
            f"{found.source} is too little text: it needs at least {needed:,} tokens to train on, "
            f"has {len(tokens):,}. Give more text, or set max_position_embeddings lower."
        )
    return tokens


def settled(recipe: Recipe, dataset: Dataset) -> Recipe:
    """Take as few steps as its ``epochs`` allow on so much text, with an eye on each twentieth."""
    train = recipe.train
    tokens = train.batch_size * recipe.model.max_position_embeddings
    steps = max(FEWEST_STEPS, round(train.epochs * len(dataset.tokens) / tokens))
    if not train.epochs or steps >= train.steps:
        return recipe
    return recipe.with_settings(
        {
            "steps": steps,
            "warmup_steps": min(train.warmup_steps, steps // 10),
            "eval_every": min(train.eval_every, max(1, steps // 20)),
        }
    )


def _read(recipe: Recipe, kept: Path | None, hooks: Hooks) -> tuple[str, Corpus, Survey]:
    """Open and survey the data; return its name too, with ``auto`` resolved."""
    config = recipe.train

    def read(data: str) -> tuple[str, Corpus, Survey]:
        corpus = open_corpus(
            str(kept) if data == INPUT else data,
            config.stories,
            config.clean,
            on_progress=lambda done, total: hooks.on_progress(f"reading {data}", done, total),
            split=config.split,
            text_key=config.text_key,
        )
        if data == INPUT:
            corpus = replace(corpus, source="the given text")
        found = survey(corpus, lambda done: hooks.on_progress("reading the stories", done, 0))
        return data, *found

    if config.data != "auto":
        return read(config.data)
    try:
        return read(STORIES)
    except Unreachable as error:
        hooks.on_note(f"{error}\nTRAINING ON THE BUILT-IN TALES instead of TinyStories.")
        return read("tales")


def _train_tokenizer(recipe: Recipe, corpus: Corpus, found: Survey, hooks: Hooks) -> Tokenizer:
    """Train the tokenizer of a recipe.

    Where there is more text than it looks at, every second, third, ... story is taken, since the
    beginning may be of one kind.
    """
    every = math.ceil(found.bytes / MAX_TRAINING_CHARACTERS)
    stories = _counted(hooks, "training the tokenizer", corpus.train(), found.stories)
    train, size = recipe.train, recipe.model.vocab_size
    tokenizer = train_tokenizer(
        islice(stories, 0, None, every),
        size,
        train.tokenizer,
        train.alphabet,
        train.alphabet_min_count,
        train.suffixes.split(),
    )
    if tokenizer.kind != train.tokenizer:
        hooks.on_note(
            f"The text has more characters than a Unigram model of {size:,} tokens holds: its "
            "tokenizer is byte-level BPE."
        )
    return tokenizer


def _note_of_lost(
    tokenizer: Tokenizer, tokens: Tokens, corpus: Corpus, found: Survey
) -> str | None:
    """Say which characters of the text its encoding lost, if it is more than a few."""
    if tokenizer.alphabet == "bytes":  # which loses nothing: the tokens need not be read
        return None
    lost = 1 - bytes_of(tokens, tokenizer) / found.bytes
    if lost < LOST_ENOUGH:
        return None
    counts: Counter[str] = Counter()
    for story in corpus.train():
        counts.update(story)
    known = {*tokenizer.characters}
    shown = [character for character, _ in counts.most_common() if character not in known][:20]
    return (
        f"The tokenizer does not know some characters, {lost:.2%} of the text, and leaves them "
        f"out: {' '.join(shown)}"
    )


def _counted(hooks: Hooks, what: str, stories: Iterator[str], total: int) -> Iterator[str]:
    """Yield the stories, reporting how many have gone by."""
    for number, story in enumerate(stories, start=1):
        hooks.on_progress(what, number, total)
        yield story
