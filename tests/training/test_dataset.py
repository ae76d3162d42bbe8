"""Data prepared once, for any number of runs, in this process or another."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SMALL
from tests.training.helpers import Notes, interrupt_at, weights_hash
from tinybuddy.backends.interface import Stopped
from tinybuddy.config import Recipe
from tinybuddy.corpus import ranges
from tinybuddy.errors import TinybuddyError
from tinybuddy.progress import Hooks
from tinybuddy.training.checkpoint import read_recipe
from tinybuddy.training.dataset import Dataset, prepare
from tinybuddy.training.loop import fit
from tinybuddy.training.session import resume, train
from tinybuddy.training.stop import Stop


@pytest.fixture(scope="module")
def recipe(story_file: Path) -> Recipe:
    return Recipe().with_settings(SMALL | {"data": str(story_file)})


@pytest.fixture(scope="module")
def dataset(recipe: Recipe) -> Dataset:
    return prepare(recipe)


def test_runs_that_share_it_are_those_that_do_not(recipe: Recipe, dataset: Dataset, tmp_path: Path):
    for seed in (0, 1):
        seeded = recipe.with_settings({"seed": seed})
        shared = fit(seeded, dataset, tmp_path / f"shared-{seed}")
        alone = train(seeded, out=tmp_path / f"alone-{seed}", hooks=Hooks())
        assert weights_hash(shared.path) == weights_hash(alone.path)
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
    assert hashlib.sha256(sent).hexdigest() == weights_hash(here.path)


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
    assert weights_hash(fit(recipe, dataset, tmp_path / "run").path) == weights_hash(whole.path)


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


def test_data_that_changed_is_noticed(story_file: Path, tmp_path: Path):
    data = tmp_path / "data.txt"
    data.write_bytes(story_file.read_bytes())
    interrupt_at(5, data, tmp_path / "run")
    data.write_bytes(story_file.read_bytes() + b"<|endoftext|>More.")
    with pytest.raises(TinybuddyError, match="has changed since the run began"):
        resume(tmp_path / "run", Hooks())


def test_the_tokenizer_is_learned_from_all_parts_of_a_long_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stories = [f"A tale of xyxy, number {n}." for n in range(300)]
    stories += [f"Uvuv was here on day {n}." for n in range(300)]
    path = tmp_path / "stories.jsonl"
    path.write_text("\n".join(json.dumps(s) for s in stories), encoding="utf-8")
    monkeypatch.setattr("tinybuddy.training.dataset.MAX_TRAINING_CHARACTERS", 4_000)
    run = train(data=path, out=tmp_path / "run", hooks=Hooks(), **SMALL)
    assert {" xyxy", "Uvuv"} <= run.model.tokenizer.backend.get_vocab().keys()


def test_too_little_text_says_how_much_is_missing(tmp_path: Path):
    text = tmp_path / "small.txt"
    text.write_text("One.<|endoftext|>Two.<|endoftext|>Three.", "utf-8")
    with pytest.raises(TinybuddyError, match=r"needs at least 33 tokens to train on, has \d+\."):
        train(data=text, out=tmp_path / "run", hooks=Hooks(), **SMALL)
    assert not (tmp_path / "run").exists()  # nothing came of it


def test_without_a_network_the_tales_serve_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TINYBUDDY_CACHE", str(tmp_path / "cache"))
    notes = Notes()
    run = train(out=tmp_path / "run", stories=50, hooks=notes, **SMALL)
    assert any("TRAINING ON THE BUILT-IN TALES" in note for note in notes.notes)
    assert run.result["data"] == "tales (built in)"
    assert read_recipe(tmp_path / "run").train.data == "tales"
    with pytest.raises(ranges.Unreachable):
        train(data="roneneldan/TinyStories", out=tmp_path / "run2", hooks=notes, **SMALL)


def test_what_the_tokenizer_does_not_know_is_said(tmp_path: Path):
    text = "\n".join(f"The cat number {n} sat on a mat and was happy." for n in range(60))
    (tmp_path / "text.txt").write_text(text, "utf-8")
    settings = {"data": str(tmp_path / "text.txt"), "split": "lines", "tokenizer": "unigram"}
    recipe = Recipe().with_settings(settings | {"vocab_size": 90, "max_position_embeddings": 16})
    notes = Notes()
    prepare(recipe.with_settings({"alphabet_min_count": 8}), hooks=notes)
    (note,) = notes.notes
    assert note.startswith("The tokenizer does not know some characters, ")
    assert {*note.partition("leaves them out: ")[2].split()} == {*"06789"}
    notes = Notes()
    prepare(recipe, hooks=notes)
    assert notes.notes == []


def test_a_text_of_too_many_characters_gets_byte_level_bpe_and_it_is_said(tmp_path: Path):
    text = "\n".join("".join(chr(0x4E00 + 7 * n + i) for i in range(40)) for n in range(100))
    (tmp_path / "text.txt").write_text(text, "utf-8")
    settings = {"data": str(tmp_path / "text.txt"), "split": "lines", "tokenizer": "unigram"}
    recipe = Recipe().with_settings(settings | {"vocab_size": 300, "max_position_embeddings": 16})
    notes = Notes()
    assert prepare(recipe, hooks=notes).tokenizer.alphabet == "bytes"
    (note,) = notes.notes
    assert note.startswith("The text has more characters than a Unigram model of 300 tokens holds")
