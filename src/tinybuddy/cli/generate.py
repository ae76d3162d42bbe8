"""The verb ``generate``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tinybuddy.cli.common import add_backend, print_json
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.errors import UsageError


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    verb.add_argument(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help="how it begins; - or a pipe reads standard input; nothing begins a new story",
    )
    verb.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="M", help=f"default: {DEFAULT_MODEL}"
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
    verb.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")
    verb.add_argument("--stop", metavar="TEXT", help="end before this text")
    verb.add_argument("--n", type=int, default=1, metavar="K", help="stories, seeds S, S+1, ...")
    add_backend(verb)


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    from tinybuddy.config import SampleConfig

    if options.n < 1:
        raise UsageError(f"--n must be 1 or more, not {options.n}.")
    if options.n > 2**63:
        raise UsageError(
            f"--n must be 2^63 or less, as each story has a seed of its own, not {options.n}."
        )
    if not 0 <= options.seed <= 2**63 - options.n:
        raise UsageError(f"--seed must lie between 0 and 2^63 - N, not {options.seed}.")
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    settings = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    SampleConfig.from_mapping(settings)  # wrong usage is said before anything is loaded
    prompt = _read_prompt(options.prompt)
    from tinybuddy.generation.model import load

    model = load(options.model, backend=options.backend)
    notes: list[str] = []  # printed after the story, so as not to stand in the middle of it
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
                seed=options.seed + number,
                stop=options.stop,
                **settings,
            )
            if options.json:
                stories.append({"seed": options.seed + number, "text": "".join(pieces)})
                continue
            if number:
                print("\n" + "-" * 20 + "\n")
            for piece in pieces:
                print(piece, end="", flush=True)
            print()
    except KeyboardInterrupt:
        print_stories()  # those that are whole
        raise
    for note in dict.fromkeys(notes):
        print(note, file=sys.stderr)
    print_stories()


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
