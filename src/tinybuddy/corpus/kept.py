"""Text that can be read only once, kept as a file so that it can be read again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from tinybuddy.corpus.files import BLOCK_BYTES, kind_of
from tinybuddy.disk import exists, expanded, replacing
from tinybuddy.errors import TinybuddyError, UsageError

INPUT = "-"  # standard input, and what was kept of any text that can be read only once
NAME = "input"  # of the file, with the ending that says how it is read


def is_read_once(data: object) -> bool:
    """Whether a text is gone once it has been read: standard input, a pipe, a list of texts."""
    if not isinstance(data, str | Path):
        return True
    if data == INPUT:
        return True
    path = expanded(data)
    # What `<(...)` and /dev/stdin name is open in this process alone, even if it is a file.
    opened = str(path).startswith(("/dev/", "/proc/"))
    return opened or (exists(path) and not path.is_file() and not path.is_dir())


def keep(data: str | Path | Sequence[str], folder: Path) -> Path:
    """Keep such a text in a folder; all of it or nothing.

    Args:
        data: ``-`` for standard input, a pipe or the like, or a list of texts.
        folder: where to.

    Returns:
        The file: ``input.txt``, or of another ending where the text's name has one.

    Raises:
        UsageError: if it is a list of what is not texts.
        TinybuddyError: if it holds no text, cannot be read, or cannot be written.
    """
    if isinstance(data, str | Path):
        ending = "" if data == INPUT else kind_of(str(data))
        path, what = folder / f"{NAME}{ending or '.txt'}", str(data)
        blocks = _blocks(data)
    else:
        path, what, blocks = folder / f"{NAME}.jsonl", "The list", _lines(data)
    holds_text = False
    with replacing(path) as file:
        for block in blocks:
            file.write(block)
            holds_text = holds_text or not block.isspace()
        if not holds_text:
            name = "Standard input" if data == INPUT else what
            raise TinybuddyError(f"{name} holds no text: give it some stories.")
    return path


def kept(folder: Path) -> Path | None:
    """Return what `keep` has kept in a folder; None if nothing."""
    return next((path for path in sorted(folder.glob(f"{NAME}.*")) if path.is_file()), None)


def _blocks(data: str | Path) -> Iterator[bytes]:
    if data == INPUT:
        yield from _read(sys.stdin.buffer)
        return
    try:
        with expanded(data).open("rb") as file:
            yield from _read(file)
    except OSError as error:
        raise TinybuddyError(f"Cannot read {data}: {error.strerror}.") from None


def _read(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(BLOCK_BYTES), b"")


def _lines(stories: Sequence[str]) -> Iterator[bytes]:
    for number, story in enumerate(stories, start=1):
        if not isinstance(story, str):
            raise UsageError(f"data must be a path or texts: number {number} of the list is none.")
        yield (json.dumps(story) + "\n").encode("utf-8")
