"""Byte ranges of a file over HTTP, checked: what is wrong is tried again or said, never stored.

The transfer is our own: that of ``huggingface_hub`` takes whole files, and without a network tries
for half a minute before it says so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from threading import Thread
from typing import IO, NamedTuple, TypeVar, cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from tinybuddy.errors import TinybuddyError

BLOCK = 1 << 20  # bytes of a block, the unit of cache and traffic
SKIP = 16 * BLOCK  # bytes at most to read past where a server ignores ranges
TIMEOUT = 10.0  # seconds to wait for an answer, and then for each further piece of it
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds before each further try

_INSTEAD = "or use `data` tales, which needs no network"
_T = TypeVar("_T")


class Unreachable(TinybuddyError):  # noqa: N818  (it says what is so, as TimeoutError does)
    """The hub does not answer, or may not be asked: other data may still do."""


class Changed(TinybuddyError):  # noqa: N818
    """A file became another one while it was read; what was cached of the old one is dropped."""


class Version(NamedTuple):
    """Tells one version of a file from another: its ETag ("" if it has none) and its bytes."""

    etag: str
    total: int


@dataclass
class Remote:
    """An address on the hub, for one reading."""

    label: str  # what messages call it
    url: str
    here: int = 0  # bytes of it that are cached
    answered: bool = False  # until it has answered once, a failure is final: no network, no waiting


def fetch(remote: Remote, start: int, stop: int, version: Version | None) -> tuple[Version, bytes]:
    """Get bytes ``start`` to ``stop``, or to the end, and the version of the file they are of.

    After a dropped connection it goes on from the byte it had, of that same version only.
    """
    data = bytearray()

    def attempt() -> tuple[Version, bytes]:
        nonlocal version
        first = start + len(data)
        with ask(remote, {"Range": f"bytes={first}-{stop - 1}"}) as response:
            found, skip = _check(remote, response, first, stop)
            if version and found != version:
                raise changed(remote, version, found)
            version = found
            size = min(stop, found.total) - start
            _receive(response, data, size, skip)
            if len(data) < size:
                at = f"byte {start + len(data):,} of {found.total:,}"
                raise ConnectionAbortedError(f"the connection ended at {at}")
            if response.status == 206 and _goes_on(response):
                raise unusable(remote, "sent more bytes than it announced")
        return found, bytes(data)

    return insist(remote, attempt)


def insist(remote: Remote, attempt: Callable[[], _T]) -> _T:
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


def ask(remote: Remote, headers: dict[str, str]) -> HTTPResponse:
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


def check_status(remote: Remote, status: int) -> None:
    """Raise what a status means that brings no bytes: OSError if another try may help."""
    if status == 429 or status >= 500:
        raise ConnectionError(f"it is busy and answers with status {status}")
    if status in (401, 403, 404):
        raise TinybuddyError(
            f"The hub does not give you {remote.label} (status {status}): check the spelling, and "
            "if it is private or asks for consent, give that on its page and set HF_TOKEN."
        )
    if status not in (200, 206, 416):
        raise unusable(remote, f"answered with status {status}")


def _check(remote: Remote, response: HTTPResponse, start: int, stop: int) -> tuple[Version, int]:
    """Return the version of the file, and how many bytes of the body come before ``start``."""
    status, number = response.status, "([0-9]{1,18})"
    check_status(remote, status)
    etag = response.headers.get("ETag", "").removeprefix("W/")
    length = response.headers.get("Content-Length", "")
    extent = response.headers.get("Content-Range", "")
    whole = re.fullmatch(number, length)
    part = re.fullmatch(f"bytes {number}-{number}/{number}", extent)
    none = re.fullmatch(rf"bytes \*/{number}", extent)
    if status == 200 and whole and start <= SKIP:  # it ignores ranges and sends all
        return Version(etag, int(length)), start
    if status == 206 and part:
        first, last, total = map(int, part.groups())
        if first == start < total and last == min(stop, total) - 1:
            return Version(etag, total), 0
    if status == 416 and none and int(none[1]) <= start:  # it ends before here, or is empty
        return Version(etag, int(none[1])), 0
    asked = f"when asked for bytes {start}-{stop - 1}"
    raise unusable(remote, f"answered with status {status} and range {extent!r} {asked}")


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


def _unreachable(remote: Remote, why: str) -> Unreachable:
    todo = "check the network"
    if remote.here:
        todo = f"only its first {remote.here:,} bytes are here, so ask for fewer stories"
    host = urlsplit(remote.url).hostname
    return Unreachable(f"{host} cannot be asked for {remote.label} ({why}): {todo}, {_INSTEAD}.")


def unusable(remote: Remote, what: str) -> TinybuddyError:
    """Return the error for an answer that cannot be used; ``what`` says what the host did."""
    host = urlsplit(remote.url).hostname
    return TinybuddyError(f"{host} {what} for {remote.label}: check HF_ENDPOINT, {_INSTEAD}.")


def changed(remote: Remote, old: Version, new: Version) -> Changed:
    """Return the error for a file that became another one while it was read."""
    was, now = (f"{version.total:,} bytes {version.etag}" for version in (old, new))
    return Changed(
        f"{remote.label} changed while it was read ({was} before, {now} now): run the same command "
        "again, which reads it anew."
    )
