"""A run on disk: what it is made of, where it stands, and how it goes on after any kill.

::

    RUN/recipe.toml          everything resolved
        run.json             data, versions, machine, and at the end the result
        metrics.jsonl        a line an evaluation
        loss.svg             the curve
        tokenizer.json       trained before the first step
        facts.npz            statistics of the training text, at the end
        story.html           the page that holds the model, by the command line, at the end
        checkpoints/000300/  a model directory, and state.safetensors: the optimizer and the step
        latest               names the checkpoint to go on from
        best                 names the one that scored best, which is handed over

The batch of a step is a function of the seed and the step, so the step is the data's cursor, and
no state of random numbers needs keeping.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy
import tomli_w
from filelock import FileLock, Timeout

from tinybuddy.backends.interface import State
from tinybuddy.config import Recipe
from tinybuddy.disk import (
    read_bytes,
    read_record,
    read_text,
    sync_folder,
    write_bytes,
    write_text,
)
from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.hub import read_model, write_model
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.formats.runs import (
    best_checkpoint,
    checkpoints,
    has_checkpoint,
    latest_checkpoint,
    way_back,
)
from tinybuddy.recipes import MAX_RECIPE_BYTES, parse_recipe

RESULT = {"bits_per_byte", "validation_stories", "seconds", "tokens_per_second", "run"}
COUNTS = ("step", "seconds", "train_seconds", "cpu_seconds")  # beside the optimizer's state
KEPT = 2  # checkpoints; each is three times the size of the model
MAX_METRICS_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands.

    Attributes:
        step: optimizer steps done.
        seconds: spent on the run so far, and ``train_seconds`` of them on steps.
        cpu_seconds: of all threads, on the run so far without its evaluations.
        files: the model.
        state: of the optimizer.
    """

    step: int
    seconds: float
    train_seconds: float
    cpu_seconds: float
    files: ModelFiles
    state: State


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Be the only writer of a run; the lock ends with the process, however that ends.

    Raises:
        TinybuddyError: if another process writes it, or the folder cannot be written.
    """
    new = not run.exists()
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise TinybuddyError(f"Another process is writing {run}: wait for it or stop it.") from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TinybuddyError(f"Cannot write {run}: {reason}; choose another `out`.") from None
    try:
        yield
    finally:
        lock.release()
        if new and not is_taken(run):  # nothing came of it
            shutil.rmtree(run, ignore_errors=True)


def is_run(folder: Path) -> bool:
    """Whether a run was begun in a folder."""
    return (folder / "recipe.toml").is_file()


def is_taken(run: Path) -> bool:
    """Whether a folder holds anything; hidden files, such as our lock, do not count."""
    return run.exists() and (not run.is_dir() or any(p.name[0] != "." for p in run.iterdir()))


def clear(run: Path, *, everything: bool = False) -> None:
    """Remove what a kill left half written, or everything but hidden files of others."""
    for path in [*run.glob("*"), *run.glob("checkpoints/*")]:
        hidden = path.name.startswith(".")
        if path.name.endswith(".part") if hidden else everything:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def write_recipe(run: Path, recipe: Recipe) -> None:
    """Write ``recipe.toml``."""
    write_text(run / "recipe.toml", tomli_w.dumps(recipe.to_mapping()))


def read_recipe(run: Path) -> Recipe:
    """Read ``recipe.toml``.

    Raises:
        TinybuddyError: if ``run`` is not a run.
    """
    path = run / "recipe.toml"
    if not is_run(run):
        raise TinybuddyError(
            f"There is no run in {run}: check the spelling, or begin one with tinybuddy train."
        )
    return parse_recipe(read_text(path, MAX_RECIPE_BYTES), str(path))


def write_metadata(run: Path, record: dict[str, Any]) -> None:
    """Write ``run.json``."""
    write_text(run / "run.json", json.dumps(record, indent=2) + "\n")


def read_metadata(run: Path) -> dict[str, Any]:
    """Read ``run.json``; empty where the run did not come so far."""
    path = run / "run.json"
    if not path.exists():
        return {}
    record = read_record(path)
    match record:
        case {"data": {"sha256": str(), "tokens": int()}, **rest}:
            result = rest.get("result")
            if result is None or (isinstance(result, dict) and result.keys() >= RESULT):
                return record
    raise TinybuddyError(f"{path} is damaged: delete it and resume.")


def save_checkpoint(run: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint beside, rename it, then name it in ``latest``; drop the oldest.

    What is there of this step, and the latest, is left as it is: the same step has the same bytes.

    Raises:
        TinybuddyError: if it cannot be written; the one before it stays.
    """
    name = f"{checkpoint.step:06d}"
    folder, beside = run / "checkpoints" / name, run / "checkpoints" / f".{name}.part"
    if has_checkpoint(run) and latest_checkpoint(run) == folder:
        if not (run / "latest").exists():  # a kill came after the renaming
            write_text(run / "latest", name + "\n")
        return
    try:
        shutil.rmtree(beside, ignore_errors=True)
        write_model(beside, checkpoint.files)
        counts = {count: repr(getattr(checkpoint, count)) for count in COUNTS}
        data = safetensors.numpy.save(checkpoint.state, metadata=counts)
        write_bytes(beside / "state.safetensors", data)
        sync_folder(beside)
        if folder.exists():  # a kill came after the renaming
            shutil.rmtree(folder)
        beside.rename(folder)
        sync_folder(folder.parent)
        write_text(run / "latest", name + "\n")
    except OSError as error:
        raise TinybuddyError(f"Cannot write {folder}: {error.strerror}.") from None
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    older = [path for path in checkpoints(run) if int(path.name) < checkpoint.step]
    best = best_checkpoint(run)
    for path in [path for path in older[: -KEPT + 1 or None] if path != best]:
        shutil.rmtree(path, ignore_errors=True)


def mark_best(run: Path, step: int) -> None:
    """Name a checkpoint in ``best``."""
    write_text(run / "best", f"{step:06d}\n")


def load_checkpoint(run: Path) -> Checkpoint | None:
    """Read the latest checkpoint; None where the run did not come so far.

    Raises:
        TinybuddyError: if it is damaged; it says which one may serve instead.
    """
    if not has_checkpoint(run):
        return None
    folder = latest_checkpoint(run)
    files = read_model(folder)
    with way_back(folder):
        return _read_state(folder, files)


def _read_state(folder: Path, files: ModelFiles) -> Checkpoint:
    path = folder / "state.safetensors"
    # AdamW keeps two numbers for each weight, and one for each tensor. Of quantized weights there
    # are a master each, and a scale a row.
    most = 16 * files.config.parameters + 1_000_000
    try:
        state = safetensors.numpy.load(read_bytes(path, most))
        with safetensors.safe_open(path, "numpy") as file:
            counts = file.metadata() or {}
        step = int(counts["step"])
        seconds, train_seconds, cpu_seconds = (float(counts[name]) for name in COUNTS[1:])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise TinybuddyError(f"{path} is damaged: {error}.") from None
    possible = 0 <= train_seconds <= seconds < 1e12 and 0 <= cpu_seconds < 1e15
    if step != int(folder.name) or not possible:
        raise TinybuddyError(f"{path} is damaged: it is not of step {folder.name}.")
    return Checkpoint(step, seconds, train_seconds, cpu_seconds, files, state)


def append_metrics(run: Path, row: dict[str, Any]) -> None:
    """Add a line to ``metrics.jsonl``."""
    path = run / "metrics.jsonl"
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        raise TinybuddyError(f"Cannot write {path}: {error.strerror}.") from None


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Rows of ``metrics.jsonl``; a line that a kill cut off, or that is no row, ends them."""
    path = run / "metrics.jsonl"
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in read_bytes(path, MAX_METRICS_BYTES).split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        match row:
            case {"step": int(), "loss": float(), "bits_per_byte": float()}:
                rows.append(row)
            case _:
                break
    return rows


def rewind_metrics(run: Path, step: int) -> list[dict[str, Any]]:
    """Forget rows after ``step``, which the resumed run writes again; return the others."""
    rows = [row for row in read_metrics(run) if row["step"] <= step]
    lines = (json.dumps(row) + "\n" for row in rows)
    write_text(run / "metrics.jsonl", "".join(lines))
    return rows
