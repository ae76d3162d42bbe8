"""Repetition: the share of the 4-grams of a story that stood in it before."""

from __future__ import annotations

from collections.abc import Sequence

from tinybuddy.corpus.statistics import gram_hashes, words
from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.stories import Story


def measure_repetition(stories: Sequence[Story], human: float | None) -> Metric:
    """Share of the 4-grams within a story that stood in it before."""
    rows = [gram_hashes(words(story.text)) for story in stories]
    share = Share.of([len(row) - len({*row}) for row in rows], [len(row) for row in rows])
    return Metric("repetition", [MetricValue("repetition.rows", share, human)])
