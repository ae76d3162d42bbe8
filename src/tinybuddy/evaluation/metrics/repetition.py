"""Repetition: the share of rows of four words that a story has told before."""

from __future__ import annotations

from collections.abc import Sequence

from tinybuddy.corpus.statistics import gram_hashes, words
from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.metrics.metric import Figure, Gauge
from tinybuddy.evaluation.stories import Story


def gauge_repetition(stories: Sequence[Story], human: float | None) -> Gauge:
    """Share of the rows of four words within a story that stood in it before."""
    rows = [gram_hashes(words(story.text)) for story in stories]
    share = Share.of([len(row) - len({*row}) for row in rows], [len(row) for row in rows])
    return Gauge("repetition", [Figure("repetition.rows", share, human)])
