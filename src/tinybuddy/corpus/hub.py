"""Data sets on the Hugging Face hub, of which only the beginning is fetched, as it is asked for.

A file there may be gigabytes long while a tiny model wants its first few megabytes. `files` says
which files of a data set hold the training and the validation text; `chunks` yields the bytes of
one from its start, each block out of the cache if it is there, else over one HTTP range, then kept.

`huggingface_hub` says where a file is and which token opens it, so HF_ENDPOINT, HF_TOKEN and
HF_HUB_OFFLINE work as everywhere; `tinybuddy.corpus.ranges` does the transfer.

In ``cache/hub/OWNER--NAME/REVISION/`` a file has ``PATH.part`` (whole blocks, in order),
``PATH.part.json`` (which version of which file they are) and ``PATH.part.lock``. PATH is quoted as
in an address: a single name without a slash, so that nothing a hub says leads out of the cache.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from tinybuddy.corpus.files import choose, role_of
from tinybuddy.corpus.ranges import (
    BLOCK,
    Changed,
    Remote,
    Unreachable,
    Version,
    ask,
    changed,
    check_status,
    fetch,
    insist,
    unusable,
)
from tinybuddy.disk import write_text
from tinybuddy.errors import TinybuddyError, UsageError

LARGE = 16 * BLOCK  # bytes of one range where the whole file is wanted anyway
LISTING = 64 * BLOCK  # bytes at most of a list of files
STORIES = "roneneldan/TinyStories"

# The easiest to read first; a .md or .html of a repository is about it, not of it.
KINDS = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz", ".parquet", ".csv", ".tsv", ".json", ".zip")
_Progress = Callable[[int, int], None]


def files(name: str, *, cache: Path, endpoint: str | None = None) -> dict[str, list[str]]:
    """Find the files of a data set that hold its ``train`` and ``validation`` text, sorted.

    TinyStories is known by heart. Of any other the hub is asked, and where it cannot be reached
    ``cache``. There is at least one file to train on; there may be none for validation.

    Args:
        name: ``OWNER/NAME`` or ``OWNER/NAME@REVISION``.
        cache: folder for all that comes from the network.
        endpoint: address of the hub (default: what HF_ENDPOINT says).

    Raises:
        UsageError: if that is no name.
        Unreachable: if the hub does not answer, nor did before.
        TinybuddyError: if there is no such data set, or nothing in it that can be read.
    """
    repo, revision = _parse(name)
    if repo == STORIES:
        return {"train": ["TinyStories-train.txt"], "validation": ["TinyStories-valid.txt"]}
    chosen = _choose(_listing(repo, revision, _folder(cache, repo, revision), endpoint))
    if not chosen["train"]:
        raise TinybuddyError(
            f"{name} has no training text in {', '.join(KINDS)} files: try "
            f"{repo}@refs/convert/parquet, where the hub keeps a copy of most data sets."
        )
    return chosen


def chunks(
    name: str,
    path: str,
    *,
    cache: Path,
    endpoint: str | None = None,
    on_progress: _Progress | None = None,
) -> Iterator[bytes]:
    """Yield the bytes of one file from its start, in blocks of 1 MiB.

    What ``cache`` lacks is fetched when the consumer asks for it, not before.

    Args:
        name: data set, as for `files`.
        path: file in it.
        cache: as for `files`.
        endpoint: as for `files`.
        on_progress: called before each block with the bytes so far and those of the whole file.

    Raises:
        UsageError: at once, if that is no name or no path.
        Unreachable: while reading, if the hub does not answer.
        Changed: while reading, if what follows is of another version than what came before.
        TinybuddyError: while reading, if the hub refuses, or answers what cannot be used.
        OSError: while reading, if the cache cannot be written.
    """
    remote, part = _locate(name, path, cache, endpoint)
    return _blocks(remote, part, BLOCK, on_progress)


def whole_file(
    name: str,
    path: str,
    *,
    cache: Path,
    endpoint: str | None = None,
    on_progress: _Progress | None = None,
) -> Path:
    """Fetch all of a file, such as Parquet, that cannot be read from its beginning alone.

    Arguments, errors and cache are those of `chunks`.
    """
    remote, part = _locate(name, path, cache, endpoint)
    for _ in _blocks(remote, part, LARGE, on_progress):
        pass
    return part


def _parse(name: str) -> tuple[str, str]:
    """Split a data set's name into ``OWNER/NAME`` and revision ("main" unless said)."""
    match = re.fullmatch(r"([\w.-]{1,96}/[\w.-]{1,96})(?:@(\w[\w./+-]{0,99}))?", name, re.ASCII)
    if not match or re.search(r"\.\.|--|(^|/)[.-]|[.-](/|$)|\.git$", match[1]) or ".." in name:
        raise UsageError(
            f"{name!r} is no data set of the hub: write OWNER/NAME or OWNER/NAME@BRANCH."
        )
    return match[1], match[2] or "main"


def _folder(cache: Path, repo: str, revision: str) -> Path:
    return cache / "hub" / repo.replace("/", "--") / quote(revision, safe="")


def _is_plain(path: str) -> bool:
    """Whether ``path`` names a file inside a repository, and is short enough to name one here."""
    parts, banned = path.split("/"), {"", ".", ".."}
    sane = path.isprintable() and not set(path) & {"\\", ":"} and not set(parts) & banned
    return sane and len(quote(path, safe="")) <= 200


def _locate(name: str, path: str, cache: Path, endpoint: str | None) -> tuple[Remote, Path]:
    """Where a file is on the hub, and where here."""
    from huggingface_hub import hf_hub_url

    repo, revision = _parse(name)
    if not _is_plain(path):
        raise UsageError(f"{path!r} is no file of a data set: give its path as the hub lists it.")
    url = hf_hub_url(repo, path, repo_type="dataset", revision=revision, endpoint=endpoint)
    part = _folder(cache, repo, revision) / f"{quote(path, safe='')}.part"
    return Remote(f"{path} of {repo}@{revision}", url), part


def _choose(paths: list[str]) -> dict[str, list[str]]:
    """Take the first kind that has files for training; failing that, files that do not say."""
    plain = sorted(filter(_is_plain, paths))
    by_kind = [[path for path in plain if path.lower().endswith(kind)] for kind in KINDS]
    chosen = [choose(files)[0] for files in by_kind]
    said = [c for c in chosen if any(role_of(path) == "train" for path in c["train"])]
    return next((c for c in said or chosen if c["train"]), {"train": [], "validation": []})


def _listing(repo: str, revision: str, folder: Path, endpoint: str | None) -> list[str]:
    """List a repository's paths as the hub does, or as it did before if it is out of reach."""
    from huggingface_hub import constants

    api = f"{endpoint or constants.ENDPOINT}/api/datasets/{repo}/revision"
    remote = Remote(f"{repo}@{revision}", f"{api}/{quote(revision, safe='')}")

    def attempt() -> list[str]:
        with ask(remote, {}) as response:
            check_status(remote, response.status)
            data = response.read(LISTING)
        try:
            return [str(file["rfilename"]) for file in json.loads(data)["siblings"]]
        except (LookupError, TypeError, RecursionError):
            raise unusable(remote, "gave no list of files") from None

    kept = folder / "files.json"
    try:
        paths = insist(remote, attempt)
        write_text(kept, json.dumps(paths))
    except Unreachable as error:
        try:
            paths = json.loads(kept.read_bytes())
        except (OSError, ValueError):  # never kept, or cut short
            raise error from None
    return paths


def _blocks(
    remote: Remote, part: Path, span: int, on_progress: _Progress | None
) -> Iterator[bytes]:
    """Yield a file in pieces of at most ``span`` bytes, a multiple of BLOCK."""
    from filelock import FileLock

    part.parent.mkdir(parents=True, exist_ok=True)
    known, start = None, 0
    while known is None or start < known.total:
        # Another process that reads the same file waits here, then finds the block in the cache.
        with FileLock(f"{part}.lock"):
            known, block = _block(remote, part, start, span, known)
        start += len(block)
        if on_progress:
            on_progress(start, known.total)
        if block:
            yield block


def _block(
    remote: Remote, part: Path, start: int, span: int, known: Version | None
) -> tuple[Version, bytes]:
    """Read at most ``span`` bytes from ``start``, of version ``known`` if any came before."""
    version, here = _cached(part, remote.label)
    if known and version and version != known:
        raise changed(remote, known, version)
    if not here:
        version = known  # of a version that was noted, but not one block of it kept, none is bound
    while version is None or here <= start < version.total:
        remote.here = here
        try:
            version, data = fetch(remote, here, here + span, version)
        except Changed:
            _note(part).unlink(missing_ok=True)
            part.unlink(missing_ok=True)
            raise
        _append(part, remote.label, version, here, data)
        here += len(data)
    with part.open("rb") as file:
        file.seek(start)
        return version, file.read(min(span, here - start))


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _cached(part: Path, label: str) -> tuple[Version | None, int]:
    """Say which version is cached, and how many bytes of it are good.

    Of a block that a crash cut short no byte counts: it is written over.
    """
    try:
        note, size = json.loads(_note(part).read_bytes()), part.stat().st_size
    except (FileNotFoundError, ValueError):
        return None, 0
    match note:  # names that differ in case alone share a file on some systems: hence its label
        case {"file": str(file), "etag": str(etag), "total": int(total)} if file == label:
            good = size if size == total else max(0, min(size, total) // BLOCK * BLOCK)
            return Version(etag, total), good
    return None, 0


def _append(part: Path, label: str, version: Version, start: int, data: bytes) -> None:
    """Write after the ``start`` good bytes, in an order of which a crash cannot make a lie."""
    part.touch()
    with part.open("r+b") as file:
        file.truncate(start)
        if not start:  # the old version is gone from the disk before the new one is noted
            os.fsync(file.fileno())
            write_text(_note(part), json.dumps({"file": label, **version._asdict()}))
        file.seek(start)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
