"""How a model came to be, as it travels with the model: ``training.json`` and ``facts.npz``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tinybuddy.corpus.kept import INPUT, kept
from tinybuddy.disk import read_record
from tinybuddy.formats.references import RELEASED
from tinybuddy.training.checkpoint import is_run, read_metadata, read_recipe

TRAINING, FACTS = "training.json", "facts.npz"


def training_of(model: Path) -> dict[str, Any]:
    """Return the recipe and the record of the run behind a model directory; empty if unknown.

    They are in its ``training.json``, or in the run that it is a checkpoint of. Of paths on
    the disk of whoever trained it only the last two parts are kept.
    """
    if (model / TRAINING).is_file():
        known = read_record(model / TRAINING)
        return known if known.keys() >= {"recipe", "run", "steps", "result"} else {}
    run = _run_of(model)
    if run is None:
        return {}
    record = read_metadata(run)
    result = record.pop("result", {})
    if "data" in record:
        record["data"] = record["data"] | {"source": short_source(record["data"]["source"])}
    kept = {"bits_per_byte", "validation_stories", "validation_bytes", "steps", "train_seconds"}
    kept |= {"cpu_seconds"}
    recipe = read_recipe(run).to_mapping()
    source = recipe["train"]["from_model"]
    data = recipe["train"]["data"]
    recipe["train"] |= {"data": short_source(data), "from_model": short_source(source)}
    return {
        "recipe": recipe,
        "run": record,
        "steps": int(model.resolve().name),
        "result": {key: value for key, value in result.items() if key in kept},
    }


def statistics_beside(model: Path) -> Path | None:
    """Return the ``facts.npz`` of a model directory or of its run, if there is one.

    Released models of one text share one, as it has 1.8 MB of 19,390 stories.
    """
    run = _run_of(model)
    places = [model / FACTS, *([run / FACTS] if run else [])]
    if model.parent == RELEASED:
        places.append(shared_statistics(training_of(model)))
    return next((path for path in places if path.is_file()), None)


def shared_statistics(training: Mapping[str, Any]) -> Path:
    """Where the statistics lie that released models of one text share."""
    data = training.get("run", {}).get("data", {})
    return RELEASED / f"facts-{str(data.get('sha256'))[:12]}.npz"


class RunData(NamedTuple):
    """What a run was trained on."""

    data: str  # where it lies
    clean: bool
    split: str
    text_key: str
    sha256: str


def run_data(model: Path) -> RunData | None:
    """Return the data of the run that a model directory is a checkpoint of, if it is still there.

    Of a data set on the hub that is not known here.
    """
    run = _run_of(model)
    if run is None or "data" not in (record := read_metadata(run)):
        return None
    train = read_recipe(run).train
    data = str(kept(run) or "") if train.data == INPUT else train.data
    there = all(place == "tales" or Path(place).exists() for place in data.split("\n"))
    found = RunData(data, train.clean, train.split, train.text_key, record["data"]["sha256"])
    return found if data and there else None


def _run_of(model: Path) -> Path | None:
    run = model.resolve().parent.parent
    return run if model.resolve().parent.name == "checkpoints" and is_run(run) else None


def short_source(source: str) -> str:
    """Return the last two parts of a path, for what leaves this disk.

    Names of the hub and of the tales stay as they are.
    """
    return "/".join(Path(source).parts[-2:])
