"""Checks of chapter 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from course import expect


def bits_per_byte_of(attempt: Callable[..., Any]) -> None:
    """The bytes count, not the characters or pieces, and one for the end."""
    for probabilities, text in (
        ([0.5, 0.25, 0.125], "ab"),
        ([0.5, 0.5], "abc"),
        ([0.25, 0.5, 0.125, 1.0], "café"),
        ([0.01], ""),
        ([0.1, 0.9], "日本"),
    ):
        right = -float(np.log2(probabilities).sum()) / (len(text.encode("utf-8")) + 1)
        expect(attempt(probabilities, text), right, f"{probabilities} and {text!r}")


def cross_entropy_of(attempt: Callable[..., Any]) -> None:
    """The truth weighs, the model pays; what never comes is free, what cannot come is not."""
    for truth, model, right in (
        ([0.5, 0.5], [0.5, 0.5], 1.0),
        ([0.5, 0.5], [0.75, 0.25], 1.2075187496),
        ([1.0, 0.0], [0.25, 0.75], 2.0),
        ([0.25, 0.75, 0.0], [0.5, 0.5, 0.0], 1.0),
        ([0.25, 0.25, 0.25, 0.25], [0.125, 0.125, 0.25, 0.5], 2.25),
        ([0.5, 0.5], [1.0, 0.0], float("inf")),
        ([0.0, 1.0], [0.0, 1.0], 0.0),
    ):
        expect(attempt(truth, model), right, f"truth {truth} and model {model}")


def different_words_before(attempt: Callable[..., Any]) -> None:
    """Different words, each once."""
    for text, right in (
        ("a b a b c b", {"b": 2, "a": 1, "c": 1}),
        (
            "san francisco san francisco the san the city",
            {"francisco": 1, "san": 2, "the": 2, "city": 1},
        ),
        ("no no no yes no", {"no": 2, "yes": 1}),
        ("alone", {}),
    ):
        found = attempt(text.split())
        expect(found if found is None else dict(found), right, repr(text))
