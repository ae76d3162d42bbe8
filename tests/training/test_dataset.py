"""Data prepared once, for any number of runs, in this process or another."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SMALL
from tinybuddy.backends.interface import Stopped
from tinybuddy.config import Recipe
from tinybuddy.errors import TinybuddyError
from tinybuddy.progress import Hooks
from tinybuddy.training.dataset import Dataset, prepare
from tinybuddy.training.loop import Run, Stop, fit
from tinybuddy.training.session import train


@pytest.fixture(scope="module")
def recipe(story_file: Path) -> Recipe:
    return Recipe().with_settings(SMALL | {"data": str(story_file)})


@pytest.fixture(scope="module")
def dataset(recipe: Recipe) -> Dataset:
    return prepare(recipe)


def _weights(run: Run) -> str:
    return hashlib.sha256(
        (Path(run.result["model"]) / "model.safetensors").read_bytes()
    ).hexdigest()


def test_runs_that_share_it_are_those_that_do_not(recipe: Recipe, dataset: Dataset, tmp_path: Path):
    for seed in (0, 1):
        seeded = recipe.with_settings({"seed": seed})
        shared = fit(seeded, dataset, tmp_path / f"shared-{seed}")
        alone = train(seeded, out=tmp_path / f"alone-{seed}", hooks=Hooks())
        assert _weights(shared) == _weights(alone)
        for name in ("recipe.toml", "facts.npz", "loss.svg"):
            assert (shared.path / name).read_bytes() == (alone.path / name).read_bytes()
        assert shared.model.generate(seed=3) == alone.model.generate(seed=3)


def test_it_travels_to_another_process(recipe: Recipe, dataset: Dataset, tmp_path: Path):
    here = fit(recipe, dataset, tmp_path / "here")
    (tmp_path / "sent").write_bytes(pickle.dumps((recipe, dataset)))
    code = (
        "import pickle, sys; from tinybuddy.training.loop import fit; "
        "recipe, dataset = pickle.load(open('sent', 'rb')); fit(recipe, dataset, 'there'); "
        "print(sorted({'rich', 'tinybuddy.terminal', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    there = Path(here.result["model"]).relative_to(tmp_path / "here")
    sent = (tmp_path / "there" / there / "model.safetensors").read_bytes()
    assert hashlib.sha256(sent).hexdigest() == _weights(here)


def test_the_tales_travel_too():
    dataset = prepare(Recipe().with_settings(SMALL | {"data": "tales", "stories": 60}))
    again = pickle.loads(pickle.dumps(dataset))
    assert again.validation == dataset.validation
    assert again.statistics.counts == dataset.statistics.counts


def test_data_that_changed_is_said(recipe: Recipe, dataset: Dataset):
    assert prepare(recipe, sha256=dataset.survey.sha256).data == recipe.train.data
    with pytest.raises(TinybuddyError, match="has changed since the run began"):
        prepare(recipe, sha256="0" * 64)


def test_a_run_goes_on_with_its_own_tokenizer_alone(
    recipe: Recipe, dataset: Dataset, tmp_path: Path
):
    fit(recipe, dataset, tmp_path / "run")
    other = prepare(recipe.with_settings({"vocab_size": 300}))
    with pytest.raises(TinybuddyError, match="has another tokenizer than the data"):
        fit(recipe, other, tmp_path / "run")


def test_stop_ends_it_and_it_goes_on_to_the_same_bytes(
    recipe: Recipe, dataset: Dataset, tmp_path: Path
):
    stop = Stop()

    class AtFive(Hooks):
        def on_step(self, step: int, *_: object) -> None:
            if step == 5:
                stop()

    with pytest.raises(Stopped, match="stopped and saved after step 5"):
        fit(recipe, dataset, tmp_path / "run", AtFive(), stop)
    whole = fit(recipe, dataset, tmp_path / "whole")
    assert _weights(fit(recipe, dataset, tmp_path / "run")) == _weights(whole)


def test_a_hook_that_raises_ends_the_run_with_its_own_error(
    recipe: Recipe, dataset: Dataset, tmp_path: Path
):
    class PrunedError(Exception):
        pass

    class Prune(Hooks):
        def on_evaluation(self, *_: object) -> None:
            raise PrunedError

    with pytest.raises(PrunedError):
        fit(recipe, dataset, tmp_path / "run", Prune())
