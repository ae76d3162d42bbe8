"""How much faster a study is with two workers than with one, and what the search itself costs.

    python benchmarks/frontier_speed.py [--data tales] [--trials 4] [--steps 2000] [--json]

It learns 2,000 stories: the whole text is read once in a study, however long that is. The same
runs, twice: the first proposals of a budget do not look at the others, so as many workers
as there are get the same ones. The machine should have two free cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from tinybuddy.frontier import results
from tinybuddy.frontier.search import UNGUIDED
from tinybuddy.frontier.session import begin
from tinybuddy.frontier.study import Study, load_study
from tinybuddy.training.provenance import provenance

BUDGETS = (5_000, 10_000, 20_000, 40_000)
SPEEDUP_BAR, SEARCH_BAR = 1.9, 0.02


def study_of(data: str, trials: int, steps: int) -> Study:
    """The study `tinystories` on other budgets, without pruning and final runs."""
    published = load_study("tinystories")
    return replace(
        published,
        recipe=published.recipe.with_settings({"data": data, "stories": 2_000}),
        budgets=BUDGETS,
        trials=min(trials, UNGUIDED),
        rungs=(steps // 4, steps // 2, steps),
        final_seeds=(),
    )


def measure(study: Study, workers: int) -> dict[str, Any]:
    """Do a study; return its seconds, those that were trained, and those of the search."""
    with tempfile.TemporaryDirectory() as folder:
        found = begin(study, out=Path(folder) / "study", workers=workers)
        rows = results.read(Path(folder) / "study" / "runs.jsonl")
    trained = sum(row["seconds"] for row in rows)
    share = found["search_seconds"] / (found["seconds"] * workers)
    known = sorted((row["budget"], row["bits_while_training"]) for row in rows)
    return found | {"workers": workers, "trained": trained, "share": share, "known": known}


def main() -> None:
    """Print both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="tales")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--json", action="store_true", help="print one JSON object as well")
    options = parser.parse_args()
    study = study_of(options.data, options.trials, options.steps)
    one, two = measure(study, 1), measure(study, 2)
    if one.pop("known") != two.pop("known"):
        raise SystemExit("The two did not train the same runs.")
    for found in (one, two):
        print(
            f"{found['workers']} at once: {found['runs']} runs in {found['seconds']:.1f} s, "
            f"{3600 * found['runs'] / found['seconds']:,.0f} an hour; the search "
            f"{found['search_seconds']:.1f} s, {found['share']:.1%} of the time (bar "
            f"{SEARCH_BAR:.0%})"
        )
    ratio = one["seconds"] / two["seconds"]
    print(f"two / one: {ratio:.2f} (bar {SPEEDUP_BAR}); optuna {optuna.__version__}")
    if options.json:
        print(json.dumps({"one": one, "two": two, "ratio": ratio, **provenance()}))


if __name__ == "__main__":
    main()
