"""How long work says how far it has come; it knows nothing of terminals."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self


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

    def on_step(self, step: int, steps: int, loss: float, tokens_per_second: float) -> None:
        """Take the numbers of a training step."""

    def on_evaluation(self, row: dict[str, Any], steps: int) -> None:
        """Take the row of an evaluation, as ``metrics.jsonl`` holds it."""

    def close(self) -> None:
        """Give the terminal back."""
