"""The verb ``train``."""

from __future__ import annotations

import argparse

from tinybuddy.cli.common import add_layout, show_run
from tinybuddy.defaults import DEFAULT_RECIPE, DEFAULT_RECIPE_FROM

EXAMPLES = (
    "--data my-stories.txt --out my-run",
    "--from tinybuddy-80k --data poems.txt --out my-poet",
    "--recipe card --data tales --seed 1",
)


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    verb.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help=f"default: {DEFAULT_RECIPE}, with --from {DEFAULT_RECIPE_FROM}",
    )
    verb.add_argument(
        "--data",
        action="append",
        metavar="PATH|HUB_NAME|tales|-",
        help="training text, may be repeated; default: TinyStories, or the tales where there is no "
        "network",
    )
    add_layout(verb)
    verb.add_argument("--stories", type=int, metavar="N", help="training stories; 0 for all")
    verb.add_argument(
        "-o", "--out", metavar="RUN", help="directory of the run; default: runs/RECIPE"
    )
    verb.add_argument("-s", "--seed", type=int, metavar="S", help="default: the recipe's, 0")
    verb.add_argument("--steps", type=int, metavar="N", help="optimizer steps")
    verb.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="default: the recipe's, 1; the engine has work for 8 at most, on Windows for one",
    )
    verb.add_argument("--device", choices=("cpu", "cuda", "mps"), help="default: cpu")
    verb.add_argument(
        "--backend", choices=("engine", "torch"), help="default: engine, on a GPU torch"
    )
    verb.add_argument(
        "--from", dest="from_model", metavar="MODEL", help="go on from a trained model"
    )
    verb.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any field of the recipe, such as learning_rate=0.003; may be repeated",
    )


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    from tinybuddy.recipes import parse_settings

    settings = parse_settings(options.set)
    if options.data:
        settings["data"] = "\n".join(options.data)
    for name in (
        "split",
        "text_key",
        "from_model",
        "stories",
        "seed",
        "steps",
        "threads",
        "device",
        "backend",
    ):
        if (value := getattr(options, name)) is not None:
            settings[name] = value
    from tinybuddy.training.session import train

    run = train(options.recipe, out=options.out, **settings)
    show_run(run.result, options.json)
