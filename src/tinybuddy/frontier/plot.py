"""The action `plot`: two pictures and a page of what a study has found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinybuddy.disk import expanded, write_text
from tinybuddy.frontier.findings import find
from tinybuddy.frontier.page import page_of
from tinybuddy.frontier.pictures import bytes_svg, frontier_svg


def plot(study: str | Path, out: str | Path) -> dict[str, Any]:
    """Write ``frontier.svg``, ``bytes.svg`` and ``frontier.html``.

    Args:
        study: its folder, or its file of runs.
        out: folder to write to; what has these names there is replaced.

    Returns:
        ``written``, the paths; ``law`` and ``held_back``, what `tinybuddy.frontier.law` says of the
        runs, or None; ``lacks``, why there is none.

    Raises:
        TinybuddyError: if there is nothing to draw, or it cannot be written.
    """
    found, folder = find(expanded(study)), expanded(out)
    files = {
        "frontier.svg": frontier_svg(found),
        "bytes.svg": bytes_svg(found),
        "frontier.html": page_of(found),
    }
    for name, text in files.items():
        write_text(folder / name, text)
    return {
        "written": [str(folder / name) for name in files],
        "law": found.law.to_mapping() if found.law else None,
        "held_back": found.held_back,
        "lacks": found.lacks,
    }
