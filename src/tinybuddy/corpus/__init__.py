"""Where stories come from: what a user has, the hub, or the built-in tales."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

from tinybuddy.corpus.files import (
    BLOCK_BYTES,
    find_splits,
    is_readable,
    parse_blocks,
    read_file,
    read_files,
)
from tinybuddy.disk import replacing
from tinybuddy.errors import TinybuddyError, UsageError

VALIDATION_SHARE = 0.05
MOST_VALIDATION = 2_000  # stories kept for scoring; those beyond it are not trained on either
FEW_STORIES = 10  # to score: below it, one more or less moves the figure by several percent
HUB_VALIDATION = 1_000  # stories read of a hub data set's own validation split: about 1 MB
DEFAULT_TALES = 5_000

Reader = Callable[[], Iterator[str]]


@dataclass(frozen=True)
class Survey:
    """What a corpus was found to hold, duplicates removed.

    Attributes:
        source: what served, in words.
        stories: training stories.
        bytes: their UTF-8 bytes, after cleaning.
        validation_stories: stories kept for scoring.
        validation_bytes: their UTF-8 bytes.
        duplicates: stories left out because the same text had come before.
        sha256: hash of all stories of both splits, in order.
    """

    source: str
    stories: int
    bytes: int
    validation_stories: int
    validation_bytes: int
    duplicates: int
    sha256: str

    def warning(self) -> str:
        """What to know before the figure is believed; empty if nothing."""
        if self.validation_stories >= FEW_STORIES:
            return ""
        return (
            f"Stories to score: {self.validation_stories} only, so the figure will be rough. Those "
            "in a .txt are separated by <|endoftext|>, or by two or more blank lines."
        )


@dataclass(frozen=True)
class Corpus:
    """Stories in two splits, read anew at each use, so that a large text needs little memory.

    Attributes:
        source: what serves, in words.
        readers: ``all``, to be split by content, or ``train`` and ``validation``.
        limit: training stories at most; 0 for all.
        clean: mend mojibake in training stories; validation stories are never altered.
        held: digests of further validation stories, for a text too small to give any by chance.
    """

    source: str
    readers: dict[str, Reader]
    limit: int = 0
    clean: bool = True
    held: frozenset[bytes] = field(default=frozenset())

    def train(self) -> Iterator[str]:
        """Training stories: no duplicates, none that is in validation."""
        return (story for split, story in self.labelled() if split == "train")

    def validation(self) -> list[str]:
        """Validation stories, exactly as they were given."""
        return [story for split, story in self.labelled() if split == "validation"]

    def labelled(self) -> Iterator[tuple[str, str]]:
        """Yield ``(split, story)``, split being ``train``, ``validation`` or ``duplicate``."""
        seen: set[bytes] = set()
        counts = {"train": 0, "validation": 0}
        for split, story in self._unlabelled():
            digest = hashlib.blake2b(story.encode("utf-8"), digest_size=8).digest()
            if split == "all":
                split = "validation" if self._is_held(digest) else "train"
            if digest in seen:
                yield "duplicate", story
                continue
            seen.add(digest)
            counts[split] += 1
            if split == "train":
                yield split, _mended(story) if self.clean else story
                if counts[split] == self.limit:
                    return
            elif counts[split] <= MOST_VALIDATION or "validation" in self.readers:
                yield split, story

    def _unlabelled(self) -> Iterator[tuple[str, str]]:
        for split in ("validation", "train", "all"):  # validation first: train must not repeat it
            if split in self.readers:
                yield from ((split, story) for story in self.readers[split]())

    def _is_held(self, digest: bytes) -> bool:
        """By content, so that a story keeps its side while the text around it grows."""
        return int.from_bytes(digest) < VALIDATION_SHARE * 2**64 or digest in self.held


def open_corpus(
    data: str,
    stories: int = 0,
    clean: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """Open what a user has.

    Args:
        data: a file or folder (see `tinybuddy.corpus.files`), ``tales`` for the built-in tales,
            or a hub data set ``owner/name``.
        stories: training stories at most; 0 for all (of the tales: 5,000).
        clean: mend mojibake in training stories.
        on_progress: called during a download: bytes so far, bytes of the whole file.

    Raises:
        TinybuddyError: if it cannot be read.
    """
    path = Path(data)
    if data == "tales":
        return _open_tales(stories)
    if path.exists() or not _is_hub_name(data):
        splits = find_splits(path)
        readers: dict[str, Reader] = {s: partial(read_files, files) for s, files in splits.items()}
        return Corpus(data, readers, stories, clean)
    return _open_hub(data, stories, clean, on_progress)


def survey(corpus: Corpus, on_story: Callable[[int], None] | None = None) -> tuple[Corpus, Survey]:
    """Read a corpus once and say what is in it.

    The corpus comes back too: where no story fell into validation, the one of the smallest digest
    is held for it.

    Args:
        corpus: what to read.
        on_story: called with the number of stories read so far.

    Raises:
        UsageError: if its limit leaves a single story of several.
        TinybuddyError: if it has no text, or a single story, which cannot be split.
    """
    total = hashlib.sha256()
    counts = {"train": 0, "validation": 0, "duplicate": 0}
    sizes = dict.fromkeys(counts, 0)
    for number, (split, story) in enumerate(corpus.labelled(), start=1):
        if on_story:
            on_story(number)
        text = story.encode("utf-8")
        counts[split] += 1
        sizes[split] += len(text)
        if split != "duplicate":
            total.update(f"{split} {len(text)}\n".encode())
            total.update(text)
    if not counts["train"] + counts["validation"]:
        raise TinybuddyError(f"{corpus.source} holds no text: give it some stories.")
    if counts["validation"] == 0 and "all" in corpus.readers and counts["train"] > 1:
        raw = replace(corpus, clean=False).labelled()
        digests = (hashlib.blake2b(s.encode("utf-8"), digest_size=8).digest() for _, s in raw)
        return survey(replace(corpus, held=frozenset([min(digests)])))
    if counts["train"] == corpus.limit and not counts["validation"] and _holds_two(corpus):
        raise UsageError(
            f"--stories {corpus.limit} leaves no story of {corpus.source} to score: give --stories "
            "2 or more, or 0 for all."
        )
    if not counts["validation"] or not counts["train"]:
        raise TinybuddyError(
            f"{corpus.source} holds {counts['train']} stories to train on and "
            f"{counts['validation']} to score: give at least 2 stories, separated by <|endoftext|>."
        )
    found = Survey(
        source=corpus.source,
        stories=counts["train"],
        bytes=sizes["train"],
        validation_stories=counts["validation"],
        validation_bytes=sizes["validation"],
        duplicates=counts["duplicate"],
        sha256=total.hexdigest(),
    )
    return corpus, found


def _holds_two(corpus: Corpus) -> bool:
    """Whether there are two stories to be split, were it not for the limit."""
    everything = replace(corpus, limit=0).labelled()
    different = (story for split, story in everything if split != "duplicate")
    return "all" in corpus.readers and len(list(islice(different, 2))) == 2


def cache_folder() -> Path:
    """Where downloads and packed tokens are kept: ``TINYBUDDY_CACHE``, or the user's cache."""
    if folder := os.environ.get("TINYBUDDY_CACHE"):
        return Path(folder)
    import platformdirs

    return platformdirs.user_cache_path("tinybuddy")


def _mended(story: str) -> str:
    """Mend text that was decoded with the wrong encoding; curly quotes stay."""
    if story.isascii():
        return story
    import ftfy

    return ftfy.fix_encoding(story)


def _open_tales(stories: int) -> Corpus:
    readers: dict[str, Reader] = {"all": _read_tales}
    return Corpus("tales (built in)", readers, stories or DEFAULT_TALES, clean=False)


def _read_tales() -> Iterator[str]:
    from tinybuddy.corpus.tales import tales

    return (tale.text for tale in tales())


def _is_hub_name(data: str) -> bool:
    """Whether it looks like ``owner/name`` and not like a file that is missing."""
    owner, slash, name = data.partition("@")[0].partition("/")
    looks_so = bool(owner.strip(".") and slash and name) and not {"/", "\\"} & {*name}
    return looks_so and not is_readable(data)


def _open_hub(
    data: str, stories: int, clean: bool, on_progress: Callable[[int, int], None] | None
) -> Corpus:
    """Read a data set of the hub as far as it is needed, split as its files are."""
    from tinybuddy.corpus import hub
    from tinybuddy.corpus.ranges import Unreachable

    cache = cache_folder()
    read_all = partial(_read_hub, data, cache, on_progress)
    try:
        found = hub.files(data, cache=cache)
    except Unreachable as error:
        raise Unreachable(f"{error} (There is no file or folder {data} here.)") from None
    if not found["validation"]:
        return Corpus(data, {"all": partial(read_all, found["train"], None)}, stories, clean)
    most = {"train": None, "validation": HUB_VALIDATION}
    readers: dict[str, Reader] = {s: partial(read_all, found[s], most[s]) for s in most}
    return Corpus(data, readers, stories, clean)


def _read_hub(
    data: str,
    cache: Path,
    on_progress: Callable[[int, int], None] | None,
    paths: list[str],
    most: int | None,
) -> Iterator[str]:
    """Stories of some files of a data set, at most so many."""
    from tinybuddy.corpus import hub

    def read(path: str) -> Iterator[str]:
        # The beginning alone of these cannot be read.
        if path.lower().endswith((".parquet", ".gz")):
            whole = hub.whole_file(data, path, cache=cache, on_progress=on_progress)
            return read_file(whole, path)
        return parse_blocks(hub.chunks(data, path, cache=cache, on_progress=on_progress), path)

    return islice(chain.from_iterable(map(read, paths)), most)


def keep_input(path: Path) -> None:
    """Keep standard input as a file, so that it can be read again; all of it or nothing.

    Raises:
        TinybuddyError: if it holds no text, or cannot be written.
    """
    holds_text = False
    with replacing(path) as file:
        while block := sys.stdin.buffer.read(BLOCK_BYTES):
            file.write(block)
            holds_text = holds_text or not block.isspace()
        if not holds_text:
            raise TinybuddyError("Standard input holds no text: give it some stories.")
