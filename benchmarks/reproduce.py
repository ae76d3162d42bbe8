"""The published figures of a recipe: three seeds on TinyStories, all of its validation split.

    python benchmarks/reproduce.py DATA [--recipe card] [--seeds 0 1 2] [--score FOLDER] [--record]

DATA is a folder with `train.*` and `validation.*`, or of such folders; with --score the validation
split of another one is scored. The runs are left in `runs/reproduce`, and go on where they stood.
With --record a line is added to `results/records.jsonl`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tinybuddy
from tinybuddy.checkpoint import read_recipe, read_record
from tinybuddy.corpus import open_corpus
from tinybuddy.scoring import score

RECORDS = Path(__file__).parents[1] / "results" / "records.jsonl"


def recipe_hash(run: Path) -> str:
    """SHA-256 of what decides a run's weights: the recipe but for its seed, data and threads."""
    recipe = read_recipe(run).to_mapping()
    train = {k: v for k, v in recipe["train"].items() if k not in {"seed", "data", "threads"}}
    curve = {"model": recipe["model"], "train": train}
    return hashlib.sha256(json.dumps(curve, sort_keys=True).encode()).hexdigest()


def record(
    recipe: str, runs: list[tinybuddy.Run], scores: list[float], scored: str
) -> dict[str, Any]:
    """One line of the records: all that a reader needs to believe the figure, or to doubt it."""
    first = read_record(runs[0].path)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "recipe": recipe,
        "recipe_sha256": recipe_hash(runs[0].path),
        "parameters": runs[0].result["parameters"],
        "seeds": [run.result["seed"] for run in runs],
        "data": Path(first["data"]["source"]).name,
        "data_sha256": first["data"]["sha256"],
        "scored_on": scored,
        "bits_per_byte": [round(value, 5) for value in scores],
        "mean": round(statistics.mean(scores), 5),
        "standard_deviation": round(statistics.stdev(scores), 5) if len(scores) > 1 else None,
        "cpu_seconds": [round(run.result["cpu_seconds"], 1) for run in runs],
        "backend": read_recipe(runs[0].path).train.backend,
        "versions": first["versions"],
        "processor": first["processor"],
        "git_commit": first["git_commit"],
    }


def bits_per_byte(model: Path, stories: list[str]) -> float:
    """What a model or a run scores on stories."""
    loaded = tinybuddy.load(model)
    context = loaded.config.max_position_embeddings
    return score(loaded.runner, loaded.tokenizer, context, stories).bits_per_byte


def main() -> None:
    """Print a line a seed, the mean and the spread."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--recipe", default="card")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--score", type=Path, help="folder whose validation split is scored")
    parser.add_argument("--record", action="store_true", help=f"add a line to {RECORDS.name}")
    options = parser.parse_args()
    stories = open_corpus(str(options.score)).validation() if options.score else None
    runs, scores = [], []
    for seed in options.seeds:
        out = Path("runs/reproduce") / f"{options.recipe}-{seed}"
        if (out / "recipe.toml").exists():
            run = tinybuddy.resume(out)
        else:
            run = tinybuddy.train(options.recipe, data=options.data, seed=seed, out=out)
        runs.append(run)
        count, found = run.result["validation_stories"], run.result["bits_per_byte"]
        if stories:
            count, found = len(stories), bits_per_byte(run.path, stories)
        scores.append(found)
        print(
            f"seed {seed}: {found:.4f} bits per byte on {count:,} stories, "
            f"{run.result['cpu_seconds']:.0f} s of the processor, "
            f"{run.result['tokens_per_second']:,.0f} tokens/s"
        )
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    print(f"mean {statistics.mean(scores):.4f}, standard deviation {spread:.4f}")
    if options.record:
        scored = f"{(options.score or Path(options.data)).name}/validation"
        RECORDS.parent.mkdir(exist_ok=True)
        with RECORDS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record(options.recipe, runs, scores, scored)) + "\n")


if __name__ == "__main__":
    main()
