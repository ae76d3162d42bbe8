"""The verb, in a process of its own: what it prints, how it is stopped, what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import HANG
from tinybuddy.cli import main
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.frontier import results
from tinybuddy.frontier.session import begin, resume
from tinybuddy.frontier.study import Study

COMMAND = [sys.executable, "-m", "tinybuddy", "frontier"]


@pytest.fixture
def file(study: Study, tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(study.to_toml(), encoding="utf-8")
    return path


def rows_of(out: Path) -> list[dict[str, object]]:
    return results.read(out / "runs.jsonl")


@contextmanager
def searching(out: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Search until the first runs have ended."""
    pipe = subprocess.PIPE
    with subprocess.Popen([*COMMAND, *arguments], stderr=pipe, text=True) as process:
        while process.poll() is None and len(rows_of(out)) < 2:
            pass
        yield process


def test_it_runs_and_says_so(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    arguments = ["frontier", "run", str(file), "--out", str(out), "--workers", "2", "--json"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out.splitlines()[-1])
    assert (found["study"], found["runs"]) == (str(out), 8)
    assert "4/4 trials" in printed.err.splitlines()[-1]
    assert main(["frontier", "run", str(file), "--out", str(out)]) == 1
    assert "go on with tinybuddy frontier resume" in capsys.readouterr().err
    assert main(["frontier", "resume", str(out)]) == 0
    assert capsys.readouterr().out == f"8 runs in {out}/runs.jsonl.\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_is_stopped_and_goes_on(file: Path, tmp_path: Path, number: signal.Signals):
    if sys.platform == "win32":
        pytest.skip("Windows has no such signals")
    out = tmp_path / "out"
    with searching(out, "run", str(file), "--out", str(out), "--workers", "2") as process:
        process.send_signal(number)
        error = process.communicate(timeout=HANG)[1]
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert error.splitlines()[-1].endswith(f"tinybuddy frontier resume {out}")
    known = rows_of(out)
    assert main(["frontier", "resume", str(out), "--workers", "2"]) == 0
    rows = rows_of(out)
    assert rows[: len(known)] == known
    assert len(rows) == len({row["fingerprint"] for row in rows}) == 8  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(file: Path, tmp_path: Path):
    import psutil

    out = tmp_path / "out"
    with searching(out, "run", str(file), "--out", str(out), "--workers", "2") as process:
        workers = [
            child
            for child in psutil.Process(process.pid).children()
            if "spawn_main" in " ".join(child.cmdline())
        ]
        workers[0].kill()
        error = process.communicate(timeout=HANG)[1]
    assert process.returncode == 0
    assert "has ended: it is trained again" in error
    assert len(rows_of(out)) == 8


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "tale"], 2, "did you mean 'tales'"),
        (["run", "missing.toml"], 1, "Cannot read missing.toml"),
        (["run", "tales", "--workers", "0"], 2, "--workers must be 1 or more"),
        (["resume", "nothing"], 1, "There is no study in nothing"),
        (["resume", "nothing", "--data", "tales"], 2, "leave out --data and --out"),
        (["run", "tales", "--data", "nowhere.txt"], 1, "nowhere.txt"),
        (["run", "tales", "--storage", "no-address"], 1, "Optuna's database no-address cannot"),
        (["run", "tales", "--storage", "sqlite://"], 2, "keeps nothing: name a file"),
        (["run", "tales", "--storage", "nosuch://me:secret@host/a"], 1, "nosuch://me:***@host/a"),
        (["run", "tales", "--data", "-"], 2, "A study reads its data again"),
    ],
)
def test_what_makes_no_sense_is_said(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert main(["frontier", *arguments]) == code
    error = capsys.readouterr().err
    assert said in error.splitlines()[-1]
    assert not [*tmp_path.glob("studies/*")]


def test_other_data_are_refused(study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = tmp_path / "text.txt"
    stories = [f"Once there was a number {n}. It was {n % 7} days old.\n" for n in range(900)]
    text.write_text("\n".join(stories), encoding="utf-8")
    file = tmp_path / "study.toml"
    one = replace(study, budgets=(3_000,), trials=1)
    file.write_text(one.to_toml(), encoding="utf-8")
    out = str(tmp_path / "out")
    given = ["frontier", "run", str(file), "--data", str(text), "--out", out, "--workers", "1"]
    assert main(given) == 0
    text.write_text("\n".join(stories[1:]), encoding="utf-8")
    assert main(["frontier", "resume", out]) == 1
    assert "has changed since" in capsys.readouterr().err.splitlines()[-1]


def test_a_run_that_never_began_leaves_the_files_of_others(tmp_path: Path):
    out = tmp_path / "out"
    (out / ".git").mkdir(parents=True)
    (out / ".git" / "HEAD").write_text("ref", encoding="utf-8")
    (out / ".env").write_text("x", encoding="utf-8")
    for data in ("nowhere.txt", str(tmp_path / "short.txt")):
        (tmp_path / "short.txt").write_text("One story.\n\n\nAnother one.\n", encoding="utf-8")
        assert main(["frontier", "run", "tales", "--data", data, "--out", str(out)]) == 1
        left = {path.relative_to(out).as_posix() for path in out.rglob("*")} - {".lock"}
        assert left == {".git", ".git/HEAD", ".env"}


def test_two_studies_share_a_database(study: Study, tmp_path: Path):
    one = replace(study, budgets=(3_000,), trials=1, rungs=(4,))
    storage = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    for name in ("a", "b"):
        assert begin(one, out=tmp_path / name, workers=1, storage=storage)["runs"] == 1
    (tmp_path / "b" / "runs.jsonl").rename(tmp_path / "b" / "elsewhere")
    assert resume(tmp_path / "a", workers=1)["runs"] == 1  # where the database is, is kept
    assert not [*tmp_path.glob("*/optuna.sqlite")]
    with pytest.raises(TinybuddyError, match="lacks the runs that Optuna's database knows of"):
        resume(tmp_path / "b", workers=1)
    with pytest.raises(TinybuddyError, match="knows none of the 1 runs"):
        resume(tmp_path / "a", workers=1, storage=f"sqlite:///{tmp_path / 'other.sqlite'}")
    record = tmp_path / "a" / "study.json"
    text = record.read_text(encoding="utf-8")
    record.write_text(text.replace("sqlite://", "postgresql://me:***@host"), encoding="utf-8")
    with pytest.raises(UsageError, match="Passwords are not kept"):
        resume(tmp_path / "a", workers=1)
    for wrong in ("{", "[]", '{"name": 1}'):
        record.write_text(wrong, encoding="utf-8")
        with pytest.raises(TinybuddyError, match=r"study.json is not as a study writes it"):
            resume(tmp_path / "a", workers=1)
