"""Training for weights of few bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from tests.conftest import SMALL
from tests.training.helpers import Notes, interrupt_at, weights_hash
from tinybuddy.backends import open_trainer
from tinybuddy.config import ModelConfig, TrainConfig
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.exporters.session import export
from tinybuddy.formats.compact import read_compact
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.references import find_directory
from tinybuddy.formats.runs import latest_checkpoint
from tinybuddy.generation.model import load
from tinybuddy.progress import Hooks
from tinybuddy.quantization import quantized, quantized_again, to_scales
from tinybuddy.training.checkpoint import load_checkpoint, read_recipe
from tinybuddy.training.dataset import prepare
from tinybuddy.training.quantized import DAMPENING, MASTER, SCALES, QuantizedTrainer
from tinybuddy.training.run import Run
from tinybuddy.training.session import resume, train

FOUR = {"weight_bits": 4}
BACKENDS = pytest.mark.parametrize("backend", ["engine", "torch"])
SHAPE = ModelConfig(vocab_size=40, hidden_size=8, intermediate_size=12, num_attention_heads=2)


@pytest.fixture(scope="module")
def four_bits(story_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "four"
    return train(data=story_file, out=out, hooks=Hooks(), **SMALL | FOUR)


def _is_quantized(weights: Any, bits: int) -> bool:
    again = quantized(weights, bits)
    return all(np.array_equal(again[name], weights[name]) for name in again)


def test_bits_are_32_8_or_4():
    assert TrainConfig().weight_bits == 32
    with pytest.raises(UsageError, match="weight_bits must be 32 or 8 or 4, not 5"):
        TrainConfig(weight_bits=5)


@BACKENDS
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_what_the_optimizer_makes_of_quantized_weights_is_added_to_the_master(
    backend: str, optimizer: str
):
    config = TrainConfig(backend=backend, optimizer=optimizer, weight_bits=4, init_std=0.3)
    reference = open_trainer(SHAPE, config, None)
    trainer = QuantizedTrainer(open_trainer(SHAPE, config, None), config)
    master = dict(reference.weights())
    before, scales = quantized_again(master, 4, {})
    batches = np.random.default_rng(0).integers(0, 40, (3, 5, 9))
    for batch, share in zip(batches, (1, 0.5, 0), strict=True):
        rate = share * config.learning_rate
        drawn = np.float32(DAMPENING * (1 - share))
        reference.load_weights(before)
        expected = reference.step(batch[:, :-1], batch[:, 1:], rate)
        assert trainer.step(batch[:, :-1], batch[:, 1:], rate) == expected
        after = reference.weights()
        for name, weight in after.items():
            if weight.ndim == 1:
                master[name] = weight
                continue
            to_code = before[name] - master[name]
            master[name] = master[name] + (weight - before[name]) + drawn * to_code
        before, scales = quantized_again(master, 4, scales)
        for name, weight in before.items():
            np.testing.assert_array_equal(trainer.weights()[name], weight)
    state, name = trainer.state(), "model.embed_tokens.weight"
    np.testing.assert_array_equal(state[name + MASTER], master[name])
    np.testing.assert_array_equal(state[name + SCALES], to_scales(scales[name]))


@BACKENDS
def test_what_is_saved_and_scored_is_quantized(backend: str, story_file: Path, tmp_path: Path):
    settings = SMALL | FOUR | {"backend": backend}
    run = train(data=story_file, out=tmp_path / "run", hooks=Hooks(), **settings)
    files = read_model(find_directory(run.path))
    assert _is_quantized(files.weights, 4)
    assert not _is_quantized(files.weights, 8)
    checkpoint = load_checkpoint(run.path)
    assert checkpoint is not None
    masters = {n.removesuffix(MASTER): w for n, w in checkpoint.state.items() if MASTER in n}
    assert {*masters} == {name for name, weight in files.weights.items() if weight.ndim > 1}
    assert not _is_quantized(masters, 4)
    path = export("compact", run.path, tmp_path / "a.buddy", weights="int4").path
    for name, weight in read_compact(path).weights.items():
        np.testing.assert_array_equal(weight, files.weights[name])


def test_it_learns(small_run: Run, four_bits: Run):
    bits = [run.result["bits_per_byte"] for run in (small_run, four_bits)]
    assert bits[1] != bits[0]
    assert bits[1] < four_bits.metrics[0]["bits_per_byte"]


@pytest.mark.parametrize("at", [1, 5, 8])
def test_ctrl_c_changes_nothing(four_bits: Run, story_file: Path, tmp_path: Path, at: int):
    interrupt_at(at, story_file, tmp_path / "run", **FOUR)
    again = resume(tmp_path / "run", Hooks())
    assert weights_hash(again.path) == weights_hash(four_bits.path)
    ours, theirs = (latest_checkpoint(run.path) for run in (again, four_bits))
    state = [safetensors.numpy.load_file(f / "state.safetensors") for f in (ours, theirs)]
    assert state[0].keys() == state[1].keys()
    assert all(np.array_equal(state[0][name], state[1][name]) for name in state[0])


def test_it_goes_on_from_a_model_that_it_rounds(small_run: Run, story_file: Path, tmp_path: Path):
    notes, source = Notes(), find_directory(small_run.path)
    settings = FOUR | {"steps": 1, "eval_stories": 2, "warmup_steps": 0, "learning_rate": 1e-9}
    run = train(
        "card", data=story_file, out=tmp_path / "run", hooks=notes, from_model=source, **settings
    )
    rounded = load(export("compact", source, tmp_path / "a.buddy", weights="int4").path)
    stories = prepare(read_recipe(run.path)).validation
    before = rounded.score(stories).bits_per_byte
    assert run.result["before"] == pytest.approx(before, rel=1e-6)
    # A step of next to nothing leaves the master weights, not the rounded ones, as they were.
    checkpoint = load_checkpoint(run.path)
    assert checkpoint is not None
    name = "model.embed_tokens.weight"
    original = read_model(source).weights[name]
    np.testing.assert_allclose(checkpoint.state[name + MASTER], original, atol=1e-6)


def test_master_weights_that_are_not_the_models_are_one_sentence(story_file: Path, tmp_path: Path):
    interrupt_at(5, story_file, tmp_path / "run", **FOUR)
    path = latest_checkpoint(tmp_path / "run") / "state.safetensors"
    whole = path.read_bytes()
    state = safetensors.numpy.load(whole)
    name = "model.embed_tokens.weight" + MASTER
    scales = "model.embed_tokens.weight" + SCALES
    counts = {"step": "5", "seconds": "1.0", "train_seconds": "0.5", "cpu_seconds": "2.5"}
    for damaged in (
        {n: w for n, w in state.items() if n != name},
        {n: w for n, w in state.items() if n.endswith(MASTER)},
        state | {name: state[name][:-1].copy()},
        state | {name: state[name].astype(np.float16)},
        state | {name: state[name] + 1},
        state | {name: np.full_like(state[name], np.nan)},
        {n: w for n, w in state.items() if not n.endswith(SCALES)},
        state | {scales: state[scales] * 2},
        state | {scales: -state[scales]},
    ):
        path.write_bytes(safetensors.numpy.save(damaged, counts))
        with pytest.raises(TinybuddyError, match=r"state\.safetensors .* this"):
            resume(tmp_path / "run", Hooks())
    path.write_bytes(whole)
    assert resume(tmp_path / "run", Hooks()).result["steps"] == SMALL["steps"]
