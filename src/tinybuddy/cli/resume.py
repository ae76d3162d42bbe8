"""The verb ``resume``."""

from __future__ import annotations

import argparse

from tinybuddy.cli.common import show_run

EXAMPLES = (
    "my-run",
    "my-run --steps 4000",
)


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    verb.add_argument("run_path", metavar="RUN", help="directory of the run")
    verb.add_argument(
        "--steps", type=int, metavar="N", help="train longer: N optimizer steps in all"
    )


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    from tinybuddy.training.session import resume

    show_run(resume(options.run_path, steps=options.steps).result, options.json)
