"""Models of karpathy/llama2.c: their weights (``.bin``, version 0), with the tokenizer beside them.

They become a `ModelConfig` and weights under transformers' names, so what computes our models
computes them too. All numbers in the file are little-endian; whatever it claims is checked.

``run.c`` begins and ends with token 1. A model that ends a story by another token, ours by 2, can
only be written with a head of its own: its row 1 is then that of 2 in the embedding, and row 2 that
of 1. Row 0 of the embedding is there that of 1 once more, for who begins with 0 (see
`SentencePieceTokenizer`). Any other head than this is refused.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.disk import read_bytes, write_bytes
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.formats.loaded import LoadedModel, StoredWeights, as_numbers
from tinybuddy.formats.sentencepiece import BOS, EOS, read_tokenizer
from tinybuddy.weights import Weights, adjacent_pairs, weight_shapes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEADER = struct.Struct("<7i")
MAGIC = 0x616B3432  # "ak42", which begins the versions from 1 on
THETA, EPSILON = 10_000.0, 1e-5  # which the file does not hold: run.c has them written in
# What the file holds between the embedding and the last norm: of each, all blocks in turn.
PARTS = (
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.down_proj",
    "mlp.up_proj",
)


def read_llama2c(path: Path) -> LoadedModel:
    """Read a model of llama2.c, as its ``export.py`` writes version 0, and its tokenizer.

    The tokenizer is ``tokN.bin`` beside it, for N tokens, or else ``tokenizer.bin``.

    Raises:
        TinybuddyError: if a file is missing or damaged, or the model is of another kind.
    """
    config, tied = _read_header(path)
    weights = _read_weights(path, config, tied)
    beside = _find_tokenizer(path, config.vocab_size)
    tokenizer = read_tokenizer(beside, config.vocab_size, BOS if tied else EOS)
    return LoadedModel(config, weights, tokenizer, SampleConfig(), path)


def read_shape(path: Path) -> ModelConfig:
    """Read the shape of a model of llama2.c, and check that the file is of the size that it needs.

    Raises:
        TinybuddyError: if it cannot be read, is damaged, or is of another kind.
    """
    return _read_header(path)[0]


def write_weights(
    path: Path, config: ModelConfig, weights: Weights, head: NDArray[np.float32] | None = None
) -> None:
    """Write version 0 of a ``.bin``, with the embedding as its head or another (V, C).

    Raises:
        TinybuddyError: if it cannot be written.
    """
    import numpy as np

    header = HEADER.pack(
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.vocab_size if head is None else -config.vocab_size,
        config.max_position_embeddings,
    )
    arrays = [weights["model.embed_tokens.weight"]]
    for name in _block_names(config):
        rotated = name.endswith(("q_proj.weight", "k_proj.weight"))
        arrays.append(adjacent_pairs(weights[name], config.head_dim) if rotated else weights[name])
    arrays += [weights["model.norm.weight"], np.zeros(_rotary(config), np.float32)]
    arrays += [] if head is None else [head]
    write_bytes(path, header + b"".join(array.astype("<f4").tobytes() for array in arrays))


def _read_header(path: Path) -> tuple[ModelConfig, bool]:
    """The shape, and whether the embedding is the head."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER.size)
            size = os.fstat(file.fileno()).st_size
            if len(header) < HEADER.size:
                raise TinybuddyError(
                    f"{path} is not a llama2.c model: it ends within its first numbers."
                )
            config, tied = _parse_header(header, path)
            if size != (expected := _file_bytes(config, tied)):
                raise TinybuddyError(
                    f"{path} has {size:,} bytes, where a llama2.c model of its shape has "
                    f"{expected:,}: copy it again, whole."
                )
            if not tied:
                row = 4 * config.hidden_size
                embedding = file.read(3 * row)
                file.seek(-config.vocab_size * row, os.SEEK_END)
                _check_head(embedding, file.read(3 * row), row, path)  # before much is read
    except OSError as error:
        raise TinybuddyError(f"Cannot read {path}: {error.strerror}.") from None
    return config, tied


def _find_tokenizer(path: Path, vocab_size: int) -> Path:
    beside = [path.with_name(name) for name in (f"tok{vocab_size}.bin", "tokenizer.bin")]
    for found in beside:
        if found.is_file():
            return found
    raise TinybuddyError(
        f"The tokenizer of {path} is missing: put llama2.c's {beside[0].name} or {beside[1].name} "
        "beside it."
    )


def _parse_header(header: bytes, path: Path) -> tuple[ModelConfig, bool]:
    hidden, inner, layers, heads, kv_heads, vocabulary, context = HEADER.unpack(header)
    if hidden == MAGIC:
        raise TinybuddyError(
            f"{path} is a llama2.c model of version {inner}, and only version 0 is read: export "
            "it with --version 0."
        )
    try:
        config = ModelConfig(
            vocab_size=abs(vocabulary),
            hidden_size=hidden,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=context,
            rope_theta=THETA,
            rms_norm_eps=EPSILON,
        )
    except UsageError as error:
        raise TinybuddyError(f"{path} is not a llama2.c model: {error}") from None
    return config, vocabulary > 0  # below 0 is how it says that there is a head


def _file_bytes(config: ModelConfig, tied: bool) -> int:
    head = 0 if tied else config.vocab_size * config.hidden_size
    return HEADER.size + 4 * (config.parameters + _rotary(config) + head)


def _rotary(config: ModelConfig) -> int:
    """Numbers that no longer are read: a cosine and a sine for each position and pair of a head."""
    return config.max_position_embeddings * config.head_dim


def _block_names(config: ModelConfig) -> list[str]:
    """Names of the weights within the blocks, in the order of the file."""
    layers = range(config.num_hidden_layers)
    return [f"model.layers.{layer}.{part}.weight" for part in PARTS for layer in layers]


def _read_weights(path: Path, config: ModelConfig, tied: bool) -> StoredWeights:
    data = read_bytes(path, _file_bytes(config, tied))
    if len(data) < _file_bytes(config, tied):
        raise TinybuddyError(f"{path} became shorter while it was read.")
    shapes = weight_shapes(config)
    buffers, at = {}, HEADER.size
    for name in ("model.embed_tokens.weight", *_block_names(config), "model.norm.weight"):
        size = 4 * math.prod(shapes[name])
        part = data[at : at + size]
        at += size
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            part = _half_split(part, config)
        if name == "model.embed_tokens.weight" and not tied:
            row, head = 4 * config.hidden_size, data[-size:]
            _check_head(part, head, row, path)
            part = head[:row] + part[row:]
        buffers[name] = as_numbers(part, shapes[name], f"{name} in {path}")
    return StoredWeights({name: buffers[name] for name in shapes})


def _check_head(embedding: bytes, head: bytes, row: int, path: Path) -> None:
    """Refuse a head that is not the embedding but for its first three rows, of ``row`` bytes."""
    begin, end = embedding[row : 2 * row], embedding[2 * row : 3 * row]
    if embedding[:row] != begin or head[row:] != end + begin + embedding[3 * row :]:
        raise TinybuddyError(
            f"{path} has a head of its own, and only models whose head is tied to the embedding "
            "are computed."
        )


def _half_split(data: bytes, config: ModelConfig) -> bytes:
    """Reorder the rows (heads * D, C) of each head, so that pair (2i, 2i + 1) is (i, i + D/2).

    llama2.c's rotary positions turn the former, ours and transformers' the latter.
    """
    row, head = 4 * config.hidden_size, 4 * config.hidden_size * config.head_dim
    return b"".join(
        data[at : at + row]
        for first in range(0, len(data), head)
        for begin in (first, first + row)  # the even rows of a head, then the odd ones
        for at in range(begin, first + head, 2 * row)
    )
