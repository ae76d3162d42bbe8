"""What the verb ``corpus`` says of a text, and writes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tinybuddy.corpus import open_corpus, survey, verified
from tinybuddy.corpus.kept import INPUT, is_read_once, keep
from tinybuddy.corpus.plain import SEPARATOR
from tinybuddy.disk import expanded, replacing
from tinybuddy.errors import TinybuddyError, UsageError


def describe_corpus(
    data: str | Path | Sequence[str],
    stories: int = 0,
    out: str | Path | None = None,
    on_story: Callable[[int], None] | None = None,
    *,
    split: str = "",
    text_key: str = "",
    force: bool = False,
) -> dict[str, Any]:
    """Survey a text; with ``out``, write its stories, validation among them, as one file.

    Args:
        data: as `tinybuddy.corpus.open_corpus` takes it, or a list of texts.
        stories: training stories at most; 0 for all.
        out: a ``.txt`` or ``.jsonl`` file.
        on_story: called with the number of stories read so far.
        split: see `tinybuddy.corpus.open_corpus`.
        text_key: likewise.
        force: replace ``out`` if it is there, unless it is part of ``data``.

    Returns:
        The fields of `tinybuddy.corpus.Survey` and its warning; for the tales also ``entropy``,
        the fields of `tinybuddy.corpus.tales.Entropy`.

    Raises:
        UsageError: if ``out`` is neither ``.txt`` nor ``.jsonl``.
        TinybuddyError: if the text cannot be read or the file not written, or is there already.

    Examples:
        >>> found = tinybuddy.describe_corpus(["A cat sat.", "A dog ran.", "A cat sat."])
        >>> found["stories"], found["validation_stories"], found["duplicates"]
        (1, 1, 1)
    """
    target = expanded(out) if out else None
    if target and target.suffix not in (".txt", ".jsonl"):
        raise UsageError(f"{out} must end in .txt or .jsonl, which says how to write it.")
    if target:
        _check_free(target, data, force)
    if stories < 0:
        raise UsageError(f"`stories` must be 0, for all, or more, not {stories}.")
    with tempfile.TemporaryDirectory() as folder:
        name = "standard input" if data == INPUT else str(data)
        if is_read_once(data):
            name = name if isinstance(data, str | Path) else "a list of texts"
            data = keep(data, Path(folder))
        corpus = open_corpus(str(data), stories, clean=False, split=split, text_key=text_key)
        corpus, found = survey(replace(corpus, source=name.replace("\n", " + ")), on_story)
        facts = asdict(found) | {"warning": found.warning(), "layout": found.layout()}
        if data == "tales":
            from tinybuddy.corpus.tales import entropy

            facts["entropy"] = asdict(entropy())
        if target:
            with replacing(target) as file:  # if the text has changed, the file stays as it was
                for _, story in verified(corpus, found):
                    file.write(_line(story, target.suffix).encode("utf-8"))
            facts["written"] = str(out)
    return facts


def _check_free(out: Path, data: Any, force: bool) -> None:
    """Raise TinybuddyError if writing ``out`` would lose what nobody said may be lost."""
    if not out.exists():
        return
    sources = [] if is_read_once(data) else map(expanded, str(data).split("\n"))
    if any(out.resolve().is_relative_to(source.resolve()) for source in sources):
        raise TinybuddyError(f"{out} is what is read: choose another `out`.")
    if not force:
        raise TinybuddyError(
            f"{out} is there already: choose another `out`, or `force` to replace it."
        )


def _line(story: str, ending: str) -> str:
    if ending == ".jsonl":
        return json.dumps({"text": story}, ensure_ascii=False) + "\n"
    return f"{story}\n{SEPARATOR}\n"
