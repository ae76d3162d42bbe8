"""The published runs, the released models, the tables and the plots say the same."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="needs the extra frontier")
pytest.importorskip("scipy", reason="needs the extra frontier")

from tinybuddy.evaluation.report.published import records, released_models
from tinybuddy.formats.references import find_directory
from tinybuddy.frontier import results
from tinybuddy.frontier.findings import find
from tinybuddy.frontier.plot import plot
from tinybuddy.recipes import load_recipe, recipe_names
from tinybuddy.training.metadata import training_of

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "results" / "frontier.jsonl"
PICTURES = ROOT / "docs" / "pictures"


def finals() -> dict[str, dict[int, dict[str, Any]]]:
    """Final runs by the fingerprint of their recipe, and by seed."""
    found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in results.read(RUNS):
        if row["kind"] == "final":
            found[row["fingerprint"]][row["seed"]] = row
    return found


def test_every_budget_was_trained_with_three_seeds():
    assert all(sorted(seeds) == [0, 1, 2] for seeds in finals().values())


def test_a_repeat_is_another_seed_of_a_recipe_that_has_its_three():
    runs, repeats = finals(), [row for row in results.read(RUNS) if row["kind"] == "repeat"]
    assert repeats
    for row in repeats:
        seeds = runs[row["fingerprint"]]
        assert seeds and row["seed"] not in seeds


def test_a_released_model_of_the_frontier_is_its_seed_0():
    runs, known = finals(), {record.name: record for record in records()}
    released = {model["name"] for model in released_models()}
    seen = 0
    for name in released.intersection(recipe_names()):
        if not (seeds := runs.get(load_recipe(name).fingerprint())):
            continue
        row, record = seeds[0], known[name]
        assert record.parameters == row["parameters"]
        assert record.bits_per_byte == pytest.approx(row["bits_per_byte"], abs=5e-5)
        assert record.speaks_english == row["speaks_english"]
        training = training_of(find_directory(name))
        assert training["recipe"]["name"] == name
        assert training["run"]["data"]["sha256"] == row["data_sha256"]
        seen += 1
    assert seen >= 9


def test_the_plots_of_the_documents_are_of_these_runs(tmp_path: Path):
    plot(RUNS, tmp_path)
    for name in ("frontier.svg", "bytes.svg", "frontier.html"):
        drawn, shown = ((folder / name).read_text("utf-8") for folder in (tmp_path, PICTURES))
        assert drawn == shown, "run tinybuddy frontier plot results/frontier.jsonl -o docs/pictures"


def test_the_best_of_a_budget_is_drawn_once_and_not_as_a_released_model_too():
    found = find(RUNS)
    shown = {point.parameters for point in found.references if not point.name.endswith("-int4")}
    assert shown and shown.isdisjoint(point.parameters for point in found.finals)
