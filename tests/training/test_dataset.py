from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import SMALL
from tests.training.helpers import Notes, interrupt_at
from tinybuddy.corpus import ranges
from tinybuddy.errors import TinybuddyError
from tinybuddy.progress import Hooks
from tinybuddy.training.checkpoint import (
    read_recipe,
)
from tinybuddy.training.session import resume, train


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
    assert {"Ġxyxy", "Uvuv"} <= run.model.tokenizer.backend.get_vocab().keys()


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
