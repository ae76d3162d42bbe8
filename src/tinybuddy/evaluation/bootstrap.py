"""A measured share with its interval: sums over units, which the bootstrap draws anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Share:
    """A ratio of two sums over units, such as English words to all words over stories.

    Attributes:
        parts: numerators (units,).
        wholes: denominators (units,); ones, for a plain mean.
    """

    parts: NDArray[np.float64]
    wholes: NDArray[np.float64]

    @staticmethod
    def of(parts: ArrayLike, wholes: ArrayLike | None = None) -> Share:
        """Make one of lists; without ``wholes``, the mean of ``parts``."""
        above = np.asarray(parts, np.float64)
        below = np.ones_like(above) if wholes is None else np.asarray(wholes, np.float64)
        return Share(above, below)

    @property
    def value(self) -> float:
        """The ratio; NaN of nothing."""
        return _ratio(self.parts.sum(), self.wholes.sum())

    def resampled(self, seed: int = 0) -> NDArray[np.float64]:
        """The ratio (resamples,) over units drawn with replacement (Efron 1979).

        Shares of as many units draw the same ones for the same seed, so that the difference of two
        is a paired bootstrap.
        """
        random = np.random.default_rng(seed)
        ratios = np.empty(RESAMPLES)
        for n in range(RESAMPLES):
            drawn = random.integers(0, len(self.parts), len(self.parts))
            ratios[n] = _ratio(self.parts[drawn].sum(), self.wholes[drawn].sum())
        return ratios

    def interval(self) -> tuple[float, float]:
        """The middle 95 % of the resampled ratios."""
        return self._interval

    @cached_property
    def _interval(self) -> tuple[float, float]:
        return interval(self.resampled()) if len(self.parts) else (np.nan, np.nan)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of ``values``; NaN if one of them is."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def joined(shares: Sequence[Share]) -> Share:
    """All units of several shares as one."""
    return Share(
        np.concatenate([share.parts for share in shares]),
        np.concatenate([share.wholes for share in shares]),
    )


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else np.nan
