"""Grammar: it prefers right sentences to wrong ones of the same words, and writes such sentences.

Minimal pairs follow BLiMP (Warstadt et al. 2020, arXiv 1912.00582); see `minimal_pairs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.metrics.minimal_pairs import TEMPLATES, minimal_pairs
from tinybuddy.evaluation.pairs import Pair
from tinybuddy.evaluation.shuffle import drawer, shuffled_words
from tinybuddy.evaluation.stories import Story, sentences, share_of_stories

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
        right = evaluated.prefers([p for pairs in paradigms.values() for p in chain(*pairs)])
        by_template = right.reshape(len(paradigms), TEMPLATES, -1)
        share = Share.of(
            by_template.sum(axis=2).ravel(),
            np.full(by_template[..., 0].size, by_template.shape[2]),
            strata=np.repeat(np.arange(len(paradigms)), TEMPLATES),
        )
        values.append(MetricValue("grammar.pairs", share))
        means = by_template.mean(axis=(1, 2))
        details = {name: float(mean) for name, mean in zip(paradigms, means, strict=True)}
    if judge:
        values.append(MetricValue("grammar.word_order", _word_order(stories, judge), human))
    lacks = "" if judge else "human stories for its judge: give them as data"
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
    return share_of_stories(stories, [part.sum() for part in right], sizes)
