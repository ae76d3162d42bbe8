"""Which difference between two models is real: a paired bootstrap."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinybuddy.evaluation.bootstrap import interval
from tinybuddy.evaluation.scorecard import Scorecard


class Difference(NamedTuple):
    """How a value of one model differs from another's."""

    name: str
    value: float  # the first minus the second
    low: float
    high: float

    @property
    def real(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def to_mapping(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return self._asdict() | {"real": self.real}


def compare(first: Scorecard, second: Scorecard) -> list[Difference]:
    """Subtract the values of ``second`` from those of ``first``, with 95 % intervals.

    Both are drawn over the same units, such as validation stories or minimal pairs, so what is hard
    for both cancels. Of generated stories, those of the same prompt and seed are a pair.
    """
    differences = []
    others = second.values()
    for name, measured in first.values().items():
        if name not in others or math.isnan(measured.value - others[name].value):
            continue  # one of the two has generated nothing that it could be measured on
        # As many units, and so the same draws; where a model generated less, independent ones.
        paired = len(measured.share.parts) == len(others[name].share.parts)
        drawn = others[name].share.resampled(seed=0 if paired else 1)
        low, high = interval(np.subtract(measured.share.resampled(seed=0), drawn))
        difference = measured.value - others[name].value
        differences.append(Difference(name, difference, low, high))
    return differences
