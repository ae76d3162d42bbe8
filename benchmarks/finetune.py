"""How much text does fine-tuning need? 5, 20, 100, 500 KB and 2 MB of one, three seeds each.

    python benchmarks/finetune.py TEXT [--model NAME] [--kilobytes 5 20 ...] [--seeds 0 1 2]

Of TEXT 150 stories, spread over it, are held back and scored by what is handed over; the rest is
taken in an order drawn at random. A line in Markdown each, bits per byte as means over the seeds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from pathlib import Path

import tinybuddy
from tinybuddy.corpus import open_corpus
from tinybuddy.progress import Hooks

HELD = 150


def beginning(stories: list[str], kilobytes: int) -> list[str]:
    """Stories up to a size in UTF-8."""
    size, some = 0, []
    for story in stories:
        if size >= 1000 * kilobytes:
            break
        some.append(story)
        size += len(story.encode("utf-8"))
    return some


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.3f} ± {statistics.pstdev(values):.3f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text")
    parser.add_argument("--model", default=tinybuddy.load().name)
    parser.add_argument("--kilobytes", type=int, nargs="+", default=[5, 20, 100, 500, 2000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    stories = [s for split, s in open_corpus(options.text).labelled() if split != "duplicate"]
    random.Random(0).shuffle(stories)
    held, rest = stories[:HELD], stories[HELD:]
    base = tinybuddy.load(options.model).score(held).bits_per_byte
    print(f"{options.model} before: {base:.3f} on {HELD} stories held back\n")
    print(
        "| text | stories | steps | best | before | best seen | handed over | held back | seconds |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for kilobytes in options.kilobytes:
        text = beginning(rest, kilobytes)
        rows = []
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                run = tinybuddy.train(
                    data=text,
                    from_model=options.model,
                    seed=seed,
                    out=Path(folder) / "run",
                    hooks=Hooks(),
                )
                best = min(row["bits_per_byte"] for row in run.metrics)
                rows.append((run.result, best, run.model.score(held).bits_per_byte))
        results = [result for result, _, _ in rows]
        steps = sorted({f"{result['steps']:,}" for result in results})
        best_steps = sorted({result["best_step"] for result in results})
        print(
            f"| {kilobytes:,} KB | {len(text):,} | {' '.join(steps)} | "
            f"{' '.join(f'{step:,}' for step in best_steps)} | {results[0]['before']:.3f} | "
            f"{spread([best for _, best, _ in rows])} | "
            f"{spread([result['bits_per_byte'] for result in results])} | "
            f"{spread([score for _, _, score in rows])} | "
            f"{statistics.mean(result['train_seconds'] for result in results):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
