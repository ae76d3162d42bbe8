"""Models of karpathy/llama2.c: their weights (``.bin``, version 0), with the tokenizer beside them.

They become a `ModelConfig` and weights under transformers' names, so what computes our models
computes them too. All numbers in the file are little-endian; whatever it claims is checked.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.disk import read_bytes
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.formats.loaded import LoadedModel, StoredWeights, as_numbers
from tinybuddy.formats.sentencepiece import read_tokenizer
from tinybuddy.weights import weight_shapes

HEADER = struct.Struct("<7i")
MAGIC = 0x616B3432  # "ak42", which begins the versions from 1 on
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
    config = read_shape(path)
    weights = _read_weights(path, config)
    tokenizer = read_tokenizer(_find_tokenizer(path, config.vocab_size), config.vocab_size)
    return LoadedModel(config, weights, tokenizer, SampleConfig(), path)


def read_shape(path: Path) -> ModelConfig:
    """Read the shape of a model of llama2.c, and check that the file is of the size that it needs.

    Raises:
        TinybuddyError: if it cannot be read, is damaged, or is of another kind.
    """
    try:
        with path.open("rb") as file:
            header = file.read(HEADER.size)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise TinybuddyError(f"Cannot read {path}: {error.strerror}.") from None
    if len(header) < HEADER.size:
        raise TinybuddyError(f"{path} is not a llama2.c model: it ends within its first numbers.")
    config = _parse_header(header, path)
    if size != (expected := _file_bytes(config)):
        raise TinybuddyError(
            f"{path} has {size:,} bytes, where a llama2.c model of its shape has {expected:,}: "
            "copy it again, whole."
        )
    return config


def _find_tokenizer(path: Path, vocab_size: int) -> Path:
    beside = [path.with_name(name) for name in (f"tok{vocab_size}.bin", "tokenizer.bin")]
    for found in beside:
        if found.is_file():
            return found
    raise TinybuddyError(
        f"The tokenizer of {path} is missing: put llama2.c's {beside[0].name} or {beside[1].name} "
        "beside it."
    )


def _parse_header(header: bytes, path: Path) -> ModelConfig:
    hidden, inner, layers, heads, kv_heads, vocabulary, context = HEADER.unpack(header)
    if hidden == MAGIC:
        raise TinybuddyError(
            f"{path} is a llama2.c model of version {inner}, and only version 0 is read: export "
            "it with --version 0."
        )
    if vocabulary < 0:  # how the file says that the head is not the embedding
        raise TinybuddyError(
            f"{path} has a head of its own, and only models whose head is tied to the embedding "
            "are computed."
        )
    try:
        return ModelConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=context,
            rope_theta=10_000.0,
            rms_norm_eps=1e-5,
        )
    except UsageError as error:
        raise TinybuddyError(f"{path} is not a llama2.c model: {error}") from None


def _file_bytes(config: ModelConfig) -> int:
    # A cosine and a sine for each position and pair of a head end the file; they are not read.
    rotary = config.max_position_embeddings * config.head_dim
    return HEADER.size + 4 * (config.parameters + rotary)


def _read_weights(path: Path, config: ModelConfig) -> StoredWeights:
    data = read_bytes(path, _file_bytes(config))
    if len(data) < _file_bytes(config):
        raise TinybuddyError(f"{path} became shorter while it was read.")
    shapes = weight_shapes(config)
    blocks = [
        f"model.layers.{n}.{p}.weight" for p in PARTS for n in range(config.num_hidden_layers)
    ]
    buffers, at = {}, HEADER.size
    for name in ("model.embed_tokens.weight", *blocks, "model.norm.weight"):
        size = 4 * math.prod(shapes[name])
        part = data[at : at + size]
        at += size
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            part = _half_split(part, config)
        buffers[name] = as_numbers(part, shapes[name], f"{name} in {path}")
    return StoredWeights({name: buffers[name] for name in shapes})


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
