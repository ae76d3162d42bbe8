"""A run on disk: what it is made of, where it stands, and how it goes on after any kill.

::

    RUN/recipe.toml          everything resolved
        run.json             data, versions, machine, and at the end the result
        metrics.jsonl        a line an evaluation
        loss.svg             the curve
        tokenizer.json       learned before the first step
        checkpoints/000300/  a model directory, and state.safetensors: the optimizer and the step
        latest               names one checkpoint

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

from tinybuddy.backend import State
from tinybuddy.config import MAX_RECIPE_BYTES, Recipe, parse_recipe
from tinybuddy.disk import read_bytes, read_text, sync_folder, write_bytes, write_text
from tinybuddy.errors import TinybuddyError
from tinybuddy.modelfile import ModelFiles, find_model, read_model, write_model

KEPT = 2  # checkpoints; each is three times the size of the model
MAX_METRICS_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stands.

    Attributes:
        step: optimizer steps done.
        seconds: spent on the run so far, and ``train_seconds`` of them on steps.
        files: the model.
        state: what the optimizer remembers.
    """

    step: int
    seconds: float
    train_seconds: float
    files: ModelFiles
    state: State


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Be the only writer of a run; the lock ends with the process, however that ends.

    Raises:
        TinybuddyError: if another process writes it, or the folder cannot be written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise TinybuddyError(f"Another process is writing {run}: wait for it or stop it.") from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TinybuddyError(f"Cannot write {run}: {reason}; choose another --out.") from None
    try:
        for left in [*run.glob(".*.part"), *run.glob("checkpoints/.*.part")]:  # by a kill
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield
    finally:
        lock.release()


def write_recipe(run: Path, recipe: Recipe) -> None:
    """Write ``recipe.toml``."""
    write_text(run / "recipe.toml", tomli_w.dumps(recipe.to_mapping()))


def read_recipe(run: Path) -> Recipe:
    """Read ``recipe.toml``.

    Raises:
        TinybuddyError: if ``run`` is not a run.
    """
    path = run / "recipe.toml"
    if not path.is_file():
        raise TinybuddyError(
            f"There is no run in {run}: begin one with tinybuddy train --out {run}."
        )
    return parse_recipe(read_text(path, MAX_RECIPE_BYTES), str(path))


def write_record(run: Path, record: dict[str, Any]) -> None:
    """Write ``run.json``."""
    write_text(run / "run.json", json.dumps(record, indent=2) + "\n")


def read_record(run: Path) -> dict[str, Any]:
    """Read ``run.json``; empty where the run did not come so far."""
    path = run / "run.json"
    if not path.exists():
        return {}
    try:
        record: dict[str, Any] = json.loads(read_text(path, 1_000_000))
    except ValueError:
        raise TinybuddyError(f"{path} is damaged: delete it and resume.") from None
    return record


def save_checkpoint(run: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint beside, rename it, then name it in ``latest``; drop the oldest.

    Raises:
        TinybuddyError: if it cannot be written; the one before it stays.
    """
    name = f"{checkpoint.step:06d}"
    folder, beside = run / "checkpoints" / name, run / "checkpoints" / f".{name}.part"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        write_model(beside, checkpoint.files)
        counts = {k: repr(getattr(checkpoint, k)) for k in ("step", "seconds", "train_seconds")}
        data = safetensors.numpy.save(checkpoint.state, metadata=counts)
        write_bytes(beside / "state.safetensors", data)
        sync_folder(beside)
        if folder.exists():  # a kill came before it was named
            shutil.rmtree(folder)
        beside.rename(folder)
        sync_folder(folder.parent)
        write_text(run / "latest", name + "\n")
    except OSError as error:
        raise TinybuddyError(f"Cannot write {folder}: {error.strerror}.") from None
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    for old in sorted(p for p in folder.parent.iterdir() if p.name[0] != ".")[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(run: Path) -> Checkpoint | None:
    """Read the latest checkpoint; None where the run did not come so far.

    Raises:
        TinybuddyError: if it is damaged.
    """
    if not (run / "latest").exists():
        return None
    folder = find_model(run)
    files = read_model(folder)
    path = folder / "state.safetensors"
    # AdamW keeps two numbers for each weight, and one for each tensor.
    most = 12 * files.config.parameters + 1_000_000
    try:
        state = safetensors.numpy.load(read_bytes(path, most))
        with safetensors.safe_open(path, "numpy") as file:
            counts = file.metadata() or {}
        return Checkpoint(
            step=int(counts["step"]),
            seconds=float(counts["seconds"]),
            train_seconds=float(counts["train_seconds"]),
            files=files,
            state=state,
        )
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise TinybuddyError(f"{path} is damaged: {error}.") from None


def append_metrics(run: Path, row: dict[str, Any]) -> None:
    """Add a line to ``metrics.jsonl``."""
    path = run / "metrics.jsonl"
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise TinybuddyError(f"Cannot write {path}: {error.strerror}.") from None


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Rows of ``metrics.jsonl``; a line that a kill cut off ends them."""
    path = run / "metrics.jsonl"
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in read_bytes(path, MAX_METRICS_BYTES).decode("utf-8", "replace").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def rewind_metrics(run: Path, step: int) -> list[dict[str, Any]]:
    """Forget rows after ``step``, which the resumed run writes again; return the others."""
    rows = [row for row in read_metrics(run) if row["step"] <= step]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text(run / "metrics.jsonl", "".join(lines))
    return rows
