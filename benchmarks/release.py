"""Make a released model of a run, with the figures of its card: package data in `tinybuddy/models`.

    python benchmarks/release.py NAME RUN [RUN ...]

The first run becomes the model; the others are the same recipe with other seeds, for the spread.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path

from card_figures import figures

from tinybuddy.checkpoint import read_record
from tinybuddy.export.hub import write_release
from tinybuddy.modelfile import RELEASED, find_model, read_model
from tinybuddy.record import facts_beside, training_of


def main() -> None:
    """Write the directory anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    source = find_model(options.runs[0])
    training = training_of(source)
    results = [read_record(run)["result"] for run in options.runs]
    scores = [result["bits_per_byte"] for result in results]
    seeds = ", ".join(
        f"seed {result['seed']}: {score:.3f}" for result, score in zip(results, scores, strict=True)
    )
    training |= {
        "name": options.name,
        "measured": [
            {
                "command": "make reproduce DATA=tinystories/v1",
                "lines": [
                    f"{statistics.mean(scores):.3f} bits per byte on average over "
                    f"{len(scores)} seeds, standard deviation {statistics.stdev(scores):.3f} "
                    f"({seeds}); this is seed {results[0]['seed']}"
                ],
            },
            {
                "command": f"python benchmarks/card_figures.py {options.name}",
                "lines": figures(str(options.runs[0])),
            },
        ],
    }
    out = RELEASED / options.name
    shutil.rmtree(out, ignore_errors=True)
    write_release(read_model(source), training, facts_beside(source), out)
    print(out)


if __name__ == "__main__":
    main()
