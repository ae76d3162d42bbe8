"""Text as it comes: from ids, and up to stop strings, which may reach across two tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from tinybuddy.tokenizer import Codec


class Until:
    """A text as it comes, up to where the first of some stop strings begins.

    What may be the beginning of one is held back until that is known, so what is given out does not
    depend on how the text is cut into pieces. Empty stop strings do not count.

    Attributes:
        stops: the strings.
        found: whether one was met: nothing follows.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def push(self, piece: str) -> str:
        """Take the next piece; return what is now sure to stand before a stop string."""
        if not self.stops:
            return piece
        held = self._held + piece
        sure = len(held) - max(_overlap(held, stop) for stop in self.stops)
        if (first := _first(held, self.stops)) <= sure and first < len(held):
            self.found, sure, held = True, first, held[:first]  # none that begins before can come
        self._held = held[sure:]
        return held[:sure]

    def close(self) -> str:
        """Return the rest of a text that has ended."""
        held, self._held = self._held, ""
        first = _first(held, self.stops)
        self.found = self.found or first < len(held)
        return held[:first]


class TextStream:
    """The text of ids that are pushed as they come, up to the first of some stop strings.

    Attributes:
        tokens: ids that were taken: all, or those up to the end of a stop string.
    """

    def __init__(self, tokenizer: Codec, stops: Sequence[str] = ()) -> None:
        self._ids: deque[int | None] = deque()
        self._pieces = tokenizer.decode_stream(iter(self._ids.popleft, None))
        self._until = Until(stops)
        self.tokens = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop string was met: nothing follows."""
        return self._until.found

    def push(self, ids: Iterable[int]) -> str:
        """Take the next ids; return what they add to the text, never half a character."""
        if not self._until.stops:  # all at once, which takes a third of the time
            before = len(self._ids)
            self._ids.extend(ids)
            count = len(self._ids) - before
            self.tokens += count
            return "".join(islice(self._pieces, count))
        said = []
        for id in ids:
            if self.stopped:
                break
            self._ids.append(id)
            said.append(self._until.push(next(self._pieces)))
            self.tokens += 1
        return "".join(said)

    def close(self) -> str:
        """Return the rest of a text that has ended."""
        self._ids.append(None)
        rest = "".join(self._pieces)
        return "" if self.stopped else self._until.push(rest) + self._until.close()


def until(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Yield pieces of a text up to where the first of some stop strings begins; see `Until`."""
    text = Until(stops)
    for piece in pieces:
        if sure := text.push(piece):
            yield sure
        if text.found:
            return
    if rest := text.close():
        yield rest


def _first(text: str, stops: Sequence[str]) -> int:
    """Where the first stop string in ``text`` begins; its end if it holds none."""
    return min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if stop.startswith(text[-n:])), 0)
