"""What the verb ``corpus`` says of a text, and writes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinybuddy.corpus import keep_input, open_corpus, survey
from tinybuddy.corpus.files import SEPARATOR
from tinybuddy.disk import replacing
from tinybuddy.errors import TinybuddyError, UsageError


def describe_corpus(
    data: str,
    stories: int = 0,
    out: str | None = None,
    on_story: Callable[[int], None] | None = None,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Survey a text; with ``out``, write its stories, validation among them, as one file.

    Args:
        data: as `tinybuddy.corpus.open_corpus` takes it.
        stories: training stories at most; 0 for all.
        out: a ``.txt`` or ``.jsonl`` file.
        on_story: called with the number of stories read so far.
        force: replace ``out`` if it is there, unless it is part of ``data``.

    Returns:
        The fields of `tinybuddy.corpus.Survey` and its warning; for the tales also ``entropy``,
        the fields of `tinybuddy.corpus.tales.Entropy`.

    Raises:
        UsageError: if ``out`` is neither ``.txt`` nor ``.jsonl``.
        TinybuddyError: if the text cannot be read or the file not written, or is there already.
    """
    if out and not out.endswith((".txt", ".jsonl")):
        raise UsageError(f"{out} must end in .txt or .jsonl, which says how to write it.")
    if out:
        _check_free(Path(out), data, force)
    if stories < 0:
        raise UsageError(f"--stories must be 0, for all, or more, not {stories}.")
    with tempfile.TemporaryDirectory() as folder:
        source = "standard input" if data == "-" else data
        if data == "-":
            data = str(Path(folder) / "input.txt")
            keep_input(Path(data))
        corpus, found = survey(open_corpus(data, stories, clean=False), on_story)
        facts = asdict(found) | {"source": source, "warning": found.warning()}
        if data == "tales":
            from tinybuddy.corpus.tales import entropy

            facts["entropy"] = asdict(entropy())
        if out:
            with replacing(Path(out)) as file:
                for split, story in corpus.labelled():
                    if split != "duplicate":
                        file.write(_line(story, out).encode("utf-8"))
            facts["written"] = out
    return facts


def _check_free(out: Path, data: str, force: bool) -> None:
    """Raise TinybuddyError if writing ``out`` would lose what nobody said may be lost."""
    if not out.exists():
        return
    source = None if data in ("tales", "-") else Path(data).resolve()
    if source and out.resolve().is_relative_to(source):
        raise TinybuddyError(f"{out} is what is read: choose another -o.")
    if not force:
        raise TinybuddyError(
            f"{out} is there already: choose another -o, or --force to replace it."
        )


def _line(story: str, out: str) -> str:
    if out.endswith(".jsonl"):
        return json.dumps({"text": story}, ensure_ascii=False) + "\n"
    return f"{story}\n{SEPARATOR}\n"
