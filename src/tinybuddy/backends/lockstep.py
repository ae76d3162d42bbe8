"""Generation for back ends that give logits alone: texts of one length are fed together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tinybuddy import sampling
from tinybuddy.backends.interface import Stream
from tinybuddy.config import SampleConfig, last_half
from tinybuddy.errors import UsageError


class LockstepText:
    """A text being generated; meets `tinybuddy.backends.interface.Generation`.

    Attributes:
        ids: its prompt and what follows it.
        start: the first id that the model still reads.
        ended: whether nothing follows.
        broken: whether that is because the logits are not finite.
        group: the texts that are fed with it, if any.
    """

    def __init__(
        self, prompt: Sequence[int], count: int, sample: SampleConfig, seed: int, eos: int
    ) -> None:
        if not prompt:
            raise UsageError("A text needs a first id, such as <bos>.")
        self.ids, self.start = list(prompt), 0
        self.ended, self.broken = count <= 0, False
        self.group: _Group | None = None
        self._prompt, self._most = len(prompt), len(prompt) + count
        self._sample, self._random, self._eos = sample, sampling.PCG32(seed), eos

    def new_ids(self, begin: int = 0) -> list[int]:
        """Return the ids after the prompt, from the ``begin``-th on."""
        return self.ids[self._prompt + begin :]

    def draw(self, logits: NDArray[np.float32]) -> None:
        """Draw the next id from its logits (V,), or end."""
        if not np.isfinite(logits).all():
            self.ended = self.broken = True
            return
        seen = self.ids if self._sample.repetition_penalty != 1.0 else ()
        id = sampling.sample(logits, self._sample, self._random, seen)
        if id == self._eos:
            self.ended = True
        else:
            self.ids.append(id)
            self.ended = len(self.ids) == self._most


class LockstepBackend:
    """What gives a back end its `begin` and `advance`, from its `stream`.

    Attributes:
        context: ids that the model reads at most.
    """

    context: int

    def stream(self, texts: int = 1) -> Stream:
        """Begin one text, or several of equal length."""
        raise NotImplementedError

    def begin(
        self, prompt: Sequence[int], count: int, sample: SampleConfig, seed: int, eos: int = -1
    ) -> LockstepText:
        """Begin a text whose tokens are drawn here; see `Backend.begin`."""
        return LockstepText(prompt, count, sample, seed, eos)

    def advance(self, generations: Sequence[LockstepText], steps: int) -> None:
        """Go on with texts side by side; see `Backend.advance`."""
        for _ in range(steps):
            going = [text for text in generations if not text.ended]
            if not going:
                return
            for group in _groups(going):
                group.step(self)


class _Group:
    """Texts with as many ids to be read, fed together.

    One that has ended, or has been left out, is fed on with some id, and what comes of that is
    thrown away: to take it out of the cache would cost more.
    """

    def __init__(self, texts: list[LockstepText]) -> None:
        self.texts = texts
        self._stream: Stream | None = None
        self._fed = 0

    def step(self, backend: LockstepBackend) -> None:
        """Feed what is not yet fed, and draw an id for each text that goes on."""
        going = [text for text in self.texts if text.group is self and not text.ended]
        if len(going[0].ids) - going[0].start > backend.context:
            for text in going:
                text.start = len(text.ids) - last_half(backend.context)
            self._stream = None
        if self._stream is None:
            self._stream, self._fed, self.texts = backend.stream(len(going)), 0, going
        new = len(going[0].ids) - going[0].start - self._fed
        logits = self._stream.feed(np.array([text.ids[-new:] for text in self.texts]))
        self._fed += new
        for text, row in zip(self.texts, logits, strict=True):
            if text.group is self and not text.ended:
                text.draw(row)


def _groups(going: Sequence[LockstepText]) -> list[_Group]:
    """Groups of these texts; who is in none yet begins one with those of equal length."""
    present = set(map(id, going))
    groups = {id(text.group): text.group for text in going if text.group}
    for group in groups.values():
        for text in group.texts:
            if text.group is group and id(text) not in present:
                text.group = None  # left out, so out of step: should it come back, it is fed anew
    alone = sorted((text for text in going if not text.group), key=_unread)
    for _, same in groupby(alone, key=_unread):
        group = _Group(list(same))
        groups[id(group)] = group
        for text in group.texts:
            text.group = group
    return list(groups.values())


def _unread(text: LockstepText) -> int:
    return len(text.ids) - text.start
