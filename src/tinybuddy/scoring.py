"""How well a model predicts text, in bits per byte: comparable between any two tokenizers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinybuddy.backends.interface import Backend
from tinybuddy.errors import TinybuddyError
from tinybuddy.tokenizer import Codec, encode_story

LOST_BYTE_BITS = 8.0  # what a tokenizer pays for a byte that it cannot represent
BATCH_TOKENS = 4096
HELD_WINDOWS = 1024  # windows sorted at a time, so that batches are even and memory is bounded

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Score:
    """What stories cost under a model.

    Attributes:
        story_bits: of each story (stories,), the sum of -log2 of the probabilities of its tokens
            and its end.
        story_bytes: of each story (stories,), its UTF-8 bytes, and one for its end.
        tokens: predictions made.

    Examples:
        >>> score = tinybuddy.load().score(["A cat sat.", "A dog ran home."])
        >>> score.story_bytes
        array([11, 16])
        >>> score.bits_per_byte == score.bits / score.bytes
        True
    """

    story_bits: NDArray[np.float64]
    story_bytes: NDArray[np.int64]
    tokens: int

    @property
    def bits(self) -> float:
        """Of all stories."""
        return float(self.story_bits.sum())

    @property
    def bytes(self) -> int:
        """Of all stories."""
        return int(self.story_bytes.sum())

    @property
    def bits_per_byte(self) -> float:
        """The headline; lower is better."""
        return self.bits / self.bytes

    @property
    def standard_error(self) -> float:
        """Of the headline, as another sample of as many stories would move it; NaN of one story.

        That of a ratio of two sums (Cochran 1977, Sampling Techniques, 6.4).
        """
        count = len(self.story_bits)
        if count < 2:
            return math.nan
        rest = self.story_bits - self.bits_per_byte * self.story_bytes
        return math.sqrt(float((rest**2).sum()) * count / (count - 1)) / self.bytes


def windows(length: int, context: int) -> Iterator[tuple[int, int, int]]:
    """Cover ``length`` predictions by windows ``(a, p, e)`` of at most ``context`` predictions.

    Each reads from ``a`` and scores predictions ``p`` to ``e - 1``; ``a`` to ``p - 1``, which an
    earlier one scored, are only context: at least half a window of it, after the first.
    """
    p = 0
    while p < length:
        a = max(0, min(p - context // 2, length - context)) if p else 0
        e = min(a + context, length)
        yield a, p, e
        p = e


def score(
    backend: Backend,
    tokenizer: Codec,
    context: int,
    stories: Iterable[str],
    on_progress: Callable[[int], None] | None = None,
) -> Score:
    """Score stories, each alone, from ``<bos>`` to ``<eos>``, its raw bytes as they are.

    Args:
        backend: the model.
        tokenizer: its tokenizer.
        context: predictions at a time.
        stories: texts.
        on_progress: called with the number of stories begun.

    Raises:
        TinybuddyError: if there is no story, or the model's numbers are not finite.
    """
    lost_bits, sizes, tokens = [], [], 0

    def sequences() -> Iterator[list[int]]:
        nonlocal tokens
        for number, story in enumerate(stories, start=1):
            ids = encode_story(tokenizer, story)
            lost_bits.append(LOST_BYTE_BITS * tokenizer.lost_bytes(story, ids))
            sizes.append(len(story.encode("utf-8")) + 1)
            tokens += len(ids) - 1
            if on_progress:
                on_progress(number)
            yield ids

    nats = log_likelihoods(backend, context, sequences())
    if not sizes:
        raise TinybuddyError("There is no story to score: give at least one.")
    return Score(np.array(lost_bits) - nats / math.log(2), np.array(sizes), tokens)


def log_likelihoods(
    backend: Backend, context: int, sequences: Iterable[Sequence[int]]
) -> NDArray[np.float64]:
    """Natural log-probability (sequences,) of all ids of each sequence after its first.

    Raises:
        TinybuddyError: if the model's numbers are not finite.
    """
    total: list[float] = []
    held: list[_Window] = []
    for number, ids in enumerate(sequences):
        total.append(0.0)
        held += [
            _Window(number, ids[a : e + 1], p - a) for a, p, e in windows(len(ids) - 1, context)
        ]
        if len(held) >= HELD_WINDOWS:
            _add_windows(backend, held, total)
            held = []
    _add_windows(backend, held, total)
    if not np.isfinite(total).all():
        raise TinybuddyError("The model's numbers are not finite: its weights are broken.")
    return np.array(total)


class _Window(NamedTuple):
    sequence: int
    ids: Sequence[int]
    skipped: int  # predictions that are only context


def _add_windows(backend: Backend, held: list[_Window], total: list[float]) -> None:
    """Add each window to its sequence; those of one length go together, so that none is padded."""
    for batch in batched(held, _length, _length):
        ids = np.array([window.ids for window in batch], np.int64)
        log_p = backend.log_likelihoods(ids[:, :-1], ids[:, 1:]).astype(np.float64)
        for row, window in zip(log_p, batch, strict=True):
            total[window.sequence] += float(row[window.skipped :].sum())


def batched(
    items: Iterable[T], group: Callable[[T], int], size: Callable[[T], int]
) -> Iterator[list[T]]:
    """Yield batches of items of one group, of about one size and at most 4,096 tokens in all.

    Args:
        items: in any order.
        group: only items of equal value stand in one batch.
        size: tokens of an item; the batch counts each as its largest.
    """
    ordered = sorted(items, key=lambda item: (group(item), size(item)))
    for _, found in groupby(ordered, key=group):
        same = list(found)
        rows = max(1, BATCH_TOKENS // size(same[-1]))
        for start in range(0, len(same), rows):
            yield same[start : start + rows]


def _length(window: _Window) -> int:
    return len(window.ids)
