"""What a reference to a model may be: the one place that knows.

A directory in the hub's form, a run of `tinybuddy train`, a released name, or a llama2.c file
``NAME.bin`` with its tokenizer beside it.
"""

from __future__ import annotations

from pathlib import Path

from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.runs import has_checkpoint, latest_checkpoint

RELEASED = Path(__file__).parent.parent / "released"


def find_model(name: str | Path) -> Path:
    """Return the model directory that ``name`` stands for: one, a run, or a released name.

    Raises:
        TinybuddyError: if there is none.
    """
    path = Path(name)
    if (path / "config.json").is_file():
        return path
    if has_checkpoint(path):
        return latest_checkpoint(path)
    if str(name) in released_names():
        return RELEASED / str(name)
    if path.suffix == ".bin" and path.is_file():
        raise TinybuddyError(
            f"{name} is a .bin of llama2.c, which can be told and evaluated, but not exported or "
            "trained on: give a folder with a config.json, or a run of tinybuddy train."
        )
    raise TinybuddyError(
        f"There is no model {name}: give a folder with a config.json, a run of tinybuddy train, or "
        f"{' or '.join(released_names())}."
    )


def released_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(p.name for p in RELEASED.iterdir() if p.is_dir())
