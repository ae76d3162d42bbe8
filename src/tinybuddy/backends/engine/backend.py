"""The engine behind the interface of a back end."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from tinybuddy.backends.interface import Ids, Stream
from tinybuddy.config import ModelConfig
from tinybuddy.formats.loaded import StoredWeights
from tinybuddy.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tinybuddy.backends.engine.decoder import Story
    from tinybuddy.backends.engine.trainer import EngineScorer
    from tinybuddy.config import SampleConfig


class EngineBackend:
    """A model in the engine, on the processor: it tells at once, and scores once asked to.

    Attributes:
        decoder: what continues text.
    """

    def __init__(self, config: ModelConfig, weights: Weights, threads: int = 1) -> None:
        from tinybuddy.backends.engine.decoder import Decoder

        buffers = weights.buffers if isinstance(weights, StoredWeights) else weights
        self.decoder = Decoder(config, buffers)
        self._parts = config, weights, threads

    def stream(self, texts: int = 1) -> Stream:
        """Begin one text, or several of equal length."""
        return self.decoder.stream(texts)

    def begin(
        self, prompt: Sequence[int], count: int, sample: SampleConfig, seed: int, eos: int = -1
    ) -> Story:
        """Begin a text whose tokens are drawn here; see `Backend.begin`."""
        return self.decoder.begin(prompt, count, sample, seed, eos)

    def advance(self, generations: Sequence[Story], steps: int) -> None:
        """Go on with texts side by side; see `Backend.advance`."""
        self.decoder.advance(generations, steps)

    def log_likelihoods(self, inputs: Ids, targets: Ids) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id after the inputs up to its place."""
        return self._scorer.log_likelihoods(inputs, targets)

    @cached_property
    def _scorer(self) -> EngineScorer:
        from tinybuddy.backends.engine.trainer import EngineScorer

        return EngineScorer(*self._parts)
