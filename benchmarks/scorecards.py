"""The scorecards of several models side by side, as a Markdown table; with --records, kept.

    python benchmarks/scorecards.py DATA "NAME=MODEL[: CLAIM]" ... [--stories N]
                                    [--records]

DATA is a folder with `train.*` and `validation.*`. The unlimited 5-gram of the first model's tokens
comes last. The training text of all is that of the first model, or --stories.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from reproduce import shown

import tinybuddy.config
from tinybuddy.evaluation.metrics.metric import MetricValue
from tinybuddy.evaluation.report.wording import LABELS, VERDICTS, interval_of, written
from tinybuddy.evaluation.scorecard import Scorecard
from tinybuddy.evaluation.session import evaluate
from tinybuddy.terminal import open_progress

OUT = Path(tinybuddy.config.__file__).parent / "evaluation" / "report" / "published.json"
RIVAL = "5-gram, unlimited"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--stories", type=int)
    parser.add_argument("--records", action="store_true", help=f"put them into {OUT.name}")
    options = parser.parse_args()
    asked = [text.partition("=") for text in options.models]
    models = {name: rest.partition(": ") for name, _, rest in asked}
    with open_progress() as hooks:
        found = evaluate(
            *(model for model, _, _ in models.values()),
            data=options.data,
            stories=options.stories,
            with_controls=True,
            on_progress=hooks.on_progress,
        )
    rival = f"{RIVAL}, of {len(found.evidence.train):,} stories"
    cards = dict(zip(models, found.scorecards, strict=True)) | {rival: found.beside[RIVAL]}
    claims = {name: claim for name, (_, _, claim) in models.items()}
    claims[rival] = "no model: it counts 5-grams"
    print(_table(cards))
    if options.records:
        command = f"python benchmarks/scorecards.py {shown(options.data)}"
        rows = [row for row in json.loads(OUT.read_text("utf-8")) if row["name"] not in cards]
        rows += [_record(name, card, claims[name], command) for name, card in cards.items()]
        rows.sort(key=lambda row: row["parameters"])
        OUT.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _table(cards: dict[str, Scorecard]) -> str:
    columns = [card.values() for card in cards.values()]
    rows = [
        ["", *cards],
        ["---"] * (len(cards) + 1),
        ["parameters", *(f"{card.parameters:,}" for card in cards.values())],
        *([LABELS[name], *(_cell(column, name) for column in columns)] for name in LABELS),
        ["speaks English", *(f"**{VERDICTS[card.speaks_english]}**" for card in cards.values())],
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(values: dict[str, MetricValue], name: str) -> str:
    measured = values[name]
    mark = " ✗" if measured.passed is False else ""
    return f"{written(name, measured.value)} ({interval_of(measured)}){mark}"


def _record(name: str, card: Scorecard, claim: str, command: str) -> dict[str, object]:
    values = card.values()
    return {
        "name": name,
        "parameters": card.parameters,
        "claim": claim,
        "speaks_english": card.speaks_english,
        "bits_per_byte": round(values["bits_per_byte.validation"].value, 6),
        "fails": [measured.name for measured in values.values() if measured.passed is False],
        "measured_by": command,
    }


if __name__ == "__main__":
    main()
