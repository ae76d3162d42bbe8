"""A metric: one or more values, each with its interval, its human value and its bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.metrics.bounds import BOUNDS


@dataclass(frozen=True, eq=False)
class MetricValue:
    """One measured value.

    Attributes:
        name: ``metric.value``, as `BOUNDS` has it where it is judged.
        share: the measurement.
        human: the same of human stories, where there is one.
        bound: what it is judged by, where that is itself measured; otherwise `BOUNDS` has it, or
            the value is only reported.
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
        """The bound in units of the value itself; None where it is of human stories not there."""
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
class Metric:
    """What one metric found.

    Attributes:
        name: of the metric.
        values: the measured values; empty where it was not run.
        lacks: what it, or a part of it, needs to run; empty if all of it ran.
        details: further values for the report.
    """

    name: str
    values: list[MetricValue]
    lacks: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool | None:
        """False if a value fails, None if that is not known or not judged, True otherwise."""
        verdicts = [measured.passed for measured in self.values if measured.name in BOUNDS]
        if False in verdicts:
            return False
        return True if verdicts and all(verdicts) and not self.lacks else None

    def to_mapping(self) -> dict[str, Any]:
        """Plain data for JSON."""
        values = {f.name.partition(".")[2]: f.to_mapping() for f in self.values}
        return {
            "passed": self.passed,
            "lacks": self.lacks,
            "figures": values,
            "details": self.details,
        }
