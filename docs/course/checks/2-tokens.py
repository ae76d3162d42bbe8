"""Checks of chapter 2."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from course import expect


def to_bits_per_byte(attempt: Callable[..., Any]) -> None:
    """A nat is 1 / ln 2 bits; all tokens share the bytes."""
    for nats, tokens, size in (
        (math.log(2), 10, 10),
        (2.0, 100, 312),
        (1.5, 250, 1000),
        (0.0, 3, 9),
    ):
        right = nats * tokens / math.log(2) / size
        expect(
            attempt(nats, tokens, size), right, f"{nats:.3f} nats, {tokens} tokens, {size} bytes"
        )


def whole_characters(attempt: Callable[..., Any]) -> None:
    """Every beginning of a text."""
    for text in ("ab", "café", "日本", "a😀b", ""):
        data = text.encode("utf-8")
        for end in range(len(data) + 1):
            whole = data[:end].decode("utf-8", errors="ignore")
            right = (whole, data[len(whole.encode("utf-8")) : end])
            expect(attempt(data[:end]), right, repr(data[:end]))


def fewest_tokens(attempt: Callable[..., Any]) -> None:
    """Against a search over all numbers of tokens."""
    for text, vocabulary in (
        ("abcc", ["a", "b", "c", "ab", "bcc"]),
        ("", ["a"]),
        ("aaaaaa", ["a", "aa", "aaaa", "aaa"]),
        ("abababc", ["a", "b", "c", "ab", "aba", "babc", "abab"]),
        (
            "the theme then",
            [*"the mn", "the", " the", "theme", "hem", " t", "en", "e t", "he then"],
        ),
        ("abcabcabcabd" * 3, [*"abcd", "ab", "abc", "cab", "bca", "abd", "cabca"]),
    ):
        reached, right = {0}, 0
        while len(text) not in reached:
            reached = {i + len(t) for i in reached for t in vocabulary if text.startswith(t, i)}
            right += 1
        expect(attempt(text, vocabulary), right, f"{text!r} and {vocabulary}")
