from __future__ import annotations

import gc
from itertools import islice
from pathlib import Path

import pytest

from tests.corpus.served import (
    CONTENT,
    MIB,
    NAME,
    PATH,
    PATIENCE,
    TRIES,
    part_of,
    read,
)
from tinybuddy.corpus import hub, ranges
from tinybuddy.errors import TinybuddyError

from .range_server import RangeServer

pytestmark = pytest.mark.usefixtures("surroundings")


# No network


def test_no_network_is_known_at_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RangeServer() as gone:
        pass
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it waited"))
    with pytest.raises(ranges.Unreachable, match=r"refused.*check the network, or use"):
        read(gone, cache)


def test_a_server_that_never_answers_is_asked_once(
    server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "TIMEOUT", PATIENCE)
    server.always = {"stall": -1}
    with pytest.raises(ranges.Unreachable, match=r"in time|timed out"):
        read(server, cache)
    assert len(server.seen) == 1


def test_an_answer_that_drips_in_has_one_deadline(
    server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "TIMEOUT", PATIENCE)
    server.always = {"drip": 0.02}
    with pytest.raises(ranges.Unreachable, match="no answer in time"):
        read(server, cache)
    assert len(server.seen) == 1


def test_offline_reads_what_is_cached(
    server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(server, cache, 2)
    server.seen.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    blocks = hub.chunks(NAME, PATH, cache=cache, endpoint=server.url)
    assert b"".join(islice(blocks, 2)) == CONTENT[: 2 * MIB]
    sentence = r"HF_HUB_OFFLINE is set\): only its first 2,097,152 bytes are here, so ask for fewer"
    with pytest.raises(ranges.Unreachable, match=sentence):
        next(blocks)
    assert server.seen == []


# Connections that drop, and servers that are busy


def test_a_dropped_connection_goes_on_at_the_same_byte(server: RangeServer, cache: Path) -> None:
    server.once.extend([{"cut": 1}, {"cut": 0}, {"cut": 100_000}, {}, {"cut": 7}])
    assert read(server, cache) == CONTENT
    assert server.ranges[:4] == ["0-1048575", "1-1048575", "1-1048575", "100001-1048575"]
    assert server.ranges[4:6] == ["1048576-2097151", "1048583-2097151"]
    assert server.sent == len(CONTENT)


def test_a_drop_without_a_length_is_noticed(server: RangeServer, cache: Path) -> None:
    server.once.extend([{"cut": 1000, "framing": "close"}, {"cut": 2000, "framing": "chunked"}])
    assert read(server, cache, 1) == CONTENT[:MIB]
    assert server.ranges[1] == "1000-1048575"


def test_a_drop_after_all_that_was_asked_for_is_none(server: RangeServer, cache: Path) -> None:
    server.once.append({"cut": -5, "framing": "chunked"})  # it lacks the mark of the end
    assert read(server, cache, 1) == CONTENT[:MIB]
    assert len(server.seen) == 1


def test_a_stalled_connection_goes_on_at_the_same_byte(
    server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "TIMEOUT", PATIENCE)
    server.once.append({"stall": 300_000})
    assert read(server, cache, 1) == CONTENT[:MIB]
    assert server.ranges == ["0-1048575", "300000-1048575"]


def test_too_many_drops_keep_the_blocks_before(server: RangeServer, cache: Path) -> None:
    server.once.append({})
    server.always = {"cut": 10}
    with pytest.raises(ranges.Unreachable, match=r"ended at byte 1,048,626 of 3,145,733"):
        read(server, cache)
    assert len(server.seen) == 1 + TRIES
    assert part_of(cache).stat().st_size == MIB
    server.always = {}
    server.seen.clear()
    assert read(server, cache) == CONTENT
    assert server.ranges[0] == "1048576-2097151"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: RangeServer, cache: Path, status: int) -> None:
    server.once.extend([{"status": status, "body": b"wait"}] * 2)
    assert read(server, cache, 1) == CONTENT[:MIB]
    server.always = {"status": status}
    server.seen.clear()
    with pytest.raises(ranges.Unreachable, match=f"busy and answers with status {status}"):
        read(server, cache, 2)
    assert len(server.seen) == TRIES


def test_pauses_grow(server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr(ranges, "PAUSES", (1, 2, 3))
    server.always = {"status": 500}
    with pytest.raises(ranges.Unreachable):
        read(server, cache)
    assert slept == [1, 2, 3]


# Answers that cannot be used


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_may_not_be_had(server: RangeServer, cache: Path, status: int) -> None:
    server.always = {"status": status, "body": b"no"}
    with pytest.raises(TinybuddyError, match=r"spelling.* private .*HF_TOKEN") as caught:
        read(server, cache)
    assert f"{PATH} of {NAME}@main (status {status})" in str(caught.value)
    assert not isinstance(caught.value, ranges.Unreachable)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "extent",
    ["", "bytes", "bytes 0-1048575/*", "bytes 1-1048575/3145733", "bytes 0-1048574/3145733",
     "bytes 0-1048576/3145733", "bytes 0-1048575/7", "bytes -0-1048575/3145733",
     "lines 0-1048575/3145733", f"bytes 0-1048575/{'9' * 5000}"],
)  # fmt: skip
def test_a_wrong_range_is_refused(server: RangeServer, cache: Path, extent: str) -> None:
    server.always = {"extent": extent}
    with pytest.raises(TinybuddyError, match=r"when asked for bytes 0-1048575 .*`data` tales"):
        read(server, cache)
    assert len(server.seen) == 1
    assert not part_of(cache).exists()


@pytest.mark.parametrize("status", [204, 304, 416, 418])
def test_a_strange_status_is_refused(server: RangeServer, cache: Path, status: int) -> None:
    server.always = {"status": status}
    with pytest.raises(TinybuddyError, match=f"answered with status {status}"):
        read(server, cache)
    assert len(server.seen) == 1


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_more_than_was_asked_for_is_refused(server: RangeServer, cache: Path, framing: str) -> None:
    server.once.append({})
    server.always = {"extra": b"!", "framing": framing}
    with pytest.raises(TinybuddyError, match="sent more bytes than it announced"):
        read(server, cache)
    assert part_of(cache).read_bytes() == CONTENT[:MIB]


def test_a_total_that_is_too_small(server: RangeServer, cache: Path) -> None:
    server.always = {"total": 100, "extra": CONTENT[100:]}
    with pytest.raises(TinybuddyError, match="sent more bytes than it announced"):
        read(server, cache)
    assert not part_of(cache).exists()


def test_a_total_that_is_too_large(server: RangeServer, cache: Path) -> None:
    server.always = {"total": 4 * MIB}
    with pytest.raises(TinybuddyError, match="ended at byte 3,145,733 of 4,194,304"):
        read(server, cache)
    assert len(server.seen) == 3 + TRIES
    assert part_of(cache).read_bytes() == CONTENT[: 3 * MIB]


def test_a_server_that_ignores_ranges(server: RangeServer, cache: Path) -> None:
    server.content = CONTENT * 10
    server.always = {"ranges": False}
    assert read(server, cache, 2) == CONTENT[: 2 * MIB]
    assert server.sent < len(server.content)
    server.content = CONTENT
    part_of(cache).unlink()
    assert read(server, cache) == CONTENT


def test_a_server_that_ignores_ranges_and_drops(server: RangeServer, cache: Path) -> None:
    server.always = {"ranges": False}
    server.once.append({"ranges": False, "cut": 1234})
    assert read(server, cache) == CONTENT


def test_reading_past_much_is_refused(
    server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "SKIP", MIB)
    server.always = {"ranges": False}
    with pytest.raises(TinybuddyError, match=r"status 200 .* asked for bytes 2097152-3145727"):
        read(server, cache)
    assert part_of(cache).read_bytes() == CONTENT[: 2 * MIB]


def test_all_of_it_without_a_length_is_refused(server: RangeServer, cache: Path) -> None:
    server.always = {"ranges": False, "framing": "chunked"}
    with pytest.raises(TinybuddyError, match="answered with status 200"):
        read(server, cache)


# Redirects


def test_a_token_stays_with_its_host(server: RangeServer, cache: Path) -> None:
    with RangeServer(CONTENT) as store:
        server.always = {"location": f"{store.url}/blob?signed=1"}
        assert read(server, cache) == CONTENT
        assert {request.headers["authorization"] for request in server.seen} == {"Bearer hf_secret"}
        assert not any("authorization" in request.headers for request in store.seen)
        assert {request.path for request in store.seen} == {"/blob?signed=1"}
        assert store.ranges == server.ranges


def test_a_redirect_within_a_host_keeps_the_token(server: RangeServer, cache: Path) -> None:
    server.once.append({"location": "/moved", "status": 307})
    assert read(server, cache, 1) == CONTENT[:MIB]
    assert [request.path for request in server.seen][1] == "/moved"
    assert server.seen[1].headers["authorization"] == "Bearer hf_secret"


def test_without_a_token_none_is_sent(
    server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    read(server, cache, 1)
    assert "authorization" not in server.seen[0].headers


@pytest.mark.parametrize(
    "target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x", "gopher://x", "/round"]
)
def test_where_a_redirect_may_not_go(server: RangeServer, cache: Path, target: str) -> None:
    server.always = {"location": target}
    with pytest.raises(TinybuddyError, match="answered with status 302"):
        read(server, cache)
    assert len(server.seen) < 20


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("target", ["http://[", "http://127.0.0.1:port/"])
def test_a_redirect_that_is_no_address(server: RangeServer, cache: Path, target: str) -> None:
    server.always = {"location": target}
    with pytest.raises(ranges.Unreachable, match="cannot be asked"):
        read(server, cache)
    gc.collect()  # here urllib forgets to close the redirect itself, and would warn in another test


@pytest.mark.parametrize(
    ("old", "new", "followed"),
    [("https", "http", False), ("https", "https", True), ("http", "https", True)],
)
def test_a_redirect_never_gives_up_encryption(old: str, new: str, followed: bool) -> None:
    from email.message import Message
    from io import BytesIO
    from urllib.request import Request

    request = Request(f"{old}://hub/a", headers={"Authorization": "x", "Range": "bytes=0-1"})
    moved = ranges._Redirects().redirect_request(
        request, BytesIO(), 302, "Found", Message(), f"{new}://hub/b"
    )
    assert (moved is not None) == followed
    if moved:
        assert moved.has_header("Range")
        assert moved.has_header("Authorization") == (old == new)
