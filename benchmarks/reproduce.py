"""The published figures of a recipe: three seeds on TinyStories, all of its validation split.

    python benchmarks/reproduce.py DATA [--recipe card] [--seeds 0 1 2] [--score FOLDER] [--record]

DATA is a folder with `train.*` and `validation.*`, or of such folders; with --score the validation
split of another one is scored. The runs are left in `runs/reproduce`, and go on where they stood.
With --record a line is added to `results/records.jsonl`. The seconds are without evaluations.
A recipe of `results/frontier.jsonl` is compared with the runs there, unless --score is given.
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
from tinybuddy.corpus import open_corpus
from tinybuddy.frontier import results
from tinybuddy.scoring import score
from tinybuddy.training.checkpoint import read_metadata, read_recipe
from tinybuddy.training.metadata import short_source
from tinybuddy.training.session import plan

RECORDS = Path(__file__).parents[1] / "results" / "records.jsonl"
FRONTIER = RECORDS.with_name("frontier.jsonl")
RUNS = Path("runs/reproduce")


def shown(folder: str | Path) -> str:
    """Return a folder as records call it: from `tinystories` on, or else its last two parts."""
    parts = Path(folder).absolute().parts
    for above in reversed(range(len(parts))):
        if parts[above].casefold() == "tinystories":
            return "/".join(("tinystories", *parts[above + 1 :]))
    return short_source(str(folder))


def finished(recipe: str, data: str, seed: int) -> tinybuddy.Run:
    """Train, or go on with the run that is there, if it is of this recipe and data."""
    out = RUNS / f"{recipe}-{seed}"
    if not (out / "recipe.toml").exists():
        return tinybuddy.train(recipe, data=data, seed=seed, out=out)
    there, asked = read_recipe(out), plan(recipe, {"data": data, "seed": seed})
    if there.fingerprint() != asked.fingerprint() or there.train.data != asked.train.data:
        raise SystemExit(f"{out} is a run of another recipe or of other data: move it away.")
    return tinybuddy.resume(out)


def record(
    recipe: str, runs: list[tinybuddy.Run], scores: list[float], scored: str, stories: list[str]
) -> dict[str, Any]:
    """One line of the records: all that a reader needs to believe the figure, or to doubt it."""
    first = read_metadata(runs[0].path)
    text = "\0".join(stories).encode()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "recipe": recipe,
        "recipe_sha256": read_recipe(runs[0].path).fingerprint(),
        "parameters": runs[0].result["parameters"],
        "seeds": [run.result["seed"] for run in runs],
        "data": shown(first["data"]["source"]),
        "data_sha256": first["data"]["sha256"],
        "scored_on": scored,
        "stories_scored": len(stories),
        "stories_scored_sha256": hashlib.sha256(text).hexdigest(),
        "bits_per_byte": [round(value, 5) for value in scores],
        "mean": round(statistics.mean(scores), 5),
        "standard_deviation": round(statistics.stdev(scores), 5) if len(scores) > 1 else None,
        "cpu_seconds": [round(run.result["cpu_seconds"], 1) for run in runs],
        "threads": first["threads"],
        "backend": read_recipe(runs[0].path).train.backend,
        "versions": first["versions"],
        "processor": first["processor"],
        "git_commit": first["git_commit"],
    }


def bits_per_byte(model: Path, stories: list[str]) -> float:
    """What a model or a run scores on stories."""
    loaded = tinybuddy.load(model)
    context = loaded.config.max_position_embeddings
    return score(loaded.backend, loaded.tokenizer, context, stories).bits_per_byte


def compared(run: Path, mean: float) -> str:
    """What the frontier's runs of the same recipe and text have, as a line, if there are any."""
    own = read_recipe(run).fingerprint(), read_metadata(run)["data"]["sha256"]
    bits = [
        results.bits_of(row)
        for row in results.read(FRONTIER)
        if (row["fingerprint"], row["data_sha256"], row["kind"]) == (*own, "final")
    ]
    if not bits:
        return ""
    where = "within" if min(bits) <= mean <= max(bits) else "outside"
    return (
        f"published: mean {statistics.mean(bits):.4f}, {min(bits):.4f} to {max(bits):.4f}; "
        f"this is {where}\n"
    )


def main() -> None:
    """Print a line a seed, the mean and the spread, and what was published of the frontier."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--recipe", default="card")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--score", type=Path, help="folder whose validation split is scored")
    parser.add_argument("--record", action="store_true", help=f"add a line to {RECORDS.name}")
    options = parser.parse_args()
    scored = options.score or Path(options.data)
    stories = open_corpus(str(scored)).validation()
    runs, scores = [], []
    for seed in options.seeds:
        run = finished(options.recipe, options.data, seed)
        runs.append(run)
        scores.append(bits_per_byte(run.path, stories))
        print(
            f"seed {seed}: {scores[-1]:.4f} bits per byte on {len(stories):,} stories, "
            f"{run.result['cpu_seconds']:.0f} s of the processor, "
            f"{run.result['tokens_per_second']:,.0f} tokens/s"
        )
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    print(f"mean {statistics.mean(scores):.4f}, standard deviation {spread:.4f}")
    if scored == Path(options.data):
        print(compared(runs[0].path, statistics.mean(scores)), end="")
    if options.record:
        line = record(options.recipe, runs, scores, shown(scored), stories)
        RECORDS.parent.mkdir(exist_ok=True)
        with RECORDS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
