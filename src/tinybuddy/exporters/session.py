"""The verb `export`."""

from __future__ import annotations

import shutil
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from tinybuddy.config import unknown
from tinybuddy.disk import exists, expanded
from tinybuddy.errors import NotInstalledError, TinybuddyError, UsageError, require
from tinybuddy.exporters import FORMATS
from tinybuddy.formats.references import find, open_model
from tinybuddy.generation.model import Model


class Exported(NamedTuple):
    """What `export` wrote.

    Attributes:
        path: of the file or directory.
        checked: what was seen to do with it as the model does, or ``not checked``, and why.
    """

    path: Path
    checked: str


def export(
    format: str,
    model: str | Path | Model,
    out: str | Path,
    *,
    weights: str | None = None,
    force: bool = False,
) -> Exported:
    """Write a model in another form, and check it in the program it is for, if that is installed.

    Args:
        format: one of `tinybuddy.exporters.FORMATS`, such as ``hub``.
        model: whatever `load` opens, or a loaded model.
        out: where to write.
        weights: their type, such as ``int8``, where a format has several; by default its first.
        force: replace what is there.

    Returns:
        Where it lies, and what was seen to do with it as the model does.

    Raises:
        UsageError: for an unknown format or type of weights.
        TinybuddyError: if there is no such model, the format cannot hold it, ``out`` is taken, or
            cannot be written, or holds the model or the working directory, the format's extra is
            not installed, or the result does not do what the model does. What was at ``out`` is as
            it was then.

    Examples:
        >>> tinybuddy.export("compact", "tinybuddy-80k-int4", "story.buddy").checked
        'read again, it is the same model'
    """
    if format not in FORMATS:
        raise UsageError(unknown("format", format, FORMATS))
    row = FORMATS[format]
    weights = row.weights[0] if weights is None else weights
    if weights not in row.weights:
        raise UsageError(f"Weights of {format} are {' or '.join(row.weights)}, not {weights!r}.")
    if isinstance(model, Model) and model.path is None:
        raise TinybuddyError("This model lies nowhere on disk: export the run that made it.")
    reference = (model.path or "") if isinstance(model, Model) else model
    source = find(reference).path
    out = expanded(out)
    there = exists(out)
    if there and not force:
        raise TinybuddyError(
            f"{out} is there already: choose another `out`, or `force` to replace it."
        )
    for what, path in (("the model itself", source), ("the folder that you are in", Path())):
        if there and path.resolve().is_relative_to(out.resolve()):
            raise TinybuddyError(f"{out} holds {what}: choose another `out`.")
    beside = out.with_name(f".part-{out.name}")  # a name may say what is to be written
    if row.extra:
        require(*row.extra)
    written = import_module(row.module)
    loaded = open_model(reference)
    try:
        _remove(beside)
        written.write(loaded, beside, weights)
        try:
            checked = written.check(loaded, beside, weights)
        except NotInstalledError as error:
            checked = f"not checked: {error}"
        _replace(out, beside)
    except OSError as error:
        raise TinybuddyError(
            f"Cannot write {out}: {error.strerror or error}; make room there or choose another "
            "`out`."
        ) from None
    finally:
        with suppress(OSError):
            _remove(beside)
    return Exported(out, checked)


def _replace(out: Path, new: Path) -> None:
    if new.is_file() and not out.is_dir():
        new.replace(out)
        return
    old = out.with_name(f".{out.name}.old")
    _remove(old)
    if out.exists():
        out.rename(old)
    new.rename(out)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
