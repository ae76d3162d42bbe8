"""The verb ``models``."""

from __future__ import annotations

import argparse

from tinybuddy.cli.common import print_json

EXAMPLES = ("", "--json")


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options: it has none of its own."""


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    from tinybuddy.evaluation.report.published import released_models

    models = released_models()
    if options.json:
        print_json({"models": models})
        return
    print(f"{'name':<22} {'parameters':>10} {'kilobytes':>9} {'bits/byte':>9}  speaks English")
    for model in models:
        bits = model["bits_per_byte"]
        print(
            f"{model['name']:<22} {model['parameters']:>10,} {model['kilobytes']:>9,} "
            f"{'-' if bits is None else f'{bits:.3f}':>9}  {model['verdict']}"
            f"{'  (the default)' if model['default'] else ''}"
        )
    print("Bits per byte: of 759 stories of TinyStories that they have not seen.")
