"""A measured share with its interval: sums over units, which the bootstrap draws anew.

A unit is what was drawn when the sample was made: a template with all its pairs, a prompt with all
its stories. To draw the pairs of a template one by one would take for many what is one, and the
interval would be too narrow.
"""

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
        strata: (units,), such as the paradigm of a template: units are drawn within each, since
            which strata there are was not left to chance.
    """

    parts: NDArray[np.float64]
    wholes: NDArray[np.float64]
    strata: NDArray[np.int64]

    @staticmethod
    def of(
        parts: ArrayLike, wholes: ArrayLike | None = None, strata: ArrayLike | None = None
    ) -> Share:
        """Make one of lists; without ``wholes`` the mean of ``parts``, and of one stratum."""
        above = np.asarray(parts, np.float64)
        below = np.ones_like(above) if wholes is None else np.asarray(wholes, np.float64)
        among = np.zeros(len(above), np.int64) if strata is None else np.asarray(strata, np.int64)
        return Share(above, below, among)

    @staticmethod
    def grouped(groups: Sequence[int], parts: ArrayLike, wholes: ArrayLike | None = None) -> Share:
        """Make one whose units are ``groups`` (items,) of the items that ``parts`` are of."""
        items = Share.of(parts, wholes)
        _, unit = np.unique(np.asarray(groups, np.int64), return_inverse=True)
        return Share.of(np.bincount(unit, items.parts), np.bincount(unit, items.wholes))

    @property
    def value(self) -> float:
        """The ratio; NaN of nothing."""
        return _ratio(self.parts.sum(), self.wholes.sum())

    def resampled(self, seed: int = 0) -> NDArray[np.float64]:
        """The ratio (resamples,) over units drawn with replacement (Efron 1979), in their strata.

        Shares of as many units draw the same ones for the same seed, so that the difference of two
        is a paired bootstrap.
        """
        random = np.random.default_rng(seed)
        strata = [np.flatnonzero(self.strata == stratum) for stratum in np.unique(self.strata)]
        ratios = np.empty(RESAMPLES)
        for n in range(RESAMPLES):
            drawn = np.concatenate(
                [units[random.integers(0, len(units), len(units))] for units in strata]
            )
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


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else np.nan
