"""Originality: the stories are new, not recited from the training text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from tinybuddy.corpus.statistics import GRAM, TextStatistics, words
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.stories import Story, share_of_stories


def measure_originality(
    stories: Sequence[Story], statistics: TextStatistics | None, human: Mapping[str, float]
) -> Metric:
    """4-grams that the training text lacks, and the longest copy in each story.

    A copy is a stretch all of whose 4-grams stand in the training text, in words. It may
    be pieced together from several places, so the value is an upper bound, for people as well.
    """
    if statistics is None:
        return Metric("originality", [], lacks="facts of its training text: give it as data")
    new, total, longest = [], [], []
    for story in stories:
        known = statistics.has_grams(words(story.text))
        runs = [sum(1 for _ in run) for copied, run in groupby(known) if copied]
        new.append(int((~known).sum()))
        total.append(len(known))
        longest.append(max(runs) + GRAM - 1 if runs else 0)
    values = {
        "originality.new_4grams": share_of_stories(stories, new, total),
        "originality.longest_copy": share_of_stories(stories, longest),
    }
    return Metric(
        "originality", [MetricValue(n, share, human.get(n)) for n, share in values.items()]
    )
