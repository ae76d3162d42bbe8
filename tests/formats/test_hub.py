from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.hub import hub_config, read_config, read_model, write_model
from tinybuddy.formats.references import find_directory
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.training.run import Run


@pytest.fixture
def folder(small_run: Run, tmp_path: Path) -> Path:
    """A model directory that a test may damage."""
    return Path(shutil.copytree(find_directory(small_run.path), tmp_path / "model"))


def test_written_and_read_is_the_same(folder: Path, tmp_path: Path):
    model = read_model(folder)
    write_model(tmp_path / "again", model)
    for path in folder.glob("*"):
        if path.name != "state.safetensors":
            assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_transformers_opens_it_as_it_is(folder: Path, small_run: Run):
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ours = small_run.model
    assert sum(p.numel() for p in model.parameters()) == ours.config.parameters
    text = "Once upon a time, a fox said “hello” 😀."
    ids = tokenizer(text, return_tensors="pt").input_ids[:, :32]
    assert ids[0].tolist() == [1, *ours.tokenizer.encode(text)][:32]
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    with torch.no_grad():
        expected = model(ids).logits[0, -1].numpy()
    np.testing.assert_allclose(ours.backend.stream().feed(ids.numpy())[0], expected, atol=1e-5)


def test_the_tied_embedding_is_saved_once(folder: Path):
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    assert sum(w.size for w in weights.values()) == read_config(folder / "config.json").parameters


def test_sampling_travels_with_the_model(folder: Path, tmp_path: Path):
    for sample in (SampleConfig(temperature=0.5, top_p=0.9), SampleConfig(temperature=0.0)):
        model = read_model(folder)
        write_model(
            tmp_path / "m", type(model)(model.config, model.weights, model.tokenizer, sample)
        )
        assert read_model(tmp_path / "m").sample == sample


def _edit(path: Path, **changes: object) -> None:
    values = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not ...}), "utf-8")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "gpt2"}, "not of a Llama"),
        ({"tie_word_embeddings": False}, "needs tie_word_embeddings = true"),
        ({"tie_word_embeddings": ...}, "needs tie_word_embeddings = true"),
        ({"hidden_act": "gelu"}, 'needs hidden_act = "silu"'),
        ({"attention_bias": True}, "needs attention_bias = false"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "scales its rotary positions"),
        ({"rope_parameters": 3}, "scales its rotary positions"),
        ({"rope_scaling": {"type": "linear"}}, "scales its rotary positions"),
        ({"vocab_size": ...}, "lacks vocab_size"),
        ({"hidden_size": "x"}, "hidden_size must be a whole number"),
        ({"hidden_size": 17}, "not divisible"),
        ({"head_dim": 5}, "head_dim"),
        ({"vocab_size": 300}, "do not belong together"),
        ({"intermediate_size": 64}, r"model\.layers\.0\.mlp.* is F32"),
        ({"num_hidden_layers": 2}, "does not hold the weights"),
        ({"hidden_size": 8192, "head_dim": 2048}, "is F32"),
    ],
)
def test_a_config_that_does_not_fit_is_one_sentence(folder: Path, changes, says: str):
    _edit(folder / "config.json", **changes)
    with pytest.raises(TinybuddyError, match=says):
        read_model(folder)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("config.json", b"{", "not valid JSON"),
        ("config.json", b"[]", "not a JSON object"),
        ("config.json", b"[" * 100_000, "not valid JSON"),
        ("config.json", b" " * 2_000_000, "too large"),
        ("model.safetensors", b"", "not a whole safetensors file"),
        ("model.safetensors", b"\xff" * 100, "not a whole safetensors file"),
        ("model.safetensors", b"\x10\0\0\0\0\0\0\0" + b"{}" + b" " * 14, "does not hold"),
        ("tokenizer.json", b"{}", "not a tokenizer"),
        ("generation_config.json", b'{"temperature": -1}', "config.json is impossible"),
        ("generation_config.json", b'{"temperature": "x"}', "config.json is impossible"),
        ("generation_config.json", b'{"top_p": 1' + b"0" * 400 + b"}", "config.json is impossible"),
        ("config.json", b'{"a": 1' + b"0" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_a_damaged_file_is_one_sentence(folder: Path, name: str, data: bytes, says: str):
    (folder / name).write_bytes(data)
    with pytest.raises(TinybuddyError, match=says):
        read_model(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_one_sentence(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(TinybuddyError, match=f"Cannot read .*{name}"):
        read_model(folder)


def test_weights_of_another_kind_are_refused(folder: Path):
    path = folder / "model.safetensors"
    weights = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file({n: w.astype(np.float64) for n, w in weights.items()}, path)
    with pytest.raises(TinybuddyError, match="F64"):
        read_model(folder)
    weights["model.norm.weight"][0] = np.nan
    safetensors.numpy.save_file(weights, path)
    with pytest.raises(TinybuddyError, match="NaN or infinite"):
        read_model(folder)


def test_a_tokenizer_of_another_model_is_refused(folder: Path):
    (folder / "tokenizer.json").write_text(train_tokenizer(["ab"] * 9, 320).to_json(), "utf-8")
    with pytest.raises(TinybuddyError, match="not the one that its model was trained with"):
        read_model(folder)


def test_a_tokenizer_of_more_tokens_than_the_model_is_refused(folder: Path):
    _edit(folder / "config.json", tokenizer_sha256=...)  # as in a directory of other making
    (folder / "tokenizer.json").write_text(train_tokenizer(["ab"] * 9, 330).to_json(), "utf-8")
    assert read_model(folder).tokenizer.vocab_size < 320
    words = train_tokenizer([f"{a}{b} {a}{b}" for a in "abcdefgh" for b in "xyzuvw"] * 2, 400)
    assert words.vocab_size > 320
    (folder / "tokenizer.json").write_text(words.to_json(), "utf-8")
    with pytest.raises(TinybuddyError, match="do not belong together"):
        read_model(folder)


def test_a_config_of_transformers_4_reads_alike(folder: Path):
    config = hub_config(ModelConfig(rope_theta=777.0))
    for old in ({"rope_parameters": ...}, {"rope_theta": ...}):
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        _edit(folder / "config.json", **old)
        assert read_config(folder / "config.json") == ModelConfig(rope_theta=777.0)
