"""How the next token is drawn, defined once for every engine.

In this order: repetition penalty, temperature, top-k, top-p, min-p, draw. Ties go to the lower id.
Random numbers are PCG32 (O'Neill 2014, pcg-random.org, XSH RR 64/32), so that one seed gives one
story in every language.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from tinybuddy.config import SampleConfig

_MASK32, _MASK64 = 2**32 - 1, 2**64 - 1
_MULTIPLIER = 6364136223846793005
_STREAM = 54  # the stream of PCG's own demonstration program


class PCG32:
    """Random 32-bit numbers; the state is one 64-bit number, and ``seed`` any whole number."""

    def __init__(self, seed: int, stream: int = _STREAM) -> None:
        self._increment = (stream << 1 | 1) & _MASK64
        self._state = 0
        self.next_uint32()
        self._state = (self._state + seed) & _MASK64
        self.next_uint32()

    def next_uint32(self) -> int:
        """Return a whole number from 0 to 2^32 - 1."""
        old = self._state
        self._state = (old * _MULTIPLIER + self._increment) & _MASK64
        shifted = (old >> 18 ^ old) >> 27 & _MASK32
        turn = old >> 59
        return (shifted >> turn | shifted << (-turn & 31)) & _MASK32

    def uniform(self) -> float:
        """Return a number from [0, 1), a multiple of 2^-32."""
        return self.next_uint32() / 2**32


def probabilities(
    logits: NDArray[np.floating], config: SampleConfig, seen: Collection[int] = ()
) -> NDArray[np.float64]:
    """Probability (V,) of each token being drawn.

    Args:
        logits: of the next token (V,).
        config: what to apply. A temperature of 0 gives the best token all.
        seen: ids that the repetition penalty makes rarer: prompt and new tokens so far.
    """
    scores = logits.astype(np.float64)
    if config.repetition_penalty != 1.0 and seen:
        ids = np.unique(np.fromiter(seen, np.int64))
        # Keskar et al. 2019 (CTRL, arXiv 1909.05858), signs handled as transformers does.
        penalised = scores[ids]
        factor = np.where(penalised > 0, 1.0 / config.repetition_penalty, config.repetition_penalty)
        scores[ids] = penalised * factor
    if config.temperature == 0:
        result = np.zeros(len(scores))
        result[scores.argmax()] = 1.0
        return result
    with np.errstate(over="ignore"):  # a tiny temperature may give -inf, whose exponential is 0
        weights: NDArray[np.float64] = np.exp((scores - scores.max()) / config.temperature)
    if 0 < config.top_k < len(scores):
        weights[_beyond(scores, config.top_k)] = 0.0
    if config.top_p < 1.0:  # Holtzman et al. 2019, arXiv 1904.09751
        order = np.argsort(-scores, kind="stable")  # best first, ties by id
        before = np.cumsum(weights[order]) - weights[order]
        weights[order[(before >= config.top_p * weights.sum()) & (before > 0)]] = 0.0
    weights[weights < config.min_p] = 0.0  # Nguyen et al. 2024, arXiv 2407.01082; the best has 1
    weights /= weights.sum()
    return weights


def _beyond(scores: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Which scores (V,) are not among the ``count`` best; without sorting, which is 10 x slower."""
    least = np.partition(scores, -count)[-count]
    beyond: NDArray[np.bool_] = scores < least
    ties = np.flatnonzero(scores == least)
    beyond[ties[count - int((scores > least).sum()) :]] = True
    return beyond


def draw(probability: NDArray[np.float64], random: PCG32) -> int:
    """Draw an id: the first whose running sum of probabilities, by id, exceeds a uniform number."""
    running = np.cumsum(probability)
    return int(np.searchsorted(running, random.uniform() * running[-1], side="right"))


def sample(
    logits: NDArray[np.floating],
    config: SampleConfig,
    random: PCG32,
    seen: Collection[int] = (),
) -> int:
    """Draw the next token; a temperature of 0 uses no random number."""
    probability = probabilities(logits, config, seen)
    return int(probability.argmax()) if config.temperature == 0 else draw(probability, random)
