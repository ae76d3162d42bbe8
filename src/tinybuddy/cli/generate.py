"""The verb ``generate``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tinybuddy.cli.common import add_backend, print_json
from tinybuddy.cli.wrapping import width, wrapped
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
        help="how it begins; - or a pipe reads standard input; "
        "nothing, in a terminal, asks for story after story",
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
    if options.prompt is None and options.n == 1 and not options.json and _in_terminal():
        from tinybuddy.cli.conversation import converse

        if options.max_new_tokens is not None:
            settings["max_new_tokens"] = options.max_new_tokens
        converse(options.model, options.backend, options.seed, options.stop, settings)
        return
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
            for piece in wrapped(pieces, width()):
                print(piece, end="", flush=True)
            print()
    except KeyboardInterrupt:
        print_stories()  # those that are whole
        raise
    for note in dict.fromkeys(notes):
        print(note, file=sys.stderr)
    print_stories()


def _in_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


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
