"""Make the pictures of the README from a real run, a minute of one core.

    python docs/pictures.py

Recipe `speedrun` trains on the built-in tales. `pictures/training.svg` is the live view of the
terminal when the run is at `MOMENT` of its steps, `pictures/loss.svg` the curve that the run
writes. Neither loads anything: letters are in whatever monospace font the reader has.
"""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

import tinybuddy
from tinybuddy.terminal import LiveProgress

PICTURES = Path(__file__).parent / "pictures"
MOMENT = 0.95
COLUMNS = 100
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


class Photographer(LiveProgress):
    """The live view, which keeps what the terminal shows at one moment."""

    def __init__(self) -> None:
        super().__init__(_console())
        self.svg = ""
        self._notes: list[str] = []

    def on_note(self, text: str) -> None:
        """Keep the sentence, which stays above the view."""
        self._notes.append(text)
        super().on_note(text)

    def on_step(self, step: int, steps: int, loss: float, tokens_per_second: float) -> None:
        """Take the picture once."""
        super().on_step(step, steps, loss, tokens_per_second)
        if not self.svg and step >= MOMENT * steps:
            self.svg = self._picture()

    def _picture(self) -> str:
        console = _console(record=True)
        console.print("[bold green]$[/] tinybuddy train --data tales", highlight=False)
        for note in self._notes:
            console.print(note, markup=False, highlight=False)
        console.print(self._view())
        return console.export_svg(
            title="tinybuddy train", code_format=_without_fonts(), unique_id="training"
        )


def _console(**options: Any) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=COLUMNS, **options)


def _without_fonts() -> str:
    """Return Rich's frame for SVGs without the fonts that it would load from the web."""
    frame = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return frame.replace("Fira Code, monospace", FONT).replace("arial", "system-ui, sans-serif")


def main() -> None:
    """Train, and write both pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        photographer = Photographer()
        run = tinybuddy.train(data="tales", out=Path(folder) / "run", hooks=photographer)
        (PICTURES / "training.svg").write_text(photographer.svg, encoding="utf-8")
        shutil.copy(run.path / "loss.svg", PICTURES / "loss.svg")


if __name__ == "__main__":
    main()
