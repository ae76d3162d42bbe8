"""A gauge: one or more figures, each with its interval, its human value and its bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.metrics.bounds import BOUNDS


@dataclass(frozen=True, eq=False)
class Figure:
    """One measured value.

    Attributes:
        name: ``gauge.figure``, as `BOUNDS` has it where it is judged.
        share: the measurement.
        human: the same of human stories, where there is one.
        bound: what it is judged by, where that is itself measured; otherwise `BOUNDS` has it, or
            the figure is only reported.
    """

    name: str
    share: Share
    human: float | None = None
    bound: float | None = None

    @property
    def value(self) -> float:
        """The measured value."""
        return self.share.value

    @property
    def limit(self) -> float | None:
        """The bound in units of the figure itself; None where it is of human stories not there."""
        rule = BOUNDS.get(self.name)
        if rule is None:
            return None
        if self.bound is not None:
            return self.bound
        if not rule.of_human:
            return rule.value
        if not self.human or math.isnan(self.human):
            return None
        return rule.value * self.human

    @property
    def passed(self) -> bool | None:
        """Whether the unfavourable end of the interval keeps the bound; None without a bound."""
        if self.limit is None:
            return None
        low, high = self.share.interval()
        least = BOUNDS[self.name].least
        return bool(low >= self.limit if least else high <= self.limit)  # NaN keeps no bound

    def to_mapping(self) -> dict[str, Any]:
        """Plain data for JSON."""
        low, high = self.share.interval()
        mapping = {"value": self.value, "low": low, "high": high, "human": self.human}
        return mapping | {"bound": self.limit, "passed": self.passed}


@dataclass(frozen=True, eq=False)
class Gauge:
    """What one gauge found.

    Attributes:
        name: of the gauge.
        figures: the measured values; empty where it was not run.
        lacks: what it, or a part of it, needs to run; empty if all of it ran.
        details: further values for the report.
    """

    name: str
    figures: list[Figure]
    lacks: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool | None:
        """False if a figure fails, None if that is not known or not judged, True otherwise."""
        verdicts = [figure.passed for figure in self.figures if figure.name in BOUNDS]
        if False in verdicts:
            return False
        return True if verdicts and all(verdicts) and not self.lacks else None

    def to_mapping(self) -> dict[str, Any]:
        """Plain data for JSON."""
        figures = {f.name.partition(".")[2]: f.to_mapping() for f in self.figures}
        return {
            "passed": self.passed,
            "lacks": self.lacks,
            "figures": figures,
            "details": self.details,
        }
