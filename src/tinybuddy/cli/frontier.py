"""The verb ``frontier``."""

from __future__ import annotations

import argparse

from tinybuddy.cli.common import print_json
from tinybuddy.errors import UsageError

EXAMPLES = (
    "run tales",
    "run my-study.toml --data stories.txt --out my-study",
    "resume my-study --cluster auto",
    "plot my-study -o plots",
)


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    verb.add_argument(
        "action",
        choices=("run", "resume", "plot"),
        metavar="run|resume|plot",
        help="begin a study, go on with one, or draw what one has found",
    )
    verb.add_argument(
        "study",
        metavar="STUDY",
        help="run: a published study (tales, tinystories, large, cluster) or a TOML file; resume: "
        "the folder of a study; plot: that folder, or a file of runs",
    )
    verb.add_argument(
        "--data", metavar="PATH|HUB_NAME|tales", help="run: in place of the study's own"
    )
    verb.add_argument(
        "-o", "--out", metavar="FOLDER", help="run: default: studies/NAME; plot: default: plots"
    )
    verb.add_argument(
        "--workers", type=int, metavar="N", help="processes of this machine; default: one a core"
    )
    verb.add_argument("--cluster", metavar="ADDRESS", help="a Ray cluster to run on instead")
    verb.add_argument(
        "--storage",
        metavar="ADDRESS",
        help="Optuna's database, as SQLAlchemy takes it; default: a SQLite file in the folder",
    )


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    if options.action == "plot":
        _plot(options)
    else:
        _work(options)


def _plot(options: argparse.Namespace) -> None:
    from tinybuddy.errors import require

    if options.data or options.workers or options.cluster or options.storage:
        raise UsageError("What is drawn is in the study: leave all options but --out and --json.")
    require("matplotlib", "matplotlib", "frontier")
    require("SciPy", "scipy", "frontier")
    from tinybuddy.frontier.law import said_of
    from tinybuddy.frontier.plot import plot

    found = plot(options.study, options.out or "plots")
    if options.json:
        print_json(found)
        return
    print("\n".join(found["written"]))
    print(found["law"]["law"] if found["law"] else found["lacks"])
    if found["held_back"]:
        print(said_of(found["held_back"]))


def _work(options: argparse.Namespace) -> None:
    from tinybuddy.errors import require

    require("Optuna", "optuna", "frontier")
    from tinybuddy.frontier.session import begin, resume
    from tinybuddy.frontier.view import open_study_progress

    where = {"workers": options.workers, "cluster": options.cluster, "storage": options.storage}
    if options.action == "resume" and (options.data or options.out):
        raise UsageError(
            "A study that goes on has its data and its folder: leave out --data and --out."
        )
    with open_study_progress() as hooks:
        if options.action == "run":
            found = begin(options.study, out=options.out, data=options.data, hooks=hooks, **where)
        else:
            found = resume(options.study, hooks=hooks, **where)
    if options.json:
        print_json(found)
    else:
        print(f"{found['runs']:,} runs in {found['study']}/runs.jsonl.")
