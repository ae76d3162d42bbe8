"""Choose golden prompts: greedy continuations in which the best token leads clearly at every step.

    python benchmarks/choose_golden.py MODEL

Engines differ in the last digits of a logit, so only continuations whose best token leads by at
least 0.01 at every step are the same everywhere. Writes `tests/golden/greedy.json`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import tinybuddy
from tinybuddy.tokenizer import BOS, EOS

PROMPTS = (
    "Once upon a time",
    "One day, a girl named Mia",
    "The big dog ran to",
    "Tom was sad because",
    "The café 日本 😀",
    "Ben and his mom went to the park.",
    "",
)
LEAD, LENGTH, CASES = 0.01, 40, 5


def main() -> None:
    """Write the first prompts whose continuations lead clearly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    name = parser.parse_args().model
    model = tinybuddy.load(name)
    cases = []
    for prompt in PROMPTS:
        stream, new, ids = model.runner.stream(), [BOS, *model.tokenizer.encode(prompt)], []
        least = np.inf
        while len(ids) < LENGTH:
            (logits,) = stream.feed(np.array([new]))
            second, first = np.sort(logits)[-2:]
            least = min(least, float(first - second))
            new = [int(logits.argmax())]
            if new == [EOS]:
                break
            ids += new
        if least >= LEAD and len(ids) == LENGTH:
            cases.append({"prompt": prompt, "ids": ids})
        print(f"{least:.4f} {prompt!r} {model.tokenizer.decode(ids)!r}")
    path = Path(__file__).parents[1] / "tests" / "golden" / "greedy.json"
    golden = {"model": name, "lead": LEAD, "cases": cases[:CASES]}
    path.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
