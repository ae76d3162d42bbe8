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

from tokenizers import Tokenizer as Backend
from tokenizers.models import Unigram

from tinybuddy.tokenizer.layout import NEVER, PAD

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
        for token in least[: min(excess, max(8, excess // 3))]:
            del costs[token]
        costs = _costs(costs, counts)
    for token in [t for t in costs if len(t) > 1 and not counts[t]]:
        del costs[token]
    for _ in range(ROUNDS_AT_THE_END):
        costs = _costs(costs, _counts(words, costs))
    return {token: -cost for token, cost in costs.items()}


def _counts(words: Mapping[str, int], costs: Mapping[str, float]) -> Counter[str]:
    """How often each token is used by the words, each spelled at the least cost.

    The library spells all words of TinyStories in 0.02 s, where Python takes 0.2 s.
    """
    tokens = [("", NEVER), *((token, -cost) for token, cost in costs.items())]
    encodings = Backend(Unigram(tokens, PAD)).encode_batch_fast([*words], add_special_tokens=False)
    counts: Counter[str] = Counter()
    for often, encoding in zip(words.values(), encodings, strict=True):
        for id in encoding.ids:
            counts[tokens[id][0]] += often
    return counts


def _costs(tokens: Iterable[str], counts: Mapping[str, int]) -> dict[str, float]:
    """Minus log-probabilities of the tokens, as if each had occurred once more."""
    seen = {token: counts[token] + 1 for token in tokens}
    total = math.log(sum(seen.values()))
    return {token: total - math.log(count) for token, count in seen.items()}


def _apart(token: str, costs: Mapping[str, float]) -> float:
    """The least cost of a token's text without it (Viterbi)."""
    best = [0.0] + [math.inf] * len(token)
    for end in range(1, len(token) + 1):
        for start in range(end):
            if 0 < end - start < len(token):
                cost = costs.get(token[start:end], math.inf)
                best[end] = min(best[end], best[start] + cost)
    return best[-1]
