"""From stories to a model that speaks: one loop, whatever computes it."""

from __future__ import annotations

import math
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from tinybuddy import DEFAULT_RECIPE, DEFAULT_RECIPE_FROM
from tinybuddy.backends import check_backend, open_trainer
from tinybuddy.backends.interface import Stopped, Trainer
from tinybuddy.config import ModelConfig, Recipe
from tinybuddy.corpus import Survey, keep_input
from tinybuddy.corpus.statistics import derive, write_facts
from tinybuddy.disk import write_text
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.formats.references import find_model
from tinybuddy.formats.runs import latest_checkpoint
from tinybuddy.generation.model import Model, load
from tinybuddy.progress import Hooks
from tinybuddy.recipes import load_recipe
from tinybuddy.scoring import Score, score
from tinybuddy.terminal import PlainProgress, open_progress
from tinybuddy.training.batches import Batches
from tinybuddy.training.chart import Line, line_chart
from tinybuddy.training.checkpoint import (
    Checkpoint,
    append_metrics,
    clear,
    is_taken,
    load_checkpoint,
    locked,
    read_metrics,
    read_recipe,
    read_record,
    rewind_metrics,
    save_checkpoint,
    write_recipe,
    write_record,
)
from tinybuddy.training.dataset import Material, learn_tokenizer, pack_stories, read_data
from tinybuddy.training.metadata import short_source
from tinybuddy.training.provenance import provenance

SAVE_SECONDS = 60.0  # between checkpoints at most, however far apart the evaluations are
SAMPLE_TOKENS = 80


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: its directory.
        result: what ``tinybuddy train --json`` prints.
    """

    path: Path
    result: Mapping[str, Any]

    @cached_property
    def model(self) -> Model:
        """The trained model."""
        return load(self.path)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A row an evaluation: step, loss, bits per byte, tokens per second, a sample."""
        return read_metrics(self.path)


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
        hooks: what is told of the progress; by default the terminal.
        settings: any field of the recipe's sections, such as ``steps=500``. Of these ``data`` is a
            path or name that `tinybuddy.corpus.open_corpus` takes, or ``-`` for standard input, and
            ``from_model`` a model or run to go on from, whose shape and tokenizer replace the
            recipe's.

    Returns:
        The finished run.

    Raises:
        UsageError: for an unknown or impossible setting.
        TinybuddyError: if the data, the directory or the numbers do not allow it.
        KeyboardInterrupt: on Ctrl-C, once a checkpoint is saved.
    """
    default = DEFAULT_RECIPE_FROM if settings.get("from_model") else DEFAULT_RECIPE
    recipe = plan(recipe or default, settings)
    check_backend(recipe.train)  # before any work is done
    run = Path(out) if out else _free_name(Path("runs") / recipe.name)
    with locked(run):
        if is_taken(run):
            raise TinybuddyError(
                f"{run} already holds something: go on with tinybuddy resume {run} if it is a run, "
                "or choose another --out."
            )
        write_recipe(run, recipe)
        try:
            if recipe.train.data == "-":
                keep_input(run / "input.txt")
                recipe = recipe.with_settings({"data": _absolute(run / "input.txt")})
                write_recipe(run, recipe)
            with hooks or open_progress() as hooks:
                return _work(run, recipe, hooks)
        except TinybuddyError:
            if not read_record(run):  # it never began, and the same command may be given again
                clear(run, everything=True)
            raise


def resume(run: str | Path, hooks: Hooks | None = None) -> Run:
    """Go on with a run that was stopped, to the same weights as if it had not been.

    Raises:
        TinybuddyError: if there is no run, another process writes it, or its data has changed.
        KeyboardInterrupt: on Ctrl-C, once a checkpoint is saved.
    """
    run = Path(run)
    read_recipe(run)  # before a lock makes the folder
    with locked(run):
        recipe, result = read_recipe(run), read_record(run).get("result")
        if result:
            (hooks or PlainProgress()).on_note(f"{run} is finished: nothing is left to do.")
            return Run(run, result | _places(run))  # it may have been moved since
        with hooks or open_progress() as hooks:
            return _work(run, recipe, hooks)


def plan(recipe: str | Path | Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Resolve a recipe and what changes it; places on disk become absolute.

    Raises:
        UsageError: for an unknown or impossible setting.
        TinybuddyError: if the model to go on from cannot be read.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
    if source := settings.get("from_model", recipe.train.from_model):
        if shape := {f.name for f in fields(ModelConfig)} & settings.keys():
            raise UsageError(f"{shape.pop()} cannot be set: the model to go on from has its own.")
        folder = find_model(source)
        files = read_model(folder)
        settings |= {"from_model": _absolute(folder), "tokenizer": files.tokenizer.kind}
        settings |= asdict(files.config)
    recipe = recipe.with_settings(settings)
    return recipe.with_settings({"data": _absolute(recipe.train.data)})


def _work(run: Path, recipe: Recipe, hooks: Hooks) -> Run:
    """Bring a run from wherever it stands to its end."""
    started, cpu_started = time.monotonic(), time.process_time()
    clear(run)
    recipe, corpus, found = read_data(run, recipe, hooks)
    start = load_checkpoint(run)
    if start is None and recipe.train.from_model:
        start = Checkpoint(0, 0.0, 0.0, 0.0, read_model(Path(recipe.train.from_model)), {})
    if start is not None and recipe.model != start.files.config:
        raise TinybuddyError(f"The checkpoint in {run} is not of its recipe.toml: put that back.")
    tokenizer = (
        start.files.tokenizer if start else learn_tokenizer(run, recipe, corpus, found, hooks)
    )
    material = pack_stories(corpus, found, tokenizer, recipe, hooks)
    _record(run, recipe, material)
    hooks.on_note(
        f"{recipe.name}: {recipe.model.parameters:,} parameters, {recipe.train.steps:,} steps on "
        f"{found.stories:,} stories ({found.bytes:,} bytes, {len(material.tokens):,} tokens) "
        f"of {found.source}; {found.validation_stories:,} stories to score, "
        f"{found.duplicates:,} duplicates left out."
    )
    if warning := found.warning():
        hooks.on_note(warning)
    trainer = open_trainer(recipe.model, recipe.train, start.files.weights if start else None)
    if start and start.step:
        trainer.load_state(start.state)
    return _Loop(run, recipe, material, trainer, hooks, start, started, cpu_started).go()


class _Loop:
    """The training loop, with what it carries from step to step."""

    def __init__(
        self,
        run: Path,
        recipe: Recipe,
        material: Material,
        trainer: Trainer,
        hooks: Hooks,
        start: Checkpoint | None,
        started: float,
        cpu_started: float,
    ) -> None:
        self.run, self.recipe, self.material = run, recipe, material
        self.trainer, self.hooks = trainer, hooks
        self.step = start.step if start else 0
        self.train_seconds = start.train_seconds if start else 0.0
        self.started = started - (start.seconds if start else 0.0)
        self.cpu_started = cpu_started - (start.cpu_seconds if start else 0.0)
        self.context = recipe.model.max_position_embeddings
        self.batches = Batches(material.tokens, recipe.train, self.context)
        self.losses: list[float] = []  # since the last evaluation
        self.saved, self.saved_step = time.monotonic(), self.step or None

    def go(self) -> Run:
        config = self.recipe.train
        rows = rewind_metrics(self.run, self.step)
        with _deferred_interrupts(self.trainer.stop) as interrupted:
            try:
                if self.step == 0:
                    self._save()
                    if config.from_model:
                        with self._untimed():
                            before = self._score_all().bits_per_byte
                        self.hooks.on_note(f"{config.from_model} gets {before:.3f} bits per byte.")
                elif not rows or rows[-1]["step"] < self.step:
                    self._evaluate_again()
                while self.step < config.steps:
                    self._learn()
                    if self.step % config.eval_every == 0 or self.step == config.steps:
                        self._evaluate()
                        self._save()
                    elif time.monotonic() - self.saved > SAVE_SECONDS:
                        self._save()
                    if interrupted() and self.step < config.steps:
                        self._stop()
                return self._finish()
            except Stopped:
                self._stop()

    def _learn(self) -> None:
        began = time.perf_counter()
        config = self.recipe.train
        inputs, targets = self.batches(self.step)
        loss, norm = self.trainer.step(
            inputs, targets, config.rate(self.step), config.matrix_rate(self.step)
        )
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TinybuddyError(
                f"The loss is not finite at step {self.step + 1}: the checkpoint before it is kept "
                f"in {latest_checkpoint(self.run)}; train anew with a lower learning_rate."
            )
        self.step += 1
        self.train_seconds += time.perf_counter() - began
        self.losses.append(loss)
        self.norm = norm
        self.hooks.on_step(self.step, config.steps, loss, self._tokens_per_second())

    @contextmanager
    def _untimed(self) -> Iterator[None]:
        """Leave what is done here out of the processor's seconds."""
        began = time.process_time()
        try:
            yield
        finally:
            self.cpu_started += time.process_time() - began  # as if it had taken no time

    def _evaluate(self) -> None:
        with self._untimed():
            self._report()

    def _report(self) -> None:
        config = self.recipe.train
        loss = sum(self.losses) / len(self.losses)
        try:
            found = self._score(self.material.validation[: config.eval_stories])
        except Stopped:
            due = {"step": self.step, "loss": loss, "gradient_norm": self.norm}
            write_record(self.run, read_record(self.run) | {"due": due})
            raise
        model = Model(self._files(), self.trainer)
        row = {
            "step": self.step,
            "loss": loss,
            "bits_per_byte": found.bits_per_byte,
            "gradient_norm": self.norm,
            "learning_rate": config.rate(self.step - 1),
            "tokens_per_second": self._tokens_per_second(),
            "train_seconds": self.train_seconds,
            "seconds": time.monotonic() - self.started,
            "sample": model.generate(
                seed=config.seed, max_new_tokens=min(SAMPLE_TOKENS, self.context - 1)
            ),
        }
        self.losses = []
        append_metrics(self.run, row)
        write_text(self.run / "loss.svg", loss_chart(self.recipe, self.run, self.material.survey))
        self.hooks.on_evaluation(row, config.steps)

    def _evaluate_again(self) -> None:
        """Make up for an evaluation that Ctrl-C ended."""
        match read_record(self.run).get("due"):
            case {"step": self.step, "loss": float(loss), "gradient_norm": float(norm)}:
                self.losses, self.norm = [loss], norm
                self._evaluate()

    def _finish(self) -> Run:
        """Score all of the validation split, note facts of the text, and write the result."""
        cpu_seconds = time.process_time() - self.cpu_started
        found = self._score_all()
        total = len(self.material.validation)
        self.hooks.on_progress("noting the words of the text", 0, 0)
        write_facts(self.run / "facts.npz", derive(self.material.train()))
        result = {
            "bits_per_byte": found.bits_per_byte,
            "parameters": self.recipe.model.parameters,
            "seconds": time.monotonic() - self.started,
            "train_seconds": self.train_seconds,
            "cpu_seconds": cpu_seconds,
            "tokens_per_second": self._tokens_per_second(),
            "steps": self.step,
            "seed": self.recipe.train.seed,
            "validation_stories": total,
            "validation_bytes": found.bytes - total,
            "data": self.material.survey.source,
            **_places(self.run),
        }
        record = read_record(self.run) | {"result": result}
        record.pop("due", None)
        write_record(self.run, record)
        self.hooks.on_progress("done", 1, 1)
        return Run(self.run, result)

    def _stop(self) -> NoReturn:
        if self.step != self.saved_step:
            self._save()
        raise KeyboardInterrupt(  # said last of all, once the view has been closed
            f"stopped and saved after step {self.step}: go on with "
            f"tinybuddy resume {shlex.quote(str(self.run))}"
        )

    def _save(self) -> None:
        checkpoint = Checkpoint(
            self.step,
            time.monotonic() - self.started,
            self.train_seconds,
            time.process_time() - self.cpu_started,
            self._files(),
            self.trainer.state(),
        )
        save_checkpoint(self.run, checkpoint)
        self.saved, self.saved_step = time.monotonic(), self.step

    def _files(self) -> ModelFiles:
        weights = self.trainer.weights()
        return ModelFiles(self.recipe.model, weights, self.material.tokenizer, self.recipe.sample)

    def _score(self, stories: list[str], on_progress: Callable[[int], None] | None = None) -> Score:
        return score(self.trainer, self.material.tokenizer, self.context, stories, on_progress)

    def _score_all(self) -> Score:
        stories = self.material.validation
        total = len(stories)
        return self._score(
            stories, lambda done: self.hooks.on_progress("scoring all of validation", done, total)
        )

    def _tokens_per_second(self) -> float:
        tokens = self.step * self.recipe.train.batch_size * self.context
        return tokens / max(self.train_seconds, 1e-9)


def loss_chart(recipe: Recipe, run: Path, found: Survey) -> str:
    """Draw a run's curves, the recipe's expected one beside them, as SVG."""
    rows = read_metrics(run)
    bytes_per_token = found.bytes / max(1, read_record(run)["data"]["tokens"])
    to_bits = 1 / math.log(2) / bytes_per_token
    lines = {
        "validation": Line([(r["step"], r["bits_per_byte"]) for r in rows], "#2a7de1", width=3),
        "training": Line([(r["step"], r["loss"] * to_bits) for r in rows], "#8fb8e8"),
    }
    for name, curve in recipe.expected.items():
        if name.casefold() in found.source.casefold():
            points = list(zip(curve["steps"], curve["bits_per_byte"], strict=True))
            lines[f"expected on {name}"] = Line(points, "#e1812a", dash="6 4")
    size, source = recipe.model.parameters, short_source(found.source)
    title = f"{recipe.name}: {size:,} parameters on {source}"
    return line_chart(title, "steps", "bits per byte", lines)


def _places(run: Path) -> dict[str, str]:
    """Where a result lies, as the run was named now."""
    return {"run": str(run), "model": str(latest_checkpoint(run))}


def _record(run: Path, recipe: Recipe, material: Material) -> None:
    """Write what is needed to do the run again elsewhere."""
    if "data" in read_record(run):
        return
    write_record(
        run,
        {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": asdict(material.survey) | {"tokens": len(material.tokens)},
            "parameters": recipe.model.parameters,
            "seed": recipe.train.seed,
            "threads": recipe.train.threads,
            **provenance(recipe.train.uses_torch),
        },
    )


@contextmanager
def _deferred_interrupts(stop: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Let a first Ctrl-C or SIGTERM call ``stop``; a second one is at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event.is_set
        return

    def remember(number: int, frame: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()
        stop()
        print("Stopping ...", file=sys.stderr, flush=True)

    old = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event.is_set
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _absolute(place: str | Path) -> str:
    """Make what exists on disk independent of the current folder; ``tales`` is no path."""
    if place in ("auto", "tales", "-") or not Path(place).exists():
        return str(place)
    path = str(Path(place).resolve())
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
