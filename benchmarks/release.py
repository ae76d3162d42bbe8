"""Make a released model of a run, with its card's values: package data in `tinybuddy/released`.

    python benchmarks/release.py NAME RUN [RUN ...] --data FOLDER [--score FOLDER ...]
                                 [--scorecard FOLDER]
    python benchmarks/release.py NAME --scorecard FOLDER      # its scorecard alone, anew

The first run becomes the model; the others are the same recipe with other seeds, for the spread.
They learned the folder of --data; the validation split of each of --score is scored, and the model
takes the scorecard on that of --scorecard. Both are --data unless given.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path
from typing import Any

from card_figures import values
from int8_cost import int8_cost
from reproduce import bits_per_byte, shown

import tinybuddy
from tinybuddy.corpus import open_corpus, survey
from tinybuddy.evaluation.report.wording import (
    LABELS,
    MARKS,
    bound_of,
    interval_of,
    paradigm_name,
    verdict_of,
    written,
)
from tinybuddy.evaluation.scorecard import Scorecard
from tinybuddy.exporters.hub import write_release
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.references import RELEASED, find_directory
from tinybuddy.recipes import load_recipe, recipe_names
from tinybuddy.training.checkpoint import read_metadata, read_recipe
from tinybuddy.training.metadata import shared_statistics, statistics_beside, training_of


def check(runs: list[Path], data: Path) -> None:
    """Exit unless all runs are of one recipe and learned this data."""
    train = read_recipe(runs[0]).train
    _, found = survey(open_corpus(str(data), train.stories, train.clean))
    for run in runs:
        if read_recipe(run).fingerprint() != read_recipe(runs[0]).fingerprint():
            raise SystemExit(f"{run} is of another recipe than {runs[0]}.")
        if read_metadata(run)["data"]["sha256"] != found.sha256:
            raise SystemExit(f"{run} did not learn {data}.")


def published(name: str, run: Path) -> str:
    """Return the name of a run's recipe: the model's own where such a one is published."""
    recipe = read_recipe(run)
    same = name in recipe_names() and load_recipe(name).fingerprint() == recipe.fingerprint()
    return name if same else recipe.name


def spread(runs: list[Path], stories: list[str]) -> str:
    """All seeds on one validation split, as a line."""
    seeds = [read_metadata(run)["result"]["seed"] for run in runs]
    scores = [bits_per_byte(run, stories) for run in runs]
    each = ", ".join(f"seed {s}: {b:.3f}" for s, b in zip(seeds, scores, strict=True))
    if len(scores) == 1:
        return f"{scores[0]:.3f} bits per byte on {len(stories):,} stories ({each})"
    return (
        f"{statistics.mean(scores):.3f} bits per byte on {len(stories):,} stories on average over "
        f"{len(scores)} seeds, standard deviation {statistics.stdev(scores):.3f} ({each}); this is "
        f"seed {seeds[0]}"
    )


def cost(runs: list[Path]) -> str:
    """What all seeds took, as a line."""
    minutes = [read_metadata(run)["result"]["cpu_seconds"] / 60 for run in runs]
    each = ", ".join(f"{m:.1f}" for m in minutes)
    return f"minutes of one core, without evaluations, of each seed: {each}"


def scorecard(card: Scorecard) -> list[str]:
    """The verdict, each value with its 95 % interval and what it must reach, and the warnings."""
    lines = [verdict_of(card)]
    for name, measured in card.values().items():
        bound = (
            f", must be {bound_of(measured)}: {MARKS[measured.passed]}" if measured.limit else ""
        )
        value = written(name, measured.value)
        lines.append(f"{LABELS[name]}: {value} ({interval_of(measured)}){bound}")
    paradigms = sorted(card.metrics["grammar"].details.items(), key=lambda item: item[1])
    weakest = ", ".join(f"{paradigm_name(name)} {share:.0%}" for name, share in paradigms[:4])
    lines.append(f"its weakest of 12 paradigms, where guessing gets 50%: {weakest}")
    return lines + [f"WARNING: {warning}" for warning in card.warnings]


def judge(name: str, training: dict[str, Any], folder: Path) -> None:
    """Let a released model take the scorecard, and write its card with the outcome."""
    (card,) = tinybuddy.evaluate(name, data=folder).scorecards
    begun = f"tinybuddy evaluate {name} --data"
    kept = [m for m in training["measured"] if not m["command"].startswith(begun)]
    measured = {"command": f"{begun} {shown(folder)}", "lines": scorecard(card)}
    training = training | {"measured": [*kept, measured]}
    write_release(read_model(RELEASED / name), training, None, RELEASED / name)


def main() -> None:
    """Write the directory anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--score", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--scorecard", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    name, runs, data = options.name, options.runs, options.data
    if not runs and options.scorecard:
        judge(name, training_of(RELEASED / name), options.scorecard)
        return
    if not (runs and data):
        parser.error("give runs and --data, or --scorecard alone")
    check(runs, data)
    source, recipe = find_directory(runs[0]), published(name, runs[0])
    measured = []
    for folder in options.score or [data]:
        stories = open_corpus(str(folder)).validation()
        command = f"python benchmarks/reproduce.py {shown(data)} --recipe {recipe}"
        command += f" --score {shown(folder)}"
        measured.append({"command": command, "lines": [spread(runs, stories)]})
        command = f"python benchmarks/int8_cost.py {shown(folder)} {name}"
        measured.append({"command": command, "lines": [int8_cost(source, stories)]})
    measured[0]["lines"].append(cost(runs))
    command = f"python benchmarks/card_figures.py {name}"
    measured.append({"command": command, "lines": values(str(runs[0]))})
    training = training_of(source) | {"name": name, "measured": measured}
    training["recipe"]["name"] = recipe
    training["recipe"]["train"]["data"] = training["run"]["data"]["source"] = shown(data)
    out = RELEASED / name
    shutil.rmtree(out, ignore_errors=True)
    if facts := statistics_beside(source):
        shutil.copyfile(facts, shared_statistics(training))
    write_release(read_model(source), training, None, out)
    judge(name, training, options.scorecard or data)  # the facts are there
    print(out)


if __name__ == "__main__":
    main()
