"""Originality: the stories are told, not recited from the training text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from tinybuddy.corpus.statistics import GRAM, Facts, words
from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.metrics.metric import Figure, Gauge
from tinybuddy.evaluation.stories import Story


def gauge_originality(
    stories: Sequence[Story], facts: Facts | None, human: Mapping[str, float]
) -> Gauge:
    """Rows of four words that the training text lacks, and the longest copy in each story.

    A copy is a stretch all of whose rows of four words stand in the training text, in words. It may
    be pieced together from several places, so the figure is an upper bound, for people as well.
    """
    if facts is None:
        return Gauge("originality", [], lacks="facts of its training text: give it by --data")
    new, total, longest = [], [], []
    for story in stories:
        known = facts.has_rows(words(story.text))
        runs = [sum(1 for _ in run) for copied, run in groupby(known) if copied]
        new.append(int((~known).sum()))
        total.append(len(known))
        longest.append(max(runs) + GRAM - 1 if runs else 0)
    figures = {
        "originality.new_rows": Share.of(new, total),
        "originality.longest_copy": Share.of(longest),
    }
    return Gauge("originality", [Figure(n, share, human.get(n)) for n, share in figures.items()])
