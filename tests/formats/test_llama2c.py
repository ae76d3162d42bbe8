from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import tinybuddy
from tests.conftest import Cli
from tests.formats.llama2c_files import (
    SHAPE,
    arrays,
    model_bytes,
)
from tinybuddy.config import ModelConfig
from tinybuddy.corpus.files import read_file
from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters.session import export
from tinybuddy.formats.llama2c import read_llama2c
from tinybuddy.formats.summary import info
from tinybuddy.training.session import train
from tinybuddy.weights import weight_shapes


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
    path.write_bytes(model_bytes(shape))
    model = tinybuddy.load(path)
    ids = [1, 40, 259, 260, 279, 3, 261, 270, 40, 1]
    expected = _logits(ids, shape, arrays(shape))
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
    w = arrays(SHAPE)
    np.testing.assert_array_equal(model.weights["model.layers.1.mlp.down_proj.weight"], w["w2"][1])
    np.testing.assert_array_equal(model.weights["model.norm.weight"], w["rms_final"])


def _with_header(**changes: int) -> bytes:
    header = struct.pack("<7i", *(SHAPE | changes).values())
    return header + model_bytes(SHAPE)[len(header) :]


WHOLE = model_bytes(SHAPE)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ends within its first numbers"),
        (WHOLE[:27], "ends within its first numbers"),
        (WHOLE[:-1], "has 33,819 bytes, where a llama2.c model of its shape has 33,820"),
        (WHOLE[: -4 * 12 * 4], "copy it again"),  # without the rotary tables
        (WHOLE + b"\0", "copy it again"),
        (b"\xff" * 28, "must lie between"),
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
        (_with_header(vocab=-280), r"copy it again, whole\."),
        (_with_header(vocab=-280) + bytes(4 * 280 * 16), "head of its own"),
        (_with_header(vocab=-280) + WHOLE[28:][: 4 * 280 * 16], "head of its own"),
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


def test_it_is_described_but_not_trained_on(path: Path):
    config = read_llama2c(path).config
    path.with_name("tok280.bin").unlink()  # its shape is told without
    assert info(str(path))["parameters"] == config.parameters
    with pytest.raises(TinybuddyError, match="which cannot be trained on"):
        train(from_model=path)


@pytest.mark.parametrize("format", ["hub", "compact", "js"])
def test_formats_that_cannot_hold_its_tokenizer_refuse_it(format: str, path: Path):
    with pytest.raises(TinybuddyError, match=r"tokenizer of this model is llama2\.c's"):
        export(format, tinybuddy.load(path), path.with_name("out"))
    assert not path.with_name("out").exists()


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
def test_bits_per_byte_of_the_peer(peer: Path, tinystories: Path):
    """On all 759 stories it is 1.0312."""
    stories = read_file(tinystories / "validation.parquet")
    first = [story for story, _ in zip(stories, range(40), strict=False)]
    assert tinybuddy.load(peer).score(first).bits_per_byte == pytest.approx(1.1664, abs=0.001)
