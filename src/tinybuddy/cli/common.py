"""What several verbs share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tinybuddy.errors import counted

if TYPE_CHECKING:
    from pathlib import Path

MOST_IN_PAGE = 200_000  # parameters; their page is 0.36 MB


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
    """Write the page of a run's model, and print its result."""
    import shlex

    page = _write_page(result)
    if as_json:
        print_json({**result, **({"page": str(page)} if page else {})})
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
        + (f"\nOpen it in a browser, and see how it works: {page}" if page else "")
    )


def _write_page(result: Any) -> Path | None:
    """Write the page of a run's model, unless that takes longer than 0.3 s or cannot be done."""
    if result["parameters"] > MOST_IN_PAGE:
        return None
    from pathlib import Path

    from tinybuddy.disk import write_text
    from tinybuddy.errors import TinybuddyError
    from tinybuddy.exporters import html
    from tinybuddy.formats.references import open_model

    page = Path(result["run"]) / "story.html"
    try:
        write_text(page, html.page_of(open_model(result["run"]), "int8"))
    except TinybuddyError:  # the run is whole all the same
        return None
    return page


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} seconds" if seconds < 10 else f"{seconds:.0f} seconds"


def print_json(value: Any) -> None:
    """Print one JSON object as a line."""
    import json

    print(json.dumps(value, ensure_ascii=False))
