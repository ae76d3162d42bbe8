from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, normalizers

from tinybuddy.corpus.tales import generate_tale
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.tokenizer import (
    CHUNK_CHARACTERS,
    Tokenizer,
    encode_story,
    parse_tokenizer,
    unknown_characters,
)
from tinybuddy.tokenizer.layout import BOS, EOS, unseen
from tinybuddy.tokenizer.packed import KINDS, pack_tokenizer, unpack_tokenizer
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.tokenizer.unigram import train_unigram

STORIES = [generate_tale(index).text for index in range(100)]
BPE = train_tokenizer(STORIES, 512)
CHARACTERS = train_tokenizer(STORIES, 27, "characters")
SEEN = train_tokenizer(STORIES, 512, "bpe", "seen")
UNIGRAM = train_tokenizer(STORIES, 512, "unigram")
OF_SEEN = pytest.mark.parametrize("tokenizer", [CHARACTERS, SEEN, UNIGRAM], ids=lambda t: t.kind)

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


@OF_SEEN
@given(text=texts | st.text("ethna \n<>'.,ECé", max_size=60))
@settings(max_examples=50)
def test_the_characters_that_were_seen_are_kept_and_no_others(tokenizer: Tokenizer, text: str):
    ids = tokenizer.encode(text)
    alone = {tokenizer.piece(id).decode() for id in range(3, tokenizer.vocab_size)}
    kept = "".join(c for c in text if c in alone)
    assert tokenizer.decode(ids) == kept
    assert "".join(tokenizer.decode_stream(ids)) == kept
    assert tokenizer.lost_bytes(text, ids) == len(text.encode()) - len(kept.encode())
    assert {*unknown_characters(tokenizer, text, ids)} == {*text} - alone


@OF_SEEN
def test_all_kinds_are_saved_and_read(tokenizer: Tokenizer):
    again = parse_tokenizer(tokenizer.to_json())
    assert (again.kind, again.alphabet) == (tokenizer.kind, "seen")
    assert again.to_json() == tokenizer.to_json()
    for text in (STORIES[0], "a<eos>b<bos>é", "don't 'to  \n\n x"):
        assert again.encode(text) == tokenizer.encode(text)
        assert not {BOS, EOS} & {*again.encode(text)}
    encoding = again.backend.encode(STORIES[1])
    assert encoding.ids == [BOS, *tokenizer.encode(STORIES[1])]


@given(st.sets(st.sampled_from("[]^-\\&~:.*+?(){}|/#$ \t\n\0aZ0é日😀\u2028"), min_size=1), texts)
def test_what_is_unseen_is_dropped(seen: set[str], text: str):
    drop = normalizers.Replace(Regex(unseen(seen)), "")
    assert drop.normalize_str(text) == "".join(c for c in text if c in seen)
    for character in seen:
        assert drop.normalize_str(character * 2) == character * 2


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_rare_characters_are_left_out(kind: str):
    tokenizer = train_tokenizer(["ab ab ab é"] * 3 + ["Q"], 40, kind, "seen", 3)
    assert tokenizer.decode(tokenizer.encode("ab Qé")) == "ab é"


def test_suffixes_stay_apart_from_words_that_have_them_and_from_no_others():
    forms = "the dog the dogs was here and the flower of paper the flowers jump and it jumped"
    stories = [f"{forms} and the dogs jumped" for _ in range(50)]

    def pieces(suffixes: list[str]) -> list[str]:
        tokenizer = train_tokenizer(stories, 90, "unigram", suffixes=suffixes)
        ids = tokenizer.encode(" the dogs was flowers jumped flower paper")
        return [tokenizer.decode([id]) for id in ids]

    whole = [" the", " dogs", " was", " flowers", " jumped", " flower", " paper"]
    assert pieces([]) == whole
    apart = [" the", " dog", "s", " was", " flower", "s", " jump", "ed", " flower", " paper"]
    assert pieces(["s", "d", "ed", "er"]) == apart


def test_too_many_characters_for_unigram_are_bytes():
    many = "".join(chr(0x4E00 + i) for i in range(500))
    tokenizer = train_tokenizer([many * 3], 300, "unigram", "seen")
    assert (tokenizer.kind, tokenizer.alphabet) == ("bpe", "bytes")
    assert tokenizer.decode(tokenizer.encode(many)) == many
    assert train_tokenizer([many * 3], 100, "unigram", "seen").vocab_size <= 100
    assert train_tokenizer([many * 3], 300, "bpe", "seen").alphabet == "seen"


def test_fewer_tokens_of_unigram_than_of_bpe_and_none_that_no_text_has():
    def tokens(tokenizer: Tokenizer) -> list[int]:
        return [id for story in STORIES for id in tokenizer.encode(story)]

    lengths = [len(tokens(tokenizer)) for tokenizer in (UNIGRAM, SEEN, BPE)]
    assert lengths == sorted(lengths)
    long = {id for id in range(3, 512) if len(UNIGRAM.piece(id)) > 1}
    assert long <= {*tokens(UNIGRAM)}
    assert len({id for id in range(3, 512) if len(SEEN.piece(id)) > 1} - {*tokens(SEEN)}) > 5


def test_unigram_keeps_what_saves_most():
    words = {"cat": 50, "cats": 20, "at": 1}
    scores = train_unigram(words, ["a", "c", "s", "t", "at", "ca", "cat", "cats"], 5)
    assert {*scores} == {"a", "c", "s", "t", "cat"}
    assert max(scores, key=lambda token: scores[token]) == "cat"


def test_characters_are_the_most_frequent():
    tokenizer = train_tokenizer(["bbb", "aa", "ccc d"], 6, "characters")
    assert [tokenizer.piece(id) for id in (3, 4, 5)] == [b"b", b"c", b"a"]
    assert tokenizer.vocab_size == 6


def test_lone_surrogates_are_refused():
    with pytest.raises(UsageError, match="not valid Unicode at character 1"):
        BPE.encode("a\udcff")


def _altered(part: str = "", of: Tokenizer = BPE, **changes: object) -> str:
    data = json.loads(of.to_json())
    (data[part] if part else data).update(changes)
    return json.dumps(data)


def _pieces(*changed: list[object]) -> str:
    """Return the Unigram tokenizer with other first pieces after the special tokens."""
    pieces = json.loads(UNIGRAM.to_json())["model"]["vocab"]
    return _altered("model", UNIGRAM, vocab=[*pieces[:3], *changed, *pieces[3 + len(changed) :]])


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
        _altered(of=SEEN, pre_tokenizer={"type": "Whitespace"}),
        _altered("pre_tokenizer", SEEN, pattern={"Regex": "(a+)+$"}),
        _altered(of=UNIGRAM, normalizer=GROWING),
        _altered(of=UNIGRAM, normalizer=None),
        _altered("normalizer", UNIGRAM, pattern={"Regex": "(a+)+$"}),
        _altered("normalizer", UNIGRAM, content="a"),
        _altered(of=UNIGRAM, pre_tokenizer={"type": "Whitespace"}),
        _altered("model", UNIGRAM, unk_id=1),
        _altered("model", UNIGRAM, unk_id=None),
        _altered("model", UNIGRAM, byte_fallback=True),
        _altered("model", UNIGRAM, vocab=[]),
        _altered("model", UNIGRAM, vocab=[["<pad>", -1e6], ["<bos>", -1e6], ["<eos>", -1e6]]),
        _pieces(["\n", float("nan")]),
        _pieces(["\n", 1.0]),
        _pieces(["\n", -1e9]),
        _pieces(["\n", "x"]),
        _pieces(["", -3.0]),
        _pieces(["\n", -3.0], ["\n", -3.0]),
        _pieces(["a" * 500, -3.0]),
    ],
)
def test_what_is_no_tokenizer_is_refused(text: str):
    with pytest.raises(TinybuddyError, match=r"tokenizer\.json"):
        parse_tokenizer(text)


@pytest.mark.parametrize("tokenizer", [BPE, CHARACTERS, SEEN, UNIGRAM], ids=lambda t: t.kind)
def test_a_packed_tokenizer_is_the_same(tokenizer: Tokenizer):
    data = pack_tokenizer(tokenizer)
    assert unpack_tokenizer(data).to_json() == tokenizer.to_json()
    assert len(data) < len(tokenizer.to_json()) / 5


@given(st.data())
@settings(max_examples=30)
def test_tokenizers_of_any_text_are_packed(data: st.DataObject):
    """Among their characters are those that end a token, and the words of special tokens."""
    words = st.text("ab<>osé日😀\0\n\x7fÿ ", max_size=12) | st.just("<eos>" * 3) | texts
    stories = data.draw(st.lists(words, min_size=1, max_size=8).filter(any))
    kind, alphabet = data.draw(st.sampled_from(KINDS))
    tokenizer = train_tokenizer(stories, data.draw(st.integers(40, 300)), kind, alphabet)
    assert unpack_tokenizer(pack_tokenizer(tokenizer)).to_json() == tokenizer.to_json()


@pytest.mark.parametrize("decimals", [0, 1, 4, 6, None])
def test_scores_of_any_decimals_are_exact(decimals: int | None):
    random = Random(0)
    values = [-random.uniform(0, 20) for _ in range(200)]
    scores = values if decimals is None else [round(value, decimals) for value in values]
    pieces = json.loads(UNIGRAM.to_json())["model"]["vocab"]
    changed = [[piece, score] for (piece, _), score in zip(pieces[3:], scores, strict=False)]
    tokenizer = parse_tokenizer(_pieces(*changed))
    assert unpack_tokenizer(pack_tokenizer(tokenizer)).to_json() == tokenizer.to_json()


def test_a_tokenizer_with_ids_of_its_own_is_not_packed():
    model = json.loads(BPE.to_json())["model"]
    ids = model["vocab"]
    a, b = [*ids][10:12]
    other = parse_tokenizer(_altered("model", vocab=ids | {a: ids[b], b: ids[a]}))
    with pytest.raises(TinybuddyError, match="train it anew"):
        pack_tokenizer(other)


@given(st.sampled_from([BPE, CHARACTERS, SEEN, UNIGRAM]), st.data())
def test_a_damaged_packed_tokenizer_is_another_or_one_sentence(tokenizer, data: st.DataObject):
    packed = bytearray(pack_tokenizer(tokenizer))
    places = st.integers(0, 20) | st.integers(0, len(packed) - 1)
    for at in data.draw(st.lists(places, min_size=1, max_size=3)):
        packed[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.just(len(packed)) | st.integers(0, len(packed)))
    try:
        found = unpack_tokenizer(bytes(packed[:end]))
        found.decode(found.encode("One day"))
    except TinybuddyError as error:
        assert "\n" not in str(error)
