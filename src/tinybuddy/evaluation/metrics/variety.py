"""Variety: different seeds give different stories, in more than a handful of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

from tinybuddy.corpus.statistics import gram_hashes, words
from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.stories import Story

STRETCH = 1000  # words; the number of distinct ones grows with the length, so it is fixed


def measure_variety(stories: Sequence[Story], human: Mapping[str, float]) -> Metric:
    """4-grams that no other story has, and distinct words in each thousand."""
    found = [words(story.text) for story in stories]
    rows = [{*gram_hashes(story)} for story in found]
    tellers = Counter(chain.from_iterable(rows))
    own = Share.of([sum(tellers[r] == 1 for r in row) for row in rows], [len(r) for r in rows])
    row = list(chain.from_iterable(found))
    ends = range(STRETCH, len(row) + 1, STRETCH)
    distinct = Share.of([len({*row[end - STRETCH : end]}) / STRETCH for end in ends])
    values = {"variety.own_rows": own, "variety.distinct_words": distinct}
    return Metric("variety", [MetricValue(n, share, human.get(n)) for n, share in values.items()])
