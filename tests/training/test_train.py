from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import safetensors.numpy
import torch

import tinybuddy
from tests.conftest import SMALL, Cli, set_options
from tinybuddy.backends import open_trainer
from tinybuddy.backends.engine.trainer import EngineTrainer
from tinybuddy.backends.interface import Trainer
from tinybuddy.config import ModelConfig, TrainConfig
from tinybuddy.corpus import open_corpus, ranges, survey
from tinybuddy.defaults import DEFAULT_RECIPE
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.formats.references import find_directory
from tinybuddy.formats.runs import latest_checkpoint
from tinybuddy.progress import Hooks
from tinybuddy.tokenizer import encode_story
from tinybuddy.training import loop
from tinybuddy.training.checkpoint import (
    append_metrics,
    is_run,
    load_checkpoint,
    read_metrics,
    read_recipe,
    read_record,
    rewind_metrics,
    save_checkpoint,
)
from tinybuddy.training.loop import Run, _Loop
from tinybuddy.training.session import plan, resume, train
from tinybuddy.weights import hidden_matrices, weight_shapes

TOKENS = np.arange(1000, dtype=np.uint16)


def _sha256(run: Path) -> str:
    return hashlib.sha256((find_directory(run) / "model.safetensors").read_bytes()).hexdigest()


class Notes(Hooks):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)


def test_steps_are_those_of_a_plain_loop():
    """Against AdamW, clipping and decay written out in torch, over 20 steps."""
    shape = ModelConfig(vocab_size=40, hidden_size=8, intermediate_size=12, num_attention_heads=2)
    config = TrainConfig(grad_clip=0.5, init_std=0.1, seed=5, backend="torch")
    ours = open_trainer(shape, config, None)
    weights = {n: torch.tensor(w, requires_grad=True) for n, w in ours.weights().items()}
    decayed = [w for w in weights.values() if w.ndim == 2]
    plain = [w for w in weights.values() if w.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=False, foreach=False)
    generator = np.random.default_rng(0)
    for step in range(20):
        ids = generator.integers(0, 40, (3, 11))
        loss, norm = ours.step(ids[:, :-1], ids[:, 1:], rate := 0.01 / (step + 1))
        logits = torch.func.functional_call(ours.model, weights, torch.tensor(ids[:, :-1]))
        expected = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), torch.tensor(ids[:, 1:]).flatten()
        )
        optimizer.zero_grad()
        expected.backward()
        expected_norm = torch.nn.utils.clip_grad_norm_(weights.values(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        assert loss == pytest.approx(expected.item(), abs=1e-5)
        assert norm == pytest.approx(expected_norm.item(), abs=1e-4)
    for name, weight in ours.weights().items():
        np.testing.assert_allclose(weight, weights[name].detach(), atol=1e-5, err_msg=name)


def test_initial_weights_are_as_told_and_follow_the_seed():
    shape = ModelConfig()
    one, two, again = (
        open_trainer(shape, TrainConfig(seed=s, init_std=0.02), None).weights() for s in (1, 2, 1)
    )
    for name, weight in one.items():
        if weight.ndim == 1:
            assert (weight == 1).all()
        else:
            assert weight.std() == pytest.approx(0.02, rel=0.1)
            assert (weight != two[name]).any()
        assert (weight == again[name]).all()


def test_a_run_learns_and_leaves_what_the_contract_names(small_run: Run, story_file: Path):
    run = small_run.path
    assert {p.name for p in run.iterdir()} == {
        *("recipe.toml", "run.json", "metrics.jsonl", "loss.svg", "tokenizer.json", "facts.npz"),
        *("checkpoints", "latest", ".lock"),
    }
    assert [p.name for p in sorted((run / "checkpoints").iterdir())] == ["000008", "000012"]
    assert (run / "latest").read_text() == "000012\n"
    recipe = read_recipe(run)
    assert recipe.train.steps == SMALL["steps"]
    assert recipe.train.data == str(story_file)
    record = read_record(run)
    assert record["result"] == small_run.result
    assert record["data"]["sha256"]
    assert record["engine"] in ("avx512", "avx2", "baseline")
    assert "torch" not in record["versions"]  # as the engine computed it
    ElementTree.parse(run / "loss.svg")
    rows = small_run.metrics
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert small_run.result["parameters"] == recipe.model.parameters


def test_the_final_score_is_of_all_validation(small_run: Run, stories: list[str]):
    corpus, found = survey(open_corpus(small_run.result["data"]))
    assert small_run.result["validation_stories"] == found.validation_stories > 2
    expected = small_run.model.score(corpus.validation()).bits_per_byte
    assert small_run.result["bits_per_byte"] == pytest.approx(expected, rel=1e-6)


def test_the_same_seed_gives_the_same_weights(small_run: Run, story_file: Path, tmp_path: Path):
    settings = {"data": story_file, "hooks": Hooks(), **SMALL}
    again = train(out=tmp_path / "again", **settings)
    other = train(out=tmp_path / "other", seed=1, **settings)
    assert _sha256(again.path) == _sha256(small_run.path) != _sha256(other.path)


def test_resume_of_a_finished_run_changes_nothing(small_run: Run):
    before = _sha256(small_run.path)
    assert resume(small_run.path).result == small_run.result
    assert _sha256(small_run.path) == before


def test_resume_of_a_run_that_was_moved_tells_where_it_is(small_run: Run, tmp_path: Path, cli: Cli):
    shutil.copytree(small_run.path, tmp_path / "moved")
    result = json.loads(cli("resume", "moved", "--json").stdout)
    assert result["run"] == "moved"
    assert result["model"] == str(Path("moved", "checkpoints", "000012"))
    assert result["seconds"] == small_run.result["seconds"]
    assert "tinybuddy generate --model moved\n" in cli("resume", "moved").stdout


# The command, which writes the number of each step as a line, up to the fifth.
COMMAND = """
import sys
from tinybuddy import terminal
from tinybuddy.cli import main

class Counting(terminal.PlainProgress):
    def on_step(self, step, *_):
        if step <= 5:
            print(step, flush=True)

terminal.PlainProgress = Counting
sys.exit(main())
"""


def _start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def _after_steps(process: subprocess.Popen[str], count: int) -> None:
    """Wait until it has done so many steps."""
    assert process.stdout is not None
    for _ in range(count):
        assert process.stdout.readline(), process.communicate()


def _train_arguments(story_file: Path, out: str, **changes: object) -> list[str]:
    options = set_options(SMALL | changes)
    return ["train", "--data", str(story_file), "--out", out, *options]


# A run that is killed once it has come so far: at a call of a hook, or from another thread soon
# after it, while the next step is on its way.
DEADLY = """
import os, signal, sys, threading
from tinybuddy.progress import Hooks
from tinybuddy.training.session import resume, train

out, left, data, settings = sys.argv[1], int(sys.argv[2]), sys.argv[3], eval(sys.argv[4])
due = threading.Event()

def kill():
    due.wait()
    os.kill(os.getpid(), signal.SIGKILL)

class Deadly(Hooks):
    def count(self, *_):
        global left
        left -= 1
        if left == 0:
            due.set() if sys.argv[5] == "soon" else os.kill(os.getpid(), signal.SIGKILL)
    on_note = on_progress = on_step = on_evaluation = count

threading.Thread(target=kill, daemon=True).start()
if os.path.exists(os.path.join(out, "recipe.toml")):
    resume(out, Deadly())
else:
    train(data=data, out=out, hooks=Deadly(), **settings)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("kills", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_kills_at_random_moments_change_nothing(kills: int, story_file: Path, tmp_path: Path):
    """SIGKILL again and again, from the first moments on; the same bytes at the end."""
    settings = SMALL | {"steps": 2000, "eval_every": 20}
    whole = train(data=story_file, out=tmp_path / "whole", hooks=Hooks(), **settings)
    killed, moments, reached = tmp_path / "killed", random.Random(0), []
    for number in range(kills):
        # Reading and encoding 60 stories are some 180 calls, so the first ones end before a step.
        calls = 50 if number == 0 else moments.randint(150, 2 * 2000 // kills)
        when = ("now", "soon")[number % 2]
        arguments = [str(killed), str(calls), str(story_file), repr(settings), when]
        done = subprocess.run([sys.executable, "-c", DEADLY, *arguments], capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        checkpoint = load_checkpoint(killed)
        reached.append(checkpoint.step if checkpoint else -1)
    assert len({*reached}) >= kills // 2, reached
    assert resume(killed, Hooks()).result["steps"] == 2000
    assert _sha256(killed) == _sha256(whole.path)
    steps = [row["step"] for row in read_metrics(killed)]
    assert steps == [row["step"] for row in whole.metrics]
    assert not list(killed.glob("**/.*.part"))


KILLER = """
import os, pathlib, shutil, signal, sys
from tinybuddy.cli import main

left = int(sys.argv[1])

def armed(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

for place, name in ((os, "replace"), (os, "rename"), (os, "fsync"), (shutil, "rmtree")):
    setattr(place, name, armed(getattr(place, name)))
code = main(sys.argv[2:])
print(int(sys.argv[1]) - left, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_kill_between_any_two_writes_changes_nothing(small_run: Run, story_file, tmp_path: Path):
    """Killed at calls that make things last, one after another, in training and in resuming."""

    def run(calls: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLER, str(calls), *arguments]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL
        )

    arguments = _train_arguments(story_file, "whole")
    done = run(10**9, *arguments)
    assert done.returncode == 0, done.stderr
    total = int(done.stderr.splitlines()[-1])
    assert total > 50
    # Each further kill comes a few calls into what the resumed run writes.
    out = tmp_path / "killed"
    arguments = _train_arguments(story_file, "killed")
    kills = 0
    for calls in (1, 3, 8, 12, 17, 18, 19, 20, 21, 22, 23, 24, 30, 38):
        verb = ["resume", "killed"] if is_run(out) else arguments
        done = run(calls, *verb)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
    assert kills >= 8
    assert resume(out, Hooks()).result["steps"] == SMALL["steps"]
    assert _sha256(out) == _sha256(small_run.path)
    assert [row["step"] for row in read_metrics(out)] == [4, 8, 12]


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_so(story_file: Path, tmp_path: Path, number: int):
    arguments = _train_arguments(story_file, "run", steps=1_000_000, eval_every=1_000_000)
    process = _start(arguments, tmp_path)
    run = tmp_path / "run"
    _after_steps(process, 5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    step = load_checkpoint(run).step  # type: ignore[union-attr]
    assert step > 0
    last = errors.splitlines()[-1]
    assert (
        last == f"tinybuddy: stopped and saved after step {step}: go on with tinybuddy resume run"
    )
    assert "Traceback" not in errors


@pytest.mark.skipif(os.name != "posix", reason="pipes with names")
def test_ctrl_c_before_the_first_step_leaves_a_run(story_file: Path, tmp_path: Path):
    source = tmp_path / "pipe"
    os.mkfifo(source)  # whoever reads it waits for what is never written
    process = _start(_train_arguments(source, "run"), tmp_path)
    with source.open("wb"):  # opens once there is a reader
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    source.unlink()
    source.write_bytes(story_file.read_bytes())
    assert resume(tmp_path / "run", Hooks()).result["steps"] == SMALL["steps"]


def test_standard_input_that_was_cut_says_so(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-m", "tinybuddy", "train", "--data", "-", "--out", "run"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"One day. " * 200_000)  # returns once all but what a pipe holds was read
    process.kill()
    process.communicate()
    with pytest.raises(TinybuddyError, match="not read to its end: begin a new run"):
        resume(tmp_path / "run", Hooks())


def test_a_second_writer_is_refused(story_file: Path, tmp_path: Path, cli: Cli):
    arguments = _train_arguments(story_file, "run", steps=1_000_000)
    process = _start(arguments, tmp_path)
    try:
        _after_steps(process, 1)
        for verb in (["resume", "run"], arguments):
            second = cli(*verb)
            assert second.returncode == 1
            assert "Another process is writing run" in second.stderr
    finally:
        process.kill()
        process.communicate()
    (tmp_path / "run" / "recipe.toml").write_text(
        (tmp_path / "run" / "recipe.toml").read_text("utf-8").replace("1000000", "20"), "utf-8"
    )
    assert cli("resume", "run").returncode == 0  # the lock died with its process


def test_a_run_is_not_overwritten(small_run: Run, story_file: Path):
    for folder in (small_run.path, find_directory(small_run.path), story_file.parent):
        before = {path: path.read_bytes() for path in folder.glob("**/*.*") if path.is_file()}
        with pytest.raises(TinybuddyError, match="already holds something: go on with"):
            train(data=story_file, out=folder, hooks=Hooks(), **SMALL)
        assert {path: path.read_bytes() for path in before} == before


def test_a_start_that_failed_may_be_repeated(story_file: Path, tmp_path: Path):
    with pytest.raises(TinybuddyError, match="no file or folder"):
        train(data=tmp_path / "none.txt", out=tmp_path / "run", hooks=Hooks(), **SMALL)
    assert train(data=story_file, out=tmp_path / "run", hooks=Hooks(), **SMALL).metrics


def test_a_name_is_found_where_none_is_given(story_file: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (DEFAULT_RECIPE, f"{DEFAULT_RECIPE}-2"):
        run = train(data=story_file, hooks=Hooks(), **SMALL | {"steps": 2})
        assert run.path == Path("runs") / name


def test_resuming_nothing_is_one_sentence(tmp_path: Path):
    with pytest.raises(TinybuddyError, match="There is no run in"):
        resume(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def _interrupted(story_file: Path, out: Path, at: int) -> None:
    class Impatient(Hooks):
        def on_step(self, step: int, *_: object) -> None:
            if step == at:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(data=story_file, out=out, hooks=Impatient(), **SMALL)


def test_without_latest_it_goes_on_from_the_newest(small_run: Run, story_file, tmp_path: Path):
    run = tmp_path / "run"
    _interrupted(story_file, run, at=9)
    (run / "latest").unlink()
    assert find_directory(run).name == "000009"
    assert load_checkpoint(run).step == 9  # type: ignore[union-attr]
    steps = []

    class Steps(Hooks):
        def on_step(self, step: int, *_: object) -> None:
            steps.append(step)

    again = resume(run, Steps())
    assert steps == [10, 11, 12]
    assert [row["step"] for row in again.metrics] == [4, 8, 12]
    assert (run / "latest").read_text() == "000012\n"
    assert _sha256(run) == _sha256(small_run.path)


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


def test_data_that_changed_is_noticed(story_file: Path, tmp_path: Path):
    data = tmp_path / "data.txt"
    data.write_bytes(story_file.read_bytes())
    _interrupted(data, tmp_path / "run", at=5)
    data.write_bytes(story_file.read_bytes() + b"<|endoftext|>More.")
    with pytest.raises(TinybuddyError, match="has changed since the run began"):
        resume(tmp_path / "run", Hooks())


@pytest.mark.parametrize("at", [4, 8, 12])
def test_ctrl_c_at_an_evaluation_keeps_its_row(
    small_run: Run, story_file: Path, tmp_path: Path, at: int
):
    _interrupted(story_file, tmp_path / "run", at)
    assert load_checkpoint(tmp_path / "run").step == at  # type: ignore[union-attr]
    again = resume(tmp_path / "run", Hooks())
    for key in ("step", "loss", "bits_per_byte", "gradient_norm", "learning_rate", "sample"):
        assert [row[key] for row in again.metrics] == [row[key] for row in small_run.metrics], key
    assert _sha256(again.path) == _sha256(small_run.path)
    assert "due" not in read_record(again.path)


def test_the_processors_seconds_are_those_of_training(
    story_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A clock that stands still but for 1 s a step and 100 s a score tells them apart."""
    clock = [0.0]

    def takes(seconds: float, method: Callable[..., object]) -> Callable[..., object]:
        def timed(*arguments: object) -> object:
            clock[0] += seconds
            return method(*arguments)

        return timed

    monkeypatch.setattr("time.process_time", lambda: clock[0])
    monkeypatch.setattr(_Loop, "_train_step", takes(1.0, _Loop._train_step))
    monkeypatch.setattr(_Loop, "_score", takes(100.0, _Loop._score))
    _interrupted(story_file, tmp_path / "run", at=8)
    assert resume(tmp_path / "run", Hooks()).result["cpu_seconds"] == SMALL["steps"]


def test_the_tokenizer_is_learned_from_all_parts_of_a_long_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stories = [f"A tale of xyxy, number {n}." for n in range(300)]
    stories += [f"Uvuv was here on day {n}." for n in range(300)]
    path = tmp_path / "stories.jsonl"
    path.write_text("\n".join(json.dumps(s) for s in stories), encoding="utf-8")
    monkeypatch.setattr("tinybuddy.training.dataset.MAX_TRAINING_CHARACTERS", 4_000)
    run = train(data=path, out=tmp_path / "run", hooks=Hooks(), **SMALL)
    assert {"Ġxyxy", "Uvuv"} <= run.model.tokenizer.backend.get_vocab().keys()


def test_ctrl_c_while_all_is_scored_loses_nothing(small_run: Run, story_file, tmp_path: Path):
    class Impatient(Notes):
        def on_progress(self, what: str, done: int, _: int) -> None:
            if "scoring all" in what and done == 1:
                os.kill(os.getpid(), signal.SIGINT)

    run, hooks = tmp_path / "run", Impatient()
    settings = SMALL | {"eval_stories": 1}
    with pytest.raises(KeyboardInterrupt, match="stopped and saved after step 12"):
        train(data=story_file, out=run, hooks=hooks, **settings)
    assert resume(run, Hooks()).result["bits_per_byte"] == small_run.result["bits_per_byte"]


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_ends_a_long_step_on_its_way(
    story_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / "run"
    shape = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2}

    begins, step = threading.Event(), EngineTrainer.step

    def interrupt() -> None:  # once the step lets go of Python's lock, on its way
        begins.wait()
        os.kill(os.getpid(), signal.SIGINT)

    def signalled(*arguments: Any) -> tuple[float, float]:
        begins.set()
        return step(*arguments)

    monkeypatch.setattr(EngineTrainer, "step", signalled)
    threading.Thread(target=interrupt, daemon=True).start()
    settings = SMALL | shape | {"batch_size": 8000}
    with pytest.raises(KeyboardInterrupt, match="stopped and saved after step 0: go on with"):
        train(data=story_file, out=run, hooks=Hooks(), **settings)
    assert load_checkpoint(run).step == 0  # type: ignore[union-attr]


def test_python_is_interrupted_as_the_command_is(small_run: Run, story_file: Path, tmp_path: Path):
    _interrupted(story_file, tmp_path / "run", at=7)
    assert load_checkpoint(tmp_path / "run").step == 7  # type: ignore[union-attr]
    assert resume(tmp_path / "run", Hooks()).result["steps"] == 12
    assert _sha256(tmp_path / "run") == _sha256(small_run.path)


def test_numbers_that_break_keep_the_last_checkpoint(
    story_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trainers: list[Any] = []

    def open_and_keep(*arguments: Any) -> Trainer:
        trainers.append(open_trainer(*arguments))
        return trainers[-1]

    class Breaker(Hooks):
        def on_evaluation(self, row: dict[str, object], steps: int) -> None:
            broken.append(self)

        def on_step(self, step: int, *_: object) -> None:
            if broken:  # the weights as a bad batch would leave them
                weights = trainers[0].weights()
                weights["model.norm.weight"].fill(np.nan)
                trainers[0]._put(0, weights)

    broken: list[Hooks] = []
    monkeypatch.setattr(loop, "open_trainer", open_and_keep)
    with pytest.raises(TinybuddyError, match="not finite at step 6: the checkpoint before it"):
        train(data=story_file, out=tmp_path / "run", hooks=Breaker(), **SMALL)
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint is not None
    assert checkpoint.step == 4


def test_it_goes_on_from_a_model_on_other_text(small_run: Run, tmp_path: Path):
    text = tmp_path / "mine.txt"
    text.write_text("\n\n\n".join(f"My own text number {n} is this." for n in range(60)), "utf-8")
    settings = {k: v for k, v in SMALL.items() if k not in ModelConfig.__dataclass_fields__}
    out, hooks = tmp_path / "run", Notes()
    run = train(data=text, from_model=small_run.path, out=out, hooks=hooks, **settings)
    assert read_recipe(out).name == "finetune"
    assert re.search(r"000\d+ gets \d\.\d{3} bits per byte\.$", hooks.notes[-1])
    before = small_run.model.score("My own text number 7 is this.").bits
    assert run.model.score("My own text number 7 is this.").bits < before
    assert run.model.tokenizer.to_json() == small_run.model.tokenizer.to_json()
    assert run.result["parameters"] == small_run.result["parameters"]
    with pytest.raises(UsageError, match="hidden_size cannot be set"):
        train(data=text, from_model=small_run.path, hidden_size=8)


def test_too_little_text_says_how_much_is_missing(tmp_path: Path):
    text = tmp_path / "small.txt"
    text.write_text("One.<|endoftext|>Two.<|endoftext|>Three.", "utf-8")
    with pytest.raises(TinybuddyError, match=r"needs at least 33 tokens to train on, has \d+\."):
        train(data=text, out=tmp_path / "run", hooks=Hooks(), **SMALL)
    assert not (tmp_path / "run").exists()  # nothing came of it


def test_without_a_network_the_tales_serve_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TINYBUDDY_CACHE", str(tmp_path / "cache"))
    notes = Notes()
    run = train(out=tmp_path / "run", stories=50, hooks=notes, **SMALL)
    assert any("TRAINING ON THE BUILT-IN TALES" in note for note in notes.notes)
    assert run.result["data"] == "tales (built in)"
    assert read_recipe(tmp_path / "run").train.data == "tales"
    with pytest.raises(ranges.Unreachable):
        train(data="roneneldan/TinyStories", out=tmp_path / "run2", hooks=notes, **SMALL)


def test_a_character_model_trains(story_file: Path, tmp_path: Path):
    """The 112-parameter shape: 27 characters, hidden 2, one head, feed-forward 6."""
    shape = {"vocab_size": 27, "hidden_size": 2, "intermediate_size": 6}
    shape |= {"num_attention_heads": 1, "num_key_value_heads": 1, "tokenizer": "characters"}
    run = train(data=story_file, out=tmp_path / "run", hooks=Hooks(), **SMALL | shape)
    assert run.result["parameters"] == 112
    assert run.model.generate("a", max_new_tokens=5)


@pytest.mark.skipif(os.name != "posix", reason="limits")
def test_a_full_disk_is_one_sentence_and_loses_nothing(story_file: Path, tmp_path: Path):
    """A limit on the size of files stands for the disk: the system refuses the write alike."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    process = subprocess.run(
        [sys.executable, "-m", "tinybuddy", *_train_arguments(story_file, "run", hidden_size=64)],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        preexec_fn=limit,
        check=False,
    )
    assert process.returncode == 1
    assert "Cannot write" in process.stderr
    assert "Traceback" not in process.stderr
    done = subprocess.run(
        [sys.executable, "-m", "tinybuddy", "resume", "run", "--json"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1])["steps"] == SMALL["steps"]


def test_a_place_that_cannot_be_written_is_one_sentence(story_file: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TinybuddyError, match=r"Cannot write .*choose another --out"):
        train(data=story_file, out=tmp_path / "file" / "run", hooks=Hooks(), **SMALL)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_sentence(story_file: Path, tmp_path: Path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(TinybuddyError, match=r"Cannot write .*Permission denied"):
        train(data=story_file, out=tmp_path / "locked" / "run", hooks=Hooks(), **SMALL)


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
    _interrupted(story_file, tmp_path / "run", at=5)
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
    _interrupted(story_file, run, at=9)
    path = latest_checkpoint(run) / name
    if name:
        path.write_bytes(path.read_bytes()[:100])
    else:
        shutil.rmtree(path)
    says = f"before it, write 000008 into {run / 'latest'}"
    with pytest.raises(TinybuddyError, match=re.escape(says)):
        resume(run, Hooks())
    if name != "state.safetensors":
        with pytest.raises(TinybuddyError, match=re.escape(says)):
            tinybuddy.load(run)
    (run / "latest").write_text("000008")
    assert resume(run, Hooks()).result["steps"] == 12
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(TinybuddyError, match="No checkpoint before it is there"):
        load_checkpoint(run)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"data": []}', '{"data": {}}', "[" * 100_000, '{"result": {"x": 1}}']
)
def test_a_damaged_record_is_one_sentence(story_file: Path, tmp_path: Path, text: str):
    _interrupted(story_file, tmp_path / "run", at=5)
    (tmp_path / "run" / "run.json").write_text(text, "utf-8")
    with pytest.raises(TinybuddyError, match="delete it and resume"):
        resume(tmp_path / "run", Hooks())
    (tmp_path / "run" / "run.json").unlink()
    assert resume(tmp_path / "run", Hooks()).result["steps"] == 12


@pytest.mark.parametrize("line", ["{}", "[1]", '{"step": 5}', "[" * 100_000, '{"step'])
def test_damaged_metrics_end_there(story_file: Path, tmp_path: Path, line: str):
    _interrupted(story_file, tmp_path / "run", at=5)
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


def test_a_character_model_is_gone_on_from(story_file: Path, tmp_path: Path):
    shape = {"vocab_size": 64, "tokenizer": "characters"}
    train(data=story_file, out=tmp_path / "a", hooks=Hooks(), **SMALL | shape)
    settings = {k: v for k, v in SMALL.items() if k not in ModelConfig.__dataclass_fields__}
    run = train(
        data=story_file,
        from_model=tmp_path / "a",
        out=tmp_path / "b",
        hooks=Hooks(),
        **settings,
    )
    assert run.model.tokenizer.kind == "characters"


def test_places_in_recipes_do_not_depend_on_the_folder(
    story_file: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(story_file.parent)
    assert plan("card", {"data": story_file.name}).train.data == str(story_file)
    (tmp_path / "tales").mkdir()
    monkeypatch.chdir(tmp_path)
    assert plan("card", {"data": "tales"}).train.data == "tales"


def test_every_weight_is_saved_with_its_moments(small_run: Run):
    checkpoint = load_checkpoint(small_run.path)
    assert checkpoint is not None
    names = weight_shapes(checkpoint.files.config)
    adamw, muon = ("step", "exp_avg", "exp_avg_sq"), ("momentum_buffer",)
    hidden = hidden_matrices(checkpoint.files.config)
    keys = {f"{n}.{key}" for n in names for key in (muon if n in hidden else adamw)}
    assert checkpoint.state.keys() == keys


@pytest.mark.slow
def test_the_card_on_tinystories(tinystories: Path, tmp_path: Path):
    """A tenth of the steps is enough to foresee more than how frequent each token is."""
    run = train(
        "card", data=tinystories, out=tmp_path / "run", hooks=Hooks(), steps=100, eval_every=100
    )
    assert run.result["validation_stories"] == 759
    corpus = open_corpus(str(tinystories), stories=5000)
    tokenizer = run.model.tokenizer
    ids = [
        np.concatenate([encode_story(tokenizer, s)[1:] for s in split])
        for split in (corpus.train(), corpus.validation())
    ]
    counts = np.bincount(ids[0], minlength=1024) + 1
    size = run.result["validation_bytes"] + run.result["validation_stories"]
    unigram = -np.log2(counts / counts.sum())[ids[1]].sum() / size
    assert run.result["bits_per_byte"] < 0.9 * unigram
