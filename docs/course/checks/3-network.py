"""Checks of chapter 3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from course import expect


def stable_softmax(attempt: Callable[..., Any]) -> None:
    """Against ratios that are known; in rows and in one dimension."""
    for z, right in (  # logits, and what they must give
        ([0.0, np.log(3.0)], [0.25, 0.75]),
        ([1000.0, 1000.0 + np.log(3.0)], [0.25, 0.75]),
        ([-2000.0, -2000.0, -5000.0], [0.5, 0.5, 0.0]),
        ([[800.0, 800.0], [-900.0, -900.0 + np.log(4.0)]], [[0.5, 0.5], [0.2, 0.8]]),
        ([[[0.0], [5.0]]], [[[1.0], [1.0]]]),
    ):
        expect(attempt(np.array(z)), np.array(right), f"{np.array(z).tolist()}", tolerance=1e-9)


def silu_backward(attempt: Callable[..., Any]) -> None:
    """Against nudging."""
    draw = np.random.default_rng(0)
    for shape in ((5,), (3, 4)):
        x, dy, step = draw.normal(size=shape) * 2, draw.normal(size=shape), 1e-5

        def silu(v: Any) -> Any:
            return v / (1 + np.exp(-v))

        right = dy * (silu(x + step) - silu(x - step)) / (2 * step)
        expect(attempt(x, dy), right, f"x of shape {shape} and a random dy", tolerance=1e-7)


def embedding_gradient(attempt: Callable[..., Any]) -> None:
    """Row by row."""
    draw = np.random.default_rng(0)
    for tokens in ([0, 2], [1, 1, 3], [4, 0, 4, 4, 2]):
        dx = draw.normal(size=(len(tokens), 2)).round(1)
        right = np.zeros((5, 2))
        for token, row in zip(tokens, dx, strict=True):
            right[token] += row
        expect(attempt(np.array(tokens), dx, 5), right, f"tokens {tokens} and dx {dx.tolist()}")
