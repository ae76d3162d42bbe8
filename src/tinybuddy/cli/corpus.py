"""The verb ``corpus``."""

from __future__ import annotations

import argparse
import sys

from tinybuddy.cli.common import add_layout, print_json

EXAMPLES = (
    "poems.txt --split blank",
    "a.jsonl b.csv --text-key story -o all.txt",
)

NAMES = {
    "stories": "stories to train on",
    "bytes": "bytes of these",
    "validation_stories": "stories to score",
    "validation_bytes": "bytes of those",
}


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    verb.add_argument(
        "data", nargs="+", metavar="PATH|HUB_NAME|tales|-", help="what to look at; several are one"
    )
    add_layout(verb)
    verb.add_argument("--stories", type=int, default=0, metavar="N", help="training stories")
    verb.add_argument(
        "-o", "--out", metavar="FILE", help="write the stories to FILE (.txt, .jsonl)"
    )
    verb.add_argument("--force", action="store_true", help="replace FILE if it is there")


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    from tinybuddy.corpus.overview import describe_corpus
    from tinybuddy.terminal import PlainProgress

    hooks = PlainProgress()

    def on_story(number: int) -> None:
        hooks.on_progress("reading the stories", number, 0)

    facts = describe_corpus(
        "\n".join(options.data),
        options.stories,
        options.out,
        on_story,
        split=options.split or "",
        text_key=options.text_key or "",
        force=options.force,
    )
    if options.json:
        print_json(facts)
        return
    entropy = facts.pop("entropy", None)
    warning, layout = facts.pop("warning"), facts.pop("layout")
    for key in ("split", "skipped", "first", "shortest"):
        del facts[key]
    for key, value in facts.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        print(f"{NAMES.get(key, key):<22} {shown}")
    if entropy:
        print(
            f"entropy of the grammar {entropy['bits_per_byte']:.4f} bits per byte, which no model "
            f"can beat (± {entropy['standard_error']:.4f}, of {entropy['tales']:,} tales)"
        )
    print(layout)
    if warning:
        print(warning, file=sys.stderr)
