"""Checks of chapter 7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from course import expect


def temperature_for(attempt: Callable[..., Any]) -> None:
    """At that temperature softmax must give the wanted ratio."""
    for lead, times in ((1.0, np.e), (2.0, 4.0), (0.3, 10.0), (5.0, 1.5)):
        temperature = attempt(lead, times)
        given = f"a lead of {lead} and {times:.4g} times"
        expect(temperature, lead / float(np.log(times)), given)


def forbidden(attempt: Callable[..., Any]) -> None:
    """Those after an earlier occurrence of the last n - 1 ids."""
    for ids, n, right in (
        ([5, 6, 7, 5], 2, {6}),
        ([1, 2, 3, 1, 2, 4, 1, 2], 3, {3, 4}),
        ([1, 2, 3, 1, 2, 4, 1, 2], 2, {3, 4}),
        ([1, 2, 3, 1, 2, 4, 1, 2], 4, set()),
        ([7, 7, 7], 2, {7}),
        ([8, 9], 3, set()),
        ([3], 3, set()),
        ([4, 5, 6], 1, {4, 5, 6}),
    ):
        expect(attempt([*ids], n), right, f"ids {ids} and n = {n}")


def gumbel_draw(attempt: Callable[..., Any]) -> None:
    """Each index as often as softmax says; of each logit its own number counts."""
    random = np.random.default_rng(0)
    for logits, uniforms in (
        (np.array([0.0, 1.0, 2.0]), np.array([0.99, 0.5, 0.5])),
        (np.array([0.0, 1.0, 2.0]), np.array([0.01, 0.02, 0.03])),
        *((random.standard_normal(5), random.uniform(0.001, 0.999, 5)) for _ in range(20)),
    ):
        right = int((logits - np.log(-np.log(uniforms))).argmax())
        given = f"logits {np.round(logits, 2)} and numbers {np.round(uniforms, 3)}"
        expect(attempt(logits, uniforms), right, given)
