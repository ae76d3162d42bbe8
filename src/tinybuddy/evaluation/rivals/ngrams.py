"""The n-gram models of a training text in the tokens of one tokenizer: what a model must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinybuddy.evaluation.rivals.kneser_ney import (
    CONTEXT,
    Counts,
    KneserNey,
    count,
    estimate,
    pruned,
)
from tinybuddy.scoring import score
from tinybuddy.tokenizer import Codec, encode_story

ORDERS = range(2, 6)


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
