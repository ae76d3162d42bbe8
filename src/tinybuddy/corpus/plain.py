"""Plain text: bytes to characters, and characters to stories."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from tinybuddy.corpus.layout import Layout
from tinybuddy.errors import TinybuddyError

SEPARATOR = "<|endoftext|>"
HEAD_CHARACTERS = 4 << 20
PASSAGE_CHARACTERS = 2_000
LONGEST_STORY = 1_000_000  # characters between two separators, after which a story is cut
FEWEST_LINES = 20  # below it a list of lines is not told from a poem
VERSE_CHARACTERS = 55  # of a line

_BLANK_LINES = r"\n[^\S\n]*\n[^\S\n]*\n"  # two or more
_BLANK_LINE = r"\n[^\S\n]*\n"
_CUT = "long ones cut into passages of at most {:,} characters"
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*$")  # noqa: RUF001


def decode(blocks: Iterable[bytes], name: str) -> Iterator[str]:
    """Decode UTF-8, or UTF-16, strictly; line ends become newlines, and a byte-order mark goes.

    Raises:
        TinybuddyError: for other bytes, or a NUL.
    """
    blocks = iter(blocks)
    first = next(blocks, b"")
    kind = _encoding(first)
    label = "UTF-8" if kind == "utf-8-sig" else "UTF-16"
    decoder = codecs.getincrementaldecoder(kind)()
    offset, held = 0, ""
    for block in chain([first] if first else [], blocks, [b""]):
        if kind == "utf-8-sig" and (nul := block.find(b"\0")) >= 0:
            raise TinybuddyError(
                f"{name} holds a NUL byte at byte {offset + nul:,}: it is not UTF-8 text; "
                "save it as plain UTF-8 text."
            )
        try:
            text = held + decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise TinybuddyError(
                f"{name} is not {label} text (near byte {offset + error.start:,}): save it as "
                "UTF-8 from your editor, or with iconv -f WINDOWS-1252 -t UTF-8."
            ) from None
        offset += len(block)
        held = "\r" if block and text.endswith("\r") else ""  # the other half may follow
        yield text.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n")


def _encoding(head: bytes) -> str:
    """Tell UTF-16 by its byte-order mark, or by a NUL in every second byte."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = head[:200]
    zeros = {at % 2 for at, byte in enumerate(head) if not byte}
    if len(zeros) == 1 and head.count(0) > len(head) // 4:
        return "utf-16-le" if zeros == {1} else "utf-16-be"
    return "utf-8-sig"


class _Split(NamedTuple):
    separator: re.Pattern[str]
    longest: int  # characters of a story, after which it is cut
    how: str


def split_text(texts: Iterable[str], layout: Layout) -> Iterator[str]:
    """Stories of a plain text, without the white space around them."""
    texts = iter(texts)
    head = ""
    for text in texts:
        head += text
        if len(head) >= HEAD_CHARACTERS:
            break
    separator, longest, how = _said(layout) if layout.split else _found(head)
    layout.found[how] = None
    rest = ""
    for text in chain([head], texts):
        *stories, rest = separator.split(rest + text)
        layout.splits = layout.splits or bool(stories)
        for story in stories:
            yield from _passages(story, longest, layout)
        # A separator may be half read, so only what is surely too long is cut before it ends.
        while len(rest) > 2 * longest:
            passage, rest = _cut(rest, longest)
            layout.found[_CUT.format(longest)] = None
            yield from _passages(passage, longest, layout)
    yield from _passages(rest, longest, layout)


def _said(layout: Layout) -> _Split:
    """Split as the user says."""
    if layout.split == "lines":
        return _Split(re.compile(r"\n"), LONGEST_STORY, "one a line")
    if layout.split == "blank":
        return _Split(re.compile(_BLANK_LINE), LONGEST_STORY, "between blank lines")
    return _Split(
        re.compile(re.escape(layout.separator)), LONGEST_STORY, f"between {layout.split!r}"
    )


def _found(head: str) -> _Split:
    """Find out what separates the stories of a text that begins so."""
    if SEPARATOR in head:
        return _Split(re.compile(re.escape(SEPARATOR)), LONGEST_STORY, f"between {SEPARATOR}")
    if is_list(head):
        return _Split(re.compile(r"\n"), LONGEST_STORY, "one a line")
    if is_verse(head):
        return _Split(re.compile(_BLANK_LINE), LONGEST_STORY, "verse, between blank lines")
    how = "between two or more blank lines"
    return _Split(re.compile(_BLANK_LINES), PASSAGE_CHARACTERS, how)


def is_list(head: str) -> bool:
    """Whether each line of a text is something of its own, such as a name, a saying or a story.

    That is where hardly a line is blank, and nine in ten have at most three words, or eight in ten
    end as sentences do, which of the lines of wrapped prose or of a poem about one in five does.
    """
    lines = [line.strip() for line in head.strip().split("\n")]
    full = [line for line in lines if line]
    if len(full) < FEWEST_LINES or len(lines) - len(full) > len(lines) // 50:
        return False
    short = sum(len(line.split()) <= 3 for line in full)
    ended = sum(bool(_SENTENCE_END.search(line)) for line in full)
    return short >= 0.9 * len(full) or ended >= 0.8 * len(full)


def is_verse(head: str) -> bool:
    """Whether a text is poems with a blank line between them, as nothing else tells them apart.

    That is where there are never two blank lines, five blocks or more, of two lines or more each
    on average, and nine lines in ten have at most 55 characters; wrapped prose has 65 to 80.
    """
    if re.search(_BLANK_LINES, head.strip()):
        return False
    blocks = re.split(_BLANK_LINE, head.strip())
    lines = [line for block in blocks for line in block.split("\n")]
    short = sum(len(line) <= VERSE_CHARACTERS for line in lines)
    return len(blocks) >= 5 and len(lines) >= 2 * len(blocks) and short >= 0.9 * len(lines)


def _passages(text: str, longest: int, layout: Layout) -> Iterator[str]:
    """Yield ``text`` without surrounding space, cut where it is too long; nothing if empty."""
    while len(text) > longest:
        layout.found[_CUT.format(longest)] = None
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
