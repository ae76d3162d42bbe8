"""Make a released model of a run, with the figures of its card: package data in `tinybuddy/models`.

    python benchmarks/release.py NAME DATA RUN [RUN ...] [--score FOLDER ...] --made-by COMMAND

The first run becomes the model; the others are the same recipe with other seeds, for the spread.
DATA is what they learned, TinyStories or a part of it, and the model takes the scorecard on it; the
validation split of each FOLDER, by default of DATA, is scored.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path

from card_figures import figures
from int8_cost import int8_cost
from reproduce import bits_per_byte

import tinybuddy
from tinybuddy.checkpoint import read_record
from tinybuddy.corpus import open_corpus
from tinybuddy.evaluate.scorecard import Scorecard
from tinybuddy.evaluate.wording import LABELS, MARKS, bound_of, interval_of, verdict_of, written
from tinybuddy.export.hub import write_release
from tinybuddy.modelfile import RELEASED, find_model, read_model
from tinybuddy.record import facts_beside, training_of

TINYSTORIES = "tinystories"


def spread(runs: list[Path], folder: Path) -> str:
    """All seeds on one validation split, as a line."""
    stories = open_corpus(str(folder)).validation()
    seeds = [read_record(run)["result"]["seed"] for run in runs]
    scores = [bits_per_byte(run, stories) for run in runs]
    each = ", ".join(f"seed {s}: {b:.3f}" for s, b in zip(seeds, scores, strict=True))
    where = f"on {len(stories):,} stories of {shown(folder)}"
    if len(scores) == 1:
        return f"{scores[0]:.3f} bits per byte {where} ({each})"
    return (
        f"{statistics.mean(scores):.3f} bits per byte {where} on average over {len(scores)} seeds, "
        f"standard deviation {statistics.stdev(scores):.3f} ({each}); this is seed {seeds[0]}"
    )


def cost(runs: list[Path]) -> str:
    """What all seeds took, as a line."""
    minutes = [read_record(run)["result"]["cpu_seconds"] / 60 for run in runs]
    return "minutes of one core, each seed: " + ", ".join(f"{m:.0f}" for m in minutes)


def shown(folder: Path) -> str:
    """Return a folder of TinyStories as it is called everywhere, whatever is above it here."""
    parts = [part.casefold() for part in folder.parts]
    if TINYSTORIES not in parts:
        raise SystemExit(f"{folder} does not lie in a folder {TINYSTORIES}: name it so.")
    return "/".join(parts[parts.index(TINYSTORIES) :])


def scorecard(card: Scorecard) -> list[str]:
    """The verdict, and each figure with its 95 % interval and what it must reach."""
    lines = [verdict_of(card)]
    for name, figure in card.figures().items():
        bound = f", must be {bound_of(figure)}: {MARKS[figure.passed]}" if figure.limit else ""
        value = written(name, figure.value)
        lines.append(f"{LABELS[name]}: {value} ({interval_of(figure)}){bound}")
    return lines


def main() -> None:
    """Write the directory anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--score", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--made-by", required=True, metavar="COMMAND")
    options = parser.parse_args()
    source = find_model(options.runs[0])
    scored = options.score or [options.data]
    stories = open_corpus(str(scored[0])).validation()
    out = RELEASED / options.name
    training = training_of(source)
    training["recipe"]["train"]["data"] = shown(options.data)
    training["run"]["data"]["source"] = shown(options.data)
    training |= {
        "name": options.name,
        "measured": [
            {
                "command": options.made_by,
                "lines": [*(spread(options.runs, folder) for folder in scored), cost(options.runs)],
            },
            {
                "command": f"python benchmarks/card_figures.py {options.name}",
                "lines": figures(str(options.runs[0])),
            },
            {
                "command": f"python benchmarks/int8_cost.py {shown(scored[0])} {options.name}",
                "lines": [int8_cost(source, stories)],
            },
        ],
    }
    shutil.rmtree(out, ignore_errors=True)
    write_release(read_model(source), training, facts_beside(source), out)
    (card,) = tinybuddy.evaluate(out, data=options.data).scorecards
    asked = f"tinybuddy evaluate {options.name} --data {shown(options.data)}"
    training["measured"].append({"command": asked, "lines": scorecard(card)})
    write_release(read_model(out), training, None, out)  # the facts are there
    print(out)


if __name__ == "__main__":
    main()
