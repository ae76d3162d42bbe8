"""What several verbs share."""

from __future__ import annotations

import argparse
from typing import Any

from tinybuddy.errors import counted


def add_backend(verb: argparse.ArgumentParser) -> None:
    """Add ``--backend``."""
    verb.add_argument(
        "--backend", choices=("engine", "torch"), default="engine", help="default: engine"
    )


def add_layout(verb: argparse.ArgumentParser) -> None:
    """Add how a text is laid out."""
    verb.add_argument(
        "--split",
        metavar="lines|blank|TEXT",
        help="what separates stories of plain text: each line, blank lines, or TEXT; "
        "default: it finds out, and says so",
    )
    verb.add_argument(
        "--text-key", metavar="KEY", help="key or column with the stories; default: it finds out"
    )


def show_run(result: Any, as_json: bool) -> None:
    """Print the result of a run."""
    import shlex

    if as_json:
        print_json(result)
        return
    stories = counted(result["validation_stories"], "story", "stories")
    error, before = result.get("bits_per_byte_error"), result.get("before")
    rough = f" (± {2 * error:.2f}: that is few)" if error and 2 * error > 0.03 else ""
    print(
        f"{result['bits_per_byte']:.3f} bits per byte on {stories}{rough} that it has not seen, "
        + (f"{before:.3f} before, " if before else "")
        + f"after {counted(result['steps'], 'step')} in {_duration(result['train_seconds'])} "
        f"({result['tokens_per_second']:,.0f} tokens/s), {_duration(result['seconds'])} in all.\n"
        f"Hear it: tinybuddy generate --seed random --model {shlex.quote(result['run'])}\n"
        f"Its curve: {result['run']}/loss.svg"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} seconds" if seconds < 10 else f"{seconds:.0f} seconds"


def print_json(value: Any) -> None:
    """Print one JSON object as a line."""
    import json

    print(json.dumps(value, ensure_ascii=False))
