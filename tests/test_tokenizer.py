from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybuddy.corpus.tales import generate_tale
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.tokenizer import (
    BOS,
    CHUNK_CHARACTERS,
    EOS,
    encode_story,
    parse_tokenizer,
    train_tokenizer,
)

STORIES = [generate_tale(index).text for index in range(100)]
BPE = train_tokenizer(STORIES, 512)
CHARACTERS = train_tokenizer(STORIES, 27, "characters")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def test_ids_are_where_the_design_puts_them():
    vocabulary = BPE.backend.get_vocab()
    assert [vocabulary[t] for t in ("<pad>", "<bos>", "<eos>")] == [0, 1, 2]
    assert [BPE.piece(3 + b) for b in range(256)] == [bytes([b]) for b in range(256)]
    assert BPE.vocab_size == 512
    assert all(len(BPE.piece(id)) > 1 for id in range(259, 512))


@given(texts)
def test_any_unicode_round_trips(text: str):
    ids = BPE.encode(text)
    assert BPE.decode(ids) == text
    assert BPE.lost_bytes(text, ids) == 0


@given(texts)
def test_streaming_never_shows_half_a_character(text: str):
    pieces = list(BPE.decode_stream(BPE.encode(text)))
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


@given(st.lists(st.integers(-5, 600), max_size=40))
def test_any_ids_decode_alike_at_once_and_streamed(ids: list[int]):
    assert "".join(BPE.decode_stream(ids)) == BPE.decode(ids)


def test_library_agrees(story="Once upon a time, café 日本 😀 ran."):
    encoding = BPE.backend.encode(story)
    assert encoding.ids == [BOS, *BPE.encode(story)]
    assert BPE.backend.decode(encoding.ids) == story


def test_special_words_in_a_story_are_plain_text():
    for tokenizer in (BPE, parse_tokenizer(BPE.to_json())):
        ids = tokenizer.encode("a<eos>b<bos>")
        assert not {BOS, EOS} & {*ids}
        assert tokenizer.decode(ids) == "a<eos>b<bos>"


def test_story_has_its_ends():
    assert encode_story(BPE, "a") == [BOS, *BPE.encode("a"), EOS]


def test_saved_and_read_is_the_same():
    again = parse_tokenizer(BPE.to_json())
    assert again.to_json() == BPE.to_json()
    assert again.encode(STORIES[0]) == BPE.encode(STORIES[0])


def test_training_again_is_the_same():
    assert train_tokenizer(iter(STORIES), 512).to_json() == BPE.to_json()


def test_small_text_gives_a_smaller_vocabulary():
    assert train_tokenizer(["aa aa"], 1024).vocab_size < 300


def test_long_text_is_encoded_as_if_at_once():
    text = " ".join(STORIES * 4)
    assert len(text) > 3 * CHUNK_CHARACTERS
    whole = BPE.backend.encode(text, add_special_tokens=False).ids
    assert BPE.encode(text) == whole


@pytest.mark.parametrize("text", ["x" * 200_000, "\n" * 200_000, "ab  " * 50_000])
def test_long_text_without_a_place_to_cut_round_trips(text: str):
    assert BPE.decode(BPE.encode(text)) == text


@given(texts)
@settings(max_examples=50)
def test_characters_keep_what_they_know(text: str):
    ids = CHARACTERS.encode(text)
    known = {CHARACTERS.piece(id).decode() for id in range(3, 27)}
    kept = "".join(c for c in text if c in known)
    assert CHARACTERS.decode(ids) == kept
    assert CHARACTERS.lost_bytes(text, ids) == len(text.encode()) - len(kept.encode())


def test_characters_are_the_most_frequent():
    tokenizer = train_tokenizer(["bbb", "aa", "ccc d"], 6, "characters")
    assert [tokenizer.piece(id) for id in (3, 4, 5)] == [b"b", b"c", b"a"]
    assert tokenizer.vocab_size == 6


def test_lone_surrogates_are_refused():
    with pytest.raises(UsageError, match="not valid Unicode at character 1"):
        BPE.encode("a\udcff")


def _altered(part: str = "", **changes: object) -> str:
    data = json.loads(BPE.to_json())
    (data[part] if part else data).update(changes)
    return json.dumps(data)


GROWING = {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaa"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[" * 10_000,
        "\x00",
        BPE.to_json()[:2000],
        "[]",
        '{"model": 3}',
        _altered("model", vocab={"<pad>": 1, "<bos>": 0, "<eos>": 2}, merges=[]),
        _altered("model", vocab={"<pad>": 0, "<bos>": 1, "<eos>": 2, "a": 2**32 - 1}, merges=[]),
        _altered("model", vocab={"<pad>": 0}, merges=[["q", "z"]]),
        _altered("model", merges=[["q", "zz"]]),
        _altered("model", type="WordLevel"),
        _altered("model", dropout=0.5),
        _altered("model", unk_token="<pad>"),
        _altered(normalizer=GROWING),
        _altered(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        _altered(truncation={"max_length": 2, "strategy": "LongestFirst", "stride": 0}),
        _altered(pre_tokenizer={"type": "Whitespace"}),
        _altered(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}),
        _altered(added_tokens=[]),
    ],
)
def test_what_is_no_tokenizer_is_refused(text: str):
    with pytest.raises(TinybuddyError, match=r"tokenizer\.json"):
        parse_tokenizer(text)
