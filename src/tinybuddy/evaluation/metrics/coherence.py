"""Coherence: what comes later belongs to what came before.

Every comparison is between the same texts, put together rightly and wrongly, so that a model that
knows only how likely each word is finds them equal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from tinybuddy.evaluation.bootstrap import Share, joined
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.pairs import Pair
from tinybuddy.evaluation.shuffle import Draw, drawer, shuffled
from tinybuddy.evaluation.stories import Story, sentences

PAIRS = 200  # of each kind
BEFORE = 3  # sentences before the one that is asked for; four are about 240 characters
ORDERED = 5  # sentences put in order; the first stays, since everything else follows from it
SHUFFLES = 10  # of each story, so that its value does not hang on one

_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+\b")


def measure_coherence(
    evaluated: EvaluatedModel | None,
    validation: Sequence[str],
    stories: Sequence[Story],
    judge: EvaluatedModel | None,
    human: float | None,
) -> Metric:
    """Share of pairs preferred, and how often the judge prefers stories to shuffled ones."""
    if not judge:
        return Metric("coherence", [], lacks="human stories: give them by --data")
    values, details, lacks = [], {}, ""
    asked = {name: pairs for name, pairs in coherence_pairs(validation).items() if pairs}
    if evaluated and asked:
        shares = {name: Share.of(evaluated.prefers(pairs)) for name, pairs in asked.items()}
        values.append(MetricValue("coherence.pairs", joined(list(shares.values()))))
        details = {name: share.value for name, share in shares.items()}
    elif evaluated:
        lacks = f"human stories of more than {ORDERED} sentences"
    values.append(MetricValue("coherence.sentence_order", _sentence_order(stories, judge), human))
    return Metric("coherence", values, lacks, details)


def coherence_pairs(stories: Sequence[str]) -> dict[str, list[Pair]]:
    """Pairs by kind, up to 200 each: next sentence, order of sentences, name of the hero."""
    texts = [found for story in stories if len(found := sentences(story)) > ORDERED]
    draw = drawer("coherence")
    following = [
        _exchange(a[:BEFORE], a[BEFORE], b[:BEFORE], b[BEFORE]) for a, b in pairwise(texts)
    ]
    ordered = [
        Pair((" ".join(s[:ORDERED]),), (" ".join([s[0], *shuffled(s[1:ORDERED], draw)]),))
        for s in texts
    ]
    named = [hero for story in texts if (hero := _hero(story))]
    heroes = [_rename(a, b) for a, b in pairwise(named) if a[1] != b[1]]
    kinds = {"next_sentence": following, "order": ordered, "hero": heroes}
    return {name: pairs[:PAIRS] for name, pairs in kinds.items()}


def _exchange(before: list[str], own: str, other: list[str], others: str) -> Pair:
    """Two stories that go on with their own sentence, and with each other's."""
    a, b = " ".join(before), " ".join(other)
    return Pair((f"{a} {own}", f"{b} {others}"), (f"{a} {others}", f"{b} {own}"))


def _hero(story: list[str]) -> tuple[str, str] | None:
    """The beginning of a story up to its hero's name, which it has named before, and the name."""
    text = " ".join(story[: ORDERED + 1])
    names = Counter(_NAME.findall(text))
    for name, _ in names.most_common(1):
        places = [match.end() for match in re.finditer(rf"\b{name}\b", text)]
        if len(places) > 1 and not re.search(rf"\b{name.lower()}\b", text):
            return text[: places[-1]].removesuffix(name), name
    return None


def _rename(a: tuple[str, str], b: tuple[str, str]) -> Pair:
    return Pair((a[0] + a[1], b[0] + b[1]), (a[0] + b[1], b[0] + a[1]))


def _sentence_order(stories: Sequence[Story], judge: EvaluatedModel) -> Share:
    """Over stories: how often the judge prefers the order of its sentences to a shuffled one.

    The first sentence stays, and the last, since a cut may have taken what followed it.
    """
    draw = drawer("sentence order")
    pairs, sizes = [], []
    for story in stories:
        texts = sentences(story.whole)
        long = len(texts) > 3  # two sentences at least to exchange
        sizes.append(SHUFFLES if long else 0)
        pairs += [_reordered(texts, draw) for _ in range(sizes[-1])]
    right = np.split(judge.prefers(pairs), np.cumsum(sizes)[:-1])
    return Share.of([part.sum() for part in right], sizes)


def _reordered(texts: list[str], draw: Draw) -> Pair:
    first, *inner, last = texts
    return Pair((" ".join(texts),), (" ".join([first, *shuffled(inner, draw), last]),))
