"""The verb ``evaluate``."""

from __future__ import annotations

import argparse
import sys

from tinybuddy.cli.common import add_backend, add_layout, print_json
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.errors import UsageError

EXAMPLES = (
    "my-run",
    "my-run tinybuddy-80k --data stories/ --report report.html",
)


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    verb.add_argument(
        "models",
        nargs="*",
        default=[DEFAULT_MODEL],
        metavar="MODEL",
        help="a model or run directory, a released name, a .buddy file, a .bin of llama2.c, any "
        f"directory of transformers; several are compared with the first; default: {DEFAULT_MODEL}",
    )
    verb.add_argument(
        "--data",
        metavar="PATH|HUB_NAME|tales",
        help="human stories; default: those of the first model, if it is a run and they are there; "
        "without any, some metrics cannot be run",
    )
    verb.add_argument(
        "--stories",
        type=int,
        metavar="N",
        help="training stories; 0 for all; default: those that the first model was trained on",
    )
    add_layout(verb)
    verb.add_argument(
        "--controls", action="store_true", help="measure sources that must fail, too (needs --data)"
    )
    verb.add_argument(
        "--report", metavar="FILE.html", help="write a page; with --data it has the controls"
    )
    verb.add_argument("--blimp", metavar="FOLDER", help="score its .jsonl files of BLiMP, too")
    verb.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="for scoring, which on Windows uses one in the engine; default: 1",
    )
    add_backend(verb)


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    from pathlib import Path

    from tinybuddy.evaluation.session import evaluate
    from tinybuddy.terminal import open_progress

    if options.report and Path(options.report).suffix != ".html":
        raise UsageError(f"--report writes a page: end {options.report} in .html.")
    with open_progress() as hooks:
        found = evaluate(
            *options.models,
            data=options.data,
            stories=options.stories,
            split=options.split or "",
            text_key=options.text_key or "",
            with_controls=options.controls or bool(options.report and options.data),
            blimp=options.blimp,
            threads=options.threads,
            backend=options.backend,
            on_progress=hooks.on_progress,
        )
    for note in found.notes:
        print(note, file=sys.stderr)
    if options.json:
        print_json(found.to_mapping())
    else:
        from rich.console import Console

        from tinybuddy.evaluation.report.table import tables

        # A pipe has no width, and rich would take 80 columns for it.
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
        console.width = max(80, console.width)  # a narrower terminal wraps, rich would cut figures
        for part in tables(found):
            console.print(part)
    if options.report:  # last, so that what was measured is not lost with it
        from tinybuddy.evaluation.report.page import write_report

        write_report(found, options.report)
        print(f"Wrote {options.report}.", file=sys.stderr)
