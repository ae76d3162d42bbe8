from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.conftest import SMALL, Cli, set_options
from tests.training.helpers import Notes, interrupt_at, weights_hash
from tinybuddy.backends import open_trainer
from tinybuddy.backends.engine.library import KERNELS
from tinybuddy.backends.interface import Trainer
from tinybuddy.config import ModelConfig
from tinybuddy.corpus import open_corpus, survey
from tinybuddy.defaults import DEFAULT_RECIPE
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.formats.references import find_directory
from tinybuddy.progress import Hooks
from tinybuddy.tokenizer import encode_story
from tinybuddy.training import dataset, quantized
from tinybuddy.training.checkpoint import (
    load_checkpoint,
    read_metadata,
    read_recipe,
)
from tinybuddy.training.loop import _Loop
from tinybuddy.training.run import Run
from tinybuddy.training.session import plan, resume, train


def test_a_run_learns_and_leaves_what_the_contract_names(small_run: Run, story_file: Path):
    run = small_run.path
    assert {p.name for p in run.iterdir()} == {
        *("recipe.toml", "run.json", "metrics.jsonl", "loss.svg", "tokenizer.json", "facts.npz"),
        "best",
        *("checkpoints", "latest", ".lock"),
    }
    assert [p.name for p in sorted((run / "checkpoints").iterdir())] == ["000008", "000012"]
    assert (run / "latest").read_text() == "000012\n"
    recipe = read_recipe(run)
    assert recipe.train.steps == SMALL["steps"]
    assert recipe.train.data == str(story_file)
    record = read_metadata(run)
    assert record["result"] == small_run.result
    assert record["data"]["sha256"]
    assert record["engine"] in KERNELS
    assert "torch" not in record["versions"]  # as the engine computed it
    ElementTree.parse(run / "loss.svg")
    rows = small_run.metrics
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert small_run.result["parameters"] == recipe.model.parameters


def test_the_final_score_is_of_all_validation(small_run: Run, stories: list[str]):
    corpus, found = survey(open_corpus(small_run.result["data"]))
    assert small_run.result["validation_stories"] == found.validation_stories > 2
    expected = small_run.model.score(corpus.validation()).bits_per_byte
    assert small_run.result["bits_per_byte"] == pytest.approx(expected, rel=1e-6)


def test_the_same_seed_gives_the_same_weights(small_run: Run, story_file: Path, tmp_path: Path):
    settings = {"data": story_file, "hooks": Hooks(), **SMALL}
    again = train(out=tmp_path / "again", **settings)
    other = train(out=tmp_path / "other", seed=1, **settings)
    assert weights_hash(again.path) == weights_hash(small_run.path) != weights_hash(other.path)


def test_a_finished_run_says_how_to_train_it_longer(small_run: Run):
    hooks = Notes()
    resume(small_run.path, hooks)
    assert "say --steps N" in hooks.notes[-1]
    assert f"tinybuddy train --from {small_run.path}" in hooks.notes[-1]


def test_nothing_optional_stops_a_run(
    story_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Neither a missing package's metadata, nor git, nor the chart, nor the cache."""

    def fails(*_: object, **__: object) -> None:
        raise metadata.PackageNotFoundError("tinybuddy")

    def undrawn(*_: object) -> str:
        raise ValueError("no picture")

    monkeypatch.setattr(metadata, "version", fails)
    monkeypatch.setattr("tinybuddy.training.loop.loss_chart", undrawn)
    monkeypatch.setenv("PATH", "")
    (tmp_path / "file").touch()
    monkeypatch.setenv("TINYBUDDY_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="cannot be written"):
        run = train(data=story_file, out=tmp_path / "run", hooks=Hooks(), **SMALL)
    assert run.result["steps"] == SMALL["steps"]
    assert read_metadata(run.path)["versions"]["numpy"] is None


def test_a_text_that_changes_while_it_is_prepared_leaves_nothing_in_the_cache(
    story_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = tmp_path / "stories.txt"
    text.write_bytes(story_file.read_bytes())

    def rewritten(*arguments: object) -> object:
        tokenizer = real(*arguments)  # after the survey, before the encoding
        text.write_bytes(story_file.read_bytes()[: text.stat().st_size // 2])
        return tokenizer

    real = dataset._train_tokenizer
    monkeypatch.setattr(dataset, "_train_tokenizer", rewritten)
    monkeypatch.setenv("TINYBUDDY_CACHE", str(tmp_path / "cache"))
    with pytest.raises(TinybuddyError, match="has changed while it was read"):
        train(data=text, out=tmp_path / "run", hooks=Hooks(), **SMALL)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not (tmp_path / "run").exists()


def test_resume_of_a_finished_run_changes_nothing(small_run: Run):
    before = weights_hash(small_run.path)
    assert resume(small_run.path).result == small_run.result
    assert weights_hash(small_run.path) == before


def test_resume_of_a_run_that_was_moved_tells_where_it_is(small_run: Run, tmp_path: Path, cli: Cli):
    shutil.copytree(small_run.path, tmp_path / "moved")
    result = json.loads(cli("resume", "moved", "--json").stdout)
    assert result["run"] == "moved"
    assert result["model"] == str(Path("moved", "checkpoints", "000012"))
    assert result["seconds"] == small_run.result["seconds"]
    assert "--model moved\n" in cli("resume", "moved").stdout


def test_a_run_is_not_overwritten(small_run: Run, story_file: Path):
    for folder in (small_run.path, find_directory(small_run.path), story_file.parent):
        before = {path: path.read_bytes() for path in folder.glob("**/*.*") if path.is_file()}
        with pytest.raises(TinybuddyError, match="already holds something: go on with"):
            train(data=story_file, out=folder, hooks=Hooks(), **SMALL)
        assert {path: path.read_bytes() for path in before} == before


def test_a_start_that_failed_may_be_repeated(story_file: Path, tmp_path: Path):
    with pytest.raises(TinybuddyError, match="no file or folder"):
        train(data=tmp_path / "none.txt", out=tmp_path / "run", hooks=Hooks(), **SMALL)
    assert train(data=story_file, out=tmp_path / "run", hooks=Hooks(), **SMALL).metrics


def test_a_name_is_found_where_none_is_given(story_file: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (DEFAULT_RECIPE, f"{DEFAULT_RECIPE}-2"):
        run = train(data=story_file, hooks=Hooks(), **SMALL | {"steps": 2})
        assert run.path == Path("runs") / name


def test_resuming_nothing_is_one_sentence(tmp_path: Path):
    with pytest.raises(TinybuddyError, match="There is no run in"):
        resume(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_without_latest_it_goes_on_from_the_newest(small_run: Run, story_file, tmp_path: Path):
    run = tmp_path / "run"
    interrupt_at(9, story_file, run)
    (run / "latest").unlink()
    (run / "best").unlink()
    assert find_directory(run).name == "000009"
    assert load_checkpoint(run).step == 9  # type: ignore[union-attr]
    steps = []

    class Steps(Hooks):
        def on_step(self, step: int, *_: object) -> None:
            steps.append(step)

    again = resume(run, Steps())
    assert steps == [10, 11, 12]
    assert [row["step"] for row in again.metrics] == [4, 8, 12]
    assert (run / "latest").read_text() == "000012\n"
    assert weights_hash(run) == weights_hash(small_run.path)


def test_the_processors_seconds_are_those_of_training(
    story_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A clock that stands still but for 1 s a step and 100 s a score tells them apart."""
    clock = [0.0]

    def takes(seconds: float, method: Callable[..., object]) -> Callable[..., object]:
        def timed(*arguments: object) -> object:
            clock[0] += seconds
            return method(*arguments)

        return timed

    monkeypatch.setattr("time.process_time", lambda: clock[0])
    monkeypatch.setattr(_Loop, "_train_step", takes(1.0, _Loop._train_step))
    monkeypatch.setattr(_Loop, "_score", takes(100.0, _Loop._score))
    interrupt_at(8, story_file, tmp_path / "run")
    assert resume(tmp_path / "run", Hooks()).result["cpu_seconds"] == SMALL["steps"]


@pytest.mark.parametrize("bits", [32, 4])
def test_numbers_that_break_keep_the_last_checkpoint(
    story_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int
):
    trainers: list[Any] = []

    def open_and_keep(*arguments: Any) -> Trainer:
        trainers.append(open_trainer(*arguments))
        return trainers[-1]

    class Breaker(Hooks):
        def on_evaluation(self, row: dict[str, object], steps: int) -> None:
            broken.append(self)

        def on_step(self, step: int, *_: object) -> None:
            if broken:  # the weights as a bad batch would leave them
                weights = trainers[0].weights()
                weights["model.norm.weight"].fill(np.nan)
                trainers[0].load_weights(weights)

    broken: list[Hooks] = []
    monkeypatch.setattr(quantized, "open_trainer", open_and_keep)
    with pytest.raises(TinybuddyError, match="not finite at step 6: the checkpoint before it"):
        train(
            data=story_file, out=tmp_path / "run", hooks=Breaker(), **SMALL | {"weight_bits": bits}
        )
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint is not None
    assert checkpoint.step == 4


def test_it_goes_on_from_a_model_on_other_text(small_run: Run, tmp_path: Path):
    text = tmp_path / "mine.txt"
    text.write_text("\n\n\n".join(f"My own text number {n} is this." for n in range(60)), "utf-8")
    settings = {k: v for k, v in SMALL.items() if k not in ModelConfig.__dataclass_fields__}
    out, hooks = tmp_path / "run", Notes()
    run = train(data=text, from_model=small_run.path, out=out, hooks=hooks, **settings)
    assert read_recipe(out).name == "finetune"
    assert re.search(
        r"small gets \d\.\d{3} bits per byte before\.$", "\n".join(hooks.notes), re.MULTILINE
    )
    before = small_run.model.score("My own text number 7 is this.").bits
    assert run.model.score("My own text number 7 is this.").bits < before
    assert run.model.tokenizer.to_json() == small_run.model.tokenizer.to_json()
    assert run.result["parameters"] == small_run.result["parameters"]
    with pytest.raises(UsageError, match="hidden_size cannot be set"):
        train(data=text, from_model=small_run.path, hidden_size=8)


def test_a_character_model_trains(story_file: Path, tmp_path: Path):
    """The 112-parameter shape: 27 characters, hidden 2, one head, feed-forward 6."""
    shape = {"vocab_size": 27, "hidden_size": 2, "intermediate_size": 6}
    shape |= {"num_attention_heads": 1, "num_key_value_heads": 1, "tokenizer": "characters"}
    run = train(data=story_file, out=tmp_path / "run", hooks=Hooks(), **SMALL | shape)
    assert run.result["parameters"] == 112
    assert run.model.generate("a", max_new_tokens=5)


def test_a_character_model_is_gone_on_from(story_file: Path, tmp_path: Path):
    shape = {"vocab_size": 64, "tokenizer": "characters"}
    train(data=story_file, out=tmp_path / "a", hooks=Hooks(), **SMALL | shape)
    settings = {k: v for k, v in SMALL.items() if k not in ModelConfig.__dataclass_fields__}
    run = train(
        data=story_file,
        from_model=tmp_path / "a",
        out=tmp_path / "b",
        hooks=Hooks(),
        **settings,
    )
    assert run.model.tokenizer.kind == "characters"


@pytest.mark.skipif(os.name != "posix", reason="limits")
def test_a_full_disk_is_one_sentence_and_loses_nothing(story_file: Path, cli: Cli):
    """A limit on the size of files stands for the disk: the system refuses the write alike."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    options = set_options(SMALL | {"hidden_size": 64})
    full = cli("train", "--data", story_file, "--out", "run", *options, preexec_fn=limit)
    assert full.returncode == 1
    assert "Cannot write" in full.stderr
    assert "Traceback" not in full.stderr
    done = cli("resume", "run", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["steps"] == SMALL["steps"]


def test_a_place_that_cannot_be_written_is_one_sentence(story_file: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TinybuddyError, match=r"Cannot write .*choose another `out`"):
        train(data=story_file, out=tmp_path / "file" / "run", hooks=Hooks(), **SMALL)


def test_a_run_that_never_began_leaves_hidden_files(tmp_path: Path):
    """Which a folder may hold that counts as empty, such as a new repository."""
    (tmp_path / "run" / ".git").mkdir(parents=True)
    (tmp_path / "run" / ".git" / "HEAD").write_text("ref", encoding="utf-8")
    with pytest.raises(TinybuddyError, match="nowhere"):
        train(data="nowhere.txt", out=tmp_path / "run", hooks=Hooks(), **SMALL)
    left = {path.name for path in (tmp_path / "run").rglob("*")}
    assert left - {".lock"} == {".git", "HEAD"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_sentence(story_file: Path, tmp_path: Path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(TinybuddyError, match=r"Cannot write .*Permission denied"):
        train(data=story_file, out=tmp_path / "locked" / "run", hooks=Hooks(), **SMALL)


def test_places_in_recipes_do_not_depend_on_the_folder(
    story_file: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(story_file.parent)
    assert plan("card", {"data": story_file.name}).train.data == str(story_file)
    (tmp_path / "tales").mkdir()
    monkeypatch.chdir(tmp_path)
    assert plan("card", {"data": "tales"}).train.data == "tales"


@pytest.mark.slow
def test_the_card_on_tinystories(tinystories: Path, tmp_path: Path):
    """A tenth of the steps is enough to foresee more than how frequent each token is."""
    run = train(
        "card", data=tinystories, out=tmp_path / "run", hooks=Hooks(), steps=100, eval_every=100
    )
    assert run.result["validation_stories"] == 759
    corpus = open_corpus(str(tinystories), stories=5000)
    tokenizer = run.model.tokenizer
    ids = [
        np.concatenate([encode_story(tokenizer, s)[1:] for s in split])
        for split in (corpus.train(), corpus.validation())
    ]
    counts = np.bincount(ids[0], minlength=1024) + 1
    size = run.result["validation_bytes"] + run.result["validation_stories"]
    unigram = -np.log2(counts / counts.sum())[ids[1]].sum() / size
    assert run.result["bits_per_byte"] < 0.9 * unigram
