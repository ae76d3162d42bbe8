"""What a person sees while a run works: a live view in a terminal, plain lines elsewhere.

All of it goes to standard error, so that standard output stays free for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from tinybuddy.progress import Hooks

REDRAW_SECONDS = 0.25  # drawing takes about 3 ms, which is 1 % of the core at this pace


class PlainProgress(Hooks):
    """One plain line for each note and evaluation; work of over two seconds is named."""

    def __init__(self) -> None:
        self._named = ""
        self._since: float | None = None  # None once what is named has been printed

    def on_note(self, text: str) -> None:
        """Print the sentence."""
        print(text, file=sys.stderr, flush=True)

    def on_progress(self, what: str, done: int, total: int) -> None:
        """Print what is being done, once, when it has taken two seconds."""
        if what != self._named:
            self._named, self._since = what, time.monotonic()
        elif self._since is not None and time.monotonic() - self._since > 2:
            self._since = None
            self.on_note(f"{what} ({done / total:.0%}) ..." if total else f"{what} ({done:,}) ...")

    def on_resume(self, step: int, steps: int, losses: list[float]) -> None:
        """Print it."""
        self.on_note(f"going on from step {step:,} of {steps:,}")

    def on_evaluation(self, row: dict[str, Any], steps: int) -> None:
        """Print the row as one line."""
        left = (steps - row["step"]) * row["train_seconds"] / max(1, row["step"])
        sample = " ".join(row["sample"].split())[:60]
        self.on_note(
            f"step {row['step']:>{len(str(steps))}}/{steps}  loss {row['loss']:.3f}  "
            f"{row['bits_per_byte']:.3f} bits/byte  {row['tokens_per_second']:,.0f} tokens/s  "
            f"{clock(left)} left  | {sample}"
        )


class LiveProgress(Hooks):
    """A bar with the time left, the loss so far as a sparkline, and the latest sample."""

    def __init__(self, console: Console) -> None:
        self._losses: list[float] = []
        self._first: int | None = None  # the step before the first that was seen here
        self._row: dict[str, Any] = {}
        self._drawn = 0.0
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}"),
            expand=True,
        )
        self._task = self._bar.add_task("reading", total=None, left="")
        self._live = Live(self._view(), console=console, auto_refresh=False, transient=False)
        self._live.start()
        self._started, self._from = time.monotonic(), 0

    def on_note(self, text: str) -> None:
        """Print the sentence above the view."""
        self._live.console.print(text, markup=False, highlight=False)

    def on_progress(self, what: str, done: int, total: int) -> None:
        """Move the bar for what is being done."""
        task = self._bar.tasks[0]
        if total != task.total or done < task.completed:  # other work, not a further part of it
            self._started, self._from = time.monotonic(), done
        gone = done - self._from
        left = (time.monotonic() - self._started) * (total - done) / max(1, gone)
        self._bar.update(
            self._task,
            description=what,
            completed=done,
            total=total or None,
            left=f"{clock(left)} left" if total and gone else "",
        )
        self._draw()

    def on_resume(self, step: int, steps: int, losses: list[float]) -> None:
        """Say it above the view, and let the sparkline begin where it ended."""
        self.on_note(f"going on from step {step:,} of {steps:,}")
        self._losses, self._tokens_per_second = list(losses), 0.0

    def on_step(self, step: int, steps: int, loss: float, tokens_per_second: float) -> None:
        """Move the bar and the sparkline."""
        if self._first is None:
            self._first, self._started = step - 1, time.monotonic()
        self._losses.append(loss)
        left = (time.monotonic() - self._started) / (step - self._first) * (steps - step)
        self._bar.update(
            self._task,
            description="training",
            completed=step,
            total=steps,
            left=f"{clock(left)} left",
        )
        self._tokens_per_second = tokens_per_second
        self._draw()

    def on_evaluation(self, row: dict[str, Any], steps: int) -> None:
        """Show the sample."""
        self._row = row
        self._draw(now=True)

    def close(self) -> None:
        """Leave the view standing where there is a curve to see; a bar alone goes."""
        self._live.transient = not self._losses
        self._draw(now=True)
        self._live.stop()

    def _view(self) -> Group:
        parts: list[Any] = [self._bar]
        if self._losses:
            bits = f"{self._row['bits_per_byte']:.3f}" if self._row else "..."
            parts.append(
                Text.assemble(
                    ("loss ", "dim"),
                    f"{self._losses[-1]:.3f}   ",
                    ("bits per byte ", "dim"),
                    (bits, "bold"),
                    ("   tokens/s ", "dim"),
                    f"{self._tokens_per_second:,.0f}   ",
                    (sparkline(self._losses), "cyan"),
                )
            )
        if self._row:
            title = f"what it says after {self._row['step']:,} steps"
            sample = Text(self._row["sample"].strip() or "(nothing)")
            parts.append(Panel(sample, title=title, title_align="left", border_style="dim"))
        return Group(*parts)

    def _draw(self, now: bool = False) -> None:
        if now or time.monotonic() - self._drawn > REDRAW_SECONDS:
            self._live.update(self._view(), refresh=True)
            self._drawn = time.monotonic()


def open_progress() -> Hooks:
    """Return the live view in a terminal, plain lines elsewhere."""
    console = Console(stderr=True)
    live = console.is_terminal and not console.is_dumb_terminal
    return LiveProgress(console) if live else PlainProgress()


def clock(seconds: float) -> str:
    """Write a duration as m:ss or h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Draw values as a row of block characters, each the mean of its stretch."""
    blocks = "▁▂▃▄▅▆▇█"
    count = min(width, len(values))
    edges = [len(values) * i // count for i in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    return "".join(blocks[round((m - low) / ((high - low) or 1.0) * 7)] for m in means)
