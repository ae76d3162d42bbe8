"""The verb ``completion``."""

from __future__ import annotations

import argparse

from tinybuddy.errors import require

EXAMPLES = ("bash > ~/.local/share/bash-completion/completions/tinybuddy",)


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    verb.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="which shell")


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    require("shtab", "shtab", "completion")
    import shtab

    from tinybuddy.cli import build_parser

    print(shtab.complete(build_parser(), shell=options.shell))
