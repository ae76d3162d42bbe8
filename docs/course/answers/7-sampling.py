"""Answers to chapter 7."""

from __future__ import annotations

import math

import numpy as np


def temperature_for(lead: float, times: float) -> float:
    return lead / math.log(times)  # exp(lead / T) = times


def forbidden(ids: list[int], n: int) -> set[int]:
    end = ids[len(ids) - n + 1 :]
    return {ids[i + n - 1] for i in range(len(ids) - n + 1) if ids[i : i + n - 1] == end}


def gumbel_draw(logits: np.ndarray, uniforms: np.ndarray) -> int:
    return int(np.argmax(logits - np.log(-np.log(uniforms))))
