"""How long work says how far it has come; it knows nothing of terminals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from types import TracebackType
from typing import Any, Self

# Called with what is being done, and which part of all is done, from 0 to 1.
Progress = Callable[[str, float], None]


def shared(on_progress: Progress, weights: Sequence[float]) -> list[Progress]:
    """Split a line of progress among jobs that follow each other and take ``weights`` of its time.

    Returns:
        For each job what it shall call with its own part done.
    """
    ends = [end / sum(weights) for end in accumulate(weights, initial=0.0)]

    def job(start: float, end: float) -> Progress:
        return lambda what, part: on_progress(what, start + (end - start) * part)

    return [job(start, end) for start, end in pairwise(ends)]


class Hooks:
    """Called with the progress of a run; these do nothing, and who wants to know overrides them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def on_note(self, text: str) -> None:
        """Take one sentence."""

    def on_progress(self, what: str, done: int, total: int) -> None:
        """Take how far something else than training has come; a total of 0 is not known."""

    def on_resume(self, step: int, steps: int, losses: list[float]) -> None:
        """Take from which step a run goes on, and the losses of its evaluations so far."""

    def on_step(self, step: int, steps: int, loss: float, tokens_per_second: float) -> None:
        """Take the numbers of a training step."""

    def on_evaluation(self, row: dict[str, Any], steps: int) -> None:
        """Take the row of an evaluation, as ``metrics.jsonl`` holds it."""

    def close(self) -> None:
        """Give the terminal back."""
