"""Bits per byte: it foresees text better than an n-gram model of its own size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.metrics.metric import Figure, Gauge
from tinybuddy.evaluation.rivals.kneser_ney import Counts, KneserNey, count, estimate, pruned
from tinybuddy.evaluation.subject import Subject
from tinybuddy.scoring import score
from tinybuddy.tokenizer import Codec, encode_story

ORDERS = range(2, 6)
PARAMETER_BYTES = 4  # as float32
GRAM_BYTES = 10  # a token (2), the logarithms of a probability and of a back-off weight (4 each)
CONTEXT = 4096  # n-grams look back four tokens: any window that is not short will do


@dataclass(frozen=True, eq=False)
class Rivals:
    """The Kneser-Ney models of a training text in the tokens of one tokenizer.

    Attributes:
        tokenizer: whose tokens they count.
        levels: n-grams of order 1 to 5 of the training text.
        validation: stories that they are scored on.
    """

    tokenizer: Codec
    levels: Sequence[Counts]
    validation: Sequence[str]

    def best(self, budget: int) -> dict[str, Any]:
        """Order, n-grams and bits per byte of the best model with at most ``budget`` n-grams."""
        found = [self.measured(n, pruned(self.levels[:n], budget)) for n in ORDERS]
        return min(found, key=lambda rival: rival["bits_per_byte"])

    def unlimited(self) -> dict[str, Any]:
        """The same of the model of order 5 with all n-grams."""
        return self.measured(len(self.levels), estimate(self.levels))

    def measured(self, order: int, model: KneserNey) -> dict[str, Any]:
        """Order, n-grams and bits per byte of a model."""
        bits = score(model, self.tokenizer, CONTEXT, self.validation).bits_per_byte
        return {"order": order, "n_grams": model.stored, "bits_per_byte": bits}


def open_rivals(tokenizer: Codec, train: Sequence[str], validation: Sequence[str]) -> Rivals:
    """Count the n-grams of the training stories."""
    stories = (encode_story(tokenizer, story) for story in train)
    return Rivals(tokenizer, count(stories, tokenizer.vocab_size, ORDERS[-1]), validation)


def gauge_bits_per_byte(
    subject: Subject, validation: Sequence[str], rivals: Rivals | None
) -> Gauge:
    """Bits per byte of ``validation``, below those of the best Kneser-Ney model of its size.

    The rival learned the same text in the same tokens, has order 2 to 5, whichever is best, and at
    most one stored n-gram for each parameter. Beside it: the best of as many bytes, and the
    unlimited one of order 5.
    """
    if rivals is None:
        lacks = "the training and validation stories: give them by --data"
        return Gauge("bits_per_byte", [], lacks)
    began = time.monotonic()
    with subject.named():
        found = score(subject.backend, subject.tokenizer, subject.context, validation)
    speed = found.tokens / (time.monotonic() - began)
    beside = {
        "equal_count": rivals.best(subject.parameters),
        "equal_bytes": rivals.best(subject.parameters * PARAMETER_BYTES // GRAM_BYTES),
        "unlimited": rivals.unlimited(),
    }
    share = Share.of(found.story_bits, found.story_bytes)
    bound = beside["equal_count"]["bits_per_byte"]
    figure = Figure("bits_per_byte.validation", share, bound=bound)
    return Gauge(
        "bits_per_byte", [figure], details={"kneser_ney": beside, "tokens_per_second": speed}
    )
