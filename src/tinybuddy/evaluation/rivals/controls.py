"""Sources that do not speak English, each made to be caught by one value.

A scorecard that passes one of them measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.rivals.kneser_ney import CONTEXT, KneserNey, Level, count, estimate
from tinybuddy.evaluation.rivals.ngrams import Rivals
from tinybuddy.evaluation.shuffle import drawer, shuffled, shuffled_words
from tinybuddy.evaluation.stories import Story, human_story, sentences
from tinybuddy.tokenizer import Codec, encode_story
from tinybuddy.tokenizer.training import train_tokenizer

CHAIN_ORDER = 3
CHAIN_VOCABULARY = 200  # characters, more than TinyStories has


# What must fail, by the control's name; the last is only shown, whatever it gets.
CAUGHT_BY = {
    "uniform tokens": "words.english",
    "one token, always": "grammar.pairs",
    "unigram": "grammar.pairs",
    "3-character chain": "words.english",
    "2-gram": "bits_per_byte.validation",
    "human, words shuffled": "grammar.word_order",
    "human, sentences shuffled": "coherence.sentence_order",
    "one sentence, repeated": "repetition.repeated_4grams",
    "one human story, always": "variety.own_4grams",
    "training stories, copied": "originality.new_4grams",
    "5-gram, unlimited": "",
}
# Those that are models; the others are texts.
MODELS = {
    "uniform tokens",
    "one token, always",
    "unigram",
    "3-character chain",
    "2-gram",
    "5-gram, unlimited",
}


class Control(NamedTuple):
    """A source that is a model, or stories."""

    name: str
    source: EvaluatedModel | Sequence[Story]


def open_controls(
    train: Sequence[str], human: Sequence[Story], rivals: Rivals
) -> Iterator[Control]:
    """Yield all controls, made of training and human stories; models use the rivals' tokens."""
    tokens, levels = rivals.tokenizer, rivals.levels
    word = next(iter(tokens.encode(" a")[-1:]), tokens.vocab_size - 1)
    yield _model("uniform tokens", flat(tokens.vocab_size), tokens)
    yield _model("one token, always", flat(tokens.vocab_size, word), tokens)
    yield _model("unigram", estimate(levels[:1]), tokens)
    yield _character_chain(train)
    yield _model("2-gram", estimate(levels[:2]), tokens)
    draw = drawer("controls")

    def changed(name: str, change: Callable[[list[str]], list[str]]) -> Control:
        stories = [
            Story("", " ".join(change(sentences(story.whole))), story.cut) for story in human
        ]
        return Control(name, stories)

    yield changed("human, words shuffled", lambda texts: [shuffled_words(s, draw) for s in texts])
    yield changed(
        "human, sentences shuffled",
        lambda texts: [*texts[:1], *shuffled(texts[1:-1], draw), *texts[1:][-1:]],
    )
    yield changed("one sentence, repeated", lambda texts: [texts[1 % len(texts)]] * 8)
    number = len(human)
    yield Control("one human story, always", [human[0]] * number)
    copied = [human_story(story) for story in train[:number]]
    yield Control("training stories, copied", copied)
    yield _model("5-gram, unlimited", estimate(levels), tokens)


def _character_chain(train: Sequence[str]) -> Control:
    codec = train_tokenizer(train, CHAIN_VOCABULARY, "characters")
    levels = count((encode_story(codec, s) for s in train), codec.vocab_size, CHAIN_ORDER)
    return _model("3-character chain", estimate(levels), codec)


def _model(name: str, model: KneserNey, codec: Codec) -> Control:
    return Control(name, EvaluatedModel(name, model, codec, CONTEXT, model.stored))


def flat(vocab_size: int, likely: int | None = None) -> KneserNey:
    """A model to which all tokens are equally likely, always, or one is nearly certain."""
    direct = np.zeros(vocab_size)
    if likely is not None:
        direct[likely] = 0.999
    floor = (1.0 - direct.sum()) / vocab_size
    return KneserNey([Level(np.arange(vocab_size), direct, np.ones(vocab_size))], floor)
