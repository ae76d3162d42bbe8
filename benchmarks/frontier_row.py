"""Lines of `results/frontier.jsonl` for runs that no study found, such as a recipe tried by hand.

    python benchmarks/frontier_row.py DATA RUN [RUN ...] --budget 40000 >> results/frontier.jsonl

DATA is what they learned. Each takes the scorecard, a minute of one core. With `--kind repeat` they
are more seeds of a recipe that has its three, to see how sure a verdict is, and in no picture.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tinybuddy.corpus import open_corpus, survey
from tinybuddy.evaluation.evidence import evidence_of
from tinybuddy.frontier import jobs, results
from tinybuddy.training.checkpoint import read_recipe


def main() -> None:
    """Print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--budget", type=int, required=True, help="parameters, as of a study")
    parser.add_argument("--study", default="tinystories", help="beside whose runs they stand")
    parser.add_argument("--kind", choices=("final", "repeat"), default="final")
    options = parser.parse_args()
    recipes = [read_recipe(run) for run in options.runs]
    corpus, found = survey(open_corpus(options.data, recipes[0].train.stories))
    evidence = evidence_of(corpus, found, lambda what, part: None)
    for run, recipe in zip(options.runs, recipes, strict=True):
        trained = jobs.open_trained(jobs.pack(run))
        if "result" not in trained.record:
            sys.exit(f"{run} has not ended: tinybuddy resume {run}")
        if trained.record["data"]["sha256"] != found.sha256:
            sys.exit(f"{run} did not learn {options.data}.")
        row = results.row_of(options.study, options.kind, options.budget, recipe, trained)
        print(json.dumps(row | jobs.score(str(run), trained.run, evidence), ensure_ascii=False))


if __name__ == "__main__":
    main()
