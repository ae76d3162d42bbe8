"""The verbs `train` and `resume`: a run's folder, the terminal, and Ctrl-C around the loop."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tinybuddy.backends import check_backend
from tinybuddy.backends.interface import Stopped
from tinybuddy.config import ModelConfig, Recipe
from tinybuddy.corpus.kept import INPUT, is_read_once, keep, kept
from tinybuddy.defaults import DEFAULT_RECIPE, DEFAULT_RECIPE_FROM
from tinybuddy.disk import exists, expanded, write_text
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.references import find_directory
from tinybuddy.formats.runs import has_checkpoint
from tinybuddy.progress import Hooks
from tinybuddy.recipes import load_recipe
from tinybuddy.terminal import PlainProgress, open_progress
from tinybuddy.tokenizer import Tokenizer, load_tokenizer
from tinybuddy.training.checkpoint import (
    clear,
    is_run,
    is_taken,
    load_checkpoint,
    locked,
    read_metadata,
    read_recipe,
    write_metadata,
    write_recipe,
)
from tinybuddy.training.dataset import prepare, settled
from tinybuddy.training.loop import fit
from tinybuddy.training.run import Run, places
from tinybuddy.training.stop import Stop


def train(
    recipe: str | Path | Recipe | None = None,
    *,
    out: str | Path | None = None,
    hooks: Hooks | None = None,
    **settings: Any,
) -> Run:
    """Train a model from nothing, or go on from one.

    Args:
        recipe: a published name, a TOML file, or a `Recipe`; by default ``speedrun``, or
            ``finetune`` with ``from_model``.
        out: the run's directory, made here; by default ``runs/NAME``, numbered if it is taken.
        hooks: called with the progress; by default it is shown in the terminal.
        settings: any field of the recipe's sections, such as ``steps=500``. Of these ``data`` is a
            path or name that `tinybuddy.corpus.open_corpus` takes, a list of such `Path`s, a list
            of texts, or ``-`` for standard input, and ``from_model`` a model or run to go on from,
            whose shape and tokenizer replace the recipe's.

    Returns:
        The finished run.

    Raises:
        UsageError: for an unknown or impossible setting.
        TinybuddyError: if the data, the directory or the numbers do not allow it.
        KeyboardInterrupt: on Ctrl-C, once a checkpoint is saved.

    Examples:
        >>> texts = [f"The cat has {number} red balls. It is happy." for number in range(200)]
        >>> run = tinybuddy.train(data=texts, steps=20, hidden_size=16, out="cats")
        >>> run.metrics[0]["loss"] > run.metrics[-1]["loss"]
        True
    """
    default = DEFAULT_RECIPE_FROM if settings.get("from_model") else DEFAULT_RECIPE
    data = _as_data(settings.get("data", ""))
    if is_read_once(data):
        settings["data"] = INPUT
    elif data:
        settings["data"] = data
    recipe = plan(recipe or default, settings)
    check_backend(recipe.train)  # before any work is done
    run = expanded(out) if out else _free_name(Path("runs") / recipe.name)
    if not is_run(run):
        _check_free(run)  # before the lock, which would leave a file in a folder of others
    with locked(run):
        _check_free(run)
        write_recipe(run, recipe)
        try:
            if recipe.train.data == INPUT:
                keep(data or INPUT, run)
            with hooks or open_progress() as hooks:
                return _work(run, recipe, hooks)
        except TinybuddyError:
            if not read_metadata(run):  # it never began, and the same command may be given again
                clear(run, everything=True)
            raise
        except KeyboardInterrupt:
            if has_checkpoint(run):
                raise
            if kept(run):  # which cannot be read again
                raise Stopped(
                    "stopped before the first step: go on with "
                    f"tinybuddy resume {shlex.quote(str(run))}"
                ) from None
            clear(run, everything=True)
            raise Stopped("stopped before the first step: nothing is left of it.") from None


def resume(run: str | Path, hooks: Hooks | None = None, *, steps: int | None = None) -> Run:
    """Go on with a run that was stopped, to the same weights as if it had not been.

    Args:
        run: its directory.
        hooks: called with the progress; by default it is shown in the terminal.
        steps: optimizer steps in all, more than it has done: it trains longer, its learning rate
            on the schedule of so many.

    Raises:
        UsageError: if it has done as many steps already.
        TinybuddyError: if there is no run, another process writes it, or its data has changed.
        KeyboardInterrupt: on Ctrl-C, once a checkpoint is saved.

    Examples:
        >>> texts = [f"The dog has {number} red balls. It is happy." for number in range(200)]
        >>> run = tinybuddy.train(data=texts, steps=2, hidden_size=16, out="short")
        >>> tinybuddy.resume("short", steps=3).result["steps"]
        3
    """
    run = expanded(run)
    read_recipe(run)  # before a lock makes the folder
    with locked(run):
        recipe, result = read_recipe(run), read_metadata(run).get("result")
        if steps is not None:
            recipe, result = _lengthened(run, recipe, steps), None
        if result:
            (hooks or PlainProgress()).on_note(
                f"{run} is finished: nothing is left to do. To train it longer, say --steps N; to "
                f"go on with other text, tinybuddy train --from {run}."
            )
            return Run(run, result | places(run))  # it may have been moved since
        with hooks or open_progress() as hooks:
            return _work(run, recipe, hooks)


def _lengthened(run: Path, recipe: Recipe, steps: int) -> Recipe:
    """Let a run go on to a later step than it was meant to."""
    done = checkpoint.step if (checkpoint := load_checkpoint(run)) else 0
    if steps <= done:
        raise UsageError(f"steps must be more than the {done:,} that {run} has done, not {steps}.")
    longer = recipe.with_settings({"steps": steps, "epochs": 0.0})
    write_recipe(run, longer)
    record = read_metadata(run)
    if record.pop("result", None):
        write_metadata(run, record)
    return longer


def plan(recipe: str | Path | Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Resolve a recipe and what changes it; places on disk become absolute.

    Raises:
        UsageError: for an unknown or impossible setting.
        TinybuddyError: if the model to go on from cannot be read.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
    if isinstance(steps := settings.get("steps"), int):
        settings.setdefault("epochs", 0.0)
        settings.setdefault("eval_every", min(recipe.train.eval_every, max(1, steps // 20)))
    if isinstance(settings.get("from_model"), str):
        settings["from_model"] = str(expanded(settings["from_model"]))
    if source := settings.get("from_model", recipe.train.from_model):
        if shape := {f.name for f in fields(ModelConfig)} & settings.keys():
            raise UsageError(f"{shape.pop()} cannot be set: the model to go on from has its own.")
        folder = find_directory(source)
        files = read_model(folder)
        settings |= {"from_model": _absolute(folder)}
        settings |= {"tokenizer": files.tokenizer.kind, "alphabet": files.tokenizer.alphabet}
        settings |= asdict(files.config)
    recipe = recipe.with_settings(settings)
    places = [_absolute(place) for place in recipe.train.data.split("\n")]
    return recipe.with_settings({"data": "\n".join(places)})


def _as_data(data: Any) -> Any:
    """Several paths as a text of lines; a list of texts stays."""
    if isinstance(data, str | Path):
        return str(data)
    items = list(data)
    return "\n".join(map(str, items)) if items and _are_places(items) else items


def _are_places(items: list[Any]) -> bool:
    """Whether a list is of paths, or of texts that all name something on the disk."""
    return all(isinstance(i, Path) or (isinstance(i, str) and exists(i)) for i in items)


def _work(run: Path, recipe: Recipe, hooks: Hooks) -> Run:
    """Bring a run from wherever it stands to its end."""
    clear(run)
    text = kept(run) if recipe.train.data == INPUT else None
    if recipe.train.data == INPUT and not text:
        raise TinybuddyError(f"Standard input of {run} was not read to its end: begin a new run.")
    known = read_metadata(run).get("data", {}).get("sha256")
    tokenizer = _known_tokenizer(run)
    dataset = prepare(recipe, tokenizer=tokenizer, sha256=known, kept=text, hooks=hooks)
    resolved = settled(recipe.with_settings({"data": dataset.data}), dataset)  # `auto`, for good
    if resolved != recipe:
        recipe = resolved
        write_recipe(run, recipe)
    if not recipe.train.from_model and not (run / "tokenizer.json").exists():
        write_text(run / "tokenizer.json", dataset.tokenizer.to_json())
    stop = Stop()
    with _interrupts(stop):
        return fit(recipe, dataset, run, hooks, stop)


def _known_tokenizer(run: Path) -> Tokenizer | None:
    """Return the tokenizer that a run was begun with, if it came so far."""
    if checkpoint := load_checkpoint(run):
        return checkpoint.files.tokenizer
    path = run / "tokenizer.json"
    return load_tokenizer(path) if path.exists() else None


@contextmanager
def _interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Let a first Ctrl-C or SIGTERM call ``stop``; a second one is at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        stop()
        print("Stopping ...", file=sys.stderr, flush=True)

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _check_free(run: Path) -> None:
    if is_taken(run):
        raise TinybuddyError(
            f"{run} already holds something: go on with tinybuddy resume {run} if it is a run, or "
            "choose another `out`."
        )


def _absolute(place: str | Path) -> str:
    """Make what exists on disk independent of the current folder; ``tales`` is no path.

    A link stays one: its name may say what kind of file it is.
    """
    if place in ("auto", "tales", INPUT) or not exists(place):
        return str(place)
    path = os.path.abspath(expanded(place))  # noqa: PTH100  (resolve would follow links)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise TinybuddyError(f"The name {path!r} is not Unicode: rename it.") from None
    return path


def _free_name(path: Path) -> Path:
    number = 1
    free = path
    while is_taken(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
