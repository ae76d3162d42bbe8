"""Rows, each of which is or holds a story: JSON, JSON lines, tables.

Where rows have several keys, the stories are those of ``text``, else of a chat, else of the only
key whose values are text of more than a word; else the user says which (``--text-key``).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import IO, Any

from tinybuddy.corpus.layout import Layout, NoTextError
from tinybuddy.errors import TinybuddyError

LONGEST_LINE = 64_000_000  # characters of one line: beyond it the memory is at risk
LONGEST_JSON = 256_000_000  # bytes of a .json, which is read at once
SAMPLE = 100  # rows looked at to find the key

_CHATS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat")
_ROLES = {"human": "User", "gpt": "Assistant", "bot": "Assistant", "model": "Assistant"}

Row = tuple[str, Any]  # where it stands, in words, and what it is


def texts_of(rows: Iterable[Row], name: str, layout: Layout) -> Iterator[str]:
    """Stories of rows that are texts, or objects one of whose keys holds a text or a chat.

    Raises:
        NoTextError: if no key holds text, or several do.
        TinybuddyError: if a row has no text, or text that is not Unicode.
    """
    rows = iter(rows)
    head = list(islice(rows, SAMPLE))
    objects = [value for _, value in head if isinstance(value, dict)]
    key = find_key(objects, name, layout.text_key) if objects else ""
    layout.found[f"one a row, of {key!r}" if key else "one a row"] = None
    for where, value in chain(head, rows):
        if isinstance(value, dict):
            if not key:  # after 100 rows that were texts by themselves
                key = find_key([value], name, layout.text_key)
            if key not in value:
                raise TinybuddyError(f"{where} has no text: give each row the key {key!r}.")
            value = value[key]
        if value is None:
            continue
        if isinstance(value, list):
            value = _dialogue(value)
        if not isinstance(value, str):
            raise TinybuddyError(f"{where} has no text: give each row a text of its own.")
        if _is_usable(value, where):
            yield value


def find_key(rows: Sequence[dict[Any, Any]], name: str, asked: str) -> str:
    """Return the key that holds the stories.

    Raises:
        NoTextError: if no key does, or several do.
    """
    values: dict[Any, list[Any]] = {}
    for row in rows:
        for key, value in row.items():
            if value is not None:
                values.setdefault(key, []).append(value)
    listed = ", ".join(map(str, values)) or "none"
    if asked:
        if asked not in values:
            raise NoTextError(
                f"{name} has no key {asked!r} (its keys: {listed}): choose another `text_key`."
            )
        return asked
    if "text" in values:
        return "text"
    if chats := [key for key in _CHATS if key in values and _dialogue(values[key][0])]:
        return chats[0]
    strings = [key for key, found in values.items() if all(isinstance(v, str) for v in found)]
    telling = [k for k in strings if sum(" " in v.strip() for v in values[k]) * 2 > len(values[k])]
    if len(telling or strings) == 1:
        return str((telling or strings)[0])
    what = "several keys of text" if telling else "no key of text"
    message = f"{name} has {what} (its keys: {listed}): choose one with `text_key`."
    raise NoTextError(message, f"{what}: {listed}")


def _dialogue(messages: Any) -> str | None:
    """A chat as lines of who says what; None if it is none."""
    lines = []
    for message in messages if isinstance(messages, list) else [None]:
        match message:
            case {"role": str(role), "content": content} | {"from": str(role), "value": content}:
                who = _ROLES.get(role.casefold(), role.capitalize())
                lines.append(f"{who}: {_content(content)}")
            case _:
                return None
    return "\n".join(lines)


def _content(content: Any) -> str:
    """Text of a message, which may be in parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def rows_of_jsonl(texts: Iterable[str], name: str) -> Iterator[Row]:
    """Rows of JSON lines.

    Raises:
        TinybuddyError: for a line that is not JSON, or too long.
    """
    for number, line in enumerate(_lines(texts, name), start=1):
        if line.strip():
            where = f"{name} line {number}"
            try:
                yield where, json.loads(line)
            except (ValueError, RecursionError):
                raise TinybuddyError(f"{where} is not JSON: mend it.") from None


def rows_of_json(file: IO[bytes], name: str) -> Iterator[Row]:
    """Rows of a JSON document: a list, an object of texts, or an object with one list.

    Raises:
        TinybuddyError: if it is none of these, is not JSON, or is too large to be read at once.
    """
    data = file.read(LONGEST_JSON + 1)
    if len(data) > LONGEST_JSON:
        raise TinybuddyError(
            f"{name} has over {LONGEST_JSON:,} bytes of JSON: make it JSON lines (.jsonl)."
        )
    try:
        value = json.loads(data)  # tells UTF-8 from UTF-16 by itself
    except (ValueError, RecursionError):
        raise TinybuddyError(f"{name} is not JSON in UTF-8: mend it.") from None
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list)]
        texts = all(isinstance(item, str) for item in value.values())
        value = [*value.values()] if texts else lists[0] if len(lists) == 1 else None
    if not isinstance(value, list):
        raise NoTextError(f"{name} holds no list of stories: give it one, or make it JSON lines.")
    return ((f"{name} row {number}", row) for number, row in enumerate(value, start=1))


def rows_of_table(texts: Iterable[str], name: str, delimiter: str) -> Iterator[Row]:
    """Rows of a .csv or .tsv; its first row names the columns, if it looks so.

    Raises:
        TinybuddyError: if it is cut off, or a field is too long.
    """
    csv.field_size_limit(LONGEST_LINE)  # of the whole process; Python's own is 131,072
    lines = (f"{line}\n" for line in _lines(texts, name))
    first = next(lines, "")
    if delimiter == "," and first.count(";") > first.count(","):
        delimiter = ";"  # of spreadsheets whose decimals have commas
    reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
    columns: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                named = _names_columns(cells)
                columns = cells if named else [str(n) for n in range(1, len(cells) + 1)]
                if named:
                    continue
            yield f"{name} line {reader.line_num}", dict(zip(columns, cells, strict=False))
    except csv.Error as error:
        raise TinybuddyError(f"{name} line {reader.line_num} is not a row: {error}.") from None


def _names_columns(cells: Sequence[str]) -> bool:
    """Whether a first row is names: short, different, and no numbers."""
    names = [cell.strip() for cell in cells]
    short = all(0 < len(name) <= 40 and len(name.split()) <= 4 for name in names)
    return short and len({*names}) == len(names) and not any(n[:1].isdigit() for n in names)


def rows_of_parquet(file: IO[bytes], name: str, layout: Layout) -> Iterator[Row]:
    """Rows of a parquet file.

    Raises:
        TinybuddyError: if pyarrow is not installed, or the file is damaged.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise TinybuddyError(
            "Reading .parquet needs pyarrow: pip install 'tinybuddy[parquet]'."
        ) from None
    try:
        with pq.ParquetFile(file) as table:
            columns = table.schema_arrow.names
            if len({*columns}) < len(columns):
                raise NoTextError(
                    f"{name} has columns of one name ({', '.join(columns)}): rename them."
                )
            head = next(table.iter_batches(batch_size=SAMPLE), None)
            if head is None:
                return
            key = find_key(head.to_pylist(), name, layout.text_key)
            number = 0
            for batch in table.iter_batches(batch_size=16, columns=[key]):
                for value in batch.column(0).to_pylist():
                    number += 1
                    yield f"{name} row {number}", {key: value}
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise TinybuddyError(f"{name} is not a readable parquet file: {error}.") from None


def _lines(texts: Iterable[str], name: str) -> Iterator[str]:
    """Lines of a text, without their ends."""
    rest: list[str] = []
    held = 0
    for text in texts:
        first, *others = text.split("\n")
        rest.append(first)
        held += len(first)
        if others:
            yield "".join(rest)
            yield from others[:-1]
            rest, held = [others[-1]], len(others[-1])
        if held > LONGEST_LINE:
            raise TinybuddyError(f"{name} has a line of over {LONGEST_LINE:,} bytes: split it.")
    yield "".join(rest)


def _is_usable(story: str, where: str) -> bool:
    """Whether a story has any text; raise for what cannot be text."""
    if "\0" in story:
        raise TinybuddyError(f"{where} holds a NUL character: it is not text; take it out.")
    try:
        story.encode("utf-8")
    except UnicodeEncodeError:
        raise TinybuddyError(f"{where} holds half a surrogate pair: it is not Unicode.") from None
    return bool(story.strip())
