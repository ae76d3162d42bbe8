"""A model in one small file: what is read is what was written, or one sentence."""

from __future__ import annotations

import zlib
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.compact import CHECKSUM, HEADER, read_compact, read_shape, write_compact
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.formats.references import Kind, find, find_directory, is_reference, open_model
from tinybuddy.quantization import MOST, quantized
from tinybuddy.tokenizer import Tokenizer
from tinybuddy.tokenizer.packed import pack_tokenizer
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.training.run import Run
from tinybuddy.weights import random_weights, weight_shapes

FIELDS = (
    *("magic", "version", "bits"),
    *ModelConfig.__dataclass_fields__,
    *SampleConfig.__dataclass_fields__,
    *("codes", "scales", "tokens", "tokenizer_bytes"),
)
SHAPE = ModelConfig(vocab_size=300, hidden_size=8, intermediate_size=6, num_attention_heads=2)


@pytest.fixture(scope="module")
def tokenizer(stories: list[str]) -> Tokenizer:
    return train_tokenizer(stories, 300, "unigram")


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> ModelFiles:
    sample = SampleConfig(temperature=0.5, top_k=7, min_p=0.1)
    return ModelFiles(SHAPE, random_weights(SHAPE, 0, 0.2), tokenizer, sample)


@pytest.fixture
def path(model: ModelFiles, tmp_path: Path) -> Path:
    """A file that a test may damage."""
    write_compact(tmp_path / "a.buddy", model, 4)
    return tmp_path / "a.buddy"


@pytest.mark.parametrize("bits", [4, 8])
def test_written_and_read_is_the_same(model: ModelFiles, tmp_path: Path, bits: int):
    path, again = tmp_path / "a.buddy", tmp_path / "again.buddy"
    write_compact(path, model, bits)
    found = read_compact(path)
    assert (found.config, found.sample, found.path) == (model.config, model.sample, path)
    assert read_shape(path) == model.config
    assert found.tokenizer.to_json() == model.tokenizer.to_json()
    for name, weight in quantized(model.weights, bits).items():
        np.testing.assert_array_equal(found.weights[name], weight)
    write_compact(again, found, bits)
    assert again.read_bytes() == path.read_bytes()


def test_references_know_it(model: ModelFiles, path: Path):
    assert find(path) == (Kind.COMPACT, path)
    assert is_reference("nowhere.buddy")
    assert open_model(path).config == model.config
    with pytest.raises(TinybuddyError, match=r"is a \.buddy .*cannot be trained on"):
        find_directory(path)
    with pytest.raises(TinybuddyError, match="Cannot read"):
        open_model(path.with_name("none.buddy"))
    with pytest.raises(TinybuddyError, match="There is no model"):
        find_directory(path.with_name("none.buddy"))


def test_a_trained_model_is_an_eighth_of_its_size(small_run: Run, tmp_path: Path):
    files = read_model(Path(small_run.result["model"]))
    write_compact(tmp_path / "a.buddy", files, 4)
    assert (tmp_path / "a.buddy").stat().st_size < files.config.parameters / 2 * 1.3


def test_a_model_that_is_too_large_is_refused(model: ModelFiles, tmp_path: Path):
    large = replace(model, config=replace(SHAPE, vocab_size=65_535, hidden_size=64))
    with pytest.raises(TinybuddyError, match="at most 4,000,000 parameters"):
        write_compact(tmp_path / "a.buddy", large, 4)


def _changed(data: bytes, **changes: object) -> bytes:
    """Other values in the header, and a checksum that fits."""
    values = dict(zip(FIELDS, HEADER.unpack_from(data), strict=True)) | changes
    return _sealed(HEADER.pack(*values.values()) + data[HEADER.size : -CHECKSUM.size])


def _sealed(data: bytes) -> bytes:
    return data + CHECKSUM.pack(zlib.crc32(data))


def _with_part(data: bytes, number: int, part: bytes, packed: bytes | None = None) -> bytes:
    """Another part in the place of one, and a header and a checksum that fit."""
    values = dict(zip(FIELDS, HEADER.unpack_from(data), strict=True))
    at, parts = HEADER.size, []
    for name in ("codes", "scales", "tokens"):
        parts.append(data[at : at + values[name]])
        at += values[name]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts[number] = packed if packed is not None else packer.compress(part) + packer.flush()
    sizes = dict(zip(("codes", "scales", "tokens"), map(len, parts), strict=True))
    if number == 2 and packed is None:
        sizes["tokenizer_bytes"] = len(part)
    return _sealed(HEADER.pack(*(values | sizes).values()) + b"".join(parts))


def _part(data: bytes, number: int) -> bytes:
    values = HEADER.unpack_from(data)
    begin = HEADER.size + sum(values[-4 : -4 + number])
    return zlib.decompress(data[begin : begin + values[-4 + number]], -15)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"magic": b"BUDDY\r"}, "is not a .buddy file"),
        ({"version": 2}, "take a later tinybuddy"),
        ({"bits": 5}, "only 4 and 8 are read"),
        ({"hidden_size": 9}, "is impossible: hidden_size 9 is not divisible"),
        ({"vocab_size": 0}, "is impossible: vocab_size"),
        ({"rope_theta": float("nan")}, "is impossible: rope_theta"),
        ({"temperature": float("nan")}, "is impossible: temperature"),
        ({"temperature": -1.0}, "is impossible: temperature"),
        ({"hidden_size": 8192, "vocab_size": 65_535}, "is too large"),
        ({"tokenizer_bytes": 2**32 - 1}, "is too large"),
        ({"tokenizer_bytes": 5}, "not of the size that its shape needs"),
        ({"codes": 2**32 - 1}, "copy it again, whole"),
        ({"vocab_size": 301}, "not of the size that its shape needs"),
        ({"intermediate_size": 5}, "not of the size that its shape needs"),
        ({"bits": 8}, None),  # nothing says that it is not so
    ],
)
def test_a_header_that_lies_is_one_sentence(path: Path, changes, says: str | None):
    path.write_bytes(_changed(path.read_bytes(), **changes))
    if says is None:
        read_compact(path)
        return
    with pytest.raises(TinybuddyError, match=says):
        read_compact(path)


def test_a_part_that_does_not_fit_is_one_sentence(path: Path, stories: list[str]):
    whole = path.read_bytes()
    codes, scales, tokens = (_part(whole, number) for number in range(3))
    larger = train_tokenizer(stories, 320, "unigram")
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed_bomb = bomb.compress(bytes(100_000_000)) + bomb.flush()
    count = sum(shape[0] for shape in weight_shapes(SHAPE).values() if len(shape) == 2)
    nan_norm = scales[: 2 * count] + np.full(24, np.nan, "<f4").tobytes()
    large = (MOST + 1).to_bytes(2, "little")
    scale = large[:1] + scales[1:count] + large[1:] + scales[count + 1 :]
    for number, part, packed, says in (
        (0, b"\x0f" + codes[1:], None, "a code that 4 bits do not have"),
        (0, codes[1:], None, "not of the size"),
        (0, codes + b"\0", None, "not of the size"),
        (0, b"", packed_bomb, "not of the size"),
        (0, b"", b"\xff", "is damaged"),
        (0, b"", b"", "not of the size"),
        (1, scale, None, "a scale that is too large"),
        (1, b"\xff" * len(scales), None, "a scale that is too large"),
        (1, nan_norm, None, "NaN or infinite"),
        (2, b"", packed_bomb, "not of the size"),
        (2, tokens[:-1], None, "tokenizer in .* is damaged"),
        (2, b"\x07" + tokens[1:], None, "tokenizer in .* is damaged"),
        (2, tokens[:1] + b"\x09" + tokens[2:], None, "tokenizer in .* is damaged"),
        (2, pack_tokenizer(larger), None, "do not belong together"),
    ):
        path.write_bytes(_with_part(whole, number, part, packed))
        with pytest.raises(TinybuddyError, match=says):
            read_compact(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_flipped_and_cut_bytes_are_a_model_or_one_sentence(path: Path, data: st.DataObject):
    """With a checksum that fits, so that all checks behind it are reached."""
    whole = path.read_bytes()
    body = bytearray(whole[: -CHECKSUM.size])
    for at in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=4), label="flipped"):
        body[at] ^= data.draw(st.integers(1, 255), label="by")
    end = data.draw(st.just(len(body)) | st.integers(0, len(body)), label="cut")
    try:
        path.write_bytes(_sealed(bytes(body[:end])))
        found = read_compact(path)
        assert all(np.isfinite(weight).all() for weight in found.weights.values())
        found.tokenizer.decode(found.tokenizer.encode("One day"))
    except TinybuddyError as error:
        assert "\n" not in str(error).strip()
    finally:
        path.write_bytes(whole)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_checksum_tells_any_flip(path: Path, data: st.DataObject):
    whole = path.read_bytes()
    at = data.draw(st.integers(0, 8 * len(whole) - 1))
    changed = bytearray(whole)
    changed[at // 8] ^= 1 << at % 8
    path.write_bytes(changed)
    with pytest.raises(TinybuddyError):
        read_compact(path)
    path.write_bytes(whole)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_one_sentence(path: Path, data: bytes, headed: bool):
    whole = path.read_bytes()
    path.write_bytes(whole[: HEADER.size] + data if headed else data)
    with pytest.raises(TinybuddyError):
        read_compact(path)
    path.write_bytes(whole)


def test_the_header_is_laid_out_as_documented(model: ModelFiles, path: Path):
    values = HEADER.unpack_from(path.read_bytes())
    assert values[:3] == (b"BUDDY\n", 1, 4)
    assert values[3:12] == astuple(model.config)
    assert HEADER.size == 104
