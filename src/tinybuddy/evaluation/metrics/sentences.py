"""Sentences: they begin and end as sentences do, quotations close, and the length is human."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tinybuddy.corpus.statistics import words
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.stories import Story, sentences, share_of_stories

_SHAPE = re.compile(r"[\"'“‘]*[A-Z0-9].*[.!?][\"'”’]*", re.DOTALL)  # noqa: RUF001
PARAGRAPH = re.compile(r"\n\s*\n|\n")


def measure_sentences(
    stories: Sequence[Story], lengths: tuple[float, float], human: float | None
) -> Metric:
    """Share of sentences that are whole, of the story with its prompt.

    A sentence is whole if it begins with a capital letter, ends with ``. ! ?`` (quotation marks
    aside) and has between ``lengths`` words. Where a paragraph leaves a quotation open, its last
    sentence is not whole, unless the story was cut off there.
    """
    good, total = [], []
    for story in stories:
        verdicts = []
        paragraphs = [p for p in PARAGRAPH.split(story.whole) if p.strip()]
        for number, paragraph in enumerate(paragraphs, start=1):
            found = [_is_whole(sentence, lengths) for sentence in sentences(paragraph)]
            if _is_open(paragraph) and not (story.cut and number == len(paragraphs)):
                found[-1] = False
            verdicts += found
        good.append(sum(verdicts))
        total.append(max(1, len(verdicts)))
    share = share_of_stories(stories, good, total)
    return Metric("sentences", [MetricValue("sentences.whole", share, human)])


def human_lengths(stories: Sequence[Story]) -> tuple[float, float]:
    """Words of a sentence: the range of the middle 99 % of human ones."""
    counts = [len(words(s)) for story in stories for s in sentences(story.whole)]
    low, high = np.quantile(counts, [0.005, 0.995])
    return float(low), float(high)


def _is_whole(sentence: str, lengths: tuple[float, float]) -> bool:
    low, high = lengths
    return bool(_SHAPE.fullmatch(sentence)) and low <= len(words(sentence)) <= high


def _is_open(paragraph: str) -> bool:
    return paragraph.count('"') % 2 == 1 or paragraph.count("“") != paragraph.count("”")
