"""A model in the forms that others open: one module a format; each proves itself after writing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tinybuddy.config import unknown
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.formats.references import find_model
from tinybuddy.generation.model import Model


def _formats() -> dict[str, Callable[[Path, Path], None]]:
    from tinybuddy.exporters.hub import write_hub

    return {"hub": write_hub}


def export(format: str, model: str | Path | Model, out: str | Path, *, force: bool = False) -> Path:
    """Write a model in another form.

    Args:
        format: ``hub``, the directory that transformers and the hub take.
        model: a model or run directory, a released name, or a loaded model.
        out: where to write.
        force: replace what is there.

    Returns:
        ``out``.

    Raises:
        UsageError: for an unknown format.
        TinybuddyError: if there is no such model, ``out`` is taken, or the result does not do what
            the model does.
    """
    formats = _formats()
    if format not in formats:
        raise UsageError(unknown("format", format, formats))
    source = find_model(model.path if isinstance(model, Model) else model)
    out = Path(out)
    beside = out.with_name(f".{out.name}.part")
    if out.exists() and not force:
        raise TinybuddyError(
            f"{out} is there already: choose another -o, or --force to replace it."
        )
    if out.exists() and source.resolve().is_relative_to(out.resolve()):
        raise TinybuddyError(f"{out} holds the model itself: choose another -o.")
    try:
        _remove(beside)
        formats[format](source, beside)
        _remove(out)
        beside.rename(out)
    except OSError as error:
        raise TinybuddyError(f"Cannot write {out}: {error.strerror}; choose another -o.") from None
    finally:
        _remove(beside)
    return out


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
