"""The search: Optuna proposes and prunes, a pool trains, and this alone talks to both.

Of each budget there is an Optuna study of its own. A trial is trained from rung to rung; after each
it goes on, or is pruned. What a run has come to is kept in ``states`` between rungs, and a line in
``runs.jsonl`` is written before Optuna is told, so that a kill at any moment loses no more than
what was trained since the last rung. A run is known by its budget, the fingerprint of its recipe
and its seed: what has ended is not trained again, however often it is proposed.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from tinybuddy.config import Recipe
from tinybuddy.corpus import empty
from tinybuddy.disk import read_bytes, write_bytes
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.evaluation.evidence import Evidence, evidence_of
from tinybuddy.frontier import jobs, results
from tinybuddy.frontier.pools import Pool, WorkerLostError
from tinybuddy.frontier.progress import BudgetProgress, StudyHooks
from tinybuddy.frontier.shapes import fitted
from tinybuddy.frontier.study import Choice, Range, Study
from tinybuddy.training.dataset import Dataset
from tinybuddy.training.loop import DivergedError

ATTEMPTS = 3  # of a job whose worker ends: a machine may be lost, but not through the job
PROPOSALS = 1_000  # asked for until one fits
UNGUIDED = 5  # proposals of a budget, the first ones, that do not look at the others
FINAL_PARTS = 8  # after each of which a final run is kept
MAX_STATE_BYTES = 1_000_000_000
TOKENIZER = ("vocab_size", "tokenizer", "alphabet", "alphabet_min_count", "suffixes")


@dataclass
class _Run:
    """A run that has not ended."""

    budget: _Budget
    recipe: Recipe
    parts: list[int]  # steps after which it is looked at, the last ones first
    trial: optuna.trial.Trial | None  # None of a final run
    trained: jobs.Trained | None = None
    attempts: int = 0

    @property
    def id(self) -> results.Id:
        return self.budget.size, self.recipe.fingerprint(), self.recipe.train.seed

    @property
    def name(self) -> str:
        return _name(self.id)


class _Budget:
    """One budget: its Optuna study, and how far it has come."""

    def __init__(
        self, study: Study, name: str, size: int, storage: optuna.storages.BaseStorage
    ) -> None:
        self.size = size
        self.optuna = optuna.create_study(
            study_name=f"{name}-{size}",
            storage=storage,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=UNGUIDED),
        )
        known = self.optuna.get_trials(deepcopy=False)
        self.optuna.sampler = optuna.samplers.TPESampler(
            # With one seed a resumed study would draw again what it drew at first.
            seed=study.seed + size + len(known),
            n_startup_trials=UNGUIDED,
            constant_liar=True,
        )
        for trial in known:
            if trial.state is TrialState.RUNNING:  # a kill left it: it is proposed again
                self.optuna.tell(trial.number, state=TrialState.FAIL)
                self.optuna.enqueue_trial(trial.params)
        if not known:
            for proposal in study.start:
                self.optuna.enqueue_trial(dict(proposal))
        self.known = bool(known)
        self.asked = sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in known)
        self.progress = BudgetProgress(size, study.trials, len(study.final_seeds), self.asked)


class Search:
    """A study at work in a folder.

    Args:
        study: what is searched.
        name: of the study in Optuna's database, which others may share.
        folder: of the study.
        dataset: from `tinybuddy.training.dataset.prepare`, held.
        pool: that trains.
        storage: Optuna's database.
        hooks: called with the progress.

    Raises:
        TinybuddyError: if the folder and Optuna's database are not of the same study, or data are
            too small for a scorecard.
    """

    def __init__(
        self,
        study: Study,
        name: str,
        folder: Path,
        dataset: Dataset,
        pool: Pool,
        storage: optuna.storages.BaseStorage,
        hooks: StudyHooks,
    ) -> None:
        self.study, self.folder, self.pool = study, folder, pool
        self.hooks = hooks
        self.file = folder / "runs.jsonl"
        self.rows = {results.id_of(row): row for row in results.read(self.file)}
        self.distributions = {k: _distribution(choice) for k, choice in study.space.items()}
        self.running: dict[str, _Run] = {}
        self.finals: list[_Run] = []
        _ = dataset.statistics  # once for all tokenizers
        self.stories = pool.share(dataset)
        self.dataset = dataset.but(corpus=empty(dataset.corpus))  # training needs no text
        # By tokenizer what was brought to the workers, and the runs that wait for it.
        self.datasets = {_tokenizer_of(study.recipe): pool.share(self.dataset)}
        self.waiting: dict[Any, list[_Run]] = {}
        # First of all, since a text may be too small for it.
        self.evidence = pool.share(self._evidence(dataset)) if study.final_seeds else None
        self.budgets = [_Budget(study, name, size, storage) for size in study.budgets]
        self._check()
        for budget in self.budgets:
            self._note_best(budget)
            self._begin_finals(budget)

    def go(self) -> list[dict[str, Any]]:
        """Bring the study from wherever it stands to its end; return the rows of all runs."""
        results.rewrite(self.file, self.rows.values())  # without what a kill cut off
        for id in self.rows:
            self._state(_name(id)).unlink(missing_ok=True)
        self._show()
        while True:
            while len(self.running) < self.pool.workers() and (run := self._next()):
                self._submit(run)
            if not self.running:
                return list(self.rows.values())
            for name, outcome in self.pool.wait().items():
                self._take(self.running.pop(name), outcome)
                self._show()

    def _check(self) -> None:
        """Raise where one of the two that know of the trials has been lost."""
        if self.rows and not any(budget.known for budget in self.budgets):
            raise TinybuddyError(
                f"Optuna's database knows none of the {len(self.rows):,} runs in {self.file}: give "
                "the `storage` that the study began with."
            )
        if not self.rows and any(budget.asked for budget in self.budgets):
            raise TinybuddyError(
                f"{self.file} lacks the runs that Optuna's database knows of: put it back, or "
                "begin another study."
            )

    def _next(self) -> _Run | None:
        """The run to begin now: a final one, or a trial of the budget that has had fewest."""
        if self.finals:  # the largest first, which take longest
            self.finals.sort(key=lambda run: run.budget.size)
            return self.finals.pop()
        for budget in sorted(self.budgets, key=lambda b: (b.asked, -b.size)):
            if budget.asked < self.study.trials and (trial := self._propose(budget)):
                return trial
        # Proposals that were all known may have ended a budget just now.
        return self._next() if self.finals else None

    def _propose(self, budget: _Budget) -> _Run | None:
        """Ask for a trial until one is new.

        Returns:
            None where enough that are known were proposed, or one that another worker trains.
        """
        study, reason = self.study, ""
        for _ in range(PROPOSALS):
            trial = budget.optuna.ask(self.distributions)
            try:
                recipe = fitted(study.recipe, trial.params, budget.size)
            except UsageError as error:  # values that do not go together
                recipe, reason = None, f" ({str(error).rstrip('.')})"
            if recipe is None:
                budget.optuna.tell(trial, state=TrialState.FAIL)
                continue
            recipe = recipe.with_settings(
                {"steps": study.rungs[-1], "eval_every": study.rungs[0], "seed": study.seed}
            )
            run = _Run(budget, recipe, [*reversed(study.rungs)], trial)
            if run.name in self.running:
                budget.optuna.tell(trial, state=TrialState.FAIL)
                return None
            budget.asked += 1
            if (row := self.rows.get(run.id)) is None:
                return self._restored(run)
            self._tell(run, row)
            if budget.asked == study.trials:
                return None
        raise TinybuddyError(
            f"None of {PROPOSALS:,} proposals was a shape of {budget.size:,} parameters{reason}: "
            "widen the space of the study."
        )

    def _restored(self, run: _Run) -> _Run:
        """Go on from what a run had come to before the study was stopped."""
        path = self._state(run.name)
        if not path.exists():
            return run
        try:
            run.trained = jobs.open_trained(read_bytes(path, MAX_STATE_BYTES))
        except (zipfile.BadZipFile, TinybuddyError):
            self.hooks.on_note(f"{path} is damaged: the run is trained from its beginning.")
            return run
        for row in run.trained.rows:
            if run.parts and row["step"] == run.parts[-1]:
                run.parts.pop()
                if run.trial:
                    run.trial.report(row["bits_per_byte"], row["step"])
        return run

    def _state(self, name: str) -> Path:
        return self.folder / "states" / f"{name}.zip"

    def _submit(self, run: _Run) -> None:
        self.running[run.name] = run
        before = run.trained.run if run.trained else b""
        tokenizer = _tokenizer_of(run.recipe)
        if not run.parts:
            self.pool.submit(run.name, jobs.score, run.name, before, self.evidence)
        elif dataset := self.datasets.get(tokenizer):
            self.pool.submit(run.name, jobs.train, run.recipe, dataset, run.parts[-1], before)
        elif self.waiting.setdefault(tokenizer, [run])[0] is run:  # the first trains it for all
            self.pool.submit(run.name, jobs.tokenize, run.recipe, self.stories)
        else:
            self.waiting[tokenizer].append(run)

    def _tokenized(self, run: _Run, found: jobs.Tokenized) -> None:
        """Bring a tokenizer to the workers, and go on with the runs that have waited for it."""
        tokenizer = _tokenizer_of(run.recipe)
        for note in found.notes:
            self.hooks.on_note(note)
        self.datasets[tokenizer] = self.pool.share(self.dataset.but(**found.changes))
        for each in self.waiting.pop(tokenizer):
            self._submit(each)

    def _evidence(self, dataset: Dataset) -> Evidence:
        """What final runs are judged by."""
        return evidence_of(
            dataset.corpus,
            dataset.survey,
            lambda what, part: self.hooks.on_progress(what, int(100 * part), 100),
        )

    def _take(self, run: _Run, outcome: Any) -> None:
        """Go on with what a job returned, or raised."""
        match outcome:
            case WorkerLostError() if run.attempts + 1 < ATTEMPTS:
                run.attempts += 1
                self.hooks.on_note(f"The worker of {run.name} has ended: it is trained again.")
                self._submit(run)
            case WorkerLostError():
                raise TinybuddyError(
                    f"The worker of {run.name} has ended {ATTEMPTS} times, perhaps for want of "
                    "memory: give fewer workers, and resume the study."
                )
            case jobs.Tokenized():
                run.attempts = 0
                self._tokenized(run, outcome)
            case jobs.Trained():
                run.trained, run.attempts = outcome, 0
                run.parts.pop()
                self._trained(run, outcome)
            case DivergedError():
                self.hooks.on_note(f"{run.name}: {outcome}")
                self._end(run, "failed")
            case BaseException():
                raise outcome
            case scorecard:
                self._end(run, "final", scorecard)

    def _trained(self, run: _Run, trained: jobs.Trained) -> None:
        row = trained.rows[-1]
        if run.trial:
            run.trial.report(row["bits_per_byte"], row["step"])
        if run.trial and not run.parts:
            self._end(run, "trial")
        elif run.trial and run.trial.should_prune():
            self._end(run, "pruned")
        else:
            write_bytes(self._state(run.name), trained.run)
            self._submit(run)

    def _end(self, run: _Run, kind: str, more: dict[str, Any] | None = None) -> None:
        """Write the line of a run, then tell Optuna."""
        trained = run.trained or jobs.Trained([], {}, b"")
        row = results.row_of(self.study.name, kind, run.budget.size, run.recipe, trained) | (
            more or {}
        )
        if kind == "final":
            jobs.unpack(trained.run, self.folder / "models" / run.name)
        results.append(self.file, row)
        self.rows[run.id] = row
        self._state(run.name).unlink(missing_ok=True)
        self._tell(run, row)

    def _tell(self, run: _Run, row: results.Row) -> None:
        budget = run.budget
        if run.trial:
            if row["kind"] == "trial":
                budget.optuna.tell(run.trial, results.compared_bits_of(row))
            else:
                budget.optuna.tell(run.trial, state=TrialState.PRUNED)
            budget.progress.trials += 1
            self._begin_finals(budget)
        self._note_best(budget)

    def _note_best(self, budget: _Budget) -> None:
        """Bring up to date what is shown of a budget."""
        rows = [row for row in self.rows.values() if row["budget"] == budget.size]
        trials = [row for row in rows if row["kind"] == "trial"]
        finals = [row for row in rows if row["kind"] == "final"]
        progress = budget.progress
        progress.finals, progress.verdicts = (
            len(finals),
            [row.get("speaks_english") for row in finals],
        )
        progress.bits = []
        for row in trials + finals:
            progress.bits.append(min([results.compared_bits_of(row), *progress.bits[-1:]]))
        if trials:
            progress.shape = results.shape_of(min(trials, key=results.compared_bits_of))

    def _begin_finals(self, budget: _Budget) -> None:
        """Once all trials of a budget have ended, train the best in full, with each seed."""
        study = self.study
        if budget.progress.trials < study.trials:
            return
        rows = (row for row in self.rows.values() if row["budget"] == budget.size)
        trials = [row for row in rows if row["kind"] == "trial"]
        if not trials:
            self.hooks.on_note(f"No trial of {budget.size:,} parameters came to its end.")
            return
        best = results.recipe_of(min(trials, key=results.compared_bits_of), study.recipe)
        part = -(-study.final_steps // FINAL_PARTS)
        for seed in study.final_seeds:
            recipe = best.with_settings(
                {"steps": study.final_steps, "eval_every": part, "seed": seed}
            )
            parts = [study.final_steps, *reversed(range(part, study.final_steps, part))]
            run = _Run(budget, recipe, parts, None)
            if run.id not in self.rows:
                self.finals.append(self._restored(run))

    def _show(self) -> None:
        self.hooks.on_study([budget.progress for budget in self.budgets], self._done())

    def _done(self) -> float:
        """Which part of all work is done; a step is taken to cost what its parameters do."""
        study, done, total = self.study, 0.0, 0.0
        for budget in self.budgets:
            step = budget.size + 20_000  # of 2,000 parameters it costs a tenth of one of 200,000
            progress = budget.progress
            total += step * study.trials * study.rungs[-1]
            total += step * len(study.final_seeds) * study.final_steps
            done += step * progress.trials * study.rungs[-1]
            done += step * progress.finals * study.final_steps
        for run in self.running.values():
            if run.trained and run.trained.rows:
                done += (run.budget.size + 20_000) * run.trained.rows[-1]["step"]
        return done / total


def _name(id: results.Id) -> str:
    """Of a run, for people and files."""
    budget, fingerprint, seed = id
    return f"{budget}-{fingerprint[:12]}-{seed}"


def _tokenizer_of(recipe: Recipe) -> tuple[Any, ...]:
    """What decides a tokenizer."""
    values = {**vars(recipe.model), **vars(recipe.train)}
    return tuple(values[name] for name in TOKENIZER)


def _distribution(choice: Choice) -> BaseDistribution:
    match choice:
        case Range(int(low), int(high), log):
            return IntDistribution(low, high, log)
        case Range(low, high, log):
            return FloatDistribution(low, high, log)
        case values:
            return CategoricalDistribution(values)
