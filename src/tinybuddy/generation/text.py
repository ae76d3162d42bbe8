"""Text as it comes: stop strings, which may reach across the border of two tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Yield pieces of a text up to where the first of some stop strings begins.

    What may be the beginning of one is held back until that is known, so what is yielded does not
    depend on how the text is cut into pieces. Empty stop strings do not count.
    """
    stops = [stop for stop in stops if stop]
    held = ""
    for piece in pieces:
        held += piece
        sure = len(held) - max((_overlap(held, stop) for stop in stops), default=0)
        if (first := _first(held, stops)) <= sure and first < len(held):
            break  # no stop that begins before it can still come
        if sure:
            yield held[:sure]
            held = held[sure:]
    if rest := held[: _first(held, stops)]:
        yield rest


def _first(text: str, stops: Sequence[str]) -> int:
    """Where the first stop string in ``text`` begins; its end if it holds none."""
    return min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if stop.startswith(text[-n:])), 0)
