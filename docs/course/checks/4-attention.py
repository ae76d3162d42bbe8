"""Checks of chapter 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from course import expect


def causal_mask(attempt: Callable[..., Any]) -> None:
    """Zero on and below the diagonal."""
    for n in (1, 2, 5):
        right = np.array([[0.0 if j <= i else -np.inf for j in range(n)] for i in range(n)])
        expect(attempt(n), right, f"n = {n}")


def causal_attention(attempt: Callable[..., Any]) -> None:
    """Against one position after the other."""
    draw = np.random.default_rng(0)
    for n, d in ((1, 3), (4, 2), (6, 9)):
        q, k, v = (draw.normal(size=(n, d)) * 2 for _ in range(3))
        right = np.zeros((n, d))
        for t in range(n):
            power = np.exp([q[t] @ k[i] / d**0.5 for i in range(t + 1)])
            right[t] = power @ v[: t + 1] / power.sum()
        expect(attempt(q, k, v), right, f"random q, k and v of shape ({n}, {d})")


def split_heads(attempt: Callable[..., Any]) -> None:
    """Head by head."""
    for n, width, heads in ((3, 4, 2), (5, 6, 3), (2, 8, 8), (4, 5, 1)):
        x = np.arange(n * width, dtype=float).reshape(n, width)
        size = width // heads
        right = np.array([x[:, size * h : size * (h + 1)] for h in range(heads)])
        expect(attempt(x, heads), right, f"np.arange({n * width}) as {n} x {width}, {heads} heads")
