"""Kneser-Ney models of several sizes, for the plots of a study: what counting alone is worth.

    python benchmarks/frontier_baselines.py DATA [-o results/baselines.jsonl] [--study tinystories]

Of each size the best of all orders from 2 to 5 and of several vocabularies is kept, chosen on the
validation stories that it is scored on, which favours it by a hair. It is cut by what each n-gram
is worth, as `tinybuddy.evaluation.rivals` does it for the scorecard. An n-gram takes 10 bytes; the
tokenizer is not counted, as it is not of a model's float32 weights. `tinybuddy frontier plot` draws
what lies beside the runs of a study and is of the same stories.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tinybuddy.disk import write_text
from tinybuddy.evaluation.metrics.bits_per_byte import GRAM_BYTES
from tinybuddy.evaluation.rivals.ngrams import open_rivals
from tinybuddy.frontier.study import load_study
from tinybuddy.training.dataset import Dataset, prepare, with_tokenizer_of
from tinybuddy.training.metadata import short_source
from tinybuddy.training.provenance import provenance

OUT = Path(__file__).parents[1] / "results" / "baselines.jsonl"
VOCABULARIES = (128, 256, 512, 1024, 2048)
# Bytes of 1,000 to 320,000 float32 parameters, and less: a model of 4 bits takes an eighth.
SIZES = (2_000, 4_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000)


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    parser.add_argument("--study", default="tinystories", help="whose tokenizer is taken")
    options = parser.parse_args()
    recipe = load_study(options.study).recipe.with_settings({"data": options.data})
    found: dict[int, dict[str, Any]] = {}
    dataset: Dataset | None = None
    for size in VOCABULARIES:
        own = recipe.with_settings({"vocab_size": size})
        dataset = with_tokenizer_of(own, dataset) if dataset else prepare(own)
        rivals = open_rivals(dataset.tokenizer, list(dataset.corpus.train()), dataset.validation)
        for bytes_stored in SIZES:
            if bytes_stored // GRAM_BYTES < size:
                continue  # not even the single tokens
            best = rivals.best(bytes_stored // GRAM_BYTES)
            print(size, bytes_stored, best, file=sys.stderr, flush=True)
            known = found.get(bytes_stored)
            if not known or best["bits_per_byte"] < known["bits_per_byte"]:
                found[bytes_stored] = {"vocab_size": size, **best}
    assert dataset
    machine = provenance(torch=False)
    same = {
        "tokenizer": recipe.train.tokenizer,
        "data": short_source(dataset.survey.source),
        "data_sha256": dataset.survey.sha256,
        "command": "python benchmarks/frontier_baselines.py "
        + short_source(dataset.survey.source).partition(" ")[0],
        "commit": machine["git_commit"],
        "processor": machine["processor"],
        "date": datetime.now(UTC).date().isoformat(),
    }
    rows = ({"bytes": n, "parameters": n // 4, **row, **same} for n, row in sorted(found.items()))
    write_text(options.out, "".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
