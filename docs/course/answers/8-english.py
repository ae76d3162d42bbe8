"""Answers to chapter 8."""

from __future__ import annotations

import numpy as np


def share_interval(
    parts: np.ndarray, wholes: np.ndarray, chosen: np.ndarray
) -> tuple[float, float]:
    shares = parts[chosen].sum(axis=1) / wholes[chosen].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


def difference_interval(
    first: np.ndarray, second: np.ndarray, chosen: np.ndarray
) -> tuple[float, float]:
    low, high = np.quantile((first - second)[chosen].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def chance_of_a_pass(p: float, n: int) -> float:
    return 1 - (1 - p) ** n  # none of them passes with (1 - p)^n
