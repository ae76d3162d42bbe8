"""What is told of a study while it works; it knows nothing of terminals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tinybuddy.progress import Hooks


@dataclass
class BudgetProgress:
    """How far one budget has come.

    Attributes:
        budget: in parameters.
        trials: proposals that have ended, out of ``all_trials``.
        finals: runs of the best proposal that have ended and been scored, out of ``all_finals``.
        bits: the best bits per byte after each trial that has ended, falling.
        shape: of the best, in words.
        verdicts: of the runs that were scored; None where that is not known.
    """

    budget: int
    all_trials: int
    all_finals: int
    trials: int = 0
    finals: int = 0
    bits: list[float] = field(default_factory=list)
    shape: str = ""
    verdicts: list[bool | None] = field(default_factory=list)


class StudyHooks(Hooks):
    """Called with the progress of a study; these do nothing."""

    def on_study(self, budgets: Sequence[BudgetProgress], done: float) -> None:
        """Take how far each budget has come, and which part of all work is done, from 0 to 1."""
