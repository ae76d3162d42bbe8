"""The one decoding loop: texts that are generated side by side, join and leave at any token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tinybuddy.backends.interface import Backend, Generation
from tinybuddy.config import SampleConfig
from tinybuddy.errors import TinybuddyError

STEP_SECONDS = 0.02  # a call's length to aim at: Ctrl-C, and who joins or leaves, wait for its end
MOST_STEPS = 65_536  # of one call: room for new ids is made for as many
FIRST_STEPS = 4  # of a call after a text has joined, so that its first token is soon there
LOOK_EVERY = 16  # tokens at most that a text gets before it is asked whether it goes on


class Piece(NamedTuple):
    """What became of a text in one step of a `BatchedDecoder`."""

    key: int
    ids: list[int]  # new ones, without the end
    ended: bool  # and has left the batch
    broken: bool  # ended because the model's logits are not finite


class BatchedDecoder:
    """Texts generated side by side by one back end.

    All go on by as many tokens in a step, so none waits for another's end, and what each says does
    not depend on what is beside it. One thread at a time may use it.
    """

    def __init__(self, backend: Backend, clock: Callable[[], float] = time.perf_counter) -> None:
        """Take what computes, and the seconds by which the length of a step is chosen.

        Where other threads compute too, `time.thread_time` leaves out the time that they take.
        """
        self._backend, self._clock = backend, clock
        self._texts: dict[int, Generation] = {}
        self._given: dict[int, int] = {}  # new ids of each that `step` has returned
        self._next, self._steps = 0, 1

    def __len__(self) -> int:
        """Texts that have not ended."""
        return len(self._texts)

    def join(
        self, prompt: Sequence[int], count: int, sample: SampleConfig, seed: int, eos: int = -1
    ) -> int:
        """Let a text in; see `tinybuddy.backends.interface.Backend.begin`.

        Returns:
            Its key.
        """
        text = self._backend.begin(prompt, count, sample, seed, eos)
        key, self._next = self._next, self._next + 1
        self._texts[key], self._given[key] = text, 0
        self._steps = min(self._steps, FIRST_STEPS)
        return key

    def cancel(self, key: int) -> None:
        """Take a text out; nothing happens if it has ended."""
        self._texts.pop(key, None)
        self._given.pop(key, None)

    def step(self, most: int = MOST_STEPS) -> list[Piece]:
        """Go on with all texts, by as many tokens as take some 20 ms.

        Args:
            most: tokens of a text at most.

        Returns:
            The texts that have new ids or have ended, in the order in which they joined.
        """
        began = self._clock()
        self._backend.advance(list(self._texts.values()), min(self._steps, most))
        seconds = self._clock() - began
        if seconds < STEP_SECONDS / 2:
            self._steps = min(2 * self._steps, MOST_STEPS)
        elif seconds > STEP_SECONDS * 2:
            self._steps = max(1, self._steps // 2)
        pieces = []
        for key, text in list(self._texts.items()):
            new = text.new_ids(self._given[key])
            self._given[key] += len(new)
            if text.ended:
                self.cancel(key)
            if new or text.ended:
                pieces.append(Piece(key, new, text.ended, text.broken))
        return pieces


def continue_ids(
    backend: Backend,
    prompts: Sequence[Sequence[int]],
    count: int,
    sample: SampleConfig,
    seeds: Sequence[int],
    eos: int = -1,
    goes_on: Callable[[int], bool] | None = None,
) -> Iterator[tuple[int, list[int]]]:
    """Continue texts side by side.

    Args:
        backend: the model.
        prompts: what each text begins with, one id or more.
        count: new ids of each at most.
        sample: how they are drawn.
        seeds: of the random numbers of each.
        eos: the id that ends a text and is no part of it; -1 for none.
        goes_on: asked after each step, with the place of a text, whether more of it is wanted.

    Yields:
        The place of a text in ``prompts``, and its next ids: several where they come fast.

    Raises:
        TinybuddyError: if the model's logits are not finite.
    """
    batch = BatchedDecoder(backend)
    places = {
        batch.join(prompt, count, sample, seed, eos): place
        for place, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))
    }
    most = LOOK_EVERY if goes_on else MOST_STEPS
    while len(batch):
        for key, ids, ended, broken in batch.step(most):
            if ids:
                yield places[key], ids
            if broken:
                raise TinybuddyError("The model's numbers are not finite: its weights are broken.")
            if goes_on and not ended and not goes_on(places[key]):
                batch.cancel(key)
