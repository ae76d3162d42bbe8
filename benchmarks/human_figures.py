"""Measure the human stories of TinyStories, for scorecards without data: evaluation/human.json.

    python benchmarks/human_figures.py FOLDER     # one that holds train.* and validation.*

The training text is the first 5,000 stories, as for the reference model.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import tinybuddy.config
from tinybuddy.evaluation.evidence import gather
from tinybuddy.evaluation.scorecard import open_standard
from tinybuddy.training.metadata import short_source

OUT = Path(tinybuddy.config.__file__).parent / "evaluation" / "human.json"
STORIES = 5000


def main() -> None:
    """Write the file anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    data = parser.parse_args().data
    evidence = gather(data, STORIES, lambda what, part: print(what))
    standard = open_standard(evidence, evidence.statistics)
    found = {
        "source": f"human stories of {short_source(str(Path(data).resolve()))}",
        "sha256": evidence.sha256,
        "stories": len(evidence.human),
        "training_stories": STORIES,
        "lengths": evidence.lengths,
        "figures": standard.human,
    }
    OUT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(OUT)


if __name__ == "__main__":
    main()
