"""The same words or sentences in another order, drawn the same way on every Python version."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
Draw = Callable[[], float]


def drawer(seed: str) -> Draw:
    """Random numbers from [0, 1); ``random()`` is what Python promises never to change."""
    return random.Random(seed).random


def shuffled(items: Sequence[T], draw: Draw) -> list[T]:
    """The items in another order than theirs, if they have one (Fisher & Yates)."""
    result = list(items)
    while len(set(map(str, items))) > 1 and result == list(items):
        for i in range(len(result) - 1, 0, -1):
            j = int(draw() * (i + 1))
            result[i], result[j] = result[j], result[i]
    return result


def shuffled_words(sentence: str, draw: Draw) -> str:
    """A sentence with its inner words in another order; the first and the last stay."""
    words = sentence.split()
    return " ".join([*words[:1], *shuffled(words[1:-1], draw), *words[1:][-1:]])
