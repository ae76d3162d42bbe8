"""The verb `export`."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

from tinybuddy.config import unknown
from tinybuddy.disk import expanded
from tinybuddy.errors import TinybuddyError, UsageError, require
from tinybuddy.exporters import FORMATS
from tinybuddy.formats.references import find_directory
from tinybuddy.generation.model import Model


def export(format: str, model: str | Path | Model, out: str | Path, *, force: bool = False) -> Path:
    """Write a model in another form.

    Args:
        format: ``hub``, the directory that transformers and the hub take, or ``int8`` or ``int4``,
            one file with weights of so many bits.
        model: a model or run directory, a released name, or a loaded model.
        out: where to write.
        force: replace what is there.

    Returns:
        ``out``.

    Raises:
        UsageError: for an unknown format.
        TinybuddyError: if there is no such model, ``out`` is taken, the format's extra is not
            installed, or the result does not do what the model does.
    """
    if format not in FORMATS:
        raise UsageError(unknown("format", format, FORMATS))
    row = FORMATS[format]
    if isinstance(model, Model) and model.path is None:
        raise TinybuddyError("This model lies nowhere on disk: export the run that made it.")
    source = find_directory((model.path or "") if isinstance(model, Model) else model)
    out = expanded(out)
    beside = out.with_name(f".{out.name}.part")
    if out.exists() and not force:
        raise TinybuddyError(
            f"{out} is there already: choose another `out`, or `force` to replace it."
        )
    if out.exists() and source.resolve().is_relative_to(out.resolve()):
        raise TinybuddyError(f"{out} holds the model itself: choose another `out`.")
    if row.extra:
        require(*row.extra)
    written = import_module(row.module)
    try:
        _remove(beside)
        written.write(source, beside)
        written.verify(source, beside)
        _remove(out)
        beside.rename(out)
    except OSError as error:
        raise TinybuddyError(
            f"Cannot write {out}: {error.strerror}; choose another `out`."
        ) from None
    finally:
        _remove(beside)
    return out


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
