"""Answers to chapter 1."""

from __future__ import annotations

import math
from itertools import pairwise


def bits_per_byte_of(probabilities: list[float], text: str) -> float:
    bits = sum(-math.log2(p) for p in probabilities)
    return bits / (len(text.encode("utf-8")) + 1)


def cross_entropy_of(truth: list[float], model: list[float]) -> float:
    bits = 0.0
    for t, m in zip(truth, model, strict=True):
        if t > 0:
            bits += t * (-math.log2(m) if m > 0 else math.inf)
    return bits


def different_words_before(words: list[str]) -> dict[str, int]:
    before: dict[str, set[str]] = {}
    for left, word in pairwise(words):
        before.setdefault(word, set()).add(left)
    return {word: len(found) for word, found in before.items()}
