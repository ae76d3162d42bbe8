"""Weights at 8 or 4 bits: whole numbers, and one scale a row.

A matrix (out, in) becomes codes ``q`` of -127 to 127, or of -7 to 7, and for each row a scale
``s``: its weights are ``q * s``. A scale has three bits of mantissa, so that it and all of its
multiples are exact in float32, and the best of a row is found by trying all that come into
question. With seven bits the scales of a model of 84k parameters take 1,250 bytes more, and the
model, rounded to 4 bits, is better by 0.006 bits per byte; training for 4 bits gives 0.08.

Norms stay as they are: they are 0.3 % of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tinybuddy.weights import Weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVELS = {4: 7, 8: 127}  # the largest code of so many bits
SHIFT = 20  # a scale is the float32 whose bits are a number << 20: no sign, exponent, 3 of mantissa
# Scales from 2^-40 to 2^40, so that no square of a weight leaves float32; of a lower one the row is
# 0. No weight of a trained model comes near either.
LEAST, MOST = (127 - 40) << 3, (127 + 40) << 3
CANDIDATES = 10  # an octave has 8; beyond it a largest weight of 2 s would be cut to s
KEPT = 1.25  # times the least error, that a scale which is kept may have


def quantize(
    matrix: NDArray[np.float32], bits: int, kept: NDArray[np.uint16] | None = None
) -> tuple[NDArray[np.int8], NDArray[np.uint16]]:
    """Find the nearest codes and scales, by the squared error of each row.

    What was quantized before gives the same codes times the same scales, bit for bit: its own scale
    is among the candidates, and the only ones with an error of 0 have the same products.

    Args:
        matrix: weights (rows, columns), finite.
        bits: 4 or 8.
        kept: bits of a scale a row (rows,), which stays where its error is at most 1.25 times the
            least: while a matrix is trained, a scale that changes moves all weights of its row.

    Returns:
        Codes (rows, columns), and of each scale (rows,) the bits, shifted by `SHIFT`.
    """
    import numpy as np

    levels = np.float32(LEVELS[bits])
    columns = np.ascontiguousarray(matrix.T)  # three times as fast, where rows are short
    largest = np.abs(columns).max(axis=0)
    # The first candidate makes the largest weight at least 8/9 of the levels, as the next one below
    # may make it more than all. So a row of whole multiples has one of this size, and is found.
    first = np.minimum((largest / np.floor(levels * 8 / 9)).view(np.uint32) >> SHIFT, MOST)
    best = np.full(len(matrix), np.inf, np.float32)
    scales = np.zeros(len(matrix), np.uint32)
    scratch = np.empty_like(columns)
    for lower in range(CANDIDATES):
        tried = np.maximum(first, LEAST + lower) - np.uint32(lower)
        error = _squared_error(columns, to_scales(tried), levels, scratch)
        better = error < best
        best, scales = np.where(better, error, best), np.where(better, tried, scales)
    if kept is not None:
        error = _squared_error(columns, to_scales(np.maximum(kept, LEAST)), levels, scratch)
        stays = (error <= KEPT * best) & (kept <= first) & (kept >= LEAST)
        scales = np.where(stays, kept, scales)
    empty = scales < LEAST + CANDIDATES
    scales[empty] = LEAST
    _nearest(columns, to_scales(scales), levels, scratch)
    scratch[:, empty], scales[empty] = 0, 0
    return np.ascontiguousarray(scratch.T).astype(np.int8), scales.astype(np.uint16)


def _squared_error(
    columns: NDArray[np.float32],
    scale: NDArray[np.float32],
    levels: np.float32,
    scratch: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Sum of the squared errors of each column."""
    _nearest(columns, scale, levels, scratch)
    scratch *= scale
    scratch -= columns
    scratch *= scratch
    error: NDArray[np.float32] = scratch.sum(axis=0)
    return error


def _nearest(
    columns: NDArray[np.float32],
    scale: NDArray[np.float32],
    levels: np.float32,
    out: NDArray[np.float32],
) -> None:
    """Write the nearest codes of a scale a column."""
    import numpy as np

    np.multiply(columns, 1 / scale, out=out)
    np.rint(out, out=out)
    np.clip(out, -levels, levels, out=out)


def to_scales(numbers: NDArray[np.unsignedinteger]) -> NDArray[np.float32]:
    """The scales of which `quantize` gave the bits."""
    return (numbers.astype("u4") << SHIFT).view("f4")


def to_numbers(scales: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bits of scales, as `quantize` gives them."""
    return (scales.view("u4") >> SHIFT).astype("u2")


def dequantize(codes: NDArray[np.int8], scales: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Weights (rows, columns) of codes and scales; the product is exact."""
    weights: NDArray[np.float32] = codes * to_scales(scales)[:, None]
    return weights


def quantized(weights: Weights, bits: int) -> dict[str, NDArray[np.float32]]:
    """Matrices as their codes and scales give them, and norms as they are."""
    return quantized_again(weights, bits, {})[0]


def quantized_again(
    weights: Weights, bits: int, kept: Mapping[str, NDArray[np.uint16]]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.uint16]]]:
    """The same, and the scales of each matrix, which were ``kept`` where there are any."""
    import numpy as np

    result, scales = dict(weights), dict(kept)
    matrices = [name for name, array in weights.items() if array.ndim > 1]
    for width in {weights[name].shape[1]: None for name in matrices}:
        # Together they take half the time.
        names = [name for name in matrices if weights[name].shape[1] == width]
        ends = np.cumsum([len(weights[name]) for name in names])[:-1]
        before = np.concatenate([kept[name] for name in names]) if kept else None
        codes, found = quantize(np.concatenate([weights[n] for n in names]), bits, before)
        scales |= dict(zip(names, np.split(found, ends), strict=True))
        result |= dict(zip(names, np.split(dequantize(codes, found), ends), strict=True))
    return result, scales
