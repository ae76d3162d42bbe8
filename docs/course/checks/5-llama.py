"""Checks of chapter 5."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from course import expect

from tinybuddy.config import ModelConfig


def llama_parameters(attempt: Callable[..., Any]) -> None:
    """As many as the package counts, for shapes in which no two parts are of one size."""
    for shape in (
        (1024, 48, 192, 1, 4, 2),
        (1536, 32, 57, 4, 4, 2),
        (512, 64, 160, 2, 8, 1),
        (300, 24, 50, 3, 2, 2),
    ):
        right = ModelConfig(*shape).parameters
        words = "vocab {}, hidden {}, inner {}, layers {}, heads {}, kv_heads {}".format(*shape)
        expect(attempt(*shape), right, words)


def key_value_head(attempt: Callable[..., Any]) -> None:
    """Neighbours share."""
    for heads, kv_heads, right in (
        (4, 2, [0, 0, 1, 1]),
        (6, 3, [0, 0, 1, 1, 2, 2]),
        (8, 2, [0, 0, 0, 0, 1, 1, 1, 1]),
        (3, 1, [0, 0, 0]),
        (4, 4, [0, 1, 2, 3]),
    ):
        found = [attempt(head, heads, kv_heads) for head in range(heads)]
        expect(found, right, f"all heads of {heads} with {kv_heads} key-value heads")


def squared_relu(attempt: Callable[..., Any]) -> None:
    """The result, and the way back for any gradient that comes in."""
    random = np.random.default_rng(0)
    for x in (np.array([-2.0, -0.5, 0.5, 3.0]), random.standard_normal((3, 5))):
        given = f"x of shape {x.shape}"
        found = attempt(x)
        assert isinstance(found, tuple) and len(found) == 2, "Return the result and `back`."
        result, back = found
        expect(result, np.where(x > 0, x * x, 0.0), given)
        assert callable(back), "The second thing to return is a function, `back`."
        for d in (np.ones_like(x), random.standard_normal(x.shape)):
            expect(back(d), np.where(x > 0, 2 * x * d, 0.0), f"{given}, on the way back,")
