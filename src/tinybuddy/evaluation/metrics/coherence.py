"""Coherence: what comes later belongs to what came before.

Every comparison is between the same texts, put together rightly and wrongly, so that a model that
knows only how likely each word is finds them equal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np

from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.pairs import Pair
from tinybuddy.evaluation.shuffle import Draw, drawer, shuffled
from tinybuddy.evaluation.stories import Story, sentences, share_of_stories

COUPLES = 200  # of stories, each of which gives a pair of each kind
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
        return Metric("coherence", [], lacks="human stories: give them as data")
    values, details, lacks = [], {}, ""
    asked = coherence_pairs(validation)
    if evaluated and asked:
        found = iter(evaluated.prefers([pair for pairs in asked for pair in pairs.values()]))
        right = [{kind: next(found) for kind in pairs} for pairs in asked]
        share = Share.of([sum(kinds.values()) for kinds in right], [len(kinds) for kinds in right])
        values.append(MetricValue("coherence.pairs", share))
        details = {
            kind: float(np.mean([kinds[kind] for kinds in right if kind in kinds]))
            for kind in dict.fromkeys(chain(*right))
        }
    elif evaluated:
        lacks = f"human stories of more than {ORDERED} sentences"
    values.append(MetricValue("coherence.sentence_order", _sentence_order(stories, judge), human))
    return Metric("coherence", values, lacks, details)


def coherence_pairs(stories: Sequence[str]) -> list[dict[str, Pair]]:
    """Pairs of up to 200 couples of stories, by kind.

    The kinds are the next sentence, the order of sentences, and the name of the hero, which a
    couple lacks if one of its heroes has no name, or both have the same. No story is in two
    couples, so that they can be drawn anew one by one.
    """
    texts = [found for story in stories if len(found := sentences(story)) > ORDERED]
    draw = drawer("coherence")
    return [_pairs(a, b, draw) for a, b in zip(texts[:-1:2], texts[1::2], strict=True)][:COUPLES]


def _pairs(a: list[str], b: list[str], draw: Draw) -> dict[str, Pair]:
    reordered = " ".join([a[0], *shuffled(a[1:ORDERED], draw)])
    pairs = {
        "next_sentence": _exchange(a[:BEFORE], a[BEFORE], b[:BEFORE], b[BEFORE]),
        "order": Pair((" ".join(a[:ORDERED]),), (reordered,)),
    }
    heroes = _hero(a), _hero(b)
    if heroes[0] and heroes[1] and heroes[0][1] != heroes[1][1]:
        pairs["hero"] = _rename(heroes[0], heroes[1])
    return pairs


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
    return share_of_stories(stories, [part.sum() for part in right], sizes)


def _reordered(texts: list[str], draw: Draw) -> Pair:
    first, *inner, last = texts
    return Pair((" ".join(texts),), (" ".join([first, *shuffled(inner, draw), last]),))
