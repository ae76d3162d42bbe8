from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinybuddy
from tests.conftest import Cli
from tinybuddy.config import ModelConfig
from tinybuddy.corpus.files import read_file
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.exporters.session import export
from tinybuddy.formats.llama2c import read_llama2c
from tinybuddy.formats.sentencepiece import SentencePieceTokenizer, read_tokenizer
from tinybuddy.formats.summary import info
from tinybuddy.training.session import train
from tinybuddy.weights import weight_shapes

PEERS = Path(__file__).parents[3] / "shared" / "peers"
SHAPE = {"dim": 16, "hidden": 24, "layers": 2, "heads": 4, "kv_heads": 2, "vocab": 280, "seq": 12}
BYTES = [b"<0x%02X>" % byte for byte in range(256)]
SPECIAL = [b"<unk>", b"\n<s>\n", b"\n</s>\n"]

# Learned pieces, best first. Each has several ways to come about, and some can come about in none.
WORDS = [b" t", b"he", b" the", b"aa", b"aaa", b"\xc3\xa9a", b"  ", b"ee", b"the", b" a", b"at"]
LETTERS = [b" ", b"e", b"t", b"a", b"h", "—".encode(), b"\xe2\x80", b"<", b"0x0A", b"e"]


def _vocabulary(words: list[bytes], size: int = 280) -> tuple[list[bytes], list[float]]:
    pieces = [*SPECIAL, *BYTES, *words]
    pieces = [*pieces, *(b"\xff%d" % n for n in range(size - len(pieces)))]
    return pieces, [0.0] * 259 + [-float(n) for n in range(size - 259)]


def _tokenizer_bytes(pieces: list[bytes], scores: list[float]) -> bytes:
    tokens = (struct.pack("<fi", s, len(p)) + p for p, s in zip(pieces, scores, strict=True))
    return struct.pack("<I", max(map(len, pieces))) + b"".join(tokens)


def _arrays(shape: dict[str, int]) -> dict[str, np.ndarray]:
    """Random weights in the order of the file, under llama2.c's names."""
    dim, hidden, layers, heads, kv_heads, vocab, seq = shape.values()
    kv = dim // heads * kv_heads
    sizes = {
        "embedding": (vocab, dim),
        "rms_att": (layers, dim),
        "wq": (layers, dim, dim),
        "wk": (layers, kv, dim),
        "wv": (layers, kv, dim),
        "wo": (layers, dim, dim),
        "rms_ffn": (layers, dim),
        "w1": (layers, hidden, dim),
        "w2": (layers, dim, hidden),
        "w3": (layers, hidden, dim),
        "rms_final": (dim,),
        "cos": (seq, dim // heads // 2),
        "sin": (seq, dim // heads // 2),
    }
    random = np.random.default_rng(0)
    arrays = {n: random.normal(0, 0.3, size).astype(np.float32) for n, size in sizes.items()}
    for norm in ("rms_att", "rms_ffn", "rms_final"):
        arrays[norm] += 1
    return arrays


def _model_bytes(shape: dict[str, int]) -> bytes:
    header = struct.pack("<7i", *shape.values())
    return header + b"".join(array.tobytes() for array in _arrays(shape).values())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model with its tokenizer beside it."""
    path = tmp_path / "small.bin"
    path.write_bytes(_model_bytes(SHAPE))
    (tmp_path / "tok280.bin").write_bytes(_tokenizer_bytes(*_vocabulary(WORDS + LETTERS)))
    return path


@pytest.fixture(scope="session")
def peer() -> Path:
    if not (PEERS / "stories260K.bin").is_file():
        pytest.skip("needs llama2.c's stories260K.bin and tok512.bin in shared/peers")
    return PEERS / "stories260K.bin"


def _normed(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight


def _turned(x: np.ndarray) -> np.ndarray:
    """Rotate neighbours of each head of ``x`` (T, heads, D), as complex numbers."""
    length, _, size = x.shape
    angles = np.outer(np.arange(length), 10_000.0 ** (-np.arange(0, size, 2) / size))
    turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)[:, None]
    return np.stack((turned.real, turned.imag), axis=-1).reshape(x.shape)


def _logits(ids: list[int], shape: dict[str, int], w: dict[str, np.ndarray]) -> np.ndarray:
    """Logits (T, V), in float64 and in llama2.c's own order of rows."""
    length, heads = len(ids), shape["heads"]
    size, shared = shape["dim"] // heads, heads // shape["kv_heads"]
    w = {name: array.astype(np.float64) for name, array in w.items()}
    x = w["embedding"][ids]
    for n in range(shape["layers"]):
        read = _normed(x, w["rms_att"][n])
        q = _turned((read @ w["wq"][n].T).reshape(length, -1, size))
        k = _turned((read @ w["wk"][n].T).reshape(length, -1, size)).repeat(shared, axis=1)
        v = (read @ w["wv"][n].T).reshape(length, -1, size).repeat(shared, axis=1)
        scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(size)
        scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = np.einsum("hts,shd->thd", scores / scores.sum(-1, keepdims=True), v)
        x = x + mixed.reshape(length, -1) @ w["wo"][n].T
        read = _normed(x, w["rms_ffn"][n])
        gate = read @ w["w1"][n].T
        x = x + (gate / (1 + np.exp(-gate)) * (read @ w["w3"][n].T)) @ w["w2"][n].T
    return _normed(x, w["rms_final"]) @ w["embedding"].T


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_the_logits_are_llama2cs(path: Path, kv_heads: int):
    shape = SHAPE | {"kv_heads": kv_heads}
    path.write_bytes(_model_bytes(shape))
    model = tinybuddy.load(path)
    ids = [1, 40, 259, 260, 279, 3, 261, 270, 40, 1]
    expected = _logits(ids, shape, _arrays(shape))
    assert expected.std() > 0.5
    for length in range(1, len(ids) + 1):
        (logits,) = model.backend.stream().feed(np.array([ids[:length]]))
        np.testing.assert_allclose(logits, expected[length - 1], atol=1e-4)


def test_shape_and_names(path: Path):
    model = read_llama2c(path)
    assert model.config == ModelConfig(
        vocab_size=280,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=12,
        rope_theta=10_000.0,
        rms_norm_eps=1e-5,
    )
    shapes = {name: array.shape for name, array in model.weights.items()}
    assert list(shapes.items()) == list(weight_shapes(model.config).items())
    assert all(array.dtype == np.float32 for array in model.weights.values())
    w = _arrays(SHAPE)
    np.testing.assert_array_equal(model.weights["model.layers.1.mlp.down_proj.weight"], w["w2"][1])
    np.testing.assert_array_equal(model.weights["model.norm.weight"], w["rms_final"])


def _with_header(**changes: int) -> bytes:
    header = struct.pack("<7i", *(SHAPE | changes).values())
    return header + _model_bytes(SHAPE)[len(header) :]


WHOLE = _model_bytes(SHAPE)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ends within its first numbers"),
        (WHOLE[:27], "ends within its first numbers"),
        (WHOLE[:-1], "has 33,819 bytes, where a llama2.c model of its shape has 33,820"),
        (WHOLE[: -4 * 12 * 4], "copy it again"),  # without the rotary tables
        (WHOLE + b"\0", "copy it again"),
        (b"\xff" * 28, "head of its own"),
        (b"\x7f" * 28, "vocab_size must lie between"),
        (bytes(28), "must lie between"),
        (_with_header(dim=-16), "hidden_size must lie between"),
        (_with_header(dim=18), "not divisible"),
        (_with_header(heads=16, kv_heads=16), "odd size"),
        (_with_header(kv_heads=3), "does not divide"),
        (_with_header(kv_heads=0), "num_key_value_heads must lie"),
        (_with_header(layers=2**31 - 1), "num_hidden_layers must lie"),
        (_with_header(seq=2**31 - 1), "max_position_embeddings must lie"),
        (_with_header(vocab=2**31 - 1), "vocab_size must lie"),
        (_with_header(vocab=-280), "head of its own"),
        (
            _with_header(dim=8192, hidden=65536, layers=128, vocab=65535),
            r"has \d+,\d{3},\d{3},\d{3}:",
        ),
        (struct.pack("<2i", 0x616B3432, 2) + bytes(248), "version 2, and only version 0 is read"),
    ],
)
def test_a_file_that_is_no_model_is_one_sentence(path: Path, data: bytes, says: str):
    path.write_bytes(data)
    with pytest.raises(TinybuddyError, match=says) as raised:
        read_llama2c(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(path: Path, bad: float):
    path.write_bytes(WHOLE[:28] + struct.pack("<f", bad) + WHOLE[32:])
    with pytest.raises(TinybuddyError, match=r"model\.embed_tokens\.weight in .*small\.bin holds"):
        read_llama2c(path)


def test_a_missing_file_is_one_sentence(path: Path, cli: Cli):
    path.with_name("tok280.bin").unlink()
    with pytest.raises(TinybuddyError, match=r"put llama2\.c's tok280\.bin or tokenizer\.bin"):
        tinybuddy.load(path)
    with pytest.raises(TinybuddyError, match=r"Cannot read none\.bin"):
        tinybuddy.load("none.bin")
    done = cli("generate", "Once", "--model", path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_it_is_described_but_not_exported_or_trained_on(path: Path):
    config = read_llama2c(path).config
    path.with_name("tok280.bin").unlink()  # its shape is told without
    assert info(str(path))["parameters"] == config.parameters
    says = "can generate and be evaluated, but not be exported or trained on"
    with pytest.raises(TinybuddyError, match=says):
        export("hub", path, path.with_name("out"))
    with pytest.raises(TinybuddyError, match=says):
        train(from_model=path)


def test_a_loaded_one_is_not_exported(path: Path):
    with pytest.raises(TinybuddyError, match="but not be exported"):
        export("hub", tinybuddy.load(path), path.with_name("out"))


def test_the_tokenizer_of_its_size_goes_first(path: Path):
    other = path.with_name("tokenizer.bin")
    other.write_bytes(b"broken")
    assert read_llama2c(path).tokenizer.vocab_size == 280
    path.with_name("tok280.bin").replace(other)
    assert read_llama2c(path).tokenizer.vocab_size == 280


def test_a_folder_of_such_a_name_is_still_a_folder(tmp_path: Path):
    (tmp_path / "run.bin").mkdir()
    with pytest.raises(TinybuddyError, match="There is no model"):
        tinybuddy.load(tmp_path / "run.bin")


def _token_file(**changes: object) -> bytes:
    """The tokenizer's file with token 270 another: its score, or the length that it claims."""
    pieces, scores = _vocabulary(WORDS + LETTERS)
    at = len(_tokenizer_bytes(pieces[:270], scores[:270]))
    data = _tokenizer_bytes(pieces, scores)
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
    path.write_bytes(_model_bytes(SHAPE | {"vocab": 200}))
    pieces, scores = _vocabulary([])
    path.with_name("tok200.bin").write_bytes(_tokenizer_bytes(pieces[:200], scores[:200]))
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
    "words": _vocabulary(WORDS + LETTERS),
    "no space": _vocabulary([b"ab", b"a", b"b"]),
    "inner space": _vocabulary([b" a", b"e t", b"he t", b"a ", *LETTERS]),
    "ties": (_vocabulary(WORDS + LETTERS)[0], [0.0] * 280),
    "never": (_vocabulary(WORDS + LETTERS)[0], [-2e10] * 280),
    "odd": _vocabulary(
        [b"", b"a\0", b"\xff", b"aa\xf0", b"aa", b"a", b"\xed\xa0\x80", b"aa", b" "]
    ),
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
    pieces, _ = _vocabulary([word.encode() for word in words])
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


def test_stories_end_where_the_next_would_begin(path: Path):
    model = tinybuddy.load(path)
    told = [model.generate(seed=seed, max_new_tokens=30) for seed in range(3)]
    assert len(set(told)) == 3
    assert model.score(["the tea", "at"]).bits_per_byte > 0


def test_the_story_of_llama2c(peer: Path):
    """``run stories260K.bin -t 0 -n 200`` tells the same 200 tokens."""
    story = tinybuddy.load(peer).generate(temperature=0, max_new_tokens=200)
    assert story.startswith("Once upon a time, there was a little girl named Lily. She loved to")
    assert story.endswith("Lily didn't want to help her mom, so she")
    assert len(story) == 464


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


@pytest.mark.slow
def test_bits_per_byte_of_the_peer(peer: Path, tinystories: Path):
    """On all 759 stories it is 1.0312."""
    stories = read_file(tinystories / "validation.parquet")
    first = [story for story, _ in zip(stories, range(40), strict=False)]
    assert tinybuddy.load(peer).score(first).bits_per_byte == pytest.approx(1.1664, abs=0.001)
