"""The published figures of a recipe: three seeds on TinyStories, all of its validation split.

    python benchmarks/reproduce.py DATA [--recipe card] [--seeds 0 1 2]

DATA is a folder with `train.*` and `validation.*`; the runs are left in `runs/reproduce`.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import tinybuddy


def main() -> None:
    """Print a line a seed, the mean and the spread."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--recipe", default="card")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    scores = []
    for seed in options.seeds:
        out = Path("runs/reproduce") / f"{options.recipe}-{seed}"
        if (out / "recipe.toml").exists():
            run = tinybuddy.resume(out)
        else:
            run = tinybuddy.train(options.recipe, data=options.data, seed=seed, out=out)
        scores.append(run.result["bits_per_byte"])
        print(
            f"seed {seed}: {scores[-1]:.4f} bits per byte on {run.result['validation_stories']:,} "
            f"stories, {run.result['seconds']:.0f} s, "
            f"{run.result['tokens_per_second']:,.0f} tokens/s"
        )
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    print(f"mean {statistics.mean(scores):.4f}, standard deviation {spread:.4f}")


if __name__ == "__main__":
    main()
