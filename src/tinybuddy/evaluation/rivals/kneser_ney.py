"""Interpolated Kneser-Ney n-grams in NumPy: what a model of the same size must beat.

The probability of a token after a history interpolates every order,

    p(w | h) = max(c(hw) - D, 0) / c(h)  +  g(h) p(w | h without its first token),

where the counts of lower orders are numbers of distinct tokens to the left (Kneser & Ney 1995), D
depends on the count (Chen & Goodman 1998, "modified"), and g(h) is what the discounts leave. Below
the single tokens lies the uniform distribution. A story begins with one `<bos>`, which nothing
precedes; n-grams that begin with it keep their counts.

An n-gram is a row of an order's table, found by its key: the row of its history in the order below,
times the vocabulary size, plus its last token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tinybuddy.backends.interface import Ids, Stream
from tinybuddy.backends.lockstep import LockstepBackend

CONTEXT = 4096  # predictions at a time: it looks back few tokens, so any that are not few will do

Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Counts:
    """The distinct n-grams of one order in a text.

    Attributes:
        keys: history's row x vocabulary size + last token, ascending (n-grams,).
        suffixes: row, in the order below, of the n-gram without its first token.
        counts: occurrences.
        begins: whether its first token is the story's beginning.
    """

    keys: Rows
    suffixes: Rows
    counts: Rows
    begins: NDArray[np.bool_]


def count(stories: Iterable[Sequence[int]], vocab_size: int, order: int) -> list[Counts]:
    """Count the n-grams of order 1 to ``order``; each story begins with ``<bos>``."""
    ids = [np.asarray(story, np.int64) for story in stories]
    text = np.concatenate(ids)
    place = np.concatenate([np.arange(len(story)) for story in ids])  # within its story
    words = np.arange(vocab_size)
    # The beginning itself is never predicted.
    seen = np.bincount(text[place > 0], minlength=vocab_size)
    levels = [Counts(words, np.zeros_like(words), seen, np.zeros(vocab_size, bool))]
    rows = text
    for n in range(2, order + 1):
        (ends,) = np.nonzero(place >= n - 1)
        if not len(ends):
            break  # no story is as long
        keys, first, inverse, counts = np.unique(
            rows[ends - 1] * vocab_size + text[ends],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        begins = place[ends[first]] == n - 1
        levels.append(Counts(keys, rows[ends[first]], counts, begins))
        rows = np.full(len(text), -1)
        rows[ends] = inverse
    return levels


@dataclass(frozen=True, eq=False)
class Level:
    """One order of a model: its stored n-grams.

    Attributes:
        keys: as in `Counts`, of stored rows.
        direct: discounted share of its history's count.
        rest: as a history, what is left to the order below.
    """

    keys: Rows
    direct: Numbers
    rest: Numbers


class KneserNey(LockstepBackend):
    """An n-gram model; it meets the interface of `tinybuddy.backends.pytorch.Backend`.

    Attributes:
        levels: order 1 first.
        vocab_size: number of tokens.
        floor: probability of a token that the text does not have.
        context: predictions at a time.
    """

    context = CONTEXT

    def __init__(self, levels: Sequence[Level], floor: float) -> None:
        self.levels, self.floor = levels, floor
        self.vocab_size = len(levels[0].keys)

    @property
    def stored(self) -> int:
        """Number of n-grams of all orders that the text has."""
        return int((self.levels[0].direct > 0).sum()) + sum(len(x.keys) for x in self.levels[1:])

    def find(self, order: int, histories: Rows, words: Rows) -> Rows:
        """Row of each n-gram in ``order`` (2 or more), -1 where it is not stored."""
        keys = self.levels[order - 1].keys
        wanted = histories * self.vocab_size + words
        rows = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where((histories >= 0) & (keys[rows] == wanted), rows, -1)

    def histories(self, inputs: Ids) -> list[Rows]:
        """For order 1 and up, row (B, T) of the n-gram that ends at each input; -1 for none."""
        rows = [inputs]
        for order in range(2, len(self.levels)):
            longer = np.full_like(inputs, -1)
            longer[:, 1:] = self.find(order, rows[-1][:, :-1], inputs[:, 1:])
            rows.append(longer)
        return rows

    def log_likelihoods(self, inputs: Ids, targets: Ids) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id after the inputs up to its place."""
        p = self.levels[0].direct[targets] + self.floor
        for order, histories in enumerate(self.histories(inputs), start=2):
            if order > len(self.levels):
                break
            rows = self.find(order, histories, targets)
            direct = np.where(rows >= 0, self.levels[order - 1].direct[rows], 0.0)
            rest = np.where(histories >= 0, self.levels[order - 2].rest[histories], 1.0)
            p = direct + rest * p
        return np.log(p).astype(np.float32)

    def stream(self, texts: int = 1) -> Stream:
        """Begin one text, or several."""
        return _Stream(self, texts)

    def distribution(self, history: Sequence[Rows]) -> Numbers:
        """Probability (V,) of each next token; ``history`` as `histories` gives it for a place."""
        p = self.levels[0].direct + self.floor
        for (shorter, level), row in zip(pairwise(self.levels), history, strict=False):
            if row >= 0:
                first, last = np.searchsorted(
                    level.keys, [row * self.vocab_size, (row + 1) * self.vocab_size]
                )
                p *= shorter.rest[row]
                p[level.keys[first:last] % self.vocab_size] += level.direct[first:last]
        return p


class _Stream:
    def __init__(self, model: KneserNey, texts: int) -> None:
        self._model = model
        self._ids = np.zeros((texts, 0), np.int64)

    def feed(self, ids: Ids) -> NDArray[np.float32]:
        keep = len(self._model.levels) - 1
        self._ids = np.concatenate([self._ids, ids], axis=1)[:, -keep or -1 :]
        last = [rows[:, -1] for rows in self._model.histories(self._ids)]
        p = [self._model.distribution([r[text] for r in last]) for text in range(len(ids))]
        return np.log(p).astype(np.float32)


def estimate(
    levels: Sequence[Counts],
    kept: Sequence[NDArray[np.bool_]] | None = None,
    discount: float | None = None,
) -> KneserNey:
    """Estimate a model of the orders of ``levels``.

    Args:
        levels: from `count`.
        kept: of each order (n-grams,), which to store; without it, all. What is not stored gives
            its whole count to the order below instead of 1 (Siivola et al. 2007, "revised Kneser
            pruning"), so that the orders below stay those of the text.
        discount: one for all counts, as Kneser and Ney had it; otherwise by the count.
    """
    vocab_size = len(levels[0].keys)
    kept = kept or [np.ones(len(level.keys), bool) for level in levels]
    counts = levels[-1].counts
    built: list[tuple[Numbers, Numbers]] = []
    for n in range(len(levels) - 1, -1, -1):
        level = levels[n]
        histories = level.keys // vocab_size if n else np.zeros(vocab_size, np.int64)
        size = len(levels[n - 1].keys) if n else 1
        total = np.bincount(histories, counts, size)[histories]
        left = counts - _discounts(counts, discount)[np.minimum(counts, 3)]
        direct: Numbers = np.where(kept[n], np.maximum(left, 0.0) / np.maximum(total, 1), 0.0)
        rest = np.maximum(1.0 - np.bincount(histories, direct, size), 0.0).astype(np.float64)
        built.append((direct, rest))
        if n:
            passed = np.where(kept[n], np.minimum(counts, 1), counts)
            lower = levels[n - 1]
            counts = np.bincount(level.suffixes, passed, len(lower.keys)).astype(np.int64)
            counts += np.where(lower.begins, lower.counts, 0)
    built.reverse()
    return _stored(levels, kept, built)


def _stored(
    levels: Sequence[Counts],
    kept: Sequence[NDArray[np.bool_]],
    built: Sequence[tuple[Numbers, Numbers]],
) -> KneserNey:
    """Leave out what is not kept and number the rows anew; all single tokens stay."""
    vocab_size = len(levels[0].keys)
    # What an order leaves to the one below stands with its histories, one order down.
    rests = [*(rest for _, rest in built[1:]), np.ones(len(levels[-1].keys))]
    stays = [np.ones(vocab_size, bool), *kept[1:]]
    result, rows = [], np.zeros(1, np.int64)
    for n, (level, (direct, _)) in enumerate(zip(levels, built, strict=True)):
        stay = stays[n]
        keys = level.keys[stay]
        keys = rows[keys // vocab_size] * vocab_size + keys % vocab_size
        if not len(keys):
            break
        result.append(Level(keys, direct[stay], rests[n][stay]))
        rows = np.cumsum(stay) - 1
    (left,) = built[0][1]
    return KneserNey(result, float(left) / vocab_size)


def _discounts(counts: Rows, discount: float | None) -> Numbers:
    """What is taken from a count of 0, 1, 2, and 3 or more."""
    if discount is not None:
        return np.array([0.0, discount, discount, discount])
    n1, n2, n3, n4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if n1 and n2 and n3 and n4:
        y = n1 / (n1 + 2 * n2)
        found = np.array([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if (found > 0.0).all() and (found <= [1.0, 2.0, 3.0]).all():
            return np.concatenate([[0.0], found])
    return np.array([0.0, 0.5, 0.75, 0.75])  # a small or copied text has not enough to tell


def losses(levels: Sequence[Counts], model: KneserNey) -> list[Numbers]:
    """For each order, what the model of all n-grams loses without each, and those built on it.

    It is the relative entropy that leaving out one n-gram costs, in nats for each token of the text
    (Stolcke 1998), for interpolated models: with a its direct share and q the probability of the
    order below, p log(p / ((g + a) q)) - a (1 - q), weighted by how often its history occurs. An
    n-gram that is the history of another is worth as much as the other, so that a threshold never
    leaves out a history that is needed.
    """
    size = model.vocab_size
    total = int(levels[0].counts.sum())
    p = model.levels[0].direct + model.floor
    found = [np.full(size, np.inf)]
    for n in range(1, len(levels)):
        level, direct = levels[n], model.levels[n].direct
        histories = level.keys // size
        rest = model.levels[n - 1].rest[histories]
        occurs = np.bincount(histories, level.counts, len(levels[n - 1].keys))[histories]
        q = p[level.suffixes]
        p = direct + rest * q
        loss = p * np.log(p / ((rest + direct) * q)) - direct * (1.0 - q)
        found.append(np.maximum(loss, 0.0) * occurs / total)
    for n in range(len(levels) - 1, 1, -1):
        np.maximum.at(found[n - 1], levels[n].keys // size, found[n])
    return found


def pruned(levels: Sequence[Counts], budget: int) -> KneserNey:
    """The model of these orders with at most ``budget`` stored n-grams, chosen by `losses`."""
    singles = int((levels[0].counts > 0).sum())
    found = losses(levels, estimate(levels))
    ranked = np.sort(np.concatenate(found[1:]))[::-1] if len(found) > 1 else np.zeros(0)
    room = max(0, budget - singles)
    least = ranked[room] if room < len(ranked) else -1.0
    return estimate(levels, [loss > least for loss in found])
