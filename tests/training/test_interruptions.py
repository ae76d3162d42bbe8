"""Kills, Ctrl-C and a second writer, at moments that progress chooses and no clock."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import HANG, SMALL, Cli, interrupting, set_options
from tests.training.helpers import interrupt_at, weights_hash
from tinybuddy.backends.engine.trainer import EngineTrainer
from tinybuddy.errors import TinybuddyError
from tinybuddy.progress import Hooks
from tinybuddy.training.checkpoint import load_checkpoint, read_metadata, read_metrics
from tinybuddy.training.run import Run
from tinybuddy.training.session import resume, train


def _start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tinybuddy", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def _wait_for(process: subprocess.Popen[str], beginning: str) -> None:
    """Read what it says until a line begins so; it is anywhere after that then."""
    said = []
    for line in process.stderr or ():
        said.append(line)
        if line.startswith(beginning):
            return
    pytest.fail(f"it ended before: {''.join(said)}")


def _train_arguments(data: Path, out: str, **changes: object) -> list[str]:
    return ["train", "--data", str(data), "--out", out, *set_options(SMALL | changes)]


def _latest_step(run: Path) -> int:
    path = run / "latest"
    return int(path.read_text()) if path.exists() else -1


# Trains, or goes on with what is there, in one fork after another. Each kills itself, until one
# comes to the end: so many calls of functions after a step, or at a call that makes something last.
LIVES = """
import json, os, shutil, signal, sys
from pathlib import Path
from tinybuddy.backends.engine.trainer import EngineTrainer  # so that each fork finds it imported
from tinybuddy.corpus.statistics import write_statistics
from tinybuddy.formats.runs import has_checkpoint, latest_checkpoint
from tinybuddy.progress import Hooks
from tinybuddy.training.checkpoint import is_run
from tinybuddy.training.session import resume, train

data, out, kills, settings = sys.argv[1], Path(sys.argv[2]), *map(json.loads, sys.argv[3:])

def count(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def armed(function):
    def call(*arguments, **options):
        count()
        return function(*arguments, **options)
    return call

class Doomed(Hooks):
    def on_step(self, done, *_):
        if done >= step:
            sys.setprofile(count)

def live():
    hooks = Hooks()
    if step is None:
        for place, name in ((os, "replace"), (os, "rename"), (os, "fsync"), (shutil, "rmtree")):
            setattr(place, name, armed(getattr(place, name)))
    elif step == 0:
        sys.setprofile(count)
    else:
        hooks = Doomed()
    resume(out, hooks) if is_run(out) else train(data=data, out=out, hooks=hooks, **settings)

for step, left in kills:
    if not (child := os.fork()):
        live()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([code, int(latest_checkpoint(out).name) if has_checkpoint(out) else -1]))
    if code != -signal.SIGKILL:
        break
"""
Kill = tuple[int | None, int]  # after a step, or None for calls that make something last; calls


def _live(
    data: Path, out: Path, kills: Iterable[Kill], settings: dict[str, Any]
) -> list[tuple[int, int]]:
    """Return how each life ended, and the step of the checkpoint that it left."""
    arguments = [str(data), str(out), json.dumps([*kills]), json.dumps(settings)]
    done = subprocess.run(
        [sys.executable, "-c", LIVES, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    lives = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert {code for code, _ in lives} <= {0, -signal.SIGKILL}, done.stderr
    return lives


def _is_as_never_killed(killed: Path, whole: Run) -> None:
    assert weights_hash(killed) == weights_hash(whole.path)
    steps = [row["step"] for row in read_metrics(killed)]
    assert steps == [row["step"] for row in whole.metrics]
    assert not list(killed.glob("**/.*.part"))


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("kills", [20, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("bits", [32, 4])
def test_kills_at_random_moments_change_nothing(
    story_file: Path, tmp_path: Path, kills: int, bits: int
):
    """SIGKILL again and again, from the first moments on; the same bytes at the end."""
    settings = SMALL | {"steps": 4 * kills, "eval_every": 2, "patience": 0, "weight_bits": bits}
    whole = train(data=story_file, out=tmp_path / "whole", hooks=Hooks(), **settings)
    killed, draw = tmp_path / "killed", random.Random(kills)
    # Some 70,000 calls come before the first step; two steps, an evaluation and a checkpoint are
    # some 20,000.
    moments: list[Kill] = [(0, draw.randrange(70_000)) for _ in range(3)]
    moments += [(3 * kill, draw.randrange(20_000)) for kill in range(1, kills)]
    lives = _live(story_file, killed, moments, settings)
    assert len(lives) >= kills // 2
    assert len({step for _, step in lives}) >= kills // 3, lives
    assert resume(killed, Hooks()).result["steps"] == settings["steps"]
    _is_as_never_killed(killed, whole)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("bits", [32, 4])
def test_a_kill_between_any_two_writes_changes_nothing(
    small_run: Run, story_file: Path, tmp_path: Path, bits: int
):
    """Killed at the first call that makes something last, then at the second of what goes on ..."""
    killed, settings = tmp_path / "killed", SMALL | {"weight_bits": bits}
    whole = small_run
    if bits != 32:
        whole = train(data=story_file, out=tmp_path / "whole", hooks=Hooks(), **settings)
    lives = _live(story_file, killed, [(None, calls) for calls in range(1000)], settings)
    assert lives[-1] == (0, SMALL["steps"])
    assert len(lives) > 20
    _is_as_never_killed(killed, whole)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_kill_at_each_write_of_a_new_run_changes_nothing(
    small_run: Run, story_file: Path, tmp_path: Path
):
    """Killed once, at the first call that makes something last, at the second, ... at the last."""
    calls = 0
    while True:
        killed = tmp_path / f"killed-{calls}"
        lives = _live(story_file, killed, [(None, calls), (None, 10**9)], SMALL)
        _is_as_never_killed(killed, small_run)
        if len(lives) == 1:
            break
        calls += 1
    assert calls > 50


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_so(story_file: Path, tmp_path: Path, number: int):
    arguments = _train_arguments(story_file, "run", steps=1_000_000, eval_every=100)
    process = _start(arguments, tmp_path)
    run = tmp_path / "run"
    _wait_for(process, "step     100/")
    process.send_signal(number)
    _, errors = process.communicate(timeout=HANG)
    assert process.returncode == 130
    step = load_checkpoint(run).step  # type: ignore[union-attr]
    assert step >= 100
    last = errors.splitlines()[-1]
    assert (
        last == f"tinybuddy: stopped and saved after step {step}: go on with tinybuddy resume run"
    )
    assert "Traceback" not in errors


@pytest.mark.skipif(os.name != "posix", reason="pipes with names")
def test_ctrl_c_before_the_first_step_leaves_nothing(story_file: Path, tmp_path: Path):
    source = tmp_path / "pipe"
    os.mkfifo(source)
    process = _start(_train_arguments(source, "run"), tmp_path)
    with source.open("wb"):  # which waits for its reader, who then waits for text that never comes
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert errors == "tinybuddy: stopped before the first step: nothing is left of it.\n"
    assert not (tmp_path / "run").exists()


def test_ctrl_c_leaves_what_cannot_be_read_again(
    story_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tinybuddy.training.session.prepare", interrupted)
        stories = [s for s in story_file.read_text("utf-8").split("<|endoftext|>") if s.strip()]
        with pytest.raises(KeyboardInterrupt, match="go on with tinybuddy resume"):
            train(data=stories, out=tmp_path / "run", hooks=Hooks(), **SMALL)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert resume(tmp_path / "moved", Hooks()).result["steps"] == SMALL["steps"]


def test_standard_input_that_was_cut_says_so(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-m", "tinybuddy", "train", "--data", "-", "--out", "run"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
    )
    assert process.stdin
    process.stdin.write(b"One day.\n" * 200_000)  # more than a pipe holds: it is being read
    process.kill()
    process.communicate()
    with pytest.raises(TinybuddyError, match="not read to its end: begin a new run"):
        resume(tmp_path / "run", Hooks())


def test_a_second_writer_is_refused(story_file: Path, tmp_path: Path, cli: Cli):
    arguments = _train_arguments(story_file, "run", steps=1_000_000, patience=0)
    process = _start(arguments, tmp_path)
    try:
        _wait_for(process, "step       4/")
        for verb in (["resume", "run"], arguments):
            second = cli(*verb)
            assert second.returncode == 1
            assert "Another process is writing run" in second.stderr
    finally:
        process.kill()
        process.communicate()
    recipe = tmp_path / "run" / "recipe.toml"
    steps = _latest_step(tmp_path / "run") + 4
    recipe.write_text(recipe.read_text("utf-8").replace("1000000", str(steps)), "utf-8")
    assert cli("resume", "run").returncode == 0  # the lock died with its process


@pytest.mark.parametrize("at", [4, 8, 12])
def test_ctrl_c_at_an_evaluation_keeps_its_row(
    small_run: Run, story_file: Path, tmp_path: Path, at: int
):
    interrupt_at(at, story_file, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run").step == at  # type: ignore[union-attr]
    again = resume(tmp_path / "run", Hooks())
    for key in ("step", "loss", "bits_per_byte", "gradient_norm", "learning_rate", "sample"):
        assert [row[key] for row in again.metrics] == [row[key] for row in small_run.metrics], key
    assert weights_hash(again.path) == weights_hash(small_run.path)
    assert "due" not in read_metadata(again.path)


def test_ctrl_c_while_all_is_scored_loses_nothing(small_run: Run, story_file, tmp_path: Path):
    class Impatient(Hooks):
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
    step = EngineTrainer.step

    def interrupted(*arguments: Any) -> tuple[float, float]:
        interrupting()
        return step(*arguments)

    monkeypatch.setattr(EngineTrainer, "step", interrupted)
    shape = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2}
    settings = SMALL | shape | {"batch_size": 8000}
    with pytest.raises(KeyboardInterrupt, match="stopped and saved after step 0: go on with"):
        train(data=story_file, out=tmp_path / "run", hooks=Hooks(), **settings)
    assert load_checkpoint(tmp_path / "run").step == 0  # type: ignore[union-attr]


def test_python_is_interrupted_as_the_command_is(small_run: Run, story_file: Path, tmp_path: Path):
    interrupt_at(7, story_file, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run").step == 7  # type: ignore[union-attr]
    assert resume(tmp_path / "run", Hooks()).result["steps"] == 12
    assert weights_hash(tmp_path / "run") == weights_hash(small_run.path)
