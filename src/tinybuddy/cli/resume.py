"""The verb ``resume``."""

from __future__ import annotations

import argparse

from tinybuddy.cli.common import show_run


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    verb.add_argument("run_path", metavar="RUN", help="directory of the run")


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    from tinybuddy.training.session import resume

    show_run(resume(options.run_path).result, options.json)
