"""Answers to chapter 2."""

from __future__ import annotations

import math
from collections.abc import Collection


def to_bits_per_byte(nats_per_token: float, tokens: int, size: int) -> float:
    return nats_per_token / math.log(2) * tokens / size


def whole_characters(data: bytes) -> tuple[str, bytes]:
    start = len(data)
    while start > 0 and data[start - 1] & 0b11000000 == 0b10000000:
        start -= 1  # over the followers at the end
    if start > 0:
        first = data[start - 1]
        needed = 1 if first < 128 else 2 if first < 224 else 3 if first < 240 else 4
        if len(data) - (start - 1) < needed:
            return data[: start - 1].decode("utf-8"), data[start - 1 :]
    return data.decode("utf-8"), b""


def fewest_tokens(text: str, vocabulary: Collection[str]) -> int:
    best = [0] + [len(text)] * len(text)  # of each beginning; at worst a token a character
    for end in range(1, len(text) + 1):
        for token in vocabulary:
            if text.endswith(token, 0, end):
                best[end] = min(best[end], best[end - len(token)] + 1)
    return best[len(text)]
