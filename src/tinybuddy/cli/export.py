"""The verb ``export``."""

from __future__ import annotations

import argparse

from tinybuddy.cli.common import print_json
from tinybuddy.errors import UsageError
from tinybuddy.exporters import FORMATS

EXAMPLES = ("hub my-run -o my-model", "compact my-run --weights int4 -o my.buddy")


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    formats = "; ".join(f"{name}: {row.summary}" for name, row in FORMATS.items())
    verb.add_argument("format", metavar="FORMAT", help=formats)
    verb.add_argument("model", metavar="MODEL", help="a model or run directory, or a released name")
    verb.add_argument("-o", "--out", required=True, metavar="PATH", help="where to write")
    types = "; ".join(
        f"{name}: {', '.join(row.weights)}" for name, row in FORMATS.items() if row.weights[1:]
    )
    verb.add_argument("--weights", metavar="TYPE", help=f"of the numbers ({types})")
    verb.add_argument("--force", action="store_true", help="replace what is there")
    verb.add_argument("--push", metavar="USER/NAME", help="upload it to the hub too (HF_TOKEN)")


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    from tinybuddy.exporters.session import export

    if options.push and options.format != "hub":
        raise UsageError("--push goes with the format hub.")
    done = export(
        options.format, options.model, options.out, weights=options.weights, force=options.force
    )
    facts = {"format": options.format, "out": options.out, "checked": done.checked}
    if options.push:
        from pathlib import Path

        from tinybuddy.exporters.hub import push

        facts["url"] = push(Path(options.out), options.push)
    if options.json:
        print_json(facts)
    else:
        print("\n".join(f"{key:<8} {value}" for key, value in facts.items()))
