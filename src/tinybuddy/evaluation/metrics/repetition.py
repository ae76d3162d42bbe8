"""Repetition: the share of the 4-grams of a story that stood in it before."""

from __future__ import annotations

from collections.abc import Sequence

from tinybuddy.corpus.statistics import gram_hashes, words
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.stories import Story, share_of_stories


def measure_repetition(stories: Sequence[Story], human: float | None) -> Metric:
    """Share of the 4-grams within a story that stood in it before."""
    grams = [gram_hashes(words(story.text)) for story in stories]
    repeated = [len(own) - len({*own}) for own in grams]
    share = share_of_stories(stories, repeated, [len(own) for own in grams])
    return Metric("repetition", [MetricValue("repetition.repeated_4grams", share, human)])
