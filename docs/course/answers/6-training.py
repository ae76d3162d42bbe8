"""Answers to chapter 6."""

from __future__ import annotations

import numpy as np


def trapezoid(step: int, steps: int, warmup: int, cooldown: int) -> float:
    return min(1.0, (step + 1) / warmup, (steps - step) / cooldown)


def gradient_of_batch(gradients: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    # The sum over all tokens is what adds up; a mean loss is that divided by the tokens.
    parts = [g * size for g, size in zip(gradients, sizes, strict=True)]
    return np.sum(parts, axis=0) / sum(sizes)


def crops_that_hold(token: int, size: int, length: int) -> int:
    first = max(0, token - length + 1)  # begins of crops that hold it, and lie in the story
    last = min(token, size - length)
    return last - first + 1
