from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import tinybuddy
from tests.training.helpers import interrupt_at
from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.runs import best_checkpoint, latest_checkpoint
from tinybuddy.progress import Hooks
from tinybuddy.training.checkpoint import (
    append_metrics,
    load_checkpoint,
    read_metrics,
    rewind_metrics,
    save_checkpoint,
)
from tinybuddy.training.run import Run
from tinybuddy.training.session import resume
from tinybuddy.weights import hidden_matrices, weight_shapes


def test_a_checkpoint_that_latest_does_not_name_yet_stays(small_run: Run, tmp_path: Path):
    checkpoint = load_checkpoint(small_run.path)
    assert checkpoint is not None
    save_checkpoint(tmp_path, checkpoint)
    state = tmp_path / "checkpoints" / "000012" / "state.safetensors"
    before = state.stat().st_ino, state.stat().st_mtime_ns
    (tmp_path / "latest").unlink()
    save_checkpoint(tmp_path, checkpoint)
    assert (state.stat().st_ino, state.stat().st_mtime_ns) == before
    assert (tmp_path / "latest").read_text() == "000012\n"


def _damaged_states(state: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    name = "model.norm.weight.exp_avg"
    return [
        {},
        {k: v for k, v in state.items() if k != name},
        state | {name: np.zeros(3, np.float32)},
        state | {name: state[name].astype(np.float16)},
        state | {"other": state[name]},
    ]


def test_a_damaged_checkpoint_is_one_sentence(story_file: Path, tmp_path: Path):
    interrupt_at(5, story_file, tmp_path / "run")
    path = latest_checkpoint(tmp_path / "run") / "state.safetensors"
    state = safetensors.numpy.load_file(path)
    counts = {"step": "5", "seconds": "1.0", "train_seconds": "0.5", "cpu_seconds": "2.5"}
    damages = [b"", b"\xff" * 50, safetensors.numpy.save(state)]
    damages += [safetensors.numpy.save(s, counts) for s in _damaged_states(state)]
    for wrong in (
        {"step": "-5"},
        {"step": "12"},
        {"seconds": "nan"},
        {"train_seconds": "-1"},
        {"cpu_seconds": "inf"},
    ):
        damages.append(safetensors.numpy.save(state, counts | wrong))
    for damage in damages:
        path.write_bytes(damage)
        with pytest.raises(
            TinybuddyError, match=r"is damaged|is not the state of this model's optimizer"
        ):
            resume(tmp_path / "run", Hooks())
    path.write_bytes(safetensors.numpy.save(state, counts))
    assert resume(tmp_path / "run", Hooks()).result["steps"] == 12


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "config.json", ""])
def test_a_damaged_checkpoint_says_which_one_may_serve(story_file, tmp_path: Path, name: str):
    run = tmp_path / "run"
    interrupt_at(9, story_file, run)
    path = latest_checkpoint(run) / name
    if name:
        path.write_bytes(path.read_bytes()[:100])
    else:
        shutil.rmtree(path)
    says = f"before it, write 000008 into {run / 'latest'}"
    with pytest.raises(TinybuddyError, match=re.escape(says)):
        resume(run, Hooks())
    assert tinybuddy.load(run).path == run / "checkpoints" / "000008", "the best so far"
    (run / "latest").write_text("000008")
    assert resume(run, Hooks()).result["steps"] == 12
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(TinybuddyError, match="No checkpoint before it is there"):
        load_checkpoint(run)


def test_a_damaged_best_checkpoint_says_how_to_take_the_latest(story_file, tmp_path: Path):
    run = tmp_path / "run"
    interrupt_at(9, story_file, run)
    path = best_checkpoint(run) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TinybuddyError, match=re.escape(f"instead, delete {run / 'best'}")):
        tinybuddy.load(run)
    (run / "best").unlink()
    assert tinybuddy.load(run).path == run / "checkpoints" / "000009"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"data": []}', '{"data": {}}', "[" * 100_000, '{"result": {"x": 1}}']
)
def test_a_damaged_record_is_one_sentence(story_file: Path, tmp_path: Path, text: str):
    interrupt_at(5, story_file, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(text, "utf-8")
    with pytest.raises(TinybuddyError, match="delete it and resume"):
        resume(tmp_path / "run", Hooks())
    (tmp_path / "run" / "run.json").unlink()
    assert resume(tmp_path / "run", Hooks()).result["steps"] == 12


@pytest.mark.parametrize("line", ["{}", "[1]", '{"step": 5}', "[" * 100_000, '{"step'])
def test_damaged_metrics_end_there(story_file: Path, tmp_path: Path, line: str):
    interrupt_at(5, story_file, tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(line)
    assert [row["step"] for row in resume(tmp_path / "run", Hooks()).metrics] == [4, 8, 12]


def test_metrics_hold_any_sample(tmp_path: Path):
    rows = [
        {"step": n, "loss": 1.0, "bits_per_byte": 1.0, "sample": "a\u2028b\x85c\n"} for n in (1, 2)
    ]
    for row in rows:
        append_metrics(tmp_path, row)
    assert read_metrics(tmp_path) == rows == rewind_metrics(tmp_path, 2)
    assert rewind_metrics(tmp_path, 1) == rows[:1] == read_metrics(tmp_path)


def test_checkpoints_are_kept_by_number(small_run: Run, tmp_path: Path):
    checkpoint = load_checkpoint(small_run.path)
    assert checkpoint is not None
    for step in (999_900, 999_950, 1_000_000, 1_000_050):
        save_checkpoint(tmp_path, replace(checkpoint, step=step))
        assert latest_checkpoint(tmp_path).name == str(step)
    kept = sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
    assert kept == [1_000_000, 1_000_050]


def test_every_weight_is_saved_with_its_moments(small_run: Run):
    checkpoint = load_checkpoint(small_run.path)
    assert checkpoint is not None
    names = weight_shapes(checkpoint.files.config)
    adamw, muon = ("step", "exp_avg", "exp_avg_sq"), ("momentum_buffer",)
    hidden = hidden_matrices(checkpoint.files.config)
    keys = {f"{n}.{key}" for n in names for key in (muon if n in hidden else adamw)}
    assert checkpoint.state.keys() == keys
