"""Repetition: the share of rows of four words that a story has told before."""

from __future__ import annotations

from collections.abc import Sequence

from tinybuddy.corpus.facts import gram_hashes, words
from tinybuddy.evaluate.gauge import Figure, Gauge
from tinybuddy.evaluate.statistic import Share
from tinybuddy.evaluate.text import Story


def gauge_repetition(stories: Sequence[Story], human: float | None) -> Gauge:
    """Share of the rows of four words within a story that stood in it before."""
    rows = [gram_hashes(words(story.text)) for story in stories]
    share = Share.of([len(row) - len({*row}) for row in rows], [len(row) for row in rows])
    return Gauge("repetition", [Figure("repetition.rows", share, human)])
