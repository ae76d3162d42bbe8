"""Answers to chapter 5."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def llama_parameters(
    vocab: int, hidden: int, inner: int, layers: int, heads: int, kv_heads: int
) -> int:
    keys = kv_heads * (hidden // heads)
    attention = 2 * hidden * hidden + 2 * hidden * keys  # queries and output; keys and values
    block = attention + 3 * hidden * inner + 2 * hidden
    return vocab * hidden + layers * block + hidden  # the last norm


def key_value_head(head: int, heads: int, kv_heads: int) -> int:
    return head // (heads // kv_heads)


def squared_relu(x: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    positive = np.maximum(x, 0)
    return positive**2, lambda d: d * 2 * positive
