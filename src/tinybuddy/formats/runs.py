"""Where a training run keeps its models: ``checkpoints/STEP/``, and ``latest``, which names one."""

from __future__ import annotations

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


def latest_checkpoint(run: Path) -> Path:
    """Return the model directory that a run's ``latest`` names, or without it the newest.

    Raises:
        TinybuddyError: if it names none, or there is none.
    """
    if not (run / "latest").exists():
        if not (folders := checkpoints(run)):
            raise TinybuddyError(f"There is no checkpoint in {run}: train the model anew.")
        return folders[-1]
    name = read_text(run / "latest", 100).strip()
    if not (name.isascii() and name.isdigit()):
        raise TinybuddyError(f"{run / 'latest'} names no checkpoint: write its number there.")
    return run / "checkpoints" / name


@contextmanager
def way_back(folder: Path) -> Iterator[None]:
    """Add to what is wrong with the latest checkpoint of a run how to go on without it."""
    try:
        yield
    except TinybuddyError as error:
        run = folder.parent.parent
        is_of_run = folder.parent.name == "checkpoints" and has_checkpoint(run)
        if not is_of_run or latest_checkpoint(run) != folder:
            raise
        older = [path.name for path in checkpoints(run) if _step(path) < _step(folder)]
        advice = (
            f"To go on from the checkpoint before it, write {older[-1]} into {run / 'latest'}."
            if older
            else "No checkpoint before it is there: train the model anew."
        )
        raise TinybuddyError(f"{error} {advice}") from None
