"""Stories out of files: the one boundary through which text from outside comes in.

=========================  =======================================================================
``.txt``, no ending        UTF-8 or UTF-16. ``<|endoftext|>`` separates stories where the first 4
                           MiB hold one. A list, such as of names, is a story a line. In other
                           files two or more blank lines separate, and a text of over 2,000
                           characters is cut into passages where a paragraph, line, sentence or
                           word ends. ``--split`` says otherwise.
``.jsonl``, ``.ndjson``    One story a line: a JSON string, or an object (see `corpus.rows`).
``.json``                  A list of these.
``.csv``, ``.tsv``         One story a row.
``.parquet``               One story a row (needs ``tinybuddy[parquet]``).
``.md``, ``.html``         Text as a reader sees it.
``.gz``, ``.zip``          These, compressed.
a folder                   All such files in it, by name, without those whose names say test.
                           Where names say train and validation, these are the two splits. Where it
                           holds no such file, those of its folders.
=========================  =======================================================================
"""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, cast

from tinybuddy.corpus.layout import Layout, NoTextError
from tinybuddy.corpus.plain import decode, split_text
from tinybuddy.corpus.rows import (
    rows_of_json,
    rows_of_jsonl,
    rows_of_parquet,
    rows_of_table,
    texts_of,
)
from tinybuddy.errors import TinybuddyError

BLOCK_BYTES = 1 << 20
LONGEST_PAGE = 64_000_000  # bytes of a .md or .html, which is read at once
TABLES = {".csv": ",", ".tsv": "\t"}
ROWS = (".jsonl", ".ndjson", ".parquet", *TABLES, ".json")
PAGES = (".md", ".markdown", ".html", ".htm", ".xhtml")
KINDS = (".txt", ".text", *ROWS, *PAGES, ".zip")  # each but .zip may be followed by .gz

# What holds text for people, but not so that it could be read here.
DOCUMENTS = {
    ".pdf": "a PDF",
    ".doc": "a Word document",
    ".docx": "a Word document",
    ".odt": "an OpenDocument text",
    ".rtf": "a rich text",
    ".epub": "an e-book",
    ".xls": "a spreadsheet",
    ".xlsx": "a spreadsheet",
}
_MAGIC = {b"%PDF-": ".pdf", b"\xd0\xcf\x11\xe0": ".doc", b"{\\rtf": ".rtf"}

_ROLES = {  # what a file holds, by the words of its name, or else of its folders
    "about": {"readme", "licence", "license", "citation", "requirements", "vocab", "merges"},
    "validation": {"validation", "valid", "val", "dev"},
    "test": {"test", "testing"},
    "train": {"train", "training"},
}


def kind_of(name: str) -> str:
    """Ending of a name that says how it is read, without ``.gz``; empty for plain text."""
    stem = name.lower().removesuffix(".gz")
    return next((kind for kind in (*KINDS, *DOCUMENTS) if stem.endswith(kind)), "")


def is_readable(name: str) -> bool:
    """Whether a file of this name holds stories that can be read."""
    return kind_of(name) in KINDS


def role_of(path: str) -> str:
    """Read off a path what a file holds: train, validation, test, about, or nothing.

    Its last part counts most, and of that the first word that says it.
    """
    for part in reversed(PurePosixPath(path.lower()).parts):
        for word in re.findall(r"[a-z]+", part):
            for role, words in _ROLES.items():
                if word in words:
                    return role
    return ""


def choose(paths: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Tell by their names which files are to train on and which to score.

    Files that say train leave those out that say nothing.

    Returns:
        ``{"train": [...], "validation": [...]}``, either of which may be empty, and the others.
    """
    roles = {path: role_of(path) for path in paths}
    wanted = "train" if "train" in roles.values() else ""
    chosen = {
        "train": [path for path, role in roles.items() if role == wanted],
        "validation": [path for path, role in roles.items() if role == "validation"],
    }
    others = [path for path in paths if path not in chosen["train"] + chosen["validation"]]
    return chosen, others


def find_splits(path: Path, layout: Layout | None = None) -> dict[str, list[Path]]:
    """Files of a file or folder, as ``{"all": [...]}`` or ``{"train": ..., "validation": ...}``.

    Args:
        path: the file or folder.
        layout: takes the names of files that are not read.

    Raises:
        TinybuddyError: if there is nothing there that can be read.
    """
    layout = layout or Layout()
    try:
        if path.is_dir():
            return _splits_of(path, layout)
        if path.exists():
            return {"all": [path]}
    except OSError as error:
        raise TinybuddyError(f"Cannot read {path}: {error.strerror}.") from None
    raise TinybuddyError(f"There is no file or folder {path}: check the spelling.")


def _splits_of(folder: Path, layout: Layout) -> dict[str, list[Path]]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != ".")
    for file in files:
        if not is_readable(file.name):
            what = DOCUMENTS.get(kind_of(file.name), "of a kind that is not read")
            layout.skipped[f"{file.name} ({what})"] = None
    readable = [file.name for file in files if is_readable(file.name)]
    if all(role_of(name) == "about" for name in readable):  # README.md, say, beside folders of text
        try:
            found = _splits_of_folders(folder, layout)
        except NoTextError:
            if not readable:
                raise
        else:
            layout.skipped |= {f"{name} (about)": None for name in readable}
            return found
    chosen, others = choose(readable)
    if not chosen["train"]:  # one that is called test.txt, for one, and nothing beside it
        chosen, others = {"train": readable, "validation": []}, []
    for name in others:
        layout.skipped[f"{name} ({role_of(name) or 'beside files that say train'})"] = None
    splits = {split: [folder / name for name in names] for split, names in chosen.items()}
    return splits if splits["validation"] else {"all": splits["train"]}


def _splits_of_folders(path: Path, layout: Layout) -> dict[str, list[Path]]:
    """The splits of all folders in one that holds no text itself."""
    folders = sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != ".")
    found = {}
    for folder in folders:
        try:
            found[folder] = _splits_of(folder, layout)
        except NoTextError:
            layout.skipped[f"{folder.name} (no text)"] = None
    if not found:
        raise NoTextError(
            f"The folder {path} holds no text: put {', '.join(KINDS)} files in it, or folders that "
            "hold such."
        )
    kinds = {frozenset(splits) for splits in found.values()}
    if len(kinds) > 1:
        lacking = next(folder for folder, splits in found.items() if "all" in splits)
        raise TinybuddyError(
            f"The folder {lacking} lacks train.* or validation.*, which those beside it hold: "
            "add them, or take it away."
        )
    (names,) = kinds
    return {
        split: [p for splits in found.values() for p in splits[split]] for split in sorted(names)
    }


def read_files(paths: Sequence[Path], layout: Layout | None = None) -> Iterator[str]:
    """Stories of several files, in order; of several, those without text are left out and named."""
    layout = layout or Layout()
    if len(paths) == 1:
        yield from read_file(paths[0], layout=layout)
        return
    for path in paths:
        try:
            yield from read_file(path, layout=layout)
        except NoTextError as error:
            layout.skipped[f"{path.name} ({error.reason})"] = None


def read_file(path: Path, name: str = "", layout: Layout | None = None) -> Iterator[str]:
    """Stories of one file; the ending of ``name``, else of the path, says of which kind it is.

    Raises:
        TinybuddyError: if the file cannot be read or is not what its ending says.
    """
    name, layout = name or str(path), layout or Layout()
    with _explained(path), path.open("rb") as file:
        yield from _read(file, name, layout)


def _read(file: IO[bytes], name: str, layout: Layout) -> Iterator[str]:
    """Stories of an open file."""
    kind = kind_of(name)
    if what := DOCUMENTS.get(kind):
        raise _document(name, what)
    if name.lower().endswith(".gz"):
        with gzip.open(file) as inner:
            yield from _read(cast(IO[bytes], inner), name[:-3], layout)
    elif kind == ".zip":
        yield from _read_zip(file, name, layout)
    elif kind == ".parquet":
        yield from texts_of(rows_of_parquet(file, name, layout), name, layout)
    elif kind == ".json":
        yield from texts_of(rows_of_json(file, name), name, layout)
    else:
        yield from parse_blocks(iter(lambda: file.read(BLOCK_BYTES), b""), name, layout)


def _read_zip(file: IO[bytes], name: str, layout: Layout) -> Iterator[str]:
    with zipfile.ZipFile(file) as archive:
        members = [m for m in archive.namelist() if not m.startswith("__MACOSX/") and m[-1] != "/"]
        readable = [m for m in sorted(members) if is_readable(m) and kind_of(m) != ".zip"]
        chosen, others = choose(readable)
        for member in [*others, *sorted({*members} - {*readable})]:
            layout.skipped[f"{member} in {name}"] = None
        if not chosen["train"] + chosen["validation"]:
            raise NoTextError(f"{name} holds no text: put {', '.join(KINDS[:-1])} files in it.")
        for member in chosen["train"] + chosen["validation"]:
            with archive.open(member) as inner:
                yield from _read(inner, member, layout)


def parse_blocks(blocks: Iterable[bytes], name: str, layout: Layout | None = None) -> Iterator[str]:
    """Stories of the bytes of a file that is read from its beginning on, as ``name`` says.

    Raises:
        TinybuddyError: for bytes that are not text, or not rows as its ending says.
    """
    layout, kind = layout or Layout(), kind_of(name)
    blocks = iter(blocks)
    first = next(blocks, b"")
    for magic, document in _MAGIC.items():
        if first.startswith(magic):
            raise _document(name, DOCUMENTS[document])
    if first.startswith(b"PK\x03\x04"):
        raise TinybuddyError(f"{name} is a .zip or an office document: name it as what it is.")
    texts = decode(chain([first], blocks) if first else [], name)
    if kind in (".jsonl", ".ndjson"):
        yield from texts_of(rows_of_jsonl(texts, name), name, layout)
    elif kind in TABLES:
        yield from texts_of(rows_of_table(texts, name, TABLES[kind]), name, layout)
    elif kind in PAGES:
        yield from split_text([_page(texts, name, kind)], layout)
    else:
        yield from split_text(texts, layout)


def _page(texts: Iterable[str], name: str, kind: str) -> str:
    """What a reader sees of a page."""
    from tinybuddy.corpus.markup import html_text, markdown_text

    source = ""
    for text in texts:
        source += text
        if len(source) > LONGEST_PAGE:
            raise TinybuddyError(f"{name} has over {LONGEST_PAGE:,} characters: split it.")
    return markdown_text(source) if kind in (".md", ".markdown") else html_text(source)


def _document(name: str, what: str) -> TinybuddyError:
    return TinybuddyError(f"{name} is {what}, which is not read here: save its text as .txt.")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the libraries raise into one sentence."""
    try:
        yield
    except OSError as error:  # gzip.BadGzipFile is one, without strerror
        raise TinybuddyError(f"Cannot read {path}: {error.strerror or error}.") from None
    except (EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        # An encrypted member of a .zip is a RuntimeError.
        why = f" ({error})" if isinstance(error, RuntimeError) else ""
        raise TinybuddyError(
            f"{path} is cut off or damaged{why}: fetch or compress it again."
        ) from None
