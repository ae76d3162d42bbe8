"""The Unigram model of a text (Kudo 2018, arXiv 1804.10959): tokens by what they save.

BPE keeps every token that a longer one was merged from. Of 1,536 trained on TinyStories, 140 are
each less than one in 20,000 of the text's (" kitc", "Hell"), and each has its row of the embedding.
Here those are taken away, round by round, whose texts the others spell at the least cost, until as
many are left as wanted. A text is encoded by the tokens whose product of probabilities is largest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from tinybuddy.tokenizer.layout import LONGEST_TOKEN

ROUNDS_AT_THE_END = 3  # after which probabilities have settled


def train_unigram(words: Mapping[str, int], tokens: Iterable[str], size: int) -> dict[str, float]:
    """Choose tokens and their log-probabilities.

    Args:
        words: stretches of text that no token reaches beyond, with how often they occur.
        tokens: to choose among; all single characters of the words must be there, and stay.
        size: how many are wanted; fewer come back where fewer occur.
    """
    # At first all tokens cost the same: words are then spelled with as few as can be.
    costs = dict.fromkeys(tokens, 1.0)
    while True:
        counts = _counts(words, costs)
        excess = len(costs) - size
        if excess <= 0:
            break
        saved = {t: counts[t] * (_apart(t, costs) - costs[t]) for t in costs if len(t) > 1}
        if not saved:
            break
        least = sorted(saved, key=lambda token: (saved[token], token))
        for token in least[: min(excess, max(8, excess // 4))]:
            del costs[token]
        costs = _costs(costs, counts)
    for token in [t for t in costs if len(t) > 1 and not counts[t]]:
        del costs[token]
    for _ in range(ROUNDS_AT_THE_END):
        costs = _costs(costs, _counts(words, costs))
    return {token: -cost for token, cost in costs.items()}


def _counts(words: Mapping[str, int], costs: Mapping[str, float]) -> Counter[str]:
    """How often each token is used by the words, each spelled at the least cost."""
    counts: Counter[str] = Counter()
    for word, often in words.items():
        for token in _spelled(word, costs)[1]:
            counts[token] += often
    return counts


def _costs(tokens: Iterable[str], counts: Mapping[str, int]) -> dict[str, float]:
    """Minus log-probabilities of the tokens, as if each had occurred once more."""
    seen = {token: counts[token] + 1 for token in tokens}
    total = math.log(sum(seen.values()))
    return {token: total - math.log(count) for token, count in seen.items()}


def _apart(token: str, costs: Mapping[str, float]) -> float:
    """Cost of a token's text without it."""
    return _spelled(token, {t: c for t, c in _within(token, costs) if t != token})[0]


def _within(text: str, costs: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            if (token := text[start:end]) in costs:
                yield token, costs[token]


def _spelled(text: str, costs: Mapping[str, float]) -> tuple[float, list[str]]:
    """The least cost of a text, and the tokens that it is the sum of (Viterbi)."""
    best = [0.0] + [math.inf] * len(text)
    begins = [0] * (len(text) + 1)
    for end in range(1, len(text) + 1):
        for start in range(max(0, end - LONGEST_TOKEN), end):
            cost = costs.get(text[start:end])
            if cost is not None and best[start] + cost < best[end]:
                best[end], begins[end] = best[start] + cost, start
    tokens, end = [], len(text)
    while end:
        tokens.append(text[begins[end] : end])
        end = begins[end]
    return best[-1], tokens[::-1]
