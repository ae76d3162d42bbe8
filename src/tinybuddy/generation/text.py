"""Text as it comes: stop strings, which may reach across the border of two tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Yield pieces of a text up to the first of some stop strings, which is left out.

    What may be the beginning of one is held back until that is known. Empty stop strings do not
    count.
    """
    stops = [stop for stop in stops if stop]
    held = ""
    for piece in pieces:
        held += piece
        if found := [at for stop in stops if (at := held.find(stop)) >= 0]:
            held = held[: min(found)]
            break
        sure = len(held) - max((_overlap(held, stop) for stop in stops), default=0)
        if sure:
            yield held[:sure]
            held = held[sure:]
    if held:
        yield held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if stop.startswith(text[-n:])), 0)
