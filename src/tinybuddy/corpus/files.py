"""Stories out of files: the one boundary through which text from outside comes in.

==================  ==============================================================================
``.txt``            UTF-8. ``<|endoftext|>`` separates stories where the first 4 MiB hold one. In
                    other files two or more blank lines do, and a text of over 2,000 characters is
                    cut into passages where a paragraph, line, sentence or word ends.
``.jsonl``          One story a line: a JSON string, or an object with the key ``text``.
``.parquet``        One story a row, in the text column ``text`` (needs ``tinybuddy[parquet]``).
``.txt.gz`` ...     The first two, compressed with gzip.
a folder            All such files in it, by name. Files called ``train.*`` and ``validation.*``
                    are the two splits. Where it holds none, but folders that each hold these two,
                    all of them.
==================  ==============================================================================
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from tinybuddy.errors import TinybuddyError

SEPARATOR = "<|endoftext|>"
BLANK_LINES = r"\n[^\S\n]*\n[^\S\n]*\n"
HEAD_CHARACTERS = 4 << 20
BLOCK_BYTES = 1 << 20
PASSAGE_CHARACTERS = 2_000
LONGEST_STORY = 1_000_000  # characters between two separators, after which a story is cut
LONGEST_LINE = 64_000_000  # bytes of one line of .jsonl: beyond it the memory is at risk
KINDS = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz", ".parquet")  # the easiest to read first


def is_readable(name: str) -> bool:
    """Whether a file of this name holds stories that can be read."""
    return name.lower().endswith(KINDS)


def find_splits(path: Path) -> dict[str, list[Path]]:
    """Files of a file or folder, as ``{"all": [...]}`` or ``{"train": ..., "validation": ...}``.

    Raises:
        TinybuddyError: if there is nothing there that can be read.
    """
    try:
        if path.is_dir():
            files = _files_in(path)
            return (_two_splits(files) or {"all": files}) if files else _splits_of_folders(path)
        if path.exists():
            return {"all": [path]}
    except OSError as error:
        raise TinybuddyError(f"Cannot read {path}: {error.strerror}.") from None
    raise TinybuddyError(f"There is no file or folder {path}: check the spelling.")


def _files_in(folder: Path) -> list[Path]:
    names = sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != ".")
    return [p for p in names if is_readable(p.name)]


def _two_splits(files: list[Path]) -> dict[str, list[Path]] | None:
    """The splits that the files' names give; None unless both are there."""
    by_stem: dict[str, list[Path]] = {}
    for file in files:
        by_stem.setdefault(file.name.lower().split(".")[0], []).append(file)
    splits = ("train", "validation")
    return {s: by_stem[s] for s in splits} if by_stem.keys() >= set(splits) else None


def _splits_of_folders(path: Path) -> dict[str, list[Path]]:
    """The splits of all folders in one that holds no text itself."""
    folders = sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != ".")
    found = {folder: _two_splits(_files_in(folder)) for folder in folders}
    both = [splits for splits in found.values() if splits]
    if not both:
        raise TinybuddyError(
            f"The folder {path} holds no text: put {', '.join(KINDS)} files in it, or folders that "
            "each hold train.* and validation.*."
        )
    for folder, splits in found.items():
        if not splits:
            raise TinybuddyError(
                f"The folder {folder} lacks train.* or validation.*, which those beside it hold: "
                "add them, or take it away."
            )
    return {split: [p for splits in both for p in splits[split]] for split in both[0]}


def read_files(paths: Iterable[Path]) -> Iterator[str]:
    """Stories of several files, in order."""
    return chain.from_iterable(map(read_file, paths))


def read_file(path: Path, name: str = "") -> Iterator[str]:
    """Stories of one file; the ending of ``name``, else of the path, says of which kind it is.

    Raises:
        TinybuddyError: if the file cannot be read or is not what its ending says.
    """
    name = name or str(path)
    with _explained(path):
        if name.lower().endswith(".parquet"):
            yield from _read_parquet(path)
            return
        with gzip.open(path) if name.lower().endswith(".gz") else path.open("rb") as file:
            blocks = iter(lambda: file.read(BLOCK_BYTES), b"")
            yield from parse_blocks(blocks, name)


def parse_blocks(blocks: Iterable[bytes], name: str) -> Iterator[str]:
    """Stories of the bytes of a ``.txt`` or ``.jsonl`` file, which ``name`` tells apart.

    Raises:
        TinybuddyError: for bytes that are not UTF-8, NUL bytes, or broken JSON.
    """
    if ".jsonl" in name.lower()[-9:]:
        return _parse_jsonl(blocks, name)
    return _parse_text(_decode(blocks, name))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the libraries raise into one sentence."""
    try:
        yield
    except OSError as error:  # gzip.BadGzipFile is one, without strerror
        raise TinybuddyError(f"Cannot read {path}: {error.strerror or error}.") from None
    except (EOFError, zlib.error):
        raise TinybuddyError(f"{path} is cut off or damaged: fetch or compress it again.") from None


def _decode(blocks: Iterable[bytes], name: str) -> Iterator[str]:
    """Decode UTF-8 strictly; line ends become newlines, and a byte-order mark is dropped."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    offset, held = 0, ""
    for block in chain(blocks, [b""]):
        if (nul := block.find(b"\0")) >= 0:
            raise TinybuddyError(
                f"{name} holds a NUL byte at byte {offset + nul:,}: it is not UTF-8 text; "
                "save it as plain UTF-8 text."
            )
        try:
            text = held + decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise TinybuddyError(
                f"{name} is not UTF-8 text (near byte {offset + error.start:,}): save it as UTF-8, "
                "for example with iconv -f latin1 -t utf-8."
            ) from None
        offset += len(block)
        held = "\r" if block and text.endswith("\r") else ""  # the other half may follow
        yield text.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n")


def _parse_text(texts: Iterator[str]) -> Iterator[str]:
    head = ""
    for text in texts:
        head += text
        if len(head) >= HEAD_CHARACTERS:
            break
    if SEPARATOR in head:
        separator, longest = re.compile(re.escape(SEPARATOR)), LONGEST_STORY
    else:
        separator, longest = re.compile(BLANK_LINES), PASSAGE_CHARACTERS
    rest = ""
    for text in chain([head], texts):
        *stories, rest = separator.split(rest + text)
        for story in stories:
            yield from _passages(story, longest)
        # A separator may be half read, so only what is surely too long is cut before it ends.
        while len(rest) > 2 * longest:
            passage, rest = _cut(rest, longest)
            yield from _passages(passage, longest)
    yield from _passages(rest, longest)


def _passages(text: str, longest: int) -> Iterator[str]:
    """Yield ``text`` without surrounding space, cut where it is too long; nothing if empty."""
    while len(text) > longest:
        passage, text = _cut(text, longest)
        if passage := passage.strip():
            yield passage
    if text := text.strip():
        yield text


def _cut(text: str, longest: int) -> tuple[str, str]:
    """Cut at the last end of a paragraph, line, sentence or word in the first ``longest``."""
    for end in ("\n\n", "\n", ". ", " "):
        at = text.rfind(end, longest // 2, longest)
        if at >= 0:
            return text[: at + len(end)], text[at + len(end) :]
    return text[:longest], text[longest:]


def _parse_jsonl(blocks: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(_lines(blocks, name), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):  # undecodable bytes are a ValueError too
            raise TinybuddyError(f"{name} line {number} is not JSON in UTF-8: mend it.") from None
        if isinstance(value, dict):
            value = value.get("text")
        if not isinstance(value, str):
            raise TinybuddyError(f"{name} line {number} has no text: give each story a key 'text'.")
        if _usable(value, f"{name} line {number}"):
            yield value


def _lines(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    rest: list[bytes] = []
    held = 0
    for block in blocks:
        first, *others = block.split(b"\n")
        rest.append(first)
        held += len(first)
        if others:
            yield b"".join(rest)
            yield from others[:-1]
            rest, held = [others[-1]], len(others[-1])
        if held > LONGEST_LINE:
            raise TinybuddyError(f"{name} has a line of over {LONGEST_LINE:,} bytes: split it.")
    yield b"".join(rest)


def _read_parquet(path: Path) -> Iterator[str]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise TinybuddyError(
            "Reading .parquet needs pyarrow: pip install 'tinybuddy[parquet]'."
        ) from None
    try:
        with pq.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if columns.count("text") != 1 or not _is_text(file.schema_arrow.field("text").type):
                raise TinybuddyError(
                    f"{path} has no one column of texts called 'text' (but {', '.join(columns)}): "
                    "rename the one that holds the stories."
                )
            for batch in file.iter_batches(batch_size=16, columns=["text"]):
                for story in batch.column(0).to_pylist():
                    if story is not None and _usable(story, str(path)):
                        yield story
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise TinybuddyError(f"{path} is not a readable parquet file: {error}.") from None


def _is_text(kind: Any) -> bool:
    """Whether a parquet column of this type holds texts, as they are or through a dictionary."""
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _usable(story: str, name: str) -> bool:
    """Whether a story has any text; raise for what cannot be text."""
    if "\0" in story:
        raise TinybuddyError(f"{name} holds a NUL character: it is not text; take it out.")
    try:
        story.encode("utf-8")
    except UnicodeEncodeError:
        raise TinybuddyError(f"{name} holds half a surrogate pair: it is not Unicode.") from None
    return bool(story.strip())
