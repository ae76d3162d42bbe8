"""The boundary for text from outside: what it reads, and what it refuses in one sentence."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybuddy.corpus import plain, rows
from tinybuddy.corpus.files import KINDS, find_splits, parse_blocks, read_file, read_files, role_of
from tinybuddy.corpus.layout import Layout
from tinybuddy.corpus.plain import PASSAGE_CHARACTERS
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
    monkeypatch.setattr(plain, "HEAD_CHARACTERS", 10)
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
        ("a.txt", "hi".encode("utf-16")[:-1], "not UTF-16 text"),
        ("a.pdf", b"%PDF-1.4", "is a PDF"),
        ("a.txt", b"%PDF-1.4", "is a PDF"),
        ("a.docx", b"PK\x03\x04", "is a Word document"),
        ("a.txt", b"PK\x03\x04", r"is a \.zip or an office document"),
        ("a.zip", b"PK\x03\x04" + bytes(50), "cut off or damaged"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b'{"a": 1, "b": [2], "c": [3]}', "holds no list"),
        ("a.csv", b'text\n"open', "line 2 is not a row"),
        ("a.csv", b"a,b\n1,2\n", "no key of text .its keys: a, b.: choose one with `text_key`"),
        ("a.txt.gz", b"plain", "Cannot read"),
        ("a.txt.gz", gzip.compress(b"x" * 1000, mtime=0)[:20], "cut off or damaged"),
        ("a.txt.gz", gzip.compress(b"x" * 1000, mtime=0)[:15] + b"\xff" * 20, "damaged"),
        ("a.jsonl", b'{"text": "a"}\n{"text"', "line 2 is not JSON"),
        ("a.jsonl", b'{"text": "\xe9"}', "not UTF-8 text"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", b'{"id": 1}', "no key of text .its keys: id."),
        ("a.jsonl", b'{"a": "b c", "d": "e f"}', "several keys of text .its keys: a, d."),
        ("a.jsonl", b'{"text": "a"}\n{"story": "b"}', "line 2 has no text: give each row the key"),
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
    monkeypatch.setattr(rows, "LONGEST_LINE", 1000)
    with pytest.raises(TinybuddyError, match="line of over 1,000 bytes"):
        list(parse_blocks((b"x" * 100 for _ in range(1000)), "a.jsonl"))


def test_parquet_without_text_names_its_columns(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"story": ["a b"], "title": ["c d"], "n": [1]}), path)
    with pytest.raises(TinybuddyError, match=r"several keys of text .its keys: story, title, n."):
        list(read_file(path))
    assert list(read_file(path, layout=Layout(text_key="title"))) == ["c d"]
    pq.write_table(pa.table({"text": [1]}), path)
    with pytest.raises(TinybuddyError, match="row 1 has no text"):
        list(read_file(path))
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), path)
    with pytest.raises(TinybuddyError, match="columns of one name"):
        list(read_file(path))
    pq.write_table(pa.table({"story": ["a"], "n": [1]}), path)
    assert list(read_file(path)) == ["a"]
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
    assert find_splits(tmp_path) == {"all": [tmp_path / "v2" / "train.txt"]}


def test_names_of_files_say_what_they_are_for(tmp_path: Path):
    names = ["train-00000-of-00002.txt", "train-00001-of-00002.txt", "validation-0.txt", "test.txt"]
    paths = [_write(tmp_path / name, STORIES) for name in [*names, "README.md", "more.txt"]]
    layout = Layout()
    assert find_splits(tmp_path, layout) == {"train": paths[:2], "validation": [paths[2]]}
    assert [*layout.skipped] == [
        "README.md (about)",
        "more.txt (beside files that say train)",
        "test.txt (test)",
    ]


def test_what_tells_about_folders_is_not_read_instead_of_them(tmp_path: Path):
    _write(tmp_path / "README.md", STORIES)
    (tmp_path / "empty").mkdir()
    assert find_splits(tmp_path) == {"all": [tmp_path / "README.md"]}
    (tmp_path / "v1").mkdir()
    path = _write(tmp_path / "v1" / "a.txt", STORIES)
    layout = Layout()
    assert find_splits(tmp_path, layout) == {"all": [path]}
    assert [*layout.skipped] == ["empty (no text)", "README.md (about)"]


@pytest.mark.parametrize("name", ["test.txt", "README.md", "validation.txt"])
def test_what_is_alone_is_read_whatever_it_is_called(tmp_path: Path, name: str):
    path = _write(tmp_path / name, STORIES)
    assert find_splits(tmp_path) == {"all": [path]}


@pytest.mark.parametrize("name", ["trains.txt", "testament.txt", "valid8.txt", "devil.md"])
def test_a_word_within_a_word_says_nothing(name: str):
    assert role_of(name) in ("", "validation")[: 1 + name.startswith("valid8")]


def test_what_a_folder_holds_beside_text_is_named(tmp_path: Path):
    for name, data in (
        ("a.txt", b"A cat."),
        ("b.csv", b"a,b\n1,2\n"),
        ("notes.pdf", b"%PDF"),
        ("c.docx", b"PK"),
        ("x.png", b"x"),
    ):
        (tmp_path / name).write_bytes(data)
    layout = Layout()
    assert list(read_files(find_splits(tmp_path, layout)["all"], layout)) == ["A cat."]
    assert [*layout.skipped] == [
        "c.docx (a Word document)",
        "notes.pdf (a PDF)",
        "x.png (of a kind that is not read)",
        "b.csv (no key of text: a, b)",
    ]


# ---------------------------------------------------------------- text as people have it

CHAT = [{"role": "user", "content": "Tell me."}, {"role": "assistant", "content": "A cat sat."}]
SHARED = [
    {"from": "human", "value": "Tell me."},
    {"from": "gpt", "value": [{"type": "text", "text": "A cat sat."}]},
]
SAID = "User: Tell me.\nAssistant: A cat sat."


@pytest.mark.parametrize(
    ("name", "text", "stories", "how"),
    [
        ("a.csv", 'id,text\n1,"A cat, sat."\n2,"Two\nlines."\n', None, "one a row, of 'text'"),
        ("a.csv", "id;story\n1;A cat, sat.\n2;Two dogs.\n", None, "one a row, of 'story'"),
        ("a.csv", "A cat sat on the old mat today.\nA dog ran.\n", None, "one a row, of '1'"),
        ("a.tsv", "n\tbody\n1\tA cat sat.\n", ["A cat sat."], "one a row, of 'body'"),
        ("a.json", '["A cat.", "A dog."]', ["A cat.", "A dog."], "one a row"),
        ("a.json", '{"data": [{"text": "A cat."}]}', ["A cat."], "one a row, of 'text'"),
        ("a.json", '{"1": "A cat.", "2": "A dog."}', ["A cat.", "A dog."], "one a row"),
        ("a.ndjson", '{"content": "A cat.", "id": 1}', ["A cat."], "one a row, of 'content'"),
        ("a.jsonl", '{"text": null}\n{"text": "A cat."}', ["A cat."], "one a row, of 'text'"),
        ("a.jsonl", json.dumps({"messages": CHAT}), [SAID], "one a row, of 'messages'"),
        ("a.jsonl", json.dumps({"id": "a b", "conversations": SHARED}), [SAID], None),
        (
            "a.md",
            "# A tale\n\nA *cat* sat\non a [mat](x).\n",
            ["A tale\n\nA cat sat\non a mat."],
            None,
        ),
        (
            "a.html",
            "<head><title>x</title></head><p>A &amp; B.</p><script>no()</script><p>C<br>D</p>",
            ["A & B.\n\nC\nD"],
            None,
        ),
    ],
)
def test_text_as_people_have_it(
    tmp_path: Path, name: str, text: str, stories: list[str] | None, how: str | None
):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    layout = Layout()
    found = list(read_file(path, layout=layout))
    if stories is None:
        assert len(found) == 2
    else:
        assert found == stories
    if how:
        assert [*layout.found] == [how]
    with gzip.open(tmp_path / f"{name}.gz", "wb") as file:
        file.write(text.encode("utf-8"))
    assert list(read_file(tmp_path / f"{name}.gz")) == found
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"inner/{name}", text)
        archive.writestr("__MACOSX/a.txt", "not this")
    assert list(read_file(tmp_path / "a.zip")) == found
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"):
        path.write_bytes(text.encode(encoding))
        assert list(read_file(path)) == found, encoding


NAMES = [f"{a}{b}n" for a in "bdfgklmnprst" for b in ("a", "e", "o")]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("\n".join(NAMES), True),
        ("\n".join(f"The {name} ran home and slept until noon." for name in NAMES), True),
        ("\n".join(NAMES[:10]), False),
        ("\n\n".join(NAMES), False),
        ("\n".join(f"The {name} went up the hill to see the" for name in NAMES), False),
    ],
)
def test_a_list_of_lines_is_recognised(text: str, is_one: bool):
    assert (len(list(parse_blocks([text.encode()], "a.txt"))) == len(NAMES)) == is_one


POEM = "The moon is high,\nthe sea is low,\nand where they meet\nthe herons go."


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("\n\n".join([POEM] * 6), 6),
        ("\n\n".join([POEM] * 6) + "\n\n\n" + POEM, 2),
        (
            "\n\n".join(
                ["A line of prose that goes on for as long as such lines do, and " * 3] * 6
            ),
            1,
        ),
        ("\n\n".join(["One line."] * 6), 1),
        ("\n\n".join([POEM] * 4), 1),
    ],
)
def test_poems_are_told_apart_by_blank_lines(text: str, count: int):
    assert len(list(parse_blocks([text.encode()], "a.txt"))) == count


@pytest.mark.parametrize(
    ("split", "stories"),
    [
        ("lines", ["a b", "%", "c", "d"]),
        ("blank", ["a b\n%\nc", "d"]),
        ("\\n%\\n", ["a b", "c\n\nd"]),
        ("b\n%", ["a", "c\n\nd"]),
    ],
)
def test_the_user_says_how_to_split(split: str, stories: list[str]):
    data = b"a b\n%\nc\n\nd\n"
    for size in (1, 3, 100):
        blocks = [data[i : i + size] for i in range(0, len(data), size)]
        assert list(parse_blocks(blocks, "a.txt", Layout(split))) == stories


@given(st.binary(max_size=300), st.sampled_from(KINDS))
def test_bytes_from_outside_are_stories_or_one_sentence(data: bytes, kind: str):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{kind}")
        path.write_bytes(data)
        try:
            assert all(isinstance(story, str) and story for story in read_file(path))
        except TinybuddyError as error:
            assert "\n" not in str(error)
