"""The search goes on from wherever it was ended: no run is lost, and none counts twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.frontier import made
from tests.frontier.conftest import HerePool
from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.references import open_model
from tinybuddy.frontier import results
from tinybuddy.frontier.pools import WorkerLostError
from tinybuddy.frontier.progress import BudgetProgress, StudyHooks
from tinybuddy.frontier.search import ATTEMPTS, Search
from tinybuddy.frontier.study import Range, Study
from tinybuddy.training.dataset import Dataset, prepare
from tinybuddy.training.loop import DivergedError, fit
from tinybuddy.training.run import Run


class KilledError(Exception):
    """Stands for the end of the process that searches."""


# Taking the scorecard lasts as long as all else: most studies here have no final runs.
@pytest.fixture(scope="module")
def dataset(study: Study) -> Dataset:
    return prepare(study.recipe)


def search(
    study: Study, folder: Path, dataset: Dataset, pool: HerePool, hooks: StudyHooks | None = None
) -> list[dict[str, Any]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(exist_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'optuna.sqlite'}")
    return Search(study, study.name, folder, dataset, pool, storage, hooks or StudyHooks()).go()


def check(study: Study, folder: Path, rows: list[dict[str, Any]]) -> None:
    """Each budget has had its trials, and its best has been trained with each seed."""
    assert results.read(folder / "runs.jsonl") == rows
    assert len({*map(results.id_of, rows)}) == len(rows)
    assert not [*folder.glob("states/*")]
    storage = f"sqlite:///{folder / 'optuna.sqlite'}"
    for budget in study.budgets:
        own = [row for row in rows if row["budget"] == budget]
        trials = [row for row in own if row["kind"] in ("trial", "pruned")]
        assert all(row["parameters"] <= budget for row in own)
        found = optuna.load_study(study_name=f"{study.name}-{budget}", storage=storage).trials
        states = Counter(trial.state.name for trial in found)
        assert states["COMPLETE"] + states["PRUNED"] == study.trials == len(trials)
        assert not states["RUNNING"] and not states["WAITING"]
        told = sorted(trial.value for trial in found if trial.state.name == "COMPLETE")
        whole = [row for row in trials if row["kind"] == "trial"]
        assert told == sorted(row["bits_while_training"] for row in whole)
        best = min(whole, key=results.compared_bits_of)
        finals = [row for row in own if row["kind"] == "final"]
        assert sorted(row["seed"] for row in finals) == [*study.final_seeds]
        for row in finals:
            assert (row["steps"], row["model"]) == (study.final_steps, best["model"])
            assert row["speaks_english"] is False
            (run,) = folder.glob(f"models/*{row['fingerprint'][:12]}-{row['seed']}")
            assert open_model(run).config.parameters == row["parameters"]


def test_a_study_comes_to_its_end(study: Study, dataset: Dataset, tmp_path: Path):
    study = replace(study, final_seeds=(0, 1))
    seen: list[tuple[float, list[int]]] = []

    class Seen(StudyHooks):
        def on_study(self, budgets: Any, done: float) -> None:
            seen.append((done, [found.trials + found.finals for found in budgets]))

    rows = search(study, tmp_path / "a", dataset, HerePool(2), Seen())
    check(study, tmp_path / "a", rows)
    done = [part for part, _ in seen]
    assert done == sorted(done) and (done[0], done[-1]) == (0.0, 1.0)
    assert seen[-1][1] == [6, 6]
    again = HerePool()
    assert search(study, tmp_path / "a", dataset, again) == rows
    assert again.jobs == 0


def test_a_row_makes_the_same_weights_again(study: Study, dataset: Dataset, tmp_path: Path):
    rows = search(study, tmp_path / "a", dataset, HerePool())
    row = next(row for row in rows if row["kind"] == "trial")
    recipe = results.recipe_of(row, study.recipe)
    assert recipe.fingerprint() == row["fingerprint"]
    run = fit(recipe, dataset, tmp_path / "again")
    assert run.result["bits_per_byte"] == row["bits_per_byte"]


@settings(max_examples=6)
@given(kills=st.lists(st.integers(1, 9), max_size=4), workers=st.integers(1, 3))
@example(kills=[1, 3], workers=1)  # the second proposal was drawn again
def test_it_may_be_killed_at_any_job(
    study: Study,
    dataset: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
    kills: list[int],
    workers: int,
):
    study = replace(study, budgets=(3_000,), final_seeds=())
    folder = tmp_path_factory.mktemp("killed") / "study"
    known: list[dict[str, Any]] = []
    for kill in kills:

        def on_job(job: int, kill: int = kill) -> None:
            if job == kill:
                raise KilledError

        try:
            search(study, folder, dataset, HerePool(workers, on_job))
        except KilledError:
            rows = results.read(folder / "runs.jsonl")
            assert rows[: len(known)] == known
            known = rows
    rows = search(study, folder, dataset, HerePool(workers))
    assert rows[: len(known)] == known
    check(study, folder, rows)


def test_a_tokenizer_is_trained_by_one_worker_for_all(
    study: Study, dataset: Dataset, tmp_path: Path
):
    given: list[str] = []

    class Counting(HerePool):
        def submit(self, key: str, function: Any, *arguments: Any) -> None:
            given.append(function.__name__)
            super().submit(key, function, *arguments)

    def on_job(job: int) -> None:
        if job == 1:
            raise WorkerLostError  # the tokenizer is then trained again, while others wait for it

    study = replace(study, space={**study.space, "vocab_size": (310, 320)}, final_seeds=())
    rows = search(study, tmp_path / "a", dataset, Counting(3, on_job))
    check(study, tmp_path / "a", rows)
    assert given[0] == "tokenize"
    tokenizers = {row["model"]["vocab_size"] for row in rows}
    assert given.count("tokenize") == len(tokenizers) + 1
    row = next(row for row in rows if row["kind"] == "trial")
    recipe = results.recipe_of(row, study.recipe)
    alone = fit(recipe, prepare(recipe), tmp_path / "alone")
    assert alone.result["bits_per_byte"] == row["bits_per_byte"]


@pytest.mark.parametrize("told", [0, 3])  # of four: after the last, final runs are to begin
def test_a_kill_between_the_line_and_optuna_counts_once(
    study: Study, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: int
):
    study = replace(study, budgets=(3_000,), final_seeds=(0,))
    tell, left = Search._tell, [told]

    def killed(self: Search, run: Any, row: Any) -> None:
        if not left[0]:
            raise KilledError
        left[0] -= 1
        tell(self, run, row)

    with monkeypatch.context() as patch:
        patch.setattr(Search, "_tell", killed)
        with pytest.raises(KilledError):
            search(study, tmp_path / "a", dataset, HerePool())
    known = results.read(tmp_path / "a" / "runs.jsonl")
    assert len(known) == told + 1
    state = tmp_path / "a" / "states" / f"3000-{known[-1]['fingerprint'][:12]}-0.zip"
    state.write_bytes(b"left by a kill before it was removed")
    rows = search(study, tmp_path / "a", dataset, HerePool())
    assert rows[: len(known)] == known
    check(study, tmp_path / "a", rows)


@pytest.mark.parametrize("workers", [1, 4])
def test_fewer_shapes_than_trials_come_to_an_end(
    study: Study, dataset: Dataset, tmp_path: Path, workers: int
):
    """Budgets so close that the same models are the widest of both, too."""
    few = replace(
        study,
        budgets=(6_000, 6_001),
        space={"num_hidden_layers": Range(1, 2)},
        start=(),
        final_seeds=(0,),
    )
    rows = search(few, tmp_path / "a", dataset, HerePool(workers))
    kinds = Counter((row["budget"], row["kind"]) for row in rows)
    assert kinds[6_000, "final"] == kinds[6_001, "final"] == 1
    assert all(1 <= kinds[size, "trial"] + kinds[size, "pruned"] <= 2 for size in few.budgets)
    assert {row["fingerprint"] for row in rows if row["budget"] == 6_000} & {
        row["fingerprint"] for row in rows if row["budget"] == 6_001
    }
    again = HerePool(workers)
    assert search(few, tmp_path / "a", dataset, again) == rows
    assert again.jobs == 0


def test_values_that_do_not_go_together_are_not_tried(
    study: Study, dataset: Dataset, tmp_path: Path
):
    space = {**study.space, "vocab_size": (128, 300), "tokenizer": ("bpe", "unigram")}
    mixed = replace(study, space=space, start=({"vocab_size": 128, "tokenizer": "bpe"},))
    rows = search(mixed, tmp_path / "a", dataset, HerePool(2))
    check(mixed, tmp_path / "a", rows)
    kinds = {(r["train"].get("tokenizer", "bpe"), r["model"]["vocab_size"]) for r in rows}
    assert kinds and ("bpe", 128) not in kinds
    only = replace(mixed, space={**study.space, "vocab_size": (128,)}, start=())
    with pytest.raises(TinybuddyError, match="vocab_size 128 is too small for byte-level BPE"):
        search(only, tmp_path / "b", dataset, HerePool())


def test_a_state_that_is_damaged_is_trained_again(study: Study, dataset: Dataset, tmp_path: Path):
    def on_job(job: int) -> None:
        if job == 4:
            raise KilledError

    folder, notes = tmp_path / "a", []

    class Said(StudyHooks):
        def on_note(self, text: str) -> None:
            notes.append(text)

    with pytest.raises(KilledError):
        search(study, folder, dataset, HerePool(2, on_job))
    states = [*folder.glob("states/*")]
    assert states
    for state in states:
        state.write_bytes(state.read_bytes()[:100])
    check(study, folder, search(study, folder, dataset, HerePool(), Said()))
    assert sum("is damaged: the run is trained from its beginning" in n for n in notes) == len(
        states
    )


def test_what_was_lost_is_said(study: Study, dataset: Dataset, tmp_path: Path):
    folder, one = tmp_path / "a", replace(study, budgets=(3_000,))
    rows = search(one, folder, dataset, HerePool())
    runs, database = folder / "runs.jsonl", folder / "optuna.sqlite"
    runs.rename(folder / "elsewhere")
    with pytest.raises(TinybuddyError, match="lacks the runs that Optuna's database knows of"):
        search(one, folder, dataset, HerePool())
    (folder / "elsewhere").rename(runs)
    for file in folder.glob("optuna.sqlite*"):
        file.rename(folder / file.name.replace("optuna", "other"))
    with pytest.raises(TinybuddyError, match="knows none of the 4 runs"):
        search(one, folder, dataset, HerePool())
    for file in folder.glob("other.sqlite*"):
        file.replace(folder / file.name.replace("other", "optuna"))
    assert database.exists() and search(one, folder, dataset, HerePool()) == rows


@pytest.mark.parametrize(
    "change",
    [
        {"bits_while_training": None},
        {"kind": "final", "speaks_english": "perhaps"},
        {"model": {"vocab_size": "x"}},
        {"model": []},
        {"seed": "0"},
        {"train": None},
    ],
)
def test_a_line_that_is_no_run_is_said(
    study: Study, dataset: Dataset, tmp_path: Path, change: dict[str, Any]
):
    path = made.written(
        tmp_path / "a" / "runs.jsonl", [made.row(8, 2.0), made.row(16, 1.5) | change]
    )
    before = path.read_bytes()
    with pytest.raises(TinybuddyError, match=r"Line 2 of .*runs.jsonl is no run of a study"):
        search(study, tmp_path / "a", dataset, HerePool())
    assert path.read_bytes() == before


def test_a_line_that_was_cut_off_is_trained_again(study: Study, dataset: Dataset, tmp_path: Path):
    one = replace(study, budgets=(3_000,), final_seeds=())
    rows = search(one, tmp_path / "a", dataset, HerePool())
    path = tmp_path / "a" / "runs.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert results.read(path) == rows[:-1]
    assert search(one, tmp_path / "a", dataset, HerePool()) == rows[:-1]  # Optuna knows of it


def test_a_worker_that_ends_has_its_job_done_again(study: Study, dataset: Dataset, tmp_path: Path):
    def on_job(job: int) -> None:
        if job % 3 == 1:
            raise WorkerLostError

    rows = search(study, tmp_path / "a", dataset, HerePool(2, on_job))
    check(study, tmp_path / "a", rows)


def test_a_worker_that_always_ends_is_said(study: Study, dataset: Dataset, tmp_path: Path):
    def on_job(job: int) -> None:
        raise WorkerLostError

    pool = HerePool(1, on_job)
    with pytest.raises(TinybuddyError, match="has ended 3 times"):
        search(study, tmp_path / "a", dataset, pool)
    assert pool.jobs == ATTEMPTS


def test_runs_that_diverge_are_left_out(study: Study, dataset: Dataset, tmp_path: Path):
    class Diverging(HerePool):
        def wait(self) -> dict[str, Any]:
            key = next(iter(self.waiting))
            if self.jobs < 2:
                self.jobs += 1
                del self.waiting[key]
                return {key: DivergedError("The loss is not finite.")}
            return super().wait()

    rows = search(study, tmp_path / "a", dataset, Diverging())
    assert Counter(row["kind"] for row in rows)["failed"] == 2
    assert search(study, tmp_path / "a", dataset, HerePool()) == rows


def test_what_cannot_be_written_ends_it_and_loses_nothing(
    study: Study, dataset: Dataset, tmp_path: Path
):
    folder = tmp_path / "a"
    (folder / "states").mkdir(parents=True)

    def on_job(job: int) -> None:
        if job == 5:
            (folder / "states").rename(folder / "elsewhere")
            (folder / "states").write_text("no folder", encoding="utf-8")

    with pytest.raises(TinybuddyError, match=r"Cannot write .*states"):
        search(study, folder, dataset, HerePool(1, on_job))
    known = results.read(folder / "runs.jsonl")
    (folder / "states").unlink()
    (folder / "elsewhere").rename(folder / "states")
    rows = search(study, folder, dataset, HerePool())
    assert rows[: len(known)] == known
    check(study, folder, rows)


def test_progress_names_the_best(study: Study, dataset: Dataset, tmp_path: Path):
    last: list[BudgetProgress] = []

    class Last(StudyHooks):
        def on_study(self, budgets: Any, done: float) -> None:
            last[:] = budgets

    rows = search(study, tmp_path / "a", dataset, HerePool(), Last())
    for found in last:
        own = [row for row in rows if row["budget"] == found.budget]
        assert min(found.bits) == min(
            results.compared_bits_of(r) for r in own if r["kind"] != "pruned"
        )
        assert found.bits == sorted(found.bits, reverse=True)


def test_a_run_is_what_fit_gives(study: Study, dataset: Dataset, tmp_path: Path):
    """In three parts, through archives, it comes to the same bytes as at once."""
    from tinybuddy.frontier import jobs

    recipe = study.recipe.with_settings({"steps": 12, "eval_every": 4})
    first = jobs.train(recipe, dataset, 4)
    assert [row["step"] for row in first.rows] == [4] and "result" not in first.record
    second = jobs.train(recipe, dataset, 8, first.run)
    third = jobs.train(recipe, dataset, 12, second.run)
    whole = fit(recipe, dataset, tmp_path / "whole")
    assert third.record["result"]["bits_per_byte"] == whole.result["bits_per_byte"]
    jobs.unpack(third.run, tmp_path / "parts")
    parts = Run(tmp_path / "parts", {})
    assert parts.model.parameters == whole.model.parameters
    weights = "checkpoints/000012/model.safetensors"
    assert (tmp_path / "parts" / weights).read_bytes() == (
        tmp_path / "whole" / weights
    ).read_bytes()
