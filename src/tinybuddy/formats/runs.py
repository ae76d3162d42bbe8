"""Where a training run keeps its models: ``checkpoints/STEP/``.

``latest`` names the one to go on from, ``best`` the one that scored best, which is handed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinybuddy.disk import read_text
from tinybuddy.errors import TinybuddyError


def has_checkpoint(run: Path) -> bool:
    """Whether a run came so far."""
    return (run / "latest").exists() or bool(checkpoints(run))


def checkpoints(run: Path) -> list[Path]:
    """Model directories of a run by their steps; each is whole, as it got its name last."""
    folders = run.glob("checkpoints/*")
    return sorted((p for p in folders if p.name.isascii() and p.name.isdigit()), key=_step)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name)


def name_of(path: Path) -> str:
    """What people call a model: its run, or its own name, without the ending of a file."""
    path = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow links
    if path.parent.name == "checkpoints":
        return path.parent.parent.name
    return path.stem if path.is_file() else path.name


def checkpoint_of(run: Path, step: int) -> Path:
    """Where the model directory of a step is, if it is kept."""
    return run / "checkpoints" / f"{step:06d}"


def latest_checkpoint(run: Path) -> Path:
    """Return the model directory that a run's ``latest`` names, or without it the newest.

    Raises:
        TinybuddyError: if it names none, or there is none.
    """
    if not (run / "latest").exists():
        if not (folders := checkpoints(run)):
            raise TinybuddyError(f"There is no checkpoint in {run}: train the model anew.")
        return folders[-1]
    return _named(run, "latest")


def best_checkpoint(run: Path) -> Path:
    """Return the model directory that a run's ``best`` names, or without it the latest.

    Raises:
        TinybuddyError: if it names none, or there is none.
    """
    if (run / "best").exists() and (best := _named(run, "best")).is_dir():
        return best
    return latest_checkpoint(run)


def _named(run: Path, file: str) -> Path:
    name = read_text(run / file, 100).strip()
    if not (name.isascii() and name.isdigit()):
        raise TinybuddyError(f"{run / file} names no checkpoint: write its number there.")
    return run / "checkpoints" / name


@contextmanager
def way_back(folder: Path) -> Iterator[None]:
    """Add to what is wrong with a run's latest or best checkpoint how to go on without it."""
    try:
        yield
    except TinybuddyError as error:
        run = folder.parent.parent
        is_of_run = folder.parent.name == "checkpoints" and has_checkpoint(run)
        if is_of_run and folder == best_checkpoint(run) != latest_checkpoint(run):
            raise TinybuddyError(
                f"{error} To take the latest checkpoint instead, delete {run / 'best'}."
            ) from None
        if not is_of_run or latest_checkpoint(run) != folder:
            raise
        older = [path.name for path in checkpoints(run) if _step(path) < _step(folder)]
        advice = (
            f"To go on from the checkpoint before it, write {older[-1]} into {run / 'latest'}."
            if older
            else "No checkpoint before it is there: train the model anew."
        )
        raise TinybuddyError(f"{error} {advice}") from None
