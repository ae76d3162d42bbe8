"""How much faster a study is with two workers than with one, and what the search itself costs.

    python benchmarks/frontier_speed.py [--trials 4] [--steps 1000] [--runs 3] [--json]

It learns 2,000 stories: the whole text is read once in a study, however long that is. Both do the
same runs: the first proposals of a budget do not look at the others, so as many workers as there
are get the same ones. They take turns, so that what else the machine does falls on both, and the
medians are given. The machine should have two free cores; it takes 7 minutes a turn.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import optuna

from tinybuddy.frontier import results
from tinybuddy.frontier.search import UNGUIDED
from tinybuddy.frontier.session import begin
from tinybuddy.frontier.study import Study, load_study
from tinybuddy.training.provenance import provenance

BUDGETS = (2_500, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 40_000)
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
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3, help="turns of each")
    parser.add_argument("--json", action="store_true", help="print one JSON object as well")
    options = parser.parse_args()
    study = study_of(options.data, options.trials, options.steps)
    turns = [(measure(study, 1), measure(study, 2)) for _ in range(options.runs)]
    if any(found["known"] != turns[0][0]["known"] for turn in turns for found in turn):
        raise SystemExit("They did not train the same runs.")
    for found in zip(*turns, strict=True):
        seconds, shares = (sorted(each[key] for each in found) for key in ("seconds", "share"))
        print(
            f"{found[0]['workers']} at once: {found[0]['runs']} runs in {median(seconds):.1f} s "
            f"({seconds[0]:.1f} to {seconds[-1]:.1f}), "
            f"{3600 * found[0]['runs'] / median(seconds):,.0f} an hour; the search "
            f"{median(shares):.1%} of the time (bar {SEARCH_BAR:.0%})"
        )
    ratios = sorted(one["seconds"] / two["seconds"] for one, two in turns)
    print(
        f"two / one: {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}, bar "
        f"{SPEEDUP_BAR}), medians of {len(turns)}; optuna {optuna.__version__}"
    )
    if options.json:
        print(json.dumps({"turns": turns, "ratio": median(ratios), **provenance()}))


if __name__ == "__main__":
    main()
