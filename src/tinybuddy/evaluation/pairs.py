"""Texts of which one side is right."""

from __future__ import annotations

from typing import NamedTuple


class Pair(NamedTuple):
    """Texts that a speaker of English prefers to others of the same words.

    Attributes:
        good: the better texts; a model is right when it gives all of them together more
            log-likelihood than all of ``bad``. A tie counts one half.
        bad: the worse ones.
    """

    good: tuple[str, ...]
    bad: tuple[str, ...]
