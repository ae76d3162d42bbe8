"""Grammar: it prefers right sentences to wrong ones of the same words, and writes such sentences.

Minimal pairs follow BLiMP (Warstadt et al. 2020, arXiv 1912.00582); see `minimal_pairs`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.metrics.minimal_pairs import minimal_pairs
from tinybuddy.evaluation.pairs import Pair
from tinybuddy.evaluation.shuffle import drawer, shuffled_words
from tinybuddy.evaluation.stories import Story, sentences

LEAST_WORDS = 5  # the inner words of a shorter sentence have hardly another order


def measure_grammar(
    evaluated: EvaluatedModel | None,
    stories: Sequence[Story],
    judge: EvaluatedModel | None,
    human: float | None,
) -> Metric:
    """Share of minimal pairs preferred, and of its sentences that the judge prefers to shuffled.

    Without a model there are no probabilities, and without a ``judge`` no second value.
    """
    values, details = [], {}
    if evaluated:
        paradigms = minimal_pairs()
        right = evaluated.prefers([pair for pairs in paradigms.values() for pair in pairs])
        values.append(MetricValue("grammar.pairs", Share.of(right)))
        sizes = [len(pairs) for pairs in paradigms.values()]
        parts = np.split(right, np.cumsum(sizes)[:-1])
        details = {name: float(p.mean()) for name, p in zip(paradigms, parts, strict=True)}
    if judge:
        values.append(MetricValue("grammar.word_order", _word_order(stories, judge), human))
    lacks = "" if judge else "human stories for its judge: give them by --data"
    return Metric("grammar", values, lacks, details)


def _word_order(stories: Sequence[Story], judge: EvaluatedModel) -> Share:
    """Over stories: sentences that the judge prefers to their own words shuffled."""
    draw = drawer("word order")
    pairs, sizes = [], []
    for story in stories:
        long = [s for s in sentences(story.whole) if len(s.split()) >= LEAST_WORDS]
        sizes.append(len(long))
        pairs += [Pair((" ".join(s.split()),), (shuffled_words(s, draw),)) for s in long]
    right = np.split(judge.prefers(pairs), np.cumsum(sizes)[:-1])
    return Share.of([part.sum() for part in right], sizes)
