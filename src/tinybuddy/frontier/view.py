"""What a person sees while a study works: a table of its budgets in a terminal, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tinybuddy.frontier.progress import BudgetProgress, StudyHooks
from tinybuddy.terminal import REDRAW_SECONDS, PlainProgress, clock, sparkline

VERDICTS = {True: "YES", False: "NO", None: "?"}


class _TimeLeft:
    """Time left, from what was done since the beginning here."""

    def __init__(self) -> None:
        self._since, self._first = time.monotonic(), -1.0

    def __call__(self, done: float) -> str:
        if self._first < 0:
            self._since, self._first = time.monotonic(), done
        gone = done - self._first
        if gone <= 0:
            return ""
        return f"{clock((time.monotonic() - self._since) * (1 - done) / gone)} left"


class PlainStudy(PlainProgress, StudyHooks):
    """A plain line whenever a budget gets better, has had its trials, or a final run is scored."""

    def __init__(self) -> None:
        super().__init__()
        self._left, self._said = _TimeLeft(), dict[int, tuple[float, int, bool]]()

    def on_study(self, budgets: Sequence[BudgetProgress], done: float) -> None:
        """Print the budgets that have become better."""
        left = self._left(done)
        for found in budgets:
            state = (min(found.bits, default=0.0), found.finals, found.trials == found.all_trials)
            if found.bits and self._said.get(found.budget) != state:
                self._said[found.budget] = state
                self.on_note(f"{done:4.0%}  {_described(found)}  {left}")


class LiveStudy(StudyHooks):
    """A table of the budgets: how far each has come, its best, and a sparkline."""

    def __init__(self, console: Console) -> None:
        self._left, self._table = _TimeLeft(), Table(box=None, pad_edge=False)
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._live.start()
        self._drawn = 0.0

    def on_note(self, text: str) -> None:
        """Print the sentence above the table."""
        self._live.console.print(text, markup=False, highlight=False)

    def on_progress(self, what: str, done: int, total: int) -> None:
        """Say below the table what is being read, which takes seconds."""
        said = Text(f"{what} ({done / total:.0%})" if total else what, "dim")
        if time.monotonic() - self._drawn > REDRAW_SECONDS:
            self._live.update(Group(self._table, said), refresh=True)
            self._drawn = time.monotonic()

    def on_study(self, budgets: Sequence[BudgetProgress], done: float) -> None:
        """Draw the table."""
        self._table = table = Table(box=None, pad_edge=False)
        for name in ("parameters", "trials", "final", "bits/byte"):
            table.add_column(name, justify="right")
        for name in ("best so far", "", "verdict"):
            table.add_column(name)
        for found in budgets:
            table.add_row(
                f"{found.budget:,}",
                f"{found.trials}/{found.all_trials}",
                f"{found.finals}/{found.all_finals}",
                f"{min(found.bits):.3f}" if found.bits else "",
                found.shape,
                Text(sparkline(found.bits, 20), "cyan"),
                " ".join(VERDICTS[verdict] for verdict in found.verdicts),
            )
        self._live.update(Group(table, Text(f"{done:.0%} done  {self._left(done)}")), refresh=True)

    def close(self) -> None:
        """Leave the table standing."""
        self._live.stop()


def open_study_progress() -> StudyHooks:
    """Return the table in a terminal, plain lines elsewhere."""
    console = Console(stderr=True)
    live = console.is_terminal and not console.is_dumb_terminal
    return LiveStudy(console) if live else PlainStudy()


def _described(found: BudgetProgress) -> str:
    verdicts = " ".join(VERDICTS[verdict] for verdict in found.verdicts)
    return (
        f"{found.budget:>8,} parameters: {min(found.bits):.3f} bits/byte ({found.shape}), "
        f"{found.trials}/{found.all_trials} trials, {found.finals}/{found.all_finals} final"
        + (f": {verdicts}" if verdicts else "")
    )
