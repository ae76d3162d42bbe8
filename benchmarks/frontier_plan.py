"""How long the trials of the study `cluster` take on 1,000 cores, and what holds them up.

    python benchmarks/frontier_plan.py [RUNS.jsonl] [--runs 10000] [--cores 1000] [--json]

Measured on this machine: what the search itself spends on a trial (asking Optuna, reporting three
rungs, telling it, with so many trials as a budget of that study has), on a packed run that comes
back, and on a tokenizer with its encoded text; and the bytes of each. How long a step takes, and
which rung a trial comes to, is drawn from runs of the published studies, by default those of
results/frontier.jsonl. The simulation is of one search, which does one thing after the other, and
of workers that wait for it.
"""

from __future__ import annotations

import argparse
import heapq
import json
import pickle
import random
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna

from tinybuddy.frontier import jobs, results
from tinybuddy.frontier.search import _Budget, _distribution
from tinybuddy.frontier.session import open_storage
from tinybuddy.frontier.study import Study, load_study
from tinybuddy.training.dataset import prepare

PUBLISHED = Path(__file__).parent.parent / "results" / "frontier.jsonl"
DOLLARS = 0.04  # of a core and hour, a usual price of rented ones


def search_seconds(study: Study) -> list[float]:
    """Seconds that each trial of a budget costs the search: its proposal, its rungs, its end."""
    choices = {key: _distribution(choice) for key, choice in study.space.items()}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        budget = _Budget(
            study, study.name, 20_000, open_storage(f"sqlite:///{folder}/optuna.sqlite")
        )
        for _ in range(study.trials):
            began = time.perf_counter()
            trial = budget.optuna.ask(choices)
            bits = 2 - trial.params["num_hidden_layers"] / 20 + random.random() / 10
            for rung in study.rungs:
                trial.report(bits + 100 / rung, rung)
                trial.should_prune()
            budget.optuna.tell(trial, bits)
            found.append(time.perf_counter() - began)
    return found


def run_costs() -> dict[str, float]:
    """Seconds and bytes of a packed run, of its line, and of what is shared with workers."""
    study = load_study("tales")
    began = time.perf_counter()
    dataset = prepare(study.recipe)
    _ = dataset.statistics
    prepared = time.perf_counter() - began
    recipe = study.recipe.with_settings({"steps": 2, "eval_every": 1})
    trained = jobs.train(recipe, dataset, 1)
    packed = pickle.dumps(trained)
    began = time.perf_counter()
    for _ in range(20):
        pickle.loads(packed)
    loading = (time.perf_counter() - began) / 20
    row = results.row_of("plan", "trial", 20_000, recipe, trained)
    return {
        "prepare_seconds": prepared,
        "shared_bytes": len(pickle.dumps(dataset)),
        "state_bytes": len(packed),
        "loading_seconds": loading,
        "row_bytes": len(json.dumps(row)),
    }


def simulate(
    runs: int, cores: int, rungs: list[list[float]], per_trial: float, per_rung: float
) -> dict[str, float]:
    """Seconds until all runs have ended, and how busy workers and search were.

    Args:
        runs: in all.
        cores: workers.
        rungs: of runs that were measured, the seconds of each rung; one is drawn for each run.
        per_trial: seconds of the search for a proposal and its end.
        per_rung: seconds of the search for a rung that comes back.
    """
    draw = random.Random(0)
    free_at, busy, worked = 0.0, 0.0, 0.0  # of the search, and of all workers
    waiting: list[tuple[float, int, list[float]]] = []
    begun = 0

    def begin(at: float) -> None:
        nonlocal free_at, busy, worked, begun
        free_at = max(free_at, at) + per_trial
        busy += per_trial
        begun += 1
        run = list(draw.choice(rungs))
        worked += sum(run)
        heapq.heappush(waiting, (free_at + run[0], begun, run[1:]))

    for _ in range(min(cores, runs)):
        begin(0.0)
    end = 0.0
    while waiting:
        at, number, left = heapq.heappop(waiting)
        free_at = max(free_at, at) + per_rung
        busy += per_rung
        end = max(end, free_at)
        if left:
            heapq.heappush(waiting, (free_at + left[0], number, left[1:]))
        elif begun < runs:
            begin(free_at)
    return {"seconds": end, "search_busy": busy / end, "workers_busy": worked / (cores * end)}


def rungs_of(rows: list[dict[str, Any]], study: Study) -> list[list[float]]:
    """Seconds of a study's rungs for each trial of others, from its seconds for a step."""
    found = []
    for row in rows:
        if row["kind"] in ("trial", "pruned") and row["steps"]:
            own = load_study(row["study"]).rungs
            ended = sum(rung <= row["steps"] for rung in own)
            ends = study.rungs if row["kind"] == "trial" else study.rungs[: max(1, ended)]
            step = row["seconds"] / row["steps"]
            found.append([step * (b - a) for a, b in pairwise((0, *ends))])
    return found


def main() -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, default=PUBLISHED)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--cores", type=int, default=1_000)
    parser.add_argument("--json", action="store_true", help="print one JSON object as well")
    options = parser.parse_args()
    study = load_study("cluster")
    rungs = rungs_of(results.read(options.file), study)
    trials = search_seconds(study)
    costs = run_costs()
    per_trial, per_rung = statistics.mean(trials), costs["loading_seconds"]
    found = simulate(options.runs, options.cores, rungs, per_trial, per_rung)
    alone = statistics.mean(map(sum, rungs))
    plan = costs | found | {"trial_seconds": per_trial, "run_seconds": alone}
    print(
        f"optuna {optuna.__version__}, {len(rungs)} measured runs of {alone:.1f} s on average\n"
        f"the search spends {1000 * per_trial:.0f} ms on a trial (the first hundred "
        f"{1000 * statistics.mean(trials[:100]):.0f} ms, the last "
        f"{1000 * statistics.mean(trials[-100:]):.0f} ms of {study.trials:,}), "
        f"{1000 * per_rung:.1f} ms on a rung: {1 / per_trial:.1f} runs/s at most\n"
        f"{options.runs:,} runs on {options.cores:,} cores: {found['seconds'] / 3600:.2f} hours, "
        f"workers busy {found['workers_busy']:.0%}, the search {found['search_busy']:.0%}; "
        f"{options.runs * alone / 3600:,.0f} core hours, "
        f"${options.runs * alone / 3600 * DOLLARS:,.0f} at ${DOLLARS} each\n"
        f"a run: {costs['row_bytes']:,.0f} bytes kept, {costs['state_bytes'] / 1e6:.2f} MB while "
        f"it runs; a tokenizer: {costs['shared_bytes'] / 1e6:.1f} MB a node, "
        f"{costs['prepare_seconds']:.1f} s"
    )
    if options.json:
        print(json.dumps(plan))


if __name__ == "__main__":
    main()
