"""The format llama2c, in our own reader and in run.c."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.exporters.conftest import MODELS, ending
from tests.formats.llama2c_files import (
    LETTERS,
    SHAPE,
    WORDS,
    model_bytes,
    tokenizer_bytes,
    vocabulary,
)
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.corpus.tales import generate_tale
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.exporters import llama2c
from tinybuddy.exporters.golden import PROMPTS, golden
from tinybuddy.exporters.llama2c import check, write
from tinybuddy.exporters.session import export
from tinybuddy.formats.llama2c import read_llama2c
from tinybuddy.formats.loaded import LoadedModel, ModelFiles
from tinybuddy.formats.references import open_model
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.weights import random_weights

CARD, _, UNIGRAM = MODELS
ODD = (" a dog", "  two  spaces ", "\n\nOnce", "A dog, don't!", "\u2581 <0x41>", "日本 😀")


@pytest.fixture(params=[CARD, "merging"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    """Models of byte-level BPE; the second is random, else of the shape of `grouped`."""
    if request.param != "merging":
        return open_model(request.param)
    tokenizer = train_tokenizer([generate_tale(index).text for index in range(60)], 500)
    config = ModelConfig(512, 64, 160, 3, 4, 2, 96)
    weights = random_weights(config, 0, 0.3)
    embedding = weights["model.embed_tokens.weight"]
    embedding[:3] *= 0.1  # so that no token is the best that no text has
    embedding[tokenizer.vocab_size :] *= 0.1
    return ModelFiles(config, weights, tokenizer, SampleConfig())


def _run_c_merges(pieces: list[bytes], scores: list[float], text: str) -> list[int]:
    """The ids of a text, ``<s>`` first, by what run.c does, one merge of the whole at a time."""
    ids = {piece: id for id, piece in enumerate(pieces)}
    tokens = [1, ids[b" "]] if text else [1]
    for character in text:
        data = character.encode()
        tokens += [ids[data]] if data in ids else [3 + byte for byte in data]
    while True:
        merged = [ids.get(pieces[a] + pieces[b], -1) for a, b in zip(tokens, tokens[1:])]  # noqa: B905, RUF007
        best = max((scores[id] for id in merged if id >= 0), default=None)
        if best is None:
            return tokens
        at = next(at for at, id in enumerate(merged) if id >= 0 and scores[id] == best)
        tokens[at : at + 2] = [merged[at]]


def test_our_reader_reads_the_model_again(model: LoadedModel, tmp_path: Path):
    write(model, tmp_path / "out", "float32")
    copy = read_llama2c(tmp_path / "out" / "model.bin")
    assert copy.config == model.config
    for name, array in model.weights.items():
        np.testing.assert_array_equal(copy.weights[name], array)
    assert (copy.tokenizer.bos, copy.tokenizer.eos) == (1, 2)
    for text in (*PROMPTS, *ODD, generate_tale(0).text):
        ids = model.tokenizer.encode(text)
        assert copy.tokenizer.encode(text) == ids
        assert copy.tokenizer.decode([1, *ids, 2]) == text
        first, *rest = _run_c_merges(copy.tokenizer.pieces, copy.tokenizer.scores, text)
        assert (first, rest) == (0 if text else 1, ids)


def test_words_that_it_reads_otherwise(tmp_path: Path):
    model = open_model(CARD)
    write(model, tmp_path / "out", "float32")
    copy = read_llama2c(tmp_path / "out" / "model.bin")
    for text in ("the 'shush", "It 's so"):
        ours, theirs = (
            [t.decode([id]) for id in t.encode(text)] for t in (model.tokenizer, copy.tokenizer)
        )
        assert "'s" not in ours
        assert "'s" in theirs
        assert "".join(ours) == "".join(theirs) == text


def test_written_again_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RUN_C", raising=False)
    once = export("llama2c", CARD, tmp_path / "once")
    assert once.checked.startswith("read again, it generates the golden texts; for run.c too, set")
    again = export("llama2c", once.path / "model.bin", tmp_path / "again").path
    for name in ("model.bin", "tokenizer.bin"):
        assert (again / name).read_bytes() == (once.path / name).read_bytes()


def test_a_model_of_llama2c_stays_what_it_is(tmp_path: Path):
    data, tokens = model_bytes(SHAPE), tokenizer_bytes(*vocabulary(WORDS + LETTERS))
    (tmp_path / "small.bin").write_bytes(data)
    (tmp_path / "tok280.bin").write_bytes(tokens)
    out = export("llama2c", tmp_path / "small.bin", tmp_path / "out").path
    unread = 4 * SHAPE["seq"] * SHAPE["dim"] // SHAPE["heads"]
    assert (out / "model.bin").read_bytes()[:-unread] == data[:-unread]
    assert (out / "tokenizer.bin").read_bytes() == tokens


@pytest.mark.parametrize("broken", ["pairs", "head"])
def test_what_computes_otherwise_is_not_kept(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if broken == "pairs":
        says = "continues 'Once upon a time' otherwise"
        monkeypatch.setattr("tinybuddy.formats.llama2c.adjacent_pairs", lambda matrix, _: matrix)
    else:
        says = "head of its own"
        monkeypatch.setattr(llama2c, "EOS", 3)
    with pytest.raises(TinybuddyError, match=says):
        export("llama2c", CARD, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_it_cannot_hold_is_one_sentence(reference: Callable[[str], str], tmp_path: Path):
    with pytest.raises(TinybuddyError, match="merging bytes, and the tokenizer of this model has"):
        export("llama2c", reference(UNIGRAM), tmp_path / "out")
    with pytest.raises(UsageError, match="two files"):
        export("llama2c", CARD, tmp_path / "model.bin")
    card = open_model(CARD)
    other = replace(card, config=replace(card.config, rope_theta=5e5))
    with pytest.raises(TinybuddyError, match=r"10000 and .* has 500000 and 1e-05"):
        write(other, tmp_path / "out", "float32")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def run_c() -> str:
    if not (path := os.environ.get("RUN_C")):
        pytest.skip("needs llama2.c's run.c: set RUN_C to its path")
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("run_c")
def test_run_c_generates_the_golden_texts(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model, end = ending(model)
    prompts = [*PROMPTS, *ODD, end.prompt]
    monkeypatch.setattr(llama2c, "golden", lambda model: golden(model, prompts))
    write(model, tmp_path / "out", "float32")
    assert check(model, tmp_path / "out", "float32") == "run.c generates the golden texts"


@pytest.mark.slow
@pytest.mark.usefixtures("run_c")
def test_run_c_does_not_with_another_model(tmp_path: Path):
    model = open_model(CARD)
    other = replace(model, weights=random_weights(model.config, 0, 0.3))
    write(other, tmp_path / "out", "float32")
    with pytest.raises(TinybuddyError, match="Our own reader"):
        check(model, tmp_path / "out", "float32")


def test_without_a_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RUN_C", str(tmp_path / "run.c"))
    done = export("llama2c", CARD, tmp_path / "out")
    assert done.checked.startswith("not checked: cc could not compile")
