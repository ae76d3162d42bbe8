from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.llama2c_files import (
    LETTERS,
    SHAPE,
    WORDS,
    model_bytes,
    tokenizer_bytes,
    vocabulary,
)
from tinybuddy.corpus.files import read_file
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.formats.llama2c import read_llama2c
from tinybuddy.formats.sentencepiece import SentencePieceTokenizer, read_tokenizer


def _token_file(**changes: object) -> bytes:
    """The tokenizer's file with token 270 another: its score, or the length that it claims."""
    pieces, scores = vocabulary(WORDS + LETTERS)
    at = len(tokenizer_bytes(pieces[:270], scores[:270]))
    data = tokenizer_bytes(pieces, scores)
    score, size = struct.unpack_from("<fi", data, at)
    token = struct.pack("<fi", changes.get("score", score), changes.get("size", size))
    return data[:at] + token + data[at + 8 :]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "broken at token 0"),
        (b"\0" * 11, "broken at token 0"),
        (_token_file()[:-1], "broken at token 279"),
        (_token_file()[:-9], "broken at token 279"),
        (_token_file() + b"\0", "goes on after the 280 tokens"),
        (_token_file(size=-1), "broken at token 270"),
        (_token_file(size=-(2**31)), "broken at token 270"),
        (_token_file(size=2**31 - 1), "broken at token 270"),
        (_token_file(score=np.nan), "broken at token 270"),
        (_token_file(score=-np.inf), "broken at token 270"),
        (bytes(4 + 280 * 8), "does not hold the 256 bytes"),
        (bytes(16_000_001), "too large"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_one_sentence(path: Path, data: bytes, says: str):
    path.with_name("tok280.bin").write_bytes(data)
    with pytest.raises(TinybuddyError, match=says):
        read_llama2c(path)


def test_a_vocabulary_without_bytes_is_refused(path: Path):
    path.write_bytes(model_bytes(SHAPE | {"vocab": 200}))
    pieces, scores = vocabulary([])
    path.with_name("tok200.bin").write_bytes(tokenizer_bytes(pieces[:200], scores[:200]))
    with pytest.raises(TinybuddyError, match="does not hold the 256 bytes"):
        read_llama2c(path)


@given(st.binary(max_size=400), st.integers(0, 4000))
def test_any_bytes_are_a_tokenizer_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int
):
    path = tmp_path_factory.getbasetemp() / "tok.bin"
    whole = _token_file()
    path.write_bytes(whole[:at] + data + whole[at + len(data) :])
    try:
        tokenizer = read_tokenizer(path, 280)
    except TinybuddyError as error:
        assert "\n" not in str(error)
    else:
        assert tokenizer.decode(tokenizer.encode(" the théa")) == " the théa"


def _slow(pieces: list[bytes], scores: list[float], text: str) -> list[int]:
    """What run.c does, one merge of the whole text at a time."""
    ids: dict[bytes, int] = {}
    for id in range(259, len(pieces)):
        ids.setdefault(pieces[id], id)
    tokens = []
    for character in " " + text if text else "":
        data = character.encode()
        tokens += [ids[data]] if data in ids else [3 + byte for byte in data]
    while True:
        best, found = -1e10, None
        for place in range(len(tokens) - 1):
            id = ids.get(pieces[tokens[place]] + pieces[tokens[place + 1]])
            if id is not None and scores[id] > best:
                best, found = scores[id], (place, id)
        if found is None:
            return tokens
        tokens[found[0] : found[0] + 2] = [found[1]]


ODD = [
    "",
    " ",
    "  ",
    "\n",
    " \n ",
    "a\n\nb",
    "“Hi,” — he  said.",
    "😀 the 日本語",
    "<0x0A>",
    "</s>",
]
ODD += [
    "\n<s>\n",
    "<unk>",
    "\u2581a",
    "\0",
    "aaaaaaa",
    "tea the  eat\tat",
    "éa e\u0301a \xa0",
    "\ufeff",
]


def _check(tokenizer: SentencePieceTokenizer, text: str, expected: list[int]) -> None:
    ids = tokenizer.encode(text)
    assert ids == expected
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([1, *ids, 1]) == text
    assert "".join(tokenizer.decode_stream([1, *ids])) == text
    assert "".join(tokenizer.decode_stream(ids)) == (" " + text if text else "")
    assert tokenizer.lost_bytes(text, ids) == 0


VOCABULARIES = {
    "words": vocabulary(WORDS + LETTERS),
    "no space": vocabulary([b"ab", b"a", b"b"]),
    "inner space": vocabulary([b" a", b"e t", b"he t", b"a ", *LETTERS]),
    "ties": (vocabulary(WORDS + LETTERS)[0], [0.0] * 280),
    "never": (vocabulary(WORDS + LETTERS)[0], [-2e10] * 280),
    "odd": vocabulary([b"", b"a\0", b"\xff", b"aa\xf0", b"aa", b"a", b"\xed\xa0\x80", b"aa", b" "]),
}
TEXT = st.text(max_size=40) | st.text(alphabet="the a—é<0xA>\n", max_size=40)


@pytest.mark.parametrize("name", VOCABULARIES)
@given(text=TEXT)
def test_encoding_is_llama2cs(name: str, text: str):
    pieces, scores = VOCABULARIES[name]
    _check(SentencePieceTokenizer(pieces, scores), text, _slow(pieces, scores, text))


@pytest.mark.parametrize("name", VOCABULARIES)
def test_odd_texts_are_encoded_as_by_llama2c(name: str):
    pieces, scores = VOCABULARIES[name]
    for text in ODD:
        _check(SentencePieceTokenizer(pieces, scores), text, _slow(pieces, scores, text))


@given(st.data())
def test_encoding_with_any_vocabulary_is_llama2cs(data: st.DataObject):
    words = data.draw(st.lists(st.text("ab \n", max_size=4), max_size=21), label="words")
    pieces, _ = vocabulary([word.encode() for word in words])
    scores = [0.0] * 259 + data.draw(st.lists(st.integers(-3, 3), min_size=21, max_size=21))
    text = data.draw(st.text("ab \n", max_size=30), label="text")
    _check(SentencePieceTokenizer(pieces, scores), text, _slow(pieces, scores, text))


def test_a_long_text_without_spaces_is_encoded():
    tokenizer = SentencePieceTokenizer(*VOCABULARIES["words"])
    for text in ("the" * 23_000, " " * 66_000, "日" * 66_000):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text


def test_a_stream_keeps_characters_whole():
    tokenizer = SentencePieceTokenizer(*VOCABULARIES["words"])
    face = [3 + byte for byte in "😀".encode()]
    assert list(tokenizer.decode_stream([261, *face, 261])) == [" the", "", "", "", "😀", " the"]
    assert list(tokenizer.decode_stream([1, 0, 261, 261])) == ["", "", "the", " the"]
    assert list(tokenizer.decode_stream(face[:2])) == ["", "", "\ufffd"]
    assert tokenizer.decode(face[:2]) == "\ufffd"


def test_special_and_unknown_ids_say_nothing():
    tokenizer = SentencePieceTokenizer(*VOCABULARIES["words"])
    assert [tokenizer.piece(id) for id in (0, 1, 2, 280, -1)] == [b""] * 5
    assert [tokenizer.piece(id) for id in (3, 258, 260)] == [b"\0", b"\xff", b"he"]
    assert tokenizer.decode([0, 1, 2, 999, -1]) == ""
    assert (tokenizer.bos, tokenizer.eos, tokenizer.vocab_size) == (1, 1, 280)


def test_lone_surrogates_are_refused():
    with pytest.raises(UsageError, match="not valid Unicode"):
        SentencePieceTokenizer(*VOCABULARIES["words"]).encode("a\udcff")


@pytest.mark.slow
def test_the_real_tokenizer(peer: Path, tinystories: Path):
    pieces, scores = _real_vocabulary(peer.with_name("tok512.bin"))
    tokenizer = read_tokenizer(peer.with_name("tok512.bin"), 512)
    stories = read_file(tinystories / "validation.parquet")
    for text in [*ODD, *(story[:300] for story, _ in zip(stories, range(20), strict=False))]:
        _check(tokenizer, text, _slow(pieces, scores, text))


def _real_vocabulary(path: Path) -> tuple[list[bytes], list[float]]:
    data, at = path.read_bytes(), 4
    pieces, scores = [], []
    while at < len(data):
        score, size = struct.unpack_from("<fi", data, at)
        pieces.append(data[at + 8 : at + 8 + size])
        scores.append(score)
        at += 8 + size
    return pieces, scores
