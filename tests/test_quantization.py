from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinybuddy.quantization import (
    CANDIDATES,
    LEVELS,
    MOST,
    dequantize,
    quantize,
    quantized,
    to_scales,
)

BITS = pytest.mark.parametrize("bits", LEVELS)
matrices = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 20)),
    elements=st.floats(-1e6, 1e6, width=32) | st.floats(-1, 1, width=32) | st.just(0.0),
)


@BITS
@given(matrix=matrices)
def test_what_is_quantized_stays_as_it_is(bits: int, matrix: np.ndarray):
    once = dequantize(*quantize(matrix, bits))
    np.testing.assert_array_equal(dequantize(*quantize(once, bits)), once)


@BITS
@given(matrix=matrices)
def test_codes_are_within_their_bits_and_products_exact(bits: int, matrix: np.ndarray):
    codes, scales = quantize(matrix, bits)
    assert abs(codes.astype(int)).max() <= LEVELS[bits]
    assert scales.max() <= MOST
    exact = codes.astype(np.float64) * to_scales(scales).astype(np.float64)[:, np.newaxis]
    np.testing.assert_array_equal(dequantize(codes, scales), exact)


@BITS
def test_no_other_scale_that_uses_the_levels_has_a_smaller_error(bits: int):
    matrix = np.random.default_rng(0).standard_normal((40, 32)).astype(np.float32)
    codes, scales = quantize(matrix, bits)
    error = ((dequantize(codes, scales) - matrix) ** 2).sum(axis=1)
    largest = abs(matrix).max(axis=1)
    for offset in range(-2 * CANDIDATES, 2 * CANDIDATES):
        scale = to_scales(scales.astype(int) + offset)
        tried = largest / scale >= LEVELS[bits] * 8 // 9
        scale = scale[:, np.newaxis]
        other = np.clip(np.rint(matrix / scale), -LEVELS[bits], LEVELS[bits]) * scale
        assert (error <= ((other - matrix) ** 2).sum(axis=1) * (1 + 1e-5))[tried].all()


@BITS
@given(matrix=matrices, moved=st.floats(0, 1))
def test_a_scale_that_is_kept_is_nearly_as_good(bits: int, matrix: np.ndarray, moved: float):
    """And what was quantized by it is found again without it."""
    _, scales = quantize(matrix, bits)
    changed = matrix + np.float32(moved) * np.roll(matrix, 1)
    codes, kept = quantize(changed, bits, scales)
    again, same = quantize(changed, bits, kept)
    np.testing.assert_array_equal(kept, same)
    np.testing.assert_array_equal(codes, again)
    once = dequantize(codes, kept)
    np.testing.assert_array_equal(dequantize(*quantize(once, bits)), once)
    error = ((once - changed) ** 2).sum(axis=1)
    least = ((dequantize(*quantize(changed, bits)) - changed) ** 2).sum(axis=1)
    assert (error <= 1.26 * least + 1e-12).all()


@BITS
def test_rows_of_nothing_stay_nothing(bits: int):
    matrix = np.zeros((3, 4), np.float32)
    matrix[1] = 1e-30
    codes, scales = quantize(matrix, bits)
    assert not codes.any()
    assert not scales.any()


@BITS
def test_matrices_are_rounded_by_themselves_and_norms_are_not(bits: int):
    random = np.random.default_rng(1)
    shapes = {"a": (5, 8), "norm": (8,), "b": (3, 8), "c": (4, 6)}
    weights = {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    found = quantized(weights, bits)
    assert [*found] == [*weights]
    for name, weight in weights.items():
        whole = weight if weight.ndim == 1 else dequantize(*quantize(weight, bits))
        np.testing.assert_array_equal(found[name], whole)
