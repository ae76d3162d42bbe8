"""Checks of chapter 8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from course import expect


def share_interval(attempt: Callable[..., Any]) -> None:
    """Long stories weigh more than short ones."""
    random = np.random.default_rng(0)
    for stories in (5, 30):
        wholes = random.integers(3, 300, stories).astype(float)
        parts = np.floor(wholes * random.uniform(0.2, 1, stories))
        chosen = random.integers(0, stories, (500, stories))
        sums = [parts[row].sum() / wholes[row].sum() for row in chosen]
        right = np.quantile(sums, [0.025, 0.975])
        expect(np.array(attempt(parts, wholes, chosen)), right, f"{stories} stories")


def difference_interval(attempt: Callable[..., Any]) -> None:
    """What is hard for both cancels."""
    random = np.random.default_rng(1)
    for stories, shift in ((8, 0.1), (40, -0.3)):
        first = random.uniform(0, 3, stories)
        second = first + shift + random.normal(0, 0.1, stories)
        chosen = random.integers(0, stories, (500, stories))
        means = [np.mean(first[row]) - np.mean(second[row]) for row in chosen]
        right = np.quantile(means, [0.025, 0.975])
        expect(np.array(attempt(first, second, chosen)), right, f"{stories} stories")


def chance_of_a_pass(attempt: Callable[..., Any]) -> None:
    """One minus the chance that all fail."""
    for p, n, right in (
        (0.05, 20, 0.6415140776),
        (0.5, 2, 0.75),
        (0.1, 3, 0.271),
        (0.025, 0, 0.0),
        (1.0, 4, 1.0),
    ):
        expect(attempt(p, n), right, f"p = {p} and {n} models")
