"""Data sets on the Hugging Face hub, of which only the beginning is fetched, as it is asked for.

A file there may be gigabytes long while a tiny model wants its first few megabytes. `files` says
which files of a data set hold the training and the validation text; `chunks` yields the bytes of
one from its start, each block out of the cache if it is there, else over one HTTP range, then kept.

`huggingface_hub` says where a file is and which token opens it, so HF_ENDPOINT, HF_TOKEN and
HF_HUB_OFFLINE work as everywhere. The transfer is our own: the hub's takes whole files, and
without a network tries for half a minute before it says so.

In ``cache/hub/OWNER--NAME/REVISION/`` a file has ``PATH.part`` (whole blocks, in order),
``PATH.part.json`` (which version of which file they are) and ``PATH.part.lock``. PATH is quoted as
in an address: a single name without a slash, so that nothing a hub says leads out of the cache.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from threading import Thread
from typing import IO, NamedTuple, TypeVar, cast
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from tinybuddy.disk import write_text
from tinybuddy.errors import TinybuddyError, UsageError

BLOCK = 1 << 20  # bytes of a block, the unit of cache and traffic
LARGE = 16 * BLOCK  # bytes of one range where the whole file is wanted anyway
SKIP = 16 * BLOCK  # bytes at most to read past where a server ignores ranges
LISTING = 64 * BLOCK  # bytes at most of a list of files
TIMEOUT = 10.0  # seconds to wait for an answer, and then for each further piece of it
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds before each further try
STORIES = "roneneldan/TinyStories"
KINDS = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz", ".parquet")  # best first

_ROLES = {  # what a file holds, by the words of its name, or else of its folders
    "about": r"^(?:readme|licen[cs]e|citation|requirements|vocab|merges)",
    "validation": r"valid|(?<![a-z])(?:val|dev)(?![a-z])",
    "test": r"(?<![a-z])test",
    "train": r"train",
}
_INSTEAD = "or use --data tales, which needs no network"
_Progress = Callable[[int, int], None]
_T = TypeVar("_T")


class Unreachable(TinybuddyError):  # noqa: N818  (it says what is so, as TimeoutError does)
    """The hub does not answer, or may not be asked: other data may still do."""


class Changed(TinybuddyError):  # noqa: N818
    """A file became another one while it was read; what was cached of the old one is dropped."""


class _Version(NamedTuple):
    """Tells one version of a file from another: its ETag ("" if it has none) and its bytes."""

    etag: str
    total: int


@dataclass
class _Remote:
    """An address on the hub, for one reading."""

    label: str  # what messages call it
    url: str
    here: int = 0  # bytes of it that are cached
    answered: bool = False  # until it has answered once, a failure is final: no network, no waiting


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


def _locate(name: str, path: str, cache: Path, endpoint: str | None) -> tuple[_Remote, Path]:
    """Where a file is on the hub, and where here."""
    from huggingface_hub import hf_hub_url

    repo, revision = _parse(name)
    if not _is_plain(path):
        raise UsageError(f"{path!r} is no file of a data set: give its path as the hub lists it.")
    url = hf_hub_url(repo, path, repo_type="dataset", revision=revision, endpoint=endpoint)
    part = _folder(cache, repo, revision) / f"{quote(path, safe='')}.part"
    return _Remote(f"{path} of {repo}@{revision}", url), part


def _choose(paths: list[str]) -> dict[str, list[str]]:
    """Take the first kind that has files for training; failing that, files that do not say."""
    for wanted in ("train", ""):
        for kind in KINDS:
            roles: dict[str, list[str]] = {wanted: [], "validation": []}
            for path in sorted(filter(_is_plain, paths)):
                if path.lower().endswith(kind):
                    roles.setdefault(_role(path), []).append(path)
            if roles[wanted]:
                return {"train": roles[wanted], "validation": roles["validation"]}
    return {"train": [], "validation": []}


def _role(path: str) -> str:
    """Read off a path what the file holds: a key of `_ROLES`, or "". Its last part counts most."""
    for part in reversed(path.lower().split("/")):
        for role, words in _ROLES.items():
            if re.search(words, part):
                return role
    return ""


def _listing(repo: str, revision: str, folder: Path, endpoint: str | None) -> list[str]:
    """List a repository's paths as the hub does, or as it did before if it is out of reach."""
    from huggingface_hub import constants

    api = f"{endpoint or constants.ENDPOINT}/api/datasets/{repo}/revision"
    remote = _Remote(f"{repo}@{revision}", f"{api}/{quote(revision, safe='')}")

    def attempt() -> list[str]:
        with _ask(remote, {}) as response:
            _check_status(remote, response.status)
            listed = json.loads(response.read(LISTING))
        try:
            return [str(file["rfilename"]) for file in listed["siblings"]]
        except (LookupError, TypeError):
            raise _unusable(remote, "gave no list of files") from None

    kept = folder / "files.json"
    try:
        paths = _insist(remote, attempt)
        write_text(kept, json.dumps(paths))
    except Unreachable:
        if not kept.exists():
            raise
        paths = json.loads(kept.read_bytes())
    return paths


def _blocks(
    remote: _Remote, part: Path, span: int, on_progress: _Progress | None
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
    remote: _Remote, part: Path, start: int, span: int, known: _Version | None
) -> tuple[_Version, bytes]:
    """Read at most ``span`` bytes from ``start``, of version ``known`` if any came before."""
    version, here = _cached(part, remote.label)
    if known and version and version != known:
        raise _changed(remote, known, version)
    if not here:
        version = known  # of a version that was noted, but not one block of it kept, none is bound
    while version is None or here <= start < version.total:
        remote.here = here
        try:
            version, data = _fetch(remote, here, here + span, version)
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


def _cached(part: Path, label: str) -> tuple[_Version | None, int]:
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
            return _Version(etag, total), good
    return None, 0


def _append(part: Path, label: str, version: _Version, start: int, data: bytes) -> None:
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


def _fetch(
    remote: _Remote, start: int, stop: int, version: _Version | None
) -> tuple[_Version, bytes]:
    """Get bytes ``start`` to ``stop``, or to the end, and the version of the file they are of.

    After a dropped connection it goes on from the byte it had, of that same version only.
    """
    data = bytearray()

    def attempt() -> tuple[_Version, bytes]:
        nonlocal version
        first = start + len(data)
        with _ask(remote, {"Range": f"bytes={first}-{stop - 1}"}) as response:
            found, skip = _check(remote, response, first, stop)
            if version and found != version:
                raise _changed(remote, version, found)
            version = found
            size = min(stop, found.total) - start
            _receive(response, data, size, skip)
            if len(data) < size:
                at = f"byte {start + len(data):,} of {found.total:,}"
                raise ConnectionAbortedError(f"the connection ended at {at}")
            if response.status == 206 and _goes_on(response):
                raise _unusable(remote, "sent more bytes than it announced")
        return found, bytes(data)

    return _insist(remote, attempt)


def _insist(remote: _Remote, attempt: Callable[[], _T]) -> _T:
    """Return what ``attempt`` returns, tried again after growing pauses if the connection fails."""
    pauses = iter(PAUSES)
    while True:
        try:
            return attempt()
        except (OSError, HTTPException, ValueError) as error:
            pause = next(pauses, None) if remote.answered else None
            if pause is None:
                why = str(getattr(error, "reason", "") or error) or "no answer in time"
                raise _unreachable(remote, why) from error
            time.sleep(pause)


def _ask(remote: _Remote, headers: dict[str, str]) -> HTTPResponse:
    """Send one request and wait TIMEOUT seconds at most until the answer begins.

    A socket's own limit counts anew for every address of a host, and for finding the addresses
    there is none: behind a firewall that drops packets it would be minutes. Hence the thread.
    """
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise _unreachable(remote, "HF_HUB_OFFLINE is set")
    headers = {"User-Agent": "tinybuddy", "Accept-Encoding": "identity", **headers}
    # Not `build_hf_headers`: for its user agent it asks the hub first, with patience of its own.
    if not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN and (token := get_token()):
        headers["Authorization"] = f"Bearer {token}"
    answer: Future[HTTPResponse] = Future()

    def wait() -> None:
        try:
            request = Request(remote.url, headers=headers)
            answer.set_result(build_opener(_Redirects).open(request, timeout=TIMEOUT))
        except HTTPError as error:
            answer.set_result(cast(HTTPResponse, error))  # it reads as one, and has a status
        except Exception as error:
            answer.set_exception(error)

    Thread(target=wait, daemon=True).start()
    response = answer.result(TIMEOUT)
    remote.answered = True
    return response


class _Redirects(HTTPRedirectHandler):
    """Goes to http and https only, never from https to http; a token stays with its host."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("https", old.scheme):
            return None  # which makes the redirect itself the answer
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request and (old.scheme, old.netloc) != (new.scheme, new.netloc):
            request.remove_header("Authorization")
        return request


def _check_status(remote: _Remote, status: int) -> None:
    """Raise what a status means that brings no bytes: OSError if another try may help."""
    if status == 429 or status >= 500:
        raise ConnectionError(f"it is busy and answers with status {status}")
    if status in (401, 403, 404):
        raise TinybuddyError(
            f"The hub does not give you {remote.label} (status {status}): check the spelling, and "
            "if it is private or asks for consent, give that on its page and set HF_TOKEN."
        )
    if status not in (200, 206, 416):
        raise _unusable(remote, f"answered with status {status}")


def _check(remote: _Remote, response: HTTPResponse, start: int, stop: int) -> tuple[_Version, int]:
    """Return the version of the file, and how many bytes of the body come before ``start``."""
    status, number = response.status, "([0-9]{1,18})"
    _check_status(remote, status)
    etag = response.headers.get("ETag", "").removeprefix("W/")
    length = response.headers.get("Content-Length", "")
    extent = response.headers.get("Content-Range", "")
    whole = re.fullmatch(number, length)
    part = re.fullmatch(f"bytes {number}-{number}/{number}", extent)
    none = re.fullmatch(rf"bytes \*/{number}", extent)
    if status == 200 and whole and start <= SKIP:  # it ignores ranges and sends all
        return _Version(etag, int(length)), start
    if status == 206 and part:
        first, last, total = map(int, part.groups())
        if first == start < total and last == min(stop, total) - 1:
            return _Version(etag, total), 0
    if status == 416 and none and int(none[1]) <= start:  # it ends before here, or is empty
        return _Version(etag, int(none[1])), 0
    asked = f"when asked for bytes {start}-{stop - 1}"
    raise _unusable(remote, f"answered with status {status} and range {extent!r} {asked}")


def _receive(response: HTTPResponse, data: bytearray, size: int, skip: int) -> None:
    """Read into ``data`` until it has ``size`` bytes or there are no more, after ``skip`` others.

    Piece by piece, so that what came before a failure stays. No Content-Encoding is undone.
    """
    while skip and (piece := response.read1(min(skip, BLOCK))):
        skip -= len(piece)
    while len(data) < size and (piece := response.read1(size - len(data))):
        data += piece


def _goes_on(response: HTTPResponse) -> bool:
    try:
        return bool(response.read1(1))
    except (OSError, HTTPException):
        return False  # all that was asked for has come before this failure


def _unreachable(remote: _Remote, why: str) -> Unreachable:
    todo = "check the network"
    if remote.here:
        todo = f"only its first {remote.here:,} bytes are here, so ask for fewer stories"
    host = urlsplit(remote.url).hostname
    return Unreachable(f"{host} cannot be asked for {remote.label} ({why}): {todo}, {_INSTEAD}.")


def _unusable(remote: _Remote, what: str) -> TinybuddyError:
    host = urlsplit(remote.url).hostname
    return TinybuddyError(f"{host} {what} for {remote.label}: check HF_ENDPOINT, {_INSTEAD}.")


def _changed(remote: _Remote, old: _Version, new: _Version) -> Changed:
    was, now = (f"{version.total:,} bytes {version.etag}" for version in (old, new))
    return Changed(
        f"{remote.label} changed while it was read ({was} before, {now} now): run the same command "
        "again, which reads it anew."
    )
