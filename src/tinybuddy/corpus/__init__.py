"""Where stories come from: what a user has, the hub, or the built-in tales."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tinybuddy.corpus.cache import cache_folder
from tinybuddy.corpus.files import (
    find_splits,
    is_readable,
    kind_of,
    parse_blocks,
    read_file,
    read_files,
)
from tinybuddy.corpus.layout import Layout
from tinybuddy.disk import exists, expanded
from tinybuddy.errors import TinybuddyError, UsageError, counted

VALIDATION_SHARE = 0.05
MOST_VALIDATION = 2_000  # stories kept for scoring; those beyond it are not trained on either
# Stories to score at least, where a text has five times as many: with fewer, one more or less moves
# the figure by several per cent.
FEWEST_VALIDATION = 10
SHORTEST = 3  # stories shown, which tell best whether a text was split as its owner meant
HUB_VALIDATION = 1_000  # stories read of a hub data set's own validation split: about 1 MB
DEFAULT_TALES = 5_000

_SPLIT = "say what separates them: --split blank, --split lines or --split TEXT"

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
        split: in words, how the stories were told apart.
        skipped: files that were not read, each with the reason.
        first: the first story.
        shortest: the three shortest stories.
    """

    source: str
    stories: int
    bytes: int
    validation_stories: int
    validation_bytes: int
    duplicates: int
    sha256: str
    split: str
    skipped: tuple[str, ...]
    first: str
    shortest: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """What may travel with a model: none of the text."""
        return {k: v for k, v in asdict(self).items() if k not in ("first", "shortest", "skipped")}

    def layout(self) -> str:
        """How the text was split, with the first and the shortest stories; files left out."""
        shortest = ", ".join(_shown(story, 30) for story in self.shortest)
        said = f"Stories: {self.split}. First: {_shown(self.first, 60)}. Shortest: {shortest}."
        return said + (f" Not read: {', '.join(self.skipped)}." if self.skipped else "")

    def warning(self) -> str:
        """What to know before the figure is believed; empty if nothing."""
        if self.validation_stories >= FEWEST_VALIDATION:
            return ""
        return (
            f"{counted(self.validation_stories, 'story', 'stories')} to score, so the figure will "
            f"be rough. If there should be more, {_SPLIT}."
        )


@dataclass(frozen=True)
class Corpus:
    """Stories in two splits, read anew at each use, so that a large text needs little memory.

    Attributes:
        source: what serves, in words.
        readers: ``all``, to be split by content, or ``train`` and ``validation``.
        limit: training stories at most; 0 for all.
        clean: mend mojibake in training stories; validation stories are never altered.
        held: digests of further validation stories, for a text too small to give enough by chance.
        layout: how the text is laid out, as far as it has been read.
    """

    source: str
    readers: dict[str, Reader]
    limit: int = 0
    clean: bool = True
    held: frozenset[bytes] = field(default=frozenset())
    layout: Layout = field(default_factory=Layout)

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
            digest = _digest(story)
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


@dataclass(frozen=True)
class _InMemory(Corpus):
    """A corpus that was read; ``pairs`` is what `Corpus.labelled` yielded, without duplicates."""

    pairs: tuple[tuple[str, str], ...] = ()

    def labelled(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)


def in_memory(corpus: Corpus) -> Corpus:
    """The same stories, which can be sent to where their files are not."""
    return _with(corpus, tuple(pair for pair in corpus.labelled() if pair[0] != "duplicate"))


def empty(corpus: Corpus) -> Corpus:
    """The same without its stories."""
    return _with(corpus, ())


def _with(corpus: Corpus, pairs: tuple[tuple[str, str], ...]) -> Corpus:
    known = {item.name: getattr(corpus, item.name) for item in fields(Corpus)}
    return _InMemory(**known | {"readers": {}}, pairs=pairs)


def open_corpus(
    data: str,
    stories: int = 0,
    clean: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
    split: str = "",
    text_key: str = "",
) -> Corpus:
    """Open what a user has.

    Args:
        data: a file or folder (see `tinybuddy.corpus.files`), ``tales`` for the built-in tales, or
            a hub data set ``owner/name``; several of them on a line each.
        stories: training stories at most; 0 for all (of the tales: 5,000).
        clean: mend mojibake in training stories.
        on_progress: called during a download: bytes so far, bytes of the whole file.
        split: what separates stories of plain text: ``lines``, ``blank`` or a text; empty to find
            out.
        text_key: key or column that holds the stories of rows; empty to find out.

    Raises:
        TinybuddyError: if it cannot be read.
    """
    layout = Layout(split, text_key)
    if data == "tales":
        return _open_tales(stories)
    opened = [_readers(one, layout, on_progress) for one in data.split("\n")]
    readers: dict[str, Reader] = {
        role: partial(_chained, [found[role] for found in opened if role in found])
        for role in ("train", "validation", "all")
        if any(role in found for found in opened)
    }
    return Corpus(data.replace("\n", " + "), readers, stories, clean, layout=layout)


def _chained(readers: Sequence[Reader]) -> Iterator[str]:
    return chain.from_iterable(reader() for reader in readers)


def _readers(
    data: str, layout: Layout, on_progress: Callable[[int, int], None] | None
) -> dict[str, Reader]:
    """Readers of one source, by split."""
    if data == "tales":
        return {"all": partial(_some_tales, DEFAULT_TALES)}
    path = expanded(data)
    if exists(path) or not _is_hub_name(data):
        splits = find_splits(path, layout)
        return {s: partial(read_files, files, layout) for s, files in splits.items()}
    return _open_hub(data, layout, on_progress)


def survey(corpus: Corpus, on_story: Callable[[int], None] | None = None) -> tuple[Corpus, Survey]:
    """Read a corpus once and say what is in it.

    The corpus comes back too: where fewer than ten stories fell into validation, those of the
    smallest digests are held for it, one in five at most.

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
    first, shortest = "", list[str]()
    for number, (split, story) in enumerate(corpus.labelled(), start=1):
        if on_story:
            on_story(number)
        counts[split] += 1
        sizes[split] += len(story.encode("utf-8"))
        if split != "duplicate":
            _add(total, split, story)
            first = first or story
            if len(shortest) < SHORTEST or len(story) < len(shortest[-1]):
                shortest = sorted([*shortest, story], key=len)[:SHORTEST]
    everything = counts["train"] + counts["validation"]
    asked = corpus.layout.split
    if asked not in ("", "lines", "blank") and not corpus.layout.splits:
        near = get_close_matches(asked, ("lines", "blank"), n=1)
        hint = f"did you mean `split` {near[0]}?" if near else "look at the text again."
        raise UsageError(f"{asked!r} does not occur in {corpus.source}: {hint}")
    if not everything:
        raise TinybuddyError(f"{corpus.source} holds no text: give it some stories.")
    wanted = max(1, min(FEWEST_VALIDATION, everything // 5))
    few = corpus.held or counts["validation"] < wanted
    if few and everything > 1 and corpus.readers.keys() == {"all"}:
        raw = {_digest(s) for _, s in replace(corpus, clean=False).labelled()}
        held = frozenset(heapq.nsmallest(wanted, raw))
        # With a limit, more held to score means more read: until that changes nothing.
        if held != corpus.held:
            return survey(replace(corpus, held=held))
    if counts["train"] == corpus.limit and not counts["validation"] and _holds_two(corpus):
        raise UsageError(
            f"With `stories` {corpus.limit} none of {corpus.source} is left to score: give "
            "2 or more, or 0 for all."
        )
    if not counts["validation"] or not counts["train"]:
        raise TinybuddyError(
            f"{corpus.source} holds {counted(counts['train'], 'story', 'stories')} to train on and "
            f"{counts['validation']} to score: give at least 2; if there are more, {_SPLIT}."
        )
    found = Survey(
        source=corpus.source,
        stories=counts["train"],
        bytes=sizes["train"],
        validation_stories=counts["validation"],
        validation_bytes=sizes["validation"],
        duplicates=counts["duplicate"],
        sha256=total.hexdigest(),
        split=" and ".join(corpus.layout.found) or "as it comes",
        skipped=tuple(corpus.layout.skipped),
        first=first,
        shortest=tuple(shortest),
    )
    return corpus, found


def verified(corpus: Corpus, found: Survey) -> Iterator[tuple[str, str]]:
    """Yield what `Corpus.labelled` does, without duplicates, and hold it against the survey.

    Raises:
        TinybuddyError: at the end, if it was not what the survey had found.
    """
    total = hashlib.sha256()
    for split, story in corpus.labelled():
        if split != "duplicate":
            _add(total, split, story)
            yield split, story
    if total.hexdigest() != found.sha256:
        raise TinybuddyError(
            f"{found.source} has changed while it was read: begin again once nobody writes it."
        )


def _add(total: Any, split: str, story: str) -> None:
    text = story.encode("utf-8")
    total.update(f"{split} {len(text)}\n".encode())
    total.update(text)


def _digest(story: str) -> bytes:
    return hashlib.blake2b(story.encode("utf-8"), digest_size=8).digest()


def _shown(story: str, most: int) -> str:
    """The beginning of a story, on one line."""
    text = " ".join(story.split())
    return repr(text if len(text) <= most else f"{text[:most]}...")


def _holds_two(corpus: Corpus) -> bool:
    """Whether there are two stories to be split, were it not for the limit."""
    everything = replace(corpus, limit=0).labelled()
    different = (story for split, story in everything if split != "duplicate")
    return "all" in corpus.readers and len(list(islice(different, 2))) == 2


def _mended(story: str) -> str:
    """Mend text that was decoded with the wrong encoding; curly quotes stay."""
    if story.isascii():
        return story
    import ftfy

    return ftfy.fix_encoding(story)


def _open_tales(stories: int) -> Corpus:
    readers: dict[str, Reader] = {"all": partial(_some_tales, None)}
    layout = Layout(found={"as they were made": None})
    return Corpus("tales (built in)", readers, stories or DEFAULT_TALES, False, layout=layout)


def _some_tales(most: int | None) -> Iterator[str]:
    from tinybuddy.corpus.tales import tales

    return islice((tale.text for tale in tales()), most)


def _is_hub_name(data: str) -> bool:
    """Whether it looks like ``owner/name`` and not like a file that is missing."""
    owner, slash, name = data.partition("@")[0].partition("/")
    looks_so = bool(owner.strip(".") and slash and name) and not {"/", "\\"} & {*name}
    return looks_so and not is_readable(data)


def _open_hub(
    data: str, layout: Layout, on_progress: Callable[[int, int], None] | None
) -> dict[str, Reader]:
    """Read a data set of the hub as far as it is needed, split as its files are."""
    from tinybuddy.corpus import hub
    from tinybuddy.corpus.ranges import Unreachable

    cache = cache_folder()
    read_all = partial(_read_hub, data, cache, on_progress, layout)
    try:
        found = hub.files(data, cache=cache)
    except Unreachable as error:
        raise Unreachable(f"{error} (There is no file or folder {data} here.)") from None
    if not found["validation"]:
        return {"all": partial(read_all, found["train"], None)}
    most = {"train": None, "validation": HUB_VALIDATION}
    return {s: partial(read_all, found[s], most[s]) for s in most}


def _read_hub(
    data: str,
    cache: Path,
    on_progress: Callable[[int, int], None] | None,
    layout: Layout,
    paths: list[str],
    most: int | None,
) -> Iterator[str]:
    """Stories of some files of a data set, at most so many."""
    from tinybuddy.corpus import hub

    def read(path: str) -> Iterator[str]:
        # The beginning alone of these cannot be read.
        if path.lower().endswith(".gz") or kind_of(path) in (".parquet", ".json", ".zip"):
            whole = hub.whole_file(data, path, cache=cache, on_progress=on_progress)
            return read_file(whole, path, layout)
        blocks = hub.chunks(data, path, cache=cache, on_progress=on_progress)
        return parse_blocks(blocks, path, layout)

    return islice(chain.from_iterable(map(read, paths)), most)
