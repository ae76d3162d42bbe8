"""Text in a terminal, broken between words as it comes."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Generator, Iterable, Iterator


def width() -> int:
    """Columns of the terminal; 0 where it is none, and lines stay as they are."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    except (OSError, ValueError):
        return 0


def wrapped(pieces: Iterable[str], columns: int) -> Iterator[str]:
    """Break the lines of a text between words, as it comes; 0 columns break none."""
    column, word = 0, ""
    for piece in pieces:
        if not columns:
            yield piece
            continue
        *whole, word = re.split(r"(?<=\s)|(?=\s)", word + piece)
        for part in whole:
            column = yield from _placed(part, column, columns)
    yield from _placed(word, column, columns)


def _placed(part: str, column: int, width: int) -> Generator[str, None, int]:
    """Yield a word or a space, on a new line if it does not fit; return the column after it."""
    cells = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in part)
    if part == "\n":
        cells, column = 0, 0
    elif part.isspace() and column + cells > width:
        part, cells, column = "\n", 0, 0
    elif column and column + cells > width:
        part, column = f"\n{part}", 0
    if part:
        yield part
    return column + cells
