"""The training loop: one for whatever computes it. It knows nothing of terminals or signals."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, cast

from tinybuddy.backends import open_backend
from tinybuddy.backends.interface import Backend, Stopped, Trainer
from tinybuddy.config import Recipe
from tinybuddy.corpus.statistics import write_statistics
from tinybuddy.disk import write_text
from tinybuddy.errors import TinybuddyError, counted
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.formats.runs import checkpoint_of, latest_checkpoint, name_of
from tinybuddy.generation.model import Model
from tinybuddy.progress import Hooks
from tinybuddy.scoring import Score, score
from tinybuddy.training.batches import Batches
from tinybuddy.training.chart import loss_chart
from tinybuddy.training.checkpoint import (
    Checkpoint,
    append_metrics,
    clear,
    is_run,
    load_checkpoint,
    mark_best,
    read_metadata,
    rewind_metrics,
    save_checkpoint,
    write_metadata,
    write_recipe,
)
from tinybuddy.training.dataset import Dataset, settled
from tinybuddy.training.provenance import provenance
from tinybuddy.training.quantized import open_any_trainer
from tinybuddy.training.run import Run, places
from tinybuddy.training.stop import Stop

SAVE_SECONDS = 60.0  # between checkpoints at most, however far apart the evaluations are
SAMPLE_TOKENS = 80


class DivergedError(TinybuddyError):
    """The loss is not finite any more."""


def fit(
    recipe: Recipe,
    dataset: Dataset,
    out: str | Path,
    hooks: Hooks | None = None,
    stop: Stop | None = None,
) -> Run:
    """Train a model, from wherever the run in ``out`` stands to its end.

    The same recipe and data give the same weights, however often the run was stopped.

    Args:
        recipe: what to train; its data is that of ``dataset``.
        dataset: from `prepare`.
        out: the run's directory, which nobody else writes meanwhile.
        hooks: called with the progress.
        stop: ends it soon.

    Raises:
        TinybuddyError: if the checkpoint is damaged or of another recipe or tokenizer, the back end
            is not there, or the folder cannot be written.
        DivergedError: if the loss is not finite.
        Stopped: if ``stop`` was called, once a checkpoint is saved.
    """
    out, hooks, recipe = Path(out), hooks or Hooks(), settled(recipe, dataset)
    clear(out)
    if not is_run(out):
        write_recipe(out, recipe)
    start = load_checkpoint(out)
    if start is None and recipe.train.from_model:
        start = Checkpoint(0, 0.0, 0.0, 0.0, read_model(Path(recipe.train.from_model)), {})
    if start is not None and recipe.model != start.files.config:
        raise TinybuddyError(f"The checkpoint in {out} is not of its recipe.toml: put that back.")
    if start is not None and start.files.tokenizer.to_json() != dataset.tokenizer.to_json():
        raise TinybuddyError(f"The model in {out} has another tokenizer than the data: begin anew.")
    _note_metadata(out, recipe, dataset)
    found = dataset.survey
    left_out = f", {counted(found.duplicates, 'duplicate')} left out" if found.duplicates else ""
    hooks.on_note(
        f"{recipe.name}: {recipe.model.parameters:,} parameters, "
        f"{counted(recipe.train.steps, 'step')} on {counted(found.stories, 'story', 'stories')} "
        f"({found.bytes:,} bytes, {len(dataset.tokens):,} tokens) of {found.source}; "
        f"{counted(found.validation_stories, 'story', 'stories')} to score{left_out}."
    )
    if "tales " not in found.source:
        hooks.on_note(found.layout())
    if warning := found.warning():
        hooks.on_note(warning)
    trainer = open_any_trainer(recipe, start)
    return _Loop(out, recipe, dataset, trainer, hooks, stop or Stop(), start).go()


class _Loop:
    """The loop, with what it carries from step to step."""

    def __init__(
        self,
        run: Path,
        recipe: Recipe,
        dataset: Dataset,
        trainer: Trainer,
        hooks: Hooks,
        stop: Stop,
        start: Checkpoint | None,
    ) -> None:
        self.run, self.recipe, self.dataset = run, recipe, dataset
        self.trainer, self.hooks, self.stop = trainer, hooks, stop
        self.step = start.step if start else 0
        self.train_seconds = start.train_seconds if start else 0.0
        # What came before, preparing the data included, counts as if it had been just now.
        before, cpu_before = (start.seconds, start.cpu_seconds) if start else (0.0, 0.0)
        self.started = time.monotonic() - before - dataset.seconds
        self.cpu_started = time.process_time() - cpu_before - dataset.cpu_seconds
        self.context = recipe.model.max_position_embeddings
        self.batches = Batches(dataset.tokens, recipe.train, self.context)
        self.losses: list[float] = []  # since the last evaluation
        self.rows: list[dict[str, Any]] = []  # of the evaluations
        self.before: float | None = None  # what the model that is gone on from got on these stories
        self.saved, self.saved_step = time.monotonic(), self.step or None

    def go(self) -> Run:
        config = self.recipe.train
        self.rows = rewind_metrics(self.run, self.step)
        match read_metadata(self.run).get("before"):
            case {"while_training": float(bits)}:
                self.before = bits
        if self.step:
            self.hooks.on_resume(self.step, config.steps, [row["loss"] for row in self.rows])
        self.stop.ends(self.trainer.stop)
        try:
            if self.step == 0:
                self._save()
                if config.from_model:
                    self._score_before()
            elif not self.rows or self.rows[-1]["step"] < self.step:
                self._evaluate_again()
            self._mark_best()
            worsening = self._is_worsening()
            while self.step < config.steps and not worsening:
                self._train_step()
                if self.step % config.eval_every == 0 or self.step == config.steps:
                    self._evaluate()
                    self._save()
                    self._mark_best()
                    worsening = self._is_worsening()
                elif time.monotonic() - self.saved > SAVE_SECONDS:
                    self._save()
                if self.stop.asked and self.step < config.steps:
                    self._end()
            return self._finish()
        except Stopped:
            self._end()

    def _score_before(self) -> None:
        """Note what the model that is gone on from gets, which may stay the best."""
        with self._untimed():
            whole = self._score_all().bits_per_byte
            some = self._score(self._few()).bits_per_byte
        name = name_of(Path(self.recipe.train.from_model))
        self.hooks.on_note(f"{name} gets {whole:.3f} bits per byte before.")
        before = {"bits_per_byte": whole, "while_training": some}
        write_metadata(self.run, read_metadata(self.run) | {"before": before})
        self.before = some

    def _few(self) -> list[str]:
        """Validation stories that are scored while training."""
        return self.dataset.validation[: self.recipe.train.eval_stories]

    def _best_step(self) -> int:
        """The step whose evaluation is best so far; that of the model gone on from counts."""
        scores = [(row["bits_per_byte"], row["step"]) for row in self.rows]
        if self.before is not None:
            scores.append((self.before, 0))
        return min(scores, default=(0.0, self.step))[1]

    def _mark_best(self) -> None:
        best = self._best_step()
        if self.rows and checkpoint_of(self.run, best).exists():
            mark_best(self.run, best)

    def _is_worsening(self) -> bool:
        """Whether as many evaluations as `patience` says have not been better than the best."""
        patience = self.recipe.train.patience
        if not patience:
            return False
        best = self._best_step()
        return patience <= len([row for row in self.rows if row["step"] > best])

    def _is_still_falling(self) -> bool:
        """Whether the last quarter of the evaluations took off 2 % of the bits."""
        bits = [row["bits_per_byte"] for row in self.rows]
        return len(bits) >= 8 and bits[-1] < 0.98 * bits[-1 - len(bits) // 4]

    def _train_step(self) -> None:
        began = time.perf_counter()
        config = self.recipe.train
        inputs, targets = self.batches(self.step)
        loss, norm = self.trainer.step(
            inputs, targets, config.rate(self.step), config.matrix_rate(self.step)
        )
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DivergedError(
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
            found = self._score(self._few())
        except Stopped:
            due = {"step": self.step, "loss": loss, "gradient_norm": self.norm}
            write_metadata(self.run, read_metadata(self.run) | {"due": due})
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
        self.rows.append(row)
        append_metrics(self.run, row)
        self._draw()
        self.hooks.on_evaluation(row, config.steps)

    def _draw(self) -> None:
        """Draw the curve, which nobody needs to go on: what goes wrong with it is said."""
        try:
            chart = loss_chart(
                self.recipe, self.rows, self.dataset.survey, len(self.dataset.tokens)
            )
            write_text(self.run / "loss.svg", chart)
        except (ArithmeticError, ValueError, LookupError, TinybuddyError) as error:
            self.hooks.on_note(f"The chart could not be drawn ({error}).")

    def _evaluate_again(self) -> None:
        """Make up for an evaluation that `Stop` ended."""
        match read_metadata(self.run).get("due"):
            case {"step": self.step, "loss": float(loss), "gradient_norm": float(norm)}:
                self.losses, self.norm = [loss], norm
                self._evaluate()

    def _finish(self) -> Run:
        """Score all of the validation split, note statistics of the text, and write the result."""
        cpu_seconds = time.process_time() - self.cpu_started
        best, total = self._best_step(), len(self.dataset.validation)
        if best != self.step:
            early = "" if self.step == self.recipe.train.steps else ", where it ends early"
            self.hooks.on_note(
                f"It was best after step {best:,}, and that is handed over; after step "
                f"{self.step:,}{early}, it was not better. `latest` is for tinybuddy resume."
            )
        elif self._is_still_falling():
            self.hooks.on_note(
                "It was still getting better: it may be worth more steps, with tinybuddy resume "
                f"{shlex.quote(str(self.run))} --steps {2 * self.step}."
            )
        found = self._score_all(best)
        self.hooks.on_progress("counting the words of the text", 0, 0)
        write_statistics(self.run / "facts.npz", self.dataset.statistics)
        result = {
            "bits_per_byte": found.bits_per_byte,
            "parameters": self.recipe.model.parameters,
            "seconds": time.monotonic() - self.started,
            "train_seconds": self.train_seconds,
            "cpu_seconds": cpu_seconds,
            "tokens_per_second": self._tokens_per_second(),
            "steps": self.step,
            "best_step": best,
            "bits_per_byte_error": found.standard_error,
            "seed": self.recipe.train.seed,
            "validation_stories": total,
            "validation_bytes": found.bytes - total,
            "data": self.dataset.survey.source,
            **places(self.run),
        }
        record = read_metadata(self.run)
        if "before" in record:
            result["before"] = record["before"]["bits_per_byte"]
        record["result"] = result
        record.pop("due", None)
        write_metadata(self.run, record)
        self.hooks.on_progress("done", 1, 1)
        return Run(self.run, result)

    def _end(self) -> NoReturn:
        if self.step != self.saved_step:
            self._save()
        raise Stopped(  # said last of all, once the view has been closed
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
        return ModelFiles(self.recipe.model, weights, self.dataset.tokenizer, self.recipe.sample)

    def _score(self, stories: list[str]) -> Score:
        return score(self.trainer, self.dataset.tokenizer, self.context, stories)

    def _score_all(self, step: int | None = None) -> Score:
        """Score all of validation, by the model as it is or as it was after another step."""
        stories, backend = self.dataset.validation, cast(Backend, self.trainer)
        if step not in (None, self.step):
            files, train = read_model(checkpoint_of(self.run, step or 0)), self.recipe.train
            name = "torch" if train.uses_torch else "engine"
            backend = open_backend(files.config, files.weights, train.threads, name)
        total = len(stories)
        return score(
            backend,
            self.dataset.tokenizer,
            self.context,
            stories,
            lambda done: self.hooks.on_progress("scoring all of validation", done, total),
        )

    def _tokens_per_second(self) -> float:
        tokens = self.step * self.recipe.train.batch_size * self.context
        return tokens / max(self.train_seconds, 1e-9)


def _note_metadata(run: Path, recipe: Recipe, dataset: Dataset) -> None:
    """Write what is needed to do the run again elsewhere."""
    if "data" in read_metadata(run):
        return
    write_metadata(
        run,
        {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "data": dataset.survey.facts() | {"tokens": len(dataset.tokens)},
            "parameters": recipe.model.parameters,
            "seed": recipe.train.seed,
            "threads": recipe.train.threads,
            **provenance(recipe.train.uses_torch),
        },
    )
