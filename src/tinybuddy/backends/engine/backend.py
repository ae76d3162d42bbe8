"""The engine behind the interface of a back end."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from tinybuddy.backends.engine.decoder import Decoder, DecodingBackend
from tinybuddy.backends.interface import Ids
from tinybuddy.config import ModelConfig
from tinybuddy.formats.loaded import StoredWeights
from tinybuddy.weights import Weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tinybuddy.backends.engine.trainer import EngineScorer


class EngineBackend(DecodingBackend):
    """A model in the engine, on the processor: it generates at once, and scores once asked to.

    Attributes:
        decoder: what generates text.
    """

    def __init__(self, config: ModelConfig, weights: Weights, threads: int = 1) -> None:
        buffers = weights.buffers if isinstance(weights, StoredWeights) else weights
        self.decoder = Decoder(config, buffers)
        self._parts = config, weights, threads

    def current_decoder(self) -> Decoder:
        """Return what generates text."""
        return self.decoder

    def log_likelihoods(self, inputs: Ids, targets: Ids) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id after the inputs up to its place."""
        return self._scorer.log_likelihoods(inputs, targets)

    @cached_property
    def _scorer(self) -> EngineScorer:
        from tinybuddy.backends.engine.trainer import EngineScorer

        return EngineScorer(*self._parts)
