"""Write `cli.md`, `recipes.md`, and the tables of `formats.md` and `frontier.md` from results.

python docs/generate.py
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
from collections import defaultdict
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

from tinybuddy.backends.engine.library import KERNELS
from tinybuddy.cli import build_parser
from tinybuddy.config import ModelConfig, SampleConfig, TrainConfig
from tinybuddy.evaluation.report.wording import LABELS
from tinybuddy.exporters import FORMATS
from tinybuddy.frontier import results
from tinybuddy.recipes import recipe_names

HERE = Path(__file__).parent
FIGURES = HERE.parent / "results" / "figures.jsonl"
FRONTIER = HERE.parent / "results" / "frontier.jsonl"
WARNING = "<!-- Written by docs/generate.py: change the code, not this file. -->\n"
BEGIN, END = "<!-- This table is written by docs/generate.py. -->\n", "<!-- Its end. -->\n"
MEASURED = "tinybuddy-80k"  # the model that benchmarks/formats.py was given
SUFFIXES = {"compact": ".buddy", "gguf": ".gguf", "html": ".html", "js": ".js"}  # may be one file


def cli_page() -> str:
    """Return the help of every verb."""
    os.environ["COLUMNS"] = "96"
    parser = build_parser()
    verbs = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    parts = [WARNING, "# The command line\n", f"```text\n{parser.format_help()}```\n"]
    for name, verb in verbs.choices.items():
        parts += [f"## tinybuddy {name}\n", f"```text\n{verb.format_help()}```\n"]
    parts += [
        "## Everywhere\n",
        "Progress and talk go to standard error, results to standard output; `--json` prints one "
        "JSON object as the last line of standard output. Exit codes: 0 done, 1 could not, 2 wrong "
        "usage, 130 stopped by Ctrl-C.\n",
        "`TINYBUDDY_CACHE` names the folder for downloads and packed tokens. "
        f"`TINYBUDDY_KERNELS` names the engine's kernels ({', '.join(f'`{k}`' for k in KERNELS)}); "
        "else the fastest that the processor runs are used. `HF_ENDPOINT`, "
        "`HF_TOKEN` and `HF_HUB_OFFLINE` work as for every tool of the hub.\n",
    ]
    return "\n".join(parts)


def recipes_page() -> str:
    """Return a table of every field of a recipe."""
    parts = [
        WARNING,
        "# Recipes\n",
        "A recipe is a TOML file with the sections below; every key has a default, that of `card`. "
        "Without `--recipe`, `train` takes `speedrun`. "
        "`tinybuddy train --recipe FILE` takes one, `--set key=value` changes a key, and "
        "the directory of a run keeps the whole of it in `recipe.toml`.\n",
        f"Published: {', '.join(f'`{name}`' for name in recipe_names())}.\n",
    ]
    for title, part in (("model", ModelConfig), ("train", TrainConfig), ("sample", SampleConfig)):
        parts += [f"## [{title}]\n", "| key | default | range | what |\n|---|---|---|---|"]
        rows = []
        for item in fields(part):
            low, high = item.metadata["low"], item.metadata["high"]
            among = ", ".join(f"`{word}`" for word in item.metadata["among"])
            upper = f" to {high:,}" if math.isfinite(high) else " or more"
            span = among or (f"{low:,}{upper}" if math.isfinite(low) else "")
            default = f"`{item.default!r}`".replace("'", '"').replace("True", "true")
            rows.append(f"| `{item.name}` | {default} | {span} | {item.metadata['doc']} |")
        parts.append("\n".join(rows) + "\n")
    parts += [
        "## Beside the sections\n",
        "`name`; `parameters`, the number that the shape is claimed to have, which is checked; and "
        "`[expected.TEXT]` with `steps` and `bits_per_byte`, the validation curve to compare with "
        "on data whose name contains TEXT.\n",
    ]
    return "\n".join(parts)


def with_table(name: str, table: str) -> str:
    """Return a page as it is, its table made anew."""
    before, _, rest = (HERE / name).read_text("utf-8").partition(BEGIN)
    return before + BEGIN + table + END + rest.partition(END)[2]


def formats_table() -> str:
    """Return a row a format and type of weights, with what benchmarks/formats.py measured."""
    measured: dict[tuple[str, ...], str] = {}
    for line in map(json.loads, FIGURES.read_text("utf-8").splitlines()):
        match = re.fullmatch(r"(\S+) (\S+) in (.+): (.+)", line["name"])
        if line["page"] == "docs/formats.md" and match:
            format, weights, consumer, what = match.groups()
            value = f"{line['value']:.3f}" if what == "bits per byte" else f"{line['value']:,}"
            measured |= {(format, weights, what): value, (format, weights, "runs in"): consumer}
    columns = ("bytes", "bits per byte", "runs in", "tokens/s")
    rows = [f"| | weights | {' | '.join(columns)} | command |", "|---" * 7 + "|"]
    for name, row in FORMATS.items():
        for weights in row.weights:
            first = weights == row.weights[0]
            what = f"`{name}`: {row.summary}" if first else f"`{name}`"
            cells = " | ".join(measured.get((name, weights, key), "-") for key in columns)
            option = "" if first else f" --weights {weights}"
            command = f"tinybuddy export {name} {MEASURED} -o story{SUFFIXES.get(name, '')}{option}"
            rows.append(f"| {what} | {weights} | {cells} | `{command}` |")
    return "\n".join(rows) + "\n"


def frontier_table() -> str:
    """Return a row a budget: its best, trained in full with each seed."""
    recipes = defaultdict(list)
    for row in results.read(FRONTIER):
        if row["kind"] == "final":
            recipes[row["parameters"], row["steps"], row["fingerprint"]].append(row)
    lines = [
        "| parameters | shape | steps | bits per byte | right sentences | speaks English |",
        "|---:|---|---:|---|---|---|",
    ]
    for (parameters, steps, _), rows in sorted(recipes.items()):
        bits = sorted(map(results.bits_of, rows))
        pairs = [row["metrics"]["grammar.pairs"] for row in rows]
        right = fmean(pair["value"] for pair in pairs), min(pair["low"] for pair in pairs)
        cells = (
            f"{parameters:,}",
            results.shape_of(rows[0]),
            f"{steps:,}",
            f"{fmean(bits):.3f} ({bits[0]:.3f} to {bits[-1]:.3f})",
            f"{right[0]:.1%} ({right[1]:.1%})",
            verdict_of(rows),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def verdict_of(rows: list[dict[str, Any]]) -> str:
    """Return YES where all seeds speak, or else how many values fail, by name if it is one."""
    yes = sum(row["speaks_english"] for row in rows)
    if yes == len(rows):
        return "**YES**"
    fails = {name for row in rows for name, v in row["metrics"].items() if v["passed"] is False}
    what = LABELS[fails.pop()] if len(fails) == 1 else f"{len(fails)} values"
    return f"NO: {what}" + (f" ({yes} of {len(rows)} seeds YES)" if yes else "")


def main() -> None:
    """Write all pages."""
    (HERE / "cli.md").write_text(cli_page(), encoding="utf-8")
    (HERE / "recipes.md").write_text(recipes_page(), encoding="utf-8")
    for name, table in (("formats.md", formats_table()), ("frontier.md", frontier_table())):
        (HERE / name).write_text(with_table(name, table), encoding="utf-8")


if __name__ == "__main__":
    main()
