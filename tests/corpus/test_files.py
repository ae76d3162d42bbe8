"""The boundary for text from outside: what it reads, and what it refuses in one sentence."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybuddy.corpus import files
from tinybuddy.corpus.files import PASSAGE_CHARACTERS, find_splits, parse_blocks, read_file
from tinybuddy.errors import TinybuddyError

STORIES = ["A cat sat.\n\nIt purred.", "A dog ran to “café”.", "Three 日本 😀."]


def _write(path: Path, stories: list[str]) -> Path:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"id": range(len(stories)), "text": stories}), path)
        return path
    if name.endswith(".jsonl"):
        lines = [json.dumps({"text": s}) for s in stories[:-1]] + [json.dumps(stories[-1])]
        data = "\n".join(lines).encode()
    else:
        data = "\n<|endoftext|>\n".join(stories).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet", "a.txt.gz", "A.JSONL.gz", "a"])
def test_each_kind_gives_the_same_stories(tmp_path: Path, name: str):
    if name == "A.JSONL.gz":
        path = _write(tmp_path / "a.jsonl.gz", STORIES).rename(tmp_path / name)
    else:
        path = _write(tmp_path / name, STORIES)
    assert list(read_file(path)) == STORIES


@given(
    st.lists(st.text("ab \n", min_size=1).filter(str.strip), min_size=1, max_size=6),
    st.integers(1, 7),
)
def test_text_is_split_alike_whatever_the_blocks(stories: list[str], size: int):
    data = "<|endoftext|>".join([*stories, ""]).encode()
    blocks = [data[i : i + size] for i in range(0, len(data), size)]
    assert list(parse_blocks(blocks, "a.txt")) == [s.strip() for s in stories]


def test_blank_lines_separate_where_nothing_else_does():
    text = b"One.\n\nStill one.\n\n\nTwo.\n \n\t\n\nThree."
    assert list(parse_blocks([text], "a.txt")) == ["One.\n\nStill one.", "Two.", "Three."]


@given(st.lists(st.sampled_from(["word ", "End. ", "line\n", "par\n\n", "x" * 50]), max_size=300))
def test_long_text_is_cut_into_passages_that_lose_no_word(parts: list[str]):
    text = "".join(parts)
    passages = list(parse_blocks([text.encode()], "book.txt"))
    assert all(len(p) <= PASSAGE_CHARACTERS for p in passages)
    assert "".join("".join(passages).split()) == "".join(text.split())


def test_one_line_of_40_mb_becomes_passages():
    def blocks():
        for _ in range(40):
            yield b"a word and " * (1_000_000 // 11)

    count = sum(1 for _ in parse_blocks(blocks(), "line.txt"))
    assert count >= 40_000_000 / PASSAGE_CHARACTERS - 100


def test_passages_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "HEAD_CHARACTERS", 10)
    data = ("A sentence here. " * 700 + "\n\n\n" + "Another. " * 600).encode()
    whole = list(parse_blocks([data], "a.txt"))
    for size in (7, 4096):
        cut = [data[i : i + size] for i in range(0, len(data), size)]
        assert list(parse_blocks(cut, "a.txt")) == whole


def test_line_ends_and_byte_order_mark_are_those_of_text():
    blocks = [b"\xef\xbb\xbfA cat.\r", b"\nA dog.\rA cow.\r"]
    assert list(parse_blocks(blocks, "a.txt")) == ["A cat.\nA dog.\nA cow."]


def test_stories_of_jsonl_are_not_altered():
    lines = json.dumps({"text": "  a\r\n\r\n\r\n\r\nb  "}).encode()
    assert list(parse_blocks([lines, b"\n\n"], "a.jsonl")) == ["  a\r\n\r\n\r\n\r\nb  "]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.txt", b"caf\xe9 noir", "not UTF-8 text .near byte 3.*iconv"),
        ("a.txt", b"abc\xe2", "not UTF-8"),
        ("a.txt", b"ab\0c", "NUL byte at byte 2"),
        ("a.txt", "hi".encode("utf-16"), "NUL byte|not UTF-8"),
        ("a.txt.gz", b"plain", "Cannot read"),
        ("a.txt.gz", gzip.compress(b"x" * 1000, mtime=0)[:20], "cut off or damaged"),
        ("a.txt.gz", gzip.compress(b"x" * 1000, mtime=0)[:15] + b"\xff" * 20, "damaged"),
        ("a.jsonl", b'{"text": "a"}\n{"text"', "line 2 is not JSON"),
        ("a.jsonl", b'{"text": "\xe9"}', "line 1 is not JSON"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", b'{"story": "a"}', "line 1 has no text"),
        ("a.jsonl", b'{"text": 3}', "line 1 has no text"),
        ("a.jsonl", b'{"text": "a\\u0000"}', "NUL character"),
        ("a.jsonl", b'{"text": "a\\ud800"}', "surrogate"),
        ("a.parquet", b"", "not a readable parquet"),
        ("a.parquet", b"PAR1" + b"\xff" * 100 + b"PAR1", "not a readable parquet"),
    ],
)
def test_what_is_no_text_is_one_sentence(tmp_path: Path, name: str, data: bytes, says: str):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(TinybuddyError, match=says) as caught:
        list(read_file(path))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "LONGEST_LINE", 1000)
    with pytest.raises(TinybuddyError, match="line of over 1,000 bytes"):
        list(parse_blocks((b"x" * 100 for _ in range(1000)), "a.jsonl"))


def test_parquet_without_text_names_its_columns(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"story": ["a"], "n": [1]}), path)
    with pytest.raises(
        TinybuddyError, match=r"no one column of texts called 'text' \(but story, n\)"
    ):
        list(read_file(path))
    pq.write_table(pa.table({"text": [1]}), path)
    with pytest.raises(TinybuddyError, match="no one column of texts"):
        list(read_file(path))
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), path)
    with pytest.raises(TinybuddyError, match="no one column of texts"):
        list(read_file(path))
    pq.write_table(pa.table({"text": pa.array(["a", "b", "a"]).dictionary_encode()}), path)
    assert list(read_file(path)) == ["a", "b", "a"]
    pq.write_table(pa.table({"text": pa.array(["", None, "  ", "a"], pa.large_string())}), path)
    assert list(read_file(path)) == ["a"]


def test_folders(tmp_path: Path):
    with pytest.raises(TinybuddyError, match="no file or folder"):
        find_splits(tmp_path / "none")
    (tmp_path / "picture.png").write_bytes(b"x")
    (tmp_path / ".hidden.txt").write_bytes(b"x")
    with pytest.raises(TinybuddyError, match="holds no text"):
        find_splits(tmp_path)
    a, b = (_write(tmp_path / name, STORIES) for name in ("a.txt", "b.jsonl"))
    assert find_splits(tmp_path) == {"all": [a, b]}
    train, validation = (
        _write(tmp_path / name, STORIES) for name in ("train.parquet", "validation.txt.gz")
    )
    assert find_splits(tmp_path) == {"train": [train], "validation": [validation]}
    assert find_splits(train) == {"all": [train]}


def test_folders_of_splits_are_read_together(tmp_path: Path):
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
    both = {
        split: [_write(tmp_path / name / f"{split}.txt", STORIES) for name in ("v1", "v2")]
        for split in ("train", "validation")
    }
    assert find_splits(tmp_path) == both
    (tmp_path / "v2" / "validation.txt").unlink()
    with pytest.raises(TinybuddyError, match=r"v2 lacks train\.\* or validation"):
        find_splits(tmp_path)
    shutil.rmtree(tmp_path / "v1")
    with pytest.raises(TinybuddyError, match="folders that each hold train"):
        find_splits(tmp_path)
