"""What a reference to a model may be. This is the one place that knows.

=====================  ===========================================================================
a directory            with a ``config.json``: of this package, or another that transformers opens
a run                  of `tinybuddy train`: its best checkpoint
a released name        a model that comes with this package
``NAME.buddy``         a compact file of this package, as `tinybuddy export compact` writes it
``NAME.bin``           a model of llama2.c, its tokenizer beside it
=====================  ===========================================================================
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import NamedTuple

from tinybuddy.config import ModelConfig, unknown
from tinybuddy.disk import expanded
from tinybuddy.errors import TinybuddyError
from tinybuddy.formats import compact
from tinybuddy.formats.hub import is_ours, read_config, read_model
from tinybuddy.formats.llama2c import read_llama2c, read_shape
from tinybuddy.formats.loaded import LoadedModel
from tinybuddy.formats.runs import best_checkpoint, has_checkpoint

RELEASED = Path(__file__).parent.parent / "released"


class Kind(Enum):
    """What lies at a place."""

    HUB = "a directory that this package wrote"
    TRANSFORMERS = "another directory that transformers may open"
    COMPACT = "a .buddy of this package"
    LLAMA2C = "a .bin of llama2.c"


FILES = {compact.SUFFIX: Kind.COMPACT, ".bin": Kind.LLAMA2C}  # what a name's ending says


class Found(NamedTuple):
    """Where a model lies, and what it is."""

    kind: Kind
    path: Path


def find(reference: str | Path) -> Found:
    """Find the model that a reference stands for; nothing of it but its ``config.json`` is read.

    Raises:
        TinybuddyError: if there is none.
    """
    path = expanded(reference)
    if path.suffix in FILES and not path.is_dir():
        return Found(FILES[path.suffix], path)
    if (path / "config.json").is_file():
        return Found(Kind.HUB if is_ours(path) else Kind.TRANSFORMERS, path)
    if has_checkpoint(path):
        return Found(Kind.HUB, best_checkpoint(path))
    if str(reference) in released_names():
        path = RELEASED / f"{reference}{compact.SUFFIX}"
        if path.is_file():
            return Found(Kind.COMPACT, path)
        return Found(Kind.HUB, RELEASED / str(reference))
    raise _nothing(reference)


def is_reference(text: str) -> bool:
    """Whether a text is meant as a reference, be there a model or not."""
    path = expanded(text)
    return path.is_dir() or path.suffix in FILES or text in released_names()


def find_directory(reference: str | Path) -> Path:
    """Return the model directory that a reference stands for.

    Raises:
        TinybuddyError: if there is none.
    """
    kind, path = find(reference)
    if kind in FILES.values() and path.is_file():
        raise TinybuddyError(
            f"{reference} is {kind.value}, which cannot be trained on: give a folder with a "
            "config.json, or a run of tinybuddy train."
        )
    if kind in FILES.values():
        raise _nothing(reference)
    return path


def open_model(reference: str | Path) -> LoadedModel:
    """Read the model that a reference stands for.

    Raises:
        TinybuddyError: if there is none, or it is damaged or of a kind that is not computed here.
    """
    kind, path = find(reference)
    if kind is Kind.COMPACT:
        return compact.read_compact(path)
    return read_llama2c(path) if kind is Kind.LLAMA2C else read_model(path)


def open_shape(reference: str | Path) -> ModelConfig:
    """Read the shape alone of the model that a reference stands for; raises as `open_model`."""
    kind, path = find(reference)
    if kind is Kind.COMPACT:
        return compact.read_shape(path)
    return read_shape(path) if kind is Kind.LLAMA2C else read_config(path / "config.json")


def _nothing(reference: str | Path) -> TinybuddyError:
    beside = expanded(reference).parent
    folders = [p for p in beside.iterdir() if p.is_dir()] if beside.is_dir() else []
    names = [str(p) for p in folders if (p / "config.json").is_file() or has_checkpoint(p)]
    near = unknown("model", str(reference), [*released_names(), *names])
    return TinybuddyError(
        f"{near} Or give a folder with a config.json, or a run of tinybuddy train."
    )


def released_names() -> list[str]:
    """Names of the models that come with the package."""
    found = (p for p in RELEASED.iterdir() if p.is_dir() or p.suffix == compact.SUFFIX)
    return sorted(p.name.removesuffix(compact.SUFFIX) for p in found if p.name[0] not in "._")
