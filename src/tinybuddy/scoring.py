"""How well a model foresees text, in bits per byte: comparable between any two tokenizers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from tinybuddy.backend import Runner
from tinybuddy.errors import TinybuddyError
from tinybuddy.tokenizer import Tokenizer, unrepresented_bytes

LOST_BYTE_BITS = 8.0  # what a tokenizer pays for a byte that it cannot represent
BATCH_TOKENS = 4096
HELD_WINDOWS = 1024  # windows sorted at a time, so that batches are even and memory is bounded


@dataclass(frozen=True)
class Score:
    """What a text costs under a model.

    Attributes:
        bits: sum of -log2 of the probabilities of all its tokens and ends.
        bytes: its UTF-8 bytes, and one for the end of each story.
        tokens: predictions made.
    """

    bits: float
    bytes: int
    tokens: int

    @property
    def bits_per_byte(self) -> float:
        """The headline; lower is better."""
        return self.bits / self.bytes


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
    runner: Runner,
    tokenizer: Tokenizer,
    context: int,
    stories: Iterable[str],
    on_progress: Callable[[int], None] | None = None,
) -> Score:
    """Score stories, each alone, from ``<bos>`` to ``<eos>``, its raw bytes as they are.

    Args:
        runner: the model.
        tokenizer: its tokenizer.
        context: predictions at a time.
        stories: texts.
        on_progress: called with the number of stories begun.

    Raises:
        TinybuddyError: if there is no story, or the model's numbers are not finite.
    """
    bits, size, tokens = 0.0, 0, 0
    held: list[tuple[list[int], int]] = []  # ids of a window, and how many of them are only context
    for number, story in enumerate(stories):
        ids = tokenizer.encode_story(story)
        bits += LOST_BYTE_BITS * unrepresented_bytes(tokenizer, story, ids)
        size += len(story.encode("utf-8")) + 1
        tokens += len(ids) - 1
        held += [(ids[a : e + 1], p - a) for a, p, e in windows(len(ids) - 1, context)]
        if len(held) >= HELD_WINDOWS:
            bits, held = bits + _score_windows(runner, held), []
        if on_progress:
            on_progress(number + 1)
    bits += _score_windows(runner, held)
    if not size:
        raise TinybuddyError("There is no story to score: give at least one.")
    if not math.isfinite(bits):
        raise TinybuddyError("The model's numbers are not finite: its weights are broken.")
    return Score(bits, size, tokens)


def _score_windows(runner: Runner, held: list[tuple[list[int], int]]) -> float:
    """Bits of all windows; those of one length go together, so that none needs filling up."""
    bits = 0.0
    for length, group in groupby(sorted(held, key=lambda w: len(w[0])), key=lambda w: len(w[0])):
        same = list(group)
        rows = max(1, BATCH_TOKENS // length)
        for start in range(0, len(same), rows):
            batch = same[start : start + rows]
            ids = np.array([window for window, _ in batch], np.int64)
            log_p = runner.log_likelihoods(ids[:, :-1], ids[:, 1:]).astype(np.float64)
            for row, (_, skipped) in zip(log_p, batch, strict=True):
                bits -= float(row[skipped:].sum()) / math.log(2)
    return bits
