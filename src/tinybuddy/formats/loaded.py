"""What it takes to run a model, whatever format it was read from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.errors import TinybuddyError
from tinybuddy.tokenizer import PieceCodec, Tokenizer
from tinybuddy.weights import Weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class StoredWeights(Mapping[str, "NDArray[np.float32]"]):
    """Weights as a file held them; they become arrays when asked for, as generating needs no NumPy.

    Attributes:
        buffers: float32 numbers of each name, in its shape.
    """

    def __init__(self, buffers: Mapping[str, memoryview[float]]) -> None:
        self.buffers = buffers

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        import numpy as np

        return np.asarray(self.buffers[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.buffers)

    def __len__(self) -> int:
        return len(self.buffers)


@dataclass(frozen=True)
class LoadedModel:
    """What it takes to run a model of whatever origin.

    Attributes:
        config: shape.
        weights: float32 arrays under transformers' names, as `weight_shapes` lists them.
        tokenizer: the one the weights were trained with.
        sample: how it is sampled unless a call says otherwise.
        path: the directory or file that it was read from, if it was.
    """

    config: ModelConfig
    weights: Weights
    tokenizer: PieceCodec
    sample: SampleConfig
    path: Path | None = None


@dataclass(frozen=True)
class ModelFiles(LoadedModel):
    """What a model directory holds: a model with a tokenizer of this package."""

    tokenizer: Tokenizer


def as_numbers(data: bytes | bytearray, shape: tuple[int, ...], what: str) -> memoryview[float]:
    """View little-endian float32 ``data`` in a shape.

    Raises:
        TinybuddyError: if it holds NaN or infinite numbers; ``what`` says what it is.
    """
    # The highest byte of a number that is not finite is 127 or 255, as of none below 1.7e38: only
    # where one is, all are added up, in double precision, which no float32 can make infinite.
    highest = data[3::4]
    if (b"\x7f" in highest or b"\xff" in highest) and not math.isfinite(
        sum(memoryview(data).cast("f"))
    ):
        raise TinybuddyError(f"{what} holds NaN or infinite numbers.")
    return memoryview(data).cast("f", shape)
