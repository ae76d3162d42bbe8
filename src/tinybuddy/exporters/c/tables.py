"""The tables and constants of a model as C's text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinybuddy.config import ModelConfig
from tinybuddy.exporters.c.vocabulary import Vocabulary
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.quantization import quantize, to_scales
from tinybuddy.tokenizer.layout import BOS, EOS
from tinybuddy.weights import Weights

FORMAT = 1  # raised when the layout of tables changes
ALIGN = 4  # the engine's TB_ALIGN in the export
GROUP = 64  # its TB_GROUP
BLOCK = 128  # its BLOCK, of sampling
MODEL_BYTES = 128  # of a tb_model; buddy_init checks this and the other two
COLUMNS = 96


class Header(NamedTuple):
    """``model.h``, and what texts for people say of the model."""

    text: str
    facts: dict[str, str]


def model_header(files: ModelFiles, bits: int, vocab: Vocabulary) -> Header:
    """Name the sizes of everything."""
    config, sample = files.config, files.sample
    weight_bytes = len(packed(config, files.weights, bits))
    cache, scratch = cache_bytes(config), scratch_bytes(config)
    piece_bytes, longest = sum(map(len, vocab.pieces)), max(map(len, vocab.pieces))
    shape = [
        *(config.vocab_size, config.hidden_size, config.intermediate_size),
        *(config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads),
        *(config.max_position_embeddings, bits),
    ]
    floats = [f"{value!r}f" for value in (float(config.rope_theta), float(config.rms_norm_eps))]
    top_k = min(sample.top_k, 2**31 - 1)
    drawn = [sample.repetition_penalty, sample.temperature, sample.top_p, sample.min_p, top_k]
    lines = {
        "BUDDY_FORMAT": (FORMAT, "version of these files"),
        "BUDDY_BITS": (bits, "of a weight"),
        "BUDDY_CONTEXT": (config.max_position_embeddings, "tokens that the model sees at a time"),
        "BUDDY_VOCAB_SIZE": (config.vocab_size, "ids"),
        "BUDDY_BOS": (BOS, "id that a story begins with"),
        "BUDDY_EOS": (EOS, "id that ends it"),
        "BUDDY_CONFIG": (_braces([*shape, *floats]), "a tb_config, see engine/config.h"),
        "BUDDY_SAMPLING": (_braces(drawn), "a tb_sampling, see engine/sample.h"),
        "BUDDY_ALIGN": (ALIGN, "floats that rows of weights are rounded up to"),
        "BUDDY_WEIGHT_BYTES": (weight_bytes, "flash"),
        "BUDDY_MODEL_BYTES": (MODEL_BYTES, "RAM for pointers to the weights"),
        "BUDDY_CACHE_BYTES": (cache, "RAM for keys and values of the context"),
        "BUDDY_SCRATCH_BYTES": (scratch, "RAM for activations, logits and sampling"),
        "BUDDY_TOKENS": (len(vocab.pieces), "tokens that it knows"),
        "BUDDY_PIECE_BYTES": (piece_bytes, "of all of them"),
        "BUDDY_LONGEST_PIECE": (longest, "bytes of the longest"),
        "BUDDY_SORTED": (len(vocab.by_text), "those listed in the order of their bytes"),
        # Each byte may be no character, which U+FFFD stands for, and so may 3 that were held.
        "BUDDY_TEXT_BYTES": (3 * (longest + 1) + 1, "what buddy_decode returns"),
    }
    lines["BUDDY_UNIGRAM"] = (int(bool(vocab.costs)), "whether they are of a Unigram model")
    if vocab.costs:
        lines["BUDDY_LONGEST_TOKEN"] = (vocab.longest, "characters of the longest")
    else:
        lines["BUDDY_BYTES"] = (int(vocab.bytewise), "whether words begin as single bytes")
        lines["BUDDY_MERGES"] = (len(vocab.merges), "pairs that become a token")
    defines = "\n".join(f"#define {k:<19} {v} /* {what} */" for k, (v, what) in lines.items())
    end = "uint16_t" if piece_bytes < 2**16 else "uint32_t"
    text = f"""/* The shape and sizes of a model of {config.parameters:,} parameters. */

#ifndef BUDDY_MODEL_H
#define BUDDY_MODEL_H

#include <stdint.h>

{defines}

typedef {end} buddy_end; /* a place among the bytes of all tokens */

#endif
"""
    ram = MODEL_BYTES + cache + scratch + config.vocab_size + 2 * config.max_position_embeddings
    facts = {
        "parameters": f"{config.parameters:,}",
        "context": f"{config.max_position_embeddings:,}",
        "flash": f"{-(-weight_bytes // 1000)} KB",
        "cache": f"{-(-cache // 1000)} KB",
        "scratch": f"{-(-scratch // 1000)} KB",
        "ram": f"{-(-ram // 1000)} KB",
    }
    return Header(text, facts)


def tables(files: ModelFiles, bits: int, vocab: Vocabulary) -> str:
    """Write ``tables.c``."""
    numbers = np.frombuffer(packed(files.config, files.weights, bits), "<u4")
    parts = [
        '#include "tables.h"\n',
        _array("uint32_t buddy_weights", "BUDDY_WEIGHT_BYTES / 4", map("0x{:08x}".format, numbers)),
        _array("uint8_t buddy_pieces", "BUDDY_PIECE_BYTES", b"".join(vocab.pieces)),
        _array(
            "buddy_end buddy_piece_ends", "BUDDY_TOKENS", np.cumsum([len(p) for p in vocab.pieces])
        ),
        _array("uint16_t buddy_by_text", "BUDDY_SORTED", vocab.by_text),
    ]
    if vocab.costs:
        parts.append(_array("uint16_t buddy_costs", "BUDDY_TOKENS", vocab.costs))
    else:
        rows = (_braces(merge) for merge in vocab.merges)
        parts.append(_array("buddy_merge buddy_merges", "BUDDY_MERGES", rows))
    return "\n".join(parts)


def packed(config: ModelConfig, weights: Weights, bits: int) -> bytes:
    """The weights as the engine's ``tb_pack`` lays them out, and quantized as everywhere here."""
    arrays = iter(weights[name] for name in _names(config))
    parts = [_matrix(bits, [next(arrays)])]
    for _ in range(config.num_hidden_layers):
        parts.append(_padded(next(arrays)).tobytes())
        parts.append(_matrix(bits, [np.concatenate([next(arrays) for _ in range(3)])]))
        parts.append(_matrix(bits, [next(arrays)]))
        parts.append(_padded(next(arrays)).tobytes())
        parts.append(_matrix(bits, [next(arrays), next(arrays)]))
        parts.append(_matrix(bits, [next(arrays)]))
    parts.append(_padded(next(arrays)).tobytes())
    return b"".join([*parts, _rope(config).tobytes()])


def cache_bytes(config: ModelConfig) -> int:
    """Bytes of a ``tb_stream``."""
    context, heads = config.max_position_embeddings, config.num_key_value_heads
    keys = config.head_dim * 2 * _round((context + 1) // 2)
    values = context * _round(config.head_dim)
    return 4 * ALIGN + 4 * config.num_hidden_layers * heads * (keys + values)


def scratch_bytes(config: ModelConfig) -> int:
    """Bytes of a ``tb_scratch`` for one row, with pointers of 64 bits; fewer with others."""
    hidden = config.hidden_size
    kv = config.num_key_value_heads * config.head_dim
    context = 2 * _round((config.max_position_embeddings + 1) // 2)
    floats = (
        *(hidden, hidden, hidden, hidden + 2 * kv, 2 * _round(config.intermediate_size)),
        *(config.vocab_size, config.num_attention_heads * context),
    )
    sampled = -(-config.vocab_size // BLOCK) * BLOCK * 24  # two doubles, an id and a float each
    pointers = 8 + 13 * 8
    ids = 4 * 4 * ALIGN + 4 * ALIGN  # four of a number for each row, and its stream
    parts = (pointers, *(4 * _round(n) for n in floats), sampled)
    return ids + sum(_round(part, 4 * ALIGN) for part in parts)


def _names(config: ModelConfig) -> Iterable[str]:
    from tinybuddy.weights import weight_shapes

    return weight_shapes(config)


def _round(size: int, to: int = ALIGN) -> int:
    return -(-size // to) * to


def _padded(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """With zeros, up to a whole number of rows, or of numbers, that the engine takes at once."""
    more = _round(len(array)) - len(array)
    return np.pad(np.asarray(array, "<f4"), [(0, more)] + [(0, 0)] * (array.ndim - 1))


def _matrix(bits: int, parts: Sequence[NDArray[np.float32]]) -> bytes:
    """One matrix (out, in), of parts that are each rounded up to whole vectors."""
    if bits == 32:
        return _grouped(np.concatenate([_padded(part) for part in parts])).tobytes()
    pairs = [quantize(_padded(part), bits) for part in parts]
    codes = _grouped(np.concatenate([codes for codes, _ in pairs]))
    scales = np.concatenate([to_scales(numbers) for _, numbers in pairs]).astype("<f4")
    if bits == 4:
        halves = (codes + 8).astype(np.uint8)
        codes = (halves[::2] | halves[1::2] << 4).view(np.int8)
    data = codes.tobytes()
    return data + bytes(_round(len(data), 4 * ALIGN) - len(data)) + scales.tobytes()


def _grouped(matrix: NDArray[np.generic]) -> NDArray[np.generic]:
    """Its numbers: of each group of outputs, for every input the outputs' side by side."""
    return np.concatenate(
        [matrix[at : at + GROUP].T.ravel() for at in range(0, len(matrix), GROUP)]
    )


def _rope(config: ModelConfig) -> NDArray[np.float32]:
    """Cosines and sines (context, head size), rounded at each step as the engine does."""
    size = config.head_dim
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    powers = float(np.float32(config.rope_theta)) ** exponents.astype(np.float64)
    frequencies = np.float32(1) / powers.astype(np.float32)
    positions = np.arange(config.max_position_embeddings, dtype=np.float32)
    angles = (positions[:, None] * frequencies).astype(np.float64)
    table = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    return table.astype("<f4")


def _braces(values: Iterable[object]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"


def _array(name: str, size: str, values: Iterable[object]) -> str:
    lines, line = [], "   "
    for value in values:
        item = f" {value},"
        if len(line) + len(item) > COLUMNS:
            lines.append(line)
            line = "   "
        line += item
    return "\n".join([f"const {name}[{size}] = {{", *lines, line, "};", ""])
