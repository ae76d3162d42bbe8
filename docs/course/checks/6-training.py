"""Checks of chapter 6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from course import expect


def trapezoid(attempt: Callable[..., Any]) -> None:
    """Up, level, down; where the two slopes meet, the lower one counts."""
    for steps, warmup, cooldown, right in (
        (10, 2, 4, [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
        (8, 4, 2, [0.25, 0.5, 0.75, 1, 1, 1, 1, 0.5]),
        (6, 1, 5, [1, 1, 0.8, 0.6, 0.4, 0.2]),
        (4, 4, 4, [0.25, 0.5, 0.5, 0.25]),
    ):
        found = [attempt(step, steps, warmup, cooldown) for step in range(steps)]
        given = f"all of {steps} steps, warmup {warmup}, cooldown {cooldown},"
        expect(np.array(found, object), np.array(right, float), given)


def gradient_of_batch(attempt: Callable[..., Any]) -> None:
    """A token of a small part weighs as much as one of a large part."""
    random = np.random.default_rng(0)
    for sizes in ([2, 2], [1, 3], [5, 1, 4, 2]):
        tokens = [random.standard_normal((size, 2, 3)) for size in sizes]  # gradients, one a token
        right = np.concatenate(tokens).mean(axis=0)
        given = f"parts of {sizes} tokens"
        expect(attempt([part.mean(axis=0) for part in tokens], sizes), right, given)


def crops_that_hold(attempt: Callable[..., Any]) -> None:
    """Counted one by one."""
    for size, length in ((10, 3), (10, 8), (5, 5), (7, 1)):
        right = [
            sum(begin <= token < begin + length for begin in range(size - length + 1))
            for token in range(size)
        ]
        found = [attempt(token, size, length) for token in range(size)]
        expect(found, right, f"all tokens of a story of {size}, crops of {length},")
