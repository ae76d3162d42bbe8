"""A whole model in one small file, ``NAME.buddy``: weights at 4 or 8 bits, and the tokenizer.

The layout is in ``docs/compact.md``, byte by byte. All numbers are little-endian, and whatever the
file claims is checked: its size and checksum first, then the shape, which bounds what is unpacked.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.disk import read_bytes, write_bytes
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.formats.loaded import ModelFiles, StoredWeights, as_numbers
from tinybuddy.quantization import LEVELS, MOST, SHIFT, quantize
from tinybuddy.tokenizer.packed import MAX_BYTES, pack_tokenizer, unpack_tokenizer
from tinybuddy.weights import weight_shapes

SUFFIX = ".buddy"
MAGIC, VERSION = b"BUDDY\n", 1
# Magic, version, bits; the shape, in the order of ModelConfig; repetition penalty, temperature,
# top-k, top-p and min-p; and of codes, scales and tokenizer the packed bytes, and the tokenizer's
# unpacked ones.
HEADER = struct.Struct("<6sBB 7I2d ddIdd 3II")
CHECKSUM = struct.Struct("<I")  # CRC-32 of all before it
MAX_PARAMETERS = 4_000_000  # what is unpacked takes 4 bytes each, however small the file is
MAX_FILE_BYTES = 2 * MAX_PARAMETERS + MAX_BYTES
MAX_TOP_K = 2**32 - 1  # as good as any more: there are 65,535 tokens at most
MEMORY_LEVEL = 9  # of zlib, its highest
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)


@dataclass(frozen=True)
class _Header:
    config: ModelConfig
    sample: SampleConfig
    bits: int
    packed: tuple[int, int, int]  # bytes of codes, scales and tokenizer
    tokenizer_bytes: int


def write_compact(path: Path, model: ModelFiles, bits: int) -> None:
    """Write what `pack_compact` gives; raises as it does, or if that cannot be written."""
    write_bytes(path, pack_compact(model, bits))


def pack_compact(model: ModelFiles, bits: int) -> bytes:
    """Pack a model, its matrices at ``bits`` bits, 4 or 8; the same model gives the same bytes.

    Raises:
        TinybuddyError: if it is too large.
    """
    import numpy as np

    config, sample = model.config, model.sample
    if config.parameters > MAX_PARAMETERS:
        raise TinybuddyError(
            f"A {SUFFIX} file holds at most {MAX_PARAMETERS:,} parameters, and this model has "
            f"{config.parameters:,}."
        )
    codes, numbers, norms = [], [], []
    for name in weight_shapes(config):
        weight = np.asarray(model.weights[name], np.float32)
        if weight.ndim == 1:
            norms.append(weight.astype("<f4").tobytes())
            continue
        code, scale = quantize(weight, bits)
        codes.append((code.astype(np.int16) + LEVELS[bits]).astype(np.uint8).tobytes())
        numbers.append(scale)
    scales = np.concatenate(numbers)
    # Low bytes, then high ones, most of which are alike.
    planes = (scales & 255).astype(np.uint8).tobytes() + (scales >> 8).astype(np.uint8).tobytes()
    tokenizer = pack_tokenizer(model.tokenizer)
    parts = [_deflated(part) for part in (b"".join(codes), planes + b"".join(norms), tokenizer)]
    header = HEADER.pack(
        *(MAGIC, VERSION, bits, *astuple(config)),
        *(sample.repetition_penalty, sample.temperature, min(sample.top_k, MAX_TOP_K)),
        *(sample.top_p, sample.min_p, *map(len, parts), len(tokenizer)),
    )
    data = header + b"".join(parts)
    return data + CHECKSUM.pack(zlib.crc32(data))


def read_compact(path: Path) -> ModelFiles:
    """Read a model; its weights become float32. NumPy is not needed.

    Raises:
        TinybuddyError: if it cannot be read, or is damaged or of a later version.
    """
    data = read_bytes(path, MAX_FILE_BYTES)
    header = _parse_header(data, path)
    whole = HEADER.size + sum(header.packed) + CHECKSUM.size
    if len(data) != whole:
        raise TinybuddyError(
            f"{path} has {len(data):,} bytes, and {whole:,} by its header: copy it again, whole."
        )
    if CHECKSUM.unpack(data[-CHECKSUM.size :])[0] != zlib.crc32(data[: -CHECKSUM.size]):
        raise TinybuddyError(f"{path} is damaged, by its checksum: copy it again.")
    config, at = header.config, HEADER.size
    shapes = weight_shapes(config).values()
    norms = sum(shape[0] for shape in shapes if len(shape) == 1)
    rows = sum(shape[0] for shape in shapes if len(shape) == 2)
    parts = []
    sizes = (config.parameters - norms, 2 * rows + 4 * norms, header.tokenizer_bytes)
    for packed, size in zip(header.packed, sizes, strict=True):
        parts.append(_inflated(data[at : at + packed], size, path))
        at += packed
    codes, scales, tokens = parts
    tokenizer = unpack_tokenizer(tokens, f"The tokenizer in {path}")
    if tokenizer.vocab_size > config.vocab_size:
        raise TinybuddyError(
            f"The tokenizer in {path} has {tokenizer.vocab_size:,} tokens and its model "
            f"{config.vocab_size:,}: they do not belong together."
        )
    weights = _weights(codes, scales, rows, header, path)
    return ModelFiles(config, weights, tokenizer, header.sample, path)


def read_shape(path: Path) -> ModelConfig:
    """Read the shape of a model; raises as `read_compact`, but for what comes after the header."""
    try:
        with path.open("rb") as file:
            data = file.read(HEADER.size)
    except OSError as error:
        raise TinybuddyError(f"Cannot read {path}: {error.strerror}.") from None
    return _parse_header(data, path).config


def _parse_header(data: bytes, path: Path) -> _Header:
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise TinybuddyError(f"{path} is not a {SUFFIX} file of this package.")
    _, version, bits, *numbers = HEADER.unpack_from(data)
    if version != VERSION:
        raise TinybuddyError(
            f"{path} is of version {version}, and only version {VERSION} is read: "
            "take a later tinybuddy."
        )
    if bits not in LEVELS:
        raise TinybuddyError(f"{path} has weights of {bits} bits: only 4 and 8 are read.")
    shape, drawn, packed, size = numbers[:9], numbers[9:14], numbers[14:17], numbers[17]
    try:
        config, sample = ModelConfig(*shape), SampleConfig(*drawn)
    except UsageError as error:
        raise TinybuddyError(f"{path} is impossible: {error}") from None
    if config.parameters > MAX_PARAMETERS or size > MAX_BYTES:
        raise TinybuddyError(
            f"{path} is too large: at most {MAX_PARAMETERS:,} parameters and {MAX_BYTES:,} bytes "
            "of a tokenizer are read."
        )
    return _Header(config, sample, bits, tuple(packed), size)


def _weights(codes: bytes, scales: bytes, rows: int, header: _Header, path: Path) -> StoredWeights:
    """Multiply the codes (rows, columns) of each matrix by the scales of its rows."""
    levels = LEVELS[header.bits]
    if max(codes) > 2 * levels:
        raise TinybuddyError(f"{path} holds a code that {header.bits} bits do not have.")
    steps = _scales(scales, rows, path)
    buffers, at, norm_at = {}, 0, 2 * rows
    for name, shape in weight_shapes(header.config).items():
        if len(shape) == 1:
            data = scales[norm_at : norm_at + 4 * shape[0]]
            norm_at += len(data)
        else:
            numbers = array("f")
            for _ in range(shape[0]):
                scale = next(steps)
                levelled = [scale * (code - levels) for code in codes[at : at + shape[1]]]
                numbers.extend(levelled)
                at += shape[1]
            data = numbers.tobytes()
        buffers[name] = as_numbers(data, shape, f"{name} in {path}")
    return StoredWeights(buffers)


def _scales(data: bytes, rows: int, path: Path) -> Iterator[float]:
    """The scales of all rows; exact, as their multiples by codes are."""
    numbers = [low + 256 * high for low, high in zip(data[:rows], data[rows : 2 * rows])]  # noqa: B905
    if max(numbers) > MOST:
        raise TinybuddyError(f"{path} holds a scale that is too large, infinite or no number.")
    shifted = struct.pack(f"<{rows}I", *(number << SHIFT for number in numbers))
    return iter(struct.unpack(f"<{rows}f", shifted))


def _deflated(data: bytes) -> bytes:
    """Pack as raw deflate, with the strategy that packs best.

    Codes have no repeated stretches to find, and Huffman's code alone takes 3.72 bits each of 4,
    where their entropy is 3.67 and LZMA takes 3.83.
    """
    packed = []
    for strategy in STRATEGIES:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, MEMORY_LEVEL, strategy)
        packed.append(packer.compress(data) + packer.flush())
    return min(packed, key=len)


def _inflated(data: bytes, size: int, path: Path) -> bytes:
    """Unpack what must be of a size; no more than that is ever unpacked."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise TinybuddyError(f"{path} is damaged: {error}.") from None
    if len(unpacked) != size or not unpacker.eof or unpacker.unused_data:
        raise TinybuddyError(f"{path} is damaged: a part is not of the size that its shape needs.")
    return unpacked
