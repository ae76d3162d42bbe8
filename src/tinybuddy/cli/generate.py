"""The verb ``generate``."""

from __future__ import annotations

import argparse
import os
import re
import sys
import unicodedata
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from tinybuddy.cli.common import add_backend, print_json
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.errors import UsageError

EXAMPLES = (
    '"Once upon a time"',
    '"One day" --model my-run --n 3 --seed random',
    '--temperature 0.5 --stop "The end" < beginning.txt',
)


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    verb.add_argument(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help="how it begins; - or a pipe reads standard input; nothing begins a new story",
    )
    verb.add_argument(
        "-m", "--model", default=DEFAULT_MODEL, metavar="M", help=f"default: {DEFAULT_MODEL}"
    )
    verb.add_argument("--max-new-tokens", type=int, metavar="N", help="default: 512")
    for name, kind, letter, text, released in (
        ("temperature", float, "T", "0 takes the best token", "0.8"),
        ("top-k", int, "K", "draw among the K best; 0 = off", "40"),
        ("top-p", float, "P", "among the best that reach P", "1"),
        ("min-p", float, "P", "drop those below P x the best", "0"),
        ("repetition-penalty", float, "R", "above 1: less of it", "1"),
    ):
        default = f"default: the model's, {released} if released"
        verb.add_argument(f"--{name}", type=kind, metavar=letter, help=f"{text}; {default}")
    verb.add_argument(
        "-s",
        "--seed",
        type=_seed,
        default=0,
        metavar="S",
        help="default: 0; random takes one, and says which",
    )
    verb.add_argument(
        "--stop", action="append", metavar="TEXT", help="end before this text; may be repeated"
    )
    verb.add_argument(
        "-n", "--n", type=int, default=1, metavar="K", help="stories, seeds S, S+1, ..."
    )
    add_backend(verb)


def _seed(text: str) -> int | None:
    return None if text == "random" else int(text)


_seed.__name__ = "whole number"  # what argparse calls it where it is none


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    from tinybuddy.config import SampleConfig

    if options.n < 1:
        raise UsageError(f"--n must be 1 or more, not {options.n}.")
    if options.n > 2**63:
        raise UsageError(
            f"--n must be 2^63 or less, as each story has a seed of its own, not {options.n}."
        )
    if not 0 <= (options.seed or 0) <= 2**63 - options.n:
        raise UsageError(f"--seed must lie between 0 and 2^63 - N, not {options.seed}.")
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    settings = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    SampleConfig.from_mapping(settings)  # wrong usage is said before anything is loaded
    prompt = _read_prompt(options.prompt)
    from tinybuddy.generation.model import load, random_seed

    first = random_seed() if options.seed is None else options.seed
    model = load(options.model, backend=options.backend)
    # Printed after the story, so as not to stand in the middle of it.
    seeds = f"seeds {first} to {first + options.n - 1}" if options.n > 1 else f"seed {first}"
    notes = [f"({seeds})"] if options.seed is None else []
    model.on_note = notes.append
    if options.max_new_tokens is not None:
        settings["max_new_tokens"] = options.max_new_tokens
    stories: list[dict[str, Any]] = []

    def print_stories() -> None:
        if options.json:
            print_json({"model": str(options.model), "prompt": prompt, "stories": stories})

    try:
        for number in range(options.n):
            pieces = model.stream(
                prompt,
                seed=first + number,
                stop=options.stop,
                **settings,
            )
            if options.json:
                stories.append({"seed": first + number, "text": "".join(pieces)})
                continue
            if number:
                print("\n" + "-" * 20 + "\n")
            for piece in wrapped(pieces, _width()):
                print(piece, end="", flush=True)
            print()
    except KeyboardInterrupt:
        print_stories()  # those that are whole
        raise
    for note in dict.fromkeys(notes):
        print(note, file=sys.stderr)
    print_stories()


def _width() -> int:
    """Columns of the terminal; 0 where it is none, and lines stay as they are."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    except (OSError, ValueError):
        return 0


def wrapped(pieces: Iterable[str], width: int) -> Iterator[str]:
    """Break the lines of a text between words, as it comes; a width of 0 breaks none."""
    column, word = 0, ""
    for piece in pieces:
        if not width:
            yield piece
            continue
        *whole, word = re.split(r"(?<=\s)|(?=\s)", word + piece)
        for part in whole:
            column = yield from _placed(part, column, width)
    yield from _placed(word, column, width)


def _placed(part: str, column: int, width: int) -> Generator[str, None, int]:
    """Yield a word or a space, on a new line if it does not fit; return the column after it."""
    cells = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in part)
    if part == "\n":
        cells, column = 0, 0
    elif part.isspace() and column + cells > width:
        part, cells, column = "\n", 0, 0
    elif column and column + cells > width:
        part, column = f"\n{part}", 0
    if part:
        yield part
    return column + cells


def _read_prompt(prompt: str | None) -> str:
    """Return the prompt; a pipe's trailing newline is not part of it."""
    if prompt is None and sys.stdin.isatty():
        return ""
    if prompt is None or prompt == "-":
        try:
            return sys.stdin.buffer.read().decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise UsageError("The prompt on standard input is not UTF-8 text.") from None
    return prompt
