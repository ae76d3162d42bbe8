"""The runs of a study: a line of JSON each, written when it ends, and never twice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tinybuddy.config import NOT_OF_THE_RECIPE, ModelConfig, Recipe, TrainConfig
from tinybuddy.disk import read_bytes, write_text
from tinybuddy.errors import TinybuddyError, counted
from tinybuddy.frontier.jobs import Trained
from tinybuddy.training.metadata import short_source

MAX_RESULTS_BYTES = 1_000_000_000

Row = Mapping[str, Any]
Id = tuple[int, str, int]  # of a run: its budget, the fingerprint of its recipe, and its seed

# How a run ended: after all of its steps, before them, without a number; or the best of its budget,
# trained in full and scored. A repeat is another seed of such a recipe, which no plot shows.
KINDS = ("trial", "pruned", "failed", "final", "repeat")


def row_of(study: str, kind: str, budget: int, recipe: Recipe, trained: Trained) -> dict[str, Any]:
    """Describe a run that has ended.

    Args:
        study: its name.
        kind: one of `KINDS`.
        budget: in which it was proposed, in parameters.
        recipe: that was trained.
        trained: what came of it.
    """
    record, last = trained.record, trained.rows[-1] if trained.rows else {}
    result, data = record.get("result", {}), record.get("data", {})
    steps = last.get("step", 0)
    return {
        "study": study,
        "kind": kind,
        "budget": budget,
        "parameters": recipe.model.parameters,
        "model": asdict(recipe.model),
        "train": _changed(recipe.train),
        "fingerprint": recipe.fingerprint(),
        "seed": recipe.train.seed,
        "data": short_source(data.get("source", "")),
        "data_sha256": data.get("sha256"),
        "steps": steps,
        "tokens": steps * recipe.train.batch_size * recipe.model.max_position_embeddings,
        "seconds": round(last.get("train_seconds", 0.0), 2),
        "bits_per_byte": result.get("bits_per_byte"),  # of all validation stories
        "bits_while_training": last.get("bits_per_byte"),  # of the first `eval_stories`
        "commit": record.get("git_commit"),
        "processor": record.get("processor"),
        "date": datetime.now(UTC).date().isoformat(),
    }


def id_of(row: Row) -> Id:
    """What no two runs of a study have in common."""
    return row["budget"], row["fingerprint"], row["seed"]


def _changed(train: TrainConfig) -> dict[str, Any]:
    """Settings that are not the default, but for those that two runs of one recipe differ in."""
    default = TrainConfig()
    values = {name: value for name, value in vars(train).items() if name not in NOT_OF_THE_RECIPE}
    return {name: value for name, value in values.items() if value != getattr(default, name)}


def recipe_of(row: Row, like: Recipe) -> Recipe:
    """The recipe of a run; what it does not decide, such as the data, is as in another.

    Raises:
        UsageError: if the row holds impossible values.
    """
    kept = {k: v for k, v in vars(TrainConfig()).items() if k not in NOT_OF_THE_RECIPE}
    return like.with_settings(kept | dict(row["train"]) | dict(row["model"]))


def bits_of(row: Row) -> float:
    """Bits per byte of all validation stories."""
    return float(row["bits_per_byte"])


def compared_bits_of(row: Row) -> float:
    """Bits per byte as Optuna compares runs: at the last evaluation while training."""
    return float(row["bits_while_training"])


def shape_of(row: Row) -> str:
    """The shape of a model in words."""
    model = row["model"]
    return (
        f"{model['vocab_size']:,} x {model['hidden_size']}, "
        f"{counted(model['num_hidden_layers'], 'layer')}"
    )


def append(path: Path, row: Row) -> None:
    """Add a line.

    Raises:
        TinybuddyError: if it cannot be written; a part of a line is left out when it is read.
    """
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())  # before Optuna is told, whose database may reach the disk
    except OSError as error:
        raise TinybuddyError(
            f"Cannot write {path}: {error.strerror}; make room and resume the study."
        ) from None


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a file, the last one of each run; what a kill cut off is left out.

    Raises:
        TinybuddyError: if it cannot be read, or holds something else.
    """
    found: dict[Id, dict[str, Any]] = {}
    if not path.exists():
        return []
    *lines, _ = read_bytes(path, MAX_RESULTS_BYTES).split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not _is_run(row):
            raise TinybuddyError(f"Line {number} of {path} is no run of a study: delete it.")
        found[id_of(row)] = row
    return list(found.values())


def _is_run(row: Any) -> bool:
    """Whether a row has what a search that goes on needs of it."""
    match row:
        case {
            "fingerprint": str(),
            "seed": int(),
            "kind": str(kind),
            "budget": int(),
            "model": dict(model),
            "train": dict(),
        }:
            with suppress(TypeError, TinybuddyError):
                ModelConfig(**model)
                return kind not in ("trial", "final") or (
                    isinstance(row.get("bits_while_training"), float)
                    and row.get("speaks_english") in (None, False, True)
                )
    return False


def rewrite(path: Path, rows: Iterable[Row]) -> None:
    """Replace a file with these rows; raises as `tinybuddy.disk.write_text`."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
