from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.conftest import HANG
from tests.corpus.served import (
    CONTENT,
    MIB,
    NAME,
    OTHER,
    PATH,
    note_of,
    part_of,
    read,
)
from tinybuddy.corpus import hub, ranges
from tinybuddy.errors import TinybuddyError, UsageError

from .range_server import RangeServer

pytestmark = pytest.mark.usefixtures("surroundings")


# Lazy, cached


def test_only_the_beginning_is_fetched(server: RangeServer, cache: Path) -> None:
    assert read(server, cache, 2) == CONTENT[: 2 * MIB]
    assert server.ranges == ["0-1048575", "1048576-2097151"]
    assert server.sent == 2 * MIB
    assert {request.path for request in server.seen} == {f"/datasets/{NAME}/resolve/main/{PATH}"}


def test_nothing_is_asked_for_before_the_consumer_asks(server: RangeServer, cache: Path) -> None:
    blocks = hub.chunks(NAME, PATH, cache=cache, endpoint=server.url)
    assert not server.seen
    next(blocks)
    assert len(server.seen) == 1


def test_the_whole_of_it_and_its_progress(server: RangeServer, cache: Path) -> None:
    progress: list[tuple[int, int]] = []
    blocks = hub.chunks(
        NAME,
        PATH,
        cache=cache,
        endpoint=server.url,
        on_progress=lambda here, total: progress.append((here, total)),
    )
    sizes = [MIB, MIB, MIB, 5]
    got = list(blocks)
    assert [len(block) for block in got] == sizes
    assert b"".join(got) == CONTENT
    assert progress == [(sum(sizes[: n + 1]), len(CONTENT)) for n in range(4)]
    assert server.sent == len(CONTENT)


def test_a_second_read_makes_no_request(server: RangeServer, cache: Path) -> None:
    first = read(server, cache)
    server.seen.clear()
    assert read(server, cache) == first == CONTENT
    assert server.seen == []


def test_it_goes_on_after_what_is_cached(server: RangeServer, cache: Path) -> None:
    read(server, cache, 2)
    server.seen.clear()
    assert read(server, cache) == CONTENT
    assert server.ranges == ["2097152-3145727", "3145728-4194303"]


def test_a_whole_file_shares_the_cache(server: RangeServer, cache: Path) -> None:
    read(server, cache, 1)
    path = hub.whole_file(NAME, PATH, cache=cache, endpoint=server.url)
    assert path.read_bytes() == CONTENT
    assert server.ranges == ["0-1048575", f"1048576-{17 * MIB - 1}"]
    assert read(server, cache) == CONTENT
    assert len(server.seen) == 2


def test_an_empty_file(server: RangeServer, cache: Path) -> None:
    server.content = b""
    assert read(server, cache) == b""
    assert read(server, cache) == b""


def test_a_file_of_exactly_one_block_without_a_tag(server: RangeServer, cache: Path) -> None:
    server.content, server.etag = CONTENT[:MIB], None
    assert read(server, cache) == CONTENT[:MIB]
    assert len(server.seen) == 1


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_an_answer_without_a_length(server: RangeServer, cache: Path, framing: str) -> None:
    server.always = {"framing": framing}
    assert read(server, cache) == CONTENT


def test_no_coding_is_asked_for_or_undone(server: RangeServer, cache: Path) -> None:
    server.always = {"coding": "gzip"}
    assert read(server, cache, 1) == CONTENT[:MIB]
    assert server.seen[0].headers["accept-encoding"] == "identity"


def test_revisions_are_kept_apart(server: RangeServer, cache: Path) -> None:
    read(server, cache, 1)
    server.content = OTHER
    name = f"{NAME}@refs/pr/1"
    assert next(hub.chunks(name, PATH, cache=cache, endpoint=server.url)) == OTHER[:MIB]
    assert server.seen[-1].path == f"/datasets/{NAME}/resolve/refs%2Fpr%2F1/{PATH}"
    assert read(server, cache, 1) == CONTENT[:MIB]


# A file that changes


def test_versions_are_never_mixed(server: RangeServer, cache: Path) -> None:
    read(server, cache, 2)
    server.content, server.etag = OTHER, '"two"'
    blocks = hub.chunks(NAME, PATH, cache=cache, endpoint=server.url)
    assert b"".join(islice(blocks, 2)) == CONTENT[: 2 * MIB]
    with pytest.raises(ranges.Changed, match=r'"one" before.*"two" now.*same command again'):
        next(blocks)
    assert not part_of(cache).exists()
    assert read(server, cache) == OTHER


def test_a_change_of_length_alone_is_noticed(server: RangeServer, cache: Path) -> None:
    read(server, cache, 1)
    server.content = CONTENT[:-1]
    with pytest.raises(ranges.Changed, match=r"3,145,733 bytes .* 3,145,732 bytes"):
        read(server, cache)
    assert read(server, cache) == CONTENT[:-1]


def test_a_file_cut_shorter_than_what_is_cached(server: RangeServer, cache: Path) -> None:
    read(server, cache, 2)
    server.content = CONTENT[:MIB]
    with pytest.raises(ranges.Changed):
        read(server, cache)
    assert read(server, cache) == CONTENT[:MIB]


def test_a_change_within_a_block_is_noticed(server: RangeServer, cache: Path) -> None:
    server.once.extend([{"cut": 1000}, {"etag": '"two"'}])
    with pytest.raises(ranges.Changed):
        read(server, cache)
    assert not part_of(cache).exists()


def test_a_weak_tag_is_the_same_tag(server: RangeServer, cache: Path) -> None:
    server.once.append({"etag": 'W/"one"'})
    assert read(server, cache) == CONTENT


def test_a_cache_begun_anew_by_another_reader_is_noticed(server: RangeServer, cache: Path) -> None:
    blocks = hub.chunks(NAME, PATH, cache=cache, endpoint=server.url)
    next(blocks)
    server.content, server.etag = OTHER, '"two"'
    with pytest.raises(ranges.Changed):
        read(server, cache)
    read(server, cache)
    with pytest.raises(ranges.Changed):
        next(blocks)
    server.seen.clear()
    assert read(server, cache) == OTHER  # which stays
    assert server.seen == []


def test_a_cache_that_was_removed_meanwhile(server: RangeServer, cache: Path) -> None:
    blocks = hub.chunks(NAME, PATH, cache=cache, endpoint=server.url)
    first = next(blocks) + next(blocks)
    part_of(cache).unlink()
    assert first + b"".join(blocks) == CONTENT
    assert part_of(cache).read_bytes() == CONTENT


# Crashes


@pytest.mark.parametrize("size", [0, 5, MIB - 1, MIB, MIB + 700, 2 * MIB, 3 * MIB, 3 * MIB + 4])
def test_a_torn_block_is_fetched_again(server: RangeServer, cache: Path, size: int) -> None:
    read(server, cache)
    server.seen.clear()
    good = size // MIB * MIB
    part_of(cache).write_bytes(CONTENT[:good] + b"\0" * (size - good))
    assert read(server, cache) == CONTENT
    assert server.sent == len(CONTENT) - good
    assert part_of(cache).read_bytes() == CONTENT


def test_a_whole_file_with_a_torn_block(server: RangeServer, cache: Path) -> None:
    read(server, cache)
    part_of(cache).write_bytes(CONTENT[:MIB] + b"torn")
    progress: list[int] = []
    path = hub.whole_file(
        NAME, PATH, cache=cache, endpoint=server.url, on_progress=lambda n, _: progress.append(n)
    )
    assert path.read_bytes() == CONTENT
    assert progress == [MIB, len(CONTENT)]


def test_more_than_there_can_be_is_mended(server: RangeServer, cache: Path) -> None:
    read(server, cache)
    with part_of(cache).open("ab") as file:
        file.write(b"more")
    assert read(server, cache) == CONTENT
    assert part_of(cache).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "note",
    ["", "{", "[]", "null", '"x"', "{}", "\xff\xfe", '{"file": 1, "etag": 2, "total": 3}',
     '{"file": "FILE", "etag": "", "total": -5}', '{"file": "FILE", "etag": "x", "total": 1e999}',
     '{"file": "another", "etag": "\\"one\\"", "total": 3145733}', None],
)  # fmt: skip
def test_a_part_without_its_note_counts_for_nothing(
    server: RangeServer, cache: Path, note: str | None
) -> None:
    read(server, cache, 1)
    part_of(cache).write_bytes(OTHER)
    note_of(cache).unlink()
    if note is not None:
        text = note.replace("FILE", f"{PATH} of {NAME}@main")
        note_of(cache).write_bytes(text.encode("latin-1"))
    assert read(server, cache) == CONTENT
    assert part_of(cache).read_bytes() == CONTENT


def test_a_note_of_which_no_block_is_kept_binds_nobody(server: RangeServer, cache: Path) -> None:
    read(server, cache, 1)
    part_of(cache).write_bytes(b"torn")
    server.content, server.etag = OTHER, '"two"'
    assert read(server, cache) == OTHER


@pytest.mark.parametrize("call", range(1, 10))
def test_a_full_disk_at_any_moment(
    server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Disk calls fail from the `call`th on; what is left is read on to the right end."""
    calls, sync = 0, os.fsync

    def fail(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= call:
            os.ftruncate(handle, os.fstat(handle).st_size * 2 // 3)  # a torn write
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        if call <= 6:  # two before the first block, then one for each of the four
            with pytest.raises((OSError, TinybuddyError), match="No space left"):
                read(server, cache)
        else:
            read(server, cache)
    assert read(server, cache) == CONTENT
    assert part_of(cache).read_bytes() == CONTENT


READER = """
import hashlib, sys
from pathlib import Path
from tinybuddy.corpus import hub, ranges
digest = hashlib.sha256()
for block in hub.chunks(*sys.argv[1:3], cache=Path(sys.argv[3])):
    digest.update(block)
print(digest.hexdigest())
"""


def start_reader(server: RangeServer, cache: Path) -> subprocess.Popen[str]:
    """A process of its own, which knows the server through HF_ENDPOINT alone."""
    return subprocess.Popen(
        [sys.executable, "-c", READER, NAME, PATH, str(cache)],
        env=os.environ | {"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_share_one_cache(server: RangeServer, cache: Path) -> None:
    readers = [start_reader(server, cache) for _ in range(2)]
    digests = {reader.communicate(timeout=HANG)[0].strip() for reader in readers}
    assert digests == {hashlib.sha256(CONTENT).hexdigest()}
    assert part_of(cache).read_bytes() == CONTENT
    assert server.sent == len(CONTENT)  # no block was fetched twice


def test_a_killed_process_leaves_a_good_cache(server: RangeServer, cache: Path) -> None:
    server.once.extend([{}, {"stall": 1000}])
    with start_reader(server, cache) as reader:
        assert server.stalled.wait(HANG)  # it holds the lock now, and waits for the second block
        reader.kill()
    assert read(server, cache) == CONTENT
    assert server.ranges.count("0-1048575") == 1


# Names


@pytest.mark.parametrize(
    "name",
    ["", "stories", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a/.b", ".a/b", "a\\b/c", "C:/b",
     "a/b\0", "a/b\n", "a--b/c", "a/b.git", "a/" + "b" * 97, "a/b@", "a/b@..", "a/b@../../c",
     "a/b@/etc", "a/b@c\\d", "a/b@" + "c" * 200, "a/b@C:x", "é/b", "a/b?x=1", "a/b#c", "a b/c"],
)  # fmt: skip
def test_what_is_no_name(cache: Path, name: str) -> None:
    with pytest.raises(UsageError, match="OWNER/NAME"):
        hub.chunks(name, PATH, cache=cache)
    with pytest.raises(UsageError, match="OWNER/NAME"):
        hub.files(name, cache=cache)


@pytest.mark.parametrize(
    "path",
    ["", "/", "/etc/passwd", "..", "../x", "a/../x", "a//b", "a/", "./a", "a\\..\\b", "C:x", "a\0b",
     "a\nb", "\ud800", "x" * 201, "é" * 40],
)  # fmt: skip
def test_what_is_no_path(cache: Path, path: str) -> None:
    with pytest.raises(UsageError, match="is no file of a data set"):
        hub.chunks(NAME, path, cache=cache)
    with pytest.raises(UsageError, match="is no file of a data set"):
        hub.whole_file(NAME, path, cache=cache)


pieces = st.sampled_from(["..", ".", "/", "\\", "@", "a", "main", "C:", "\0", "%2F", "~", "--", ""])
strings = st.text() | st.lists(pieces).map("".join)
names = strings | st.builds("{}/{}@{}".format, strings, strings, strings)


@given(name=names, path=strings)
@example(name="a/b@%2e%2e", path="%2e%2e/%2e%2e/x")
@example(name="a/b@c/d", path="~root/.ssh")
def test_every_name_stays_in_the_cache_or_is_refused(name: str, path: str) -> None:
    root = Path("/cache")
    try:
        remote, part = hub._locate(name, path, root, "http://hub")
    except UsageError:
        return
    inside = part.relative_to(root / "hub").parts
    assert len(inside) == 3
    assert all(set(piece) != {"."} and not set(piece) & set("/\\:\0") for piece in inside)
    assert all(len(piece.encode()) <= 240 for piece in inside)
    assert remote.url.startswith("http://hub/datasets/")


@given(st.lists(st.from_regex(r"[a-b./%~-]{1,4}", fullmatch=True), min_size=2, unique=True))
def test_two_files_are_two_files_in_the_cache(paths: list[str]) -> None:
    usable = [path for path in paths if hub._is_plain(path)]
    parts = {hub._locate(NAME, path, Path(), "http://hub")[1] for path in usable}
    assert len(parts) == len(usable)


# Which files


def test_tinystories_is_known_without_a_network(cache: Path) -> None:
    known = {"train": ["TinyStories-train.txt"], "validation": ["TinyStories-valid.txt"]}
    assert hub.files("roneneldan/TinyStories", cache=cache, endpoint="http://[") == known
    assert hub.files("roneneldan/TinyStories@abc", cache=cache, endpoint="http://[") == known


@pytest.mark.parametrize(
    ("listing", "train", "validation"),
    [
        (["train.txt", "valid.txt", "test.txt"], ["train.txt"], ["valid.txt"]),
        (["b/train-2.jsonl", "b/train-1.jsonl"], ["b/train-1.jsonl", "b/train-2.jsonl"], []),
        (["README.md", "README.txt", "LICENSE.txt", "s.txt"], ["s.txt"], []),
        (["s-val.txt", "interval.txt"], ["interval.txt"], ["s-val.txt"]),
        (["default/train/0000.parquet", "default/test/0000.parquet", "default/dev/0.parquet"],
         ["default/train/0000.parquet"], ["default/dev/0.parquet"]),
        (["train.parquet", "train.jsonl", "validation.jsonl", "valid.parquet"],
         ["train.jsonl"], ["validation.jsonl"]),
        (["notes.txt", "TRAIN.JSONL.GZ"], ["TRAIN.JSONL.GZ"], []),
        (["training/valid.txt.gz", "training/x.txt.gz"],
         ["training/x.txt.gz"], ["training/valid.txt.gz"]),
        (["../../train.txt", "/train.txt", "a\\train.txt", "ok/train.txt"], ["ok/train.txt"], []),
    ],
)  # fmt: skip
def test_which_files_are_taken(
    server: RangeServer, cache: Path, listing: list[str], train: list[str], validation: list[str]
) -> None:
    server.listing = listing
    found = hub.files(f"{NAME}@a/b", cache=cache, endpoint=server.url)
    assert found == {"train": train, "validation": validation}
    assert server.seen[0].path == f"/api/datasets/{NAME}/revision/a%2Fb"
    assert server.seen[0].headers["authorization"] == "Bearer hf_secret"


@pytest.mark.parametrize("listing", [[], ["a.md", "b.tar.gz", "test.txt"], ["../train.txt"]])
def test_nothing_to_read(server: RangeServer, cache: Path, listing: list[str]) -> None:
    server.listing = listing
    with pytest.raises(TinybuddyError, match=rf"no training text.*{NAME}@refs/convert/parquet"):
        hub.files(NAME, cache=cache, endpoint=server.url)


def test_a_list_of_files_serves_offline(
    server: RangeServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.listing = ["train.txt"]
    online = hub.files(NAME, cache=cache, endpoint=server.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert hub.files(NAME, cache=cache, endpoint=server.url) == online
    with pytest.raises(ranges.Unreachable, match="HF_HUB_OFFLINE is set"):
        hub.files(f"{NAME}@other", cache=cache, endpoint=server.url)


def test_a_list_of_files_is_asked_for_again(server: RangeServer, cache: Path) -> None:
    body = json.dumps({"siblings": [{"rfilename": "train.txt"}]}).encode()
    server.once.extend([{"status": 503}, {"status": 200, "body": body}])
    assert hub.files(NAME, cache=cache, endpoint=server.url)["train"] == ["train.txt"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"status": 404}, "check the spelling"),
        ({"status": 200, "body": b"[1]"}, "gave no list of files"),
        ({"status": 200, "body": b'{"siblings": [{"name": 1}]}'}, "gave no list of files"),
        ({"status": 200, "body": b"<html>Please log in</html>"}, "Expecting value"),
    ],
)
def test_a_list_of_files_that_is_none(
    server: RangeServer, cache: Path, fault: dict[str, object], sentence: str
) -> None:
    server.always = fault
    with pytest.raises(TinybuddyError, match=sentence):
        hub.files(NAME, cache=cache, endpoint=server.url)


def test_importing_is_light() -> None:
    code = """
import sys
before = set(sys.modules)
import tinybuddy.corpus.hub
heavy = {"huggingface_hub", "filelock", "numpy", "httpx", "requests", "tokenizers"}
sys.exit(" ".join(heavy & (set(sys.modules) - before)) or 0)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
