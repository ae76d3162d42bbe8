"""Log-probabilities of a text's tokens, by the model alone: before temperature and all else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinybuddy.config import last_half
from tinybuddy.server.models import ServedModel


class Scored(NamedTuple):
    """A token, its natural log-probability (None where nothing comes before it), and the best."""

    id: int
    logprob: float | None
    best: list[tuple[int, float]]


class Scorer:
    """Reads a text as it comes, and goes on past the context as the decoder does.

    It computes anew what an engine thread has computed, some 30 us a token, since that keeps no
    logits; so only those who ask for log-probabilities pay for them.
    """

    def __init__(self, model: ServedModel, top: int) -> None:
        """Take how many of the most probable tokens to list at each place."""
        self._backend, self._context, self._top = model.scorer, model.context, top
        self._stream = self._backend.stream()
        self._ids: list[int] = []
        self._read = 0  # of them, those that the stream has
        self._logits: NDArray[np.float32] | None = None

    def push(self, ids: Iterable[int]) -> list[Scored]:
        """Return the next ids with their log-probabilities."""
        return [self._push(id) for id in ids]

    def _push(self, id: int) -> Scored:
        scored = Scored(id, None, []) if self._logits is None else self._scored(id, self._logits)
        self._ids.append(id)
        new = [id]
        if self._read == self._context:  # the window slides: its last half stays
            self._stream, self._read = self._backend.stream(), 0
            new = self._ids[-last_half(self._context) :]
        self._ids = self._ids[-self._context :]
        self._read += len(new)
        self._logits = self._stream.feed(np.array([new]))[0]
        return scored

    def _scored(self, id: int, logits: NDArray[np.float32]) -> Scored:
        scores = logits.astype(np.float64)
        scores -= scores.max()
        scores -= np.log(np.exp(scores).sum())
        best = np.argsort(-scores, kind="stable")[: self._top]  # ties go to the lower id
        return Scored(id, float(scores[id]), [(int(i), float(scores[i])) for i in best])
