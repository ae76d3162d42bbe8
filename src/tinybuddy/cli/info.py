"""The verb ``info``."""

from __future__ import annotations

import argparse

from tinybuddy.cli.common import print_json
from tinybuddy.defaults import DEFAULT_MODEL

EXAMPLES = (
    "tinybuddy-80k",
    "card --json",
)


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    verb.add_argument(
        "subject",
        nargs="?",
        default=DEFAULT_MODEL,
        metavar="MODEL|RECIPE|config.json|FILE",
        help=f"default: {DEFAULT_MODEL}",
    )


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    from tinybuddy.formats.summary import info

    facts = info(options.subject)
    if options.json:
        print_json(facts)
        return
    shape = facts["shape"]
    print(f"{facts['name']}: {facts['parameters']:,} parameters, {facts['bytes']:,} bytes")
    for part, count in facts["breakdown"].items():
        print(f"  {part:<14} {count:>12,}  {count / facts['parameters']:6.1%}")
    print("  (the output head is tied to the embedding and counts once)")
    print("\n".join(f"  {key:<24} {value:>10,}" for key, value in shape.items()))
