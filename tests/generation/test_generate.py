from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinybuddy
from tinybuddy.backends.lockstep import LockstepBackend
from tinybuddy.errors import TinybuddyError, TinybuddyWarning, UsageError
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.references import find_directory
from tinybuddy.generation.model import Model
from tinybuddy.tokenizer.layout import EOS
from tinybuddy.training.run import Run

SEEDED = json.loads((Path(__file__).parents[1] / "golden" / "seeded.json").read_text("utf-8"))


@pytest.fixture
def model(small_run: Run) -> Model:
    return tinybuddy.load(small_run.path)


class Script(LockstepBackend):
    """A back end that gives certain ids, whatever it reads, and keeps what it read."""

    def __init__(self, ids: Sequence[int], vocab_size: int, context: int) -> None:
        self.ids, self.vocab_size, self.context = list(ids), vocab_size, context
        self.fed: list[list[int]] = []

    def stream(self, texts: int = 1) -> Script:
        self.fed.append([])
        return self

    def feed(self, ids: np.ndarray) -> np.ndarray:
        self.fed[-1] += ids[0].tolist()
        return np.eye(self.vocab_size, dtype=np.float32)[[self.ids.pop(0)]]


def _scripted(small_run: Run, text: str, context: int = 32) -> tuple[Model, Script]:
    files = read_model(find_directory(small_run.path))
    script = Script([*files.tokenizer.encode(text), EOS], files.config.vocab_size, context)
    return Model(files, script), script  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["engine", "torch"])
def test_seeded_stories_are_golden(backend: str):
    model = tinybuddy.load(SEEDED["model"], backend=backend)
    for case in SEEDED["cases"]:
        settings = case["settings"] | {"seed": case["seed"], "max_new_tokens": len(case["ids"])}
        story = model.generate(case["prompt"], **settings)
        assert story == case["prompt"] + model.tokenizer.decode(case["ids"])


def test_the_same_seed_tells_the_same_story(model: Model):
    told = [model.generate("The fox", seed=s, max_new_tokens=20) for s in (1, 1, 2)]
    assert told[0] == told[1] != told[2]
    assert all(t.startswith("The fox") for t in told)


def test_streamed_is_generated(model: Model):
    pieces = list(model.stream("Café", seed=3, max_new_tokens=20, temperature=0.5))
    assert pieces[0] == "Café"
    assert "".join(pieces) == model.generate("Café", seed=3, max_new_tokens=20, temperature=0.5)


def test_an_empty_prompt_begins_a_story(model: Model):
    assert model.generate(seed=1, max_new_tokens=10)
    assert model.generate("x", max_new_tokens=0) == "x"
    assert model.generate("", max_new_tokens=0) == ""


def test_greedy_is_the_best_token_each_time(model: Model):
    story = model.generate("The", temperature=0, max_new_tokens=5)
    ids = [1, *model.tokenizer.encode("The")]
    for _ in range(5):
        ids.append(int(model.backend.stream().feed(np.array([ids])).argmax()))
    assert model.tokenizer.decode(ids) == story


def test_it_stops_at_the_end_of_the_story(small_run: Run):
    model, script = _scripted(small_run, " café 😀.")
    assert model.generate("A", temperature=0) == "A café 😀."
    assert script.ids == []


@given(st.text("ab", max_size=12), st.text("ab", min_size=1, max_size=3))
def test_stop_ends_before_its_text(small_run: Run, text: str, stop: str):
    model, _ = _scripted(small_run, text)
    pieces = list(model.stream("ab", temperature=0, stop=stop))
    assert "".join(pieces) == "ab" + text.split(stop)[0]


def test_it_slides_past_the_context_and_says_so_once(small_run: Run):
    model, script = _scripted(small_run, "".join(f" {n}" for n in range(60)))
    ids = [1, *model.tokenizer.encode("So"), *script.ids[:-1]]
    note = "longer than the 32 tokens that the model sees at a time, its context: it went on from"
    with pytest.warns(TinybuddyWarning, match=re.escape(note)) as caught:
        model.generate("So", temperature=0)
    assert len(caught) == 1
    assert script.fed[0] == ids[:32]
    assert script.fed[1] == ids[17:49]
    assert all(len(fed) <= 32 for fed in script.fed)


def test_a_prompt_longer_than_the_context(model: Model):
    prompt = "The fox ran. " * 40
    with pytest.warns(TinybuddyWarning) as caught:
        assert model.generate(prompt, max_new_tokens=3).startswith(prompt)
    assert len(caught) == 1


def test_a_long_prompt_that_nothing_follows_is_said_too(small_run: Run):
    model, script = _scripted(small_run, "")
    notes: list[str] = []
    model.on_note = notes.append
    prompt = "The fox ran. " * 40
    assert model.generate(prompt, max_new_tokens=0) == prompt
    assert not notes  # nothing is to be told
    assert script.ids == [EOS]
    assert model.generate(prompt, temperature=0) == prompt
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"temperature": -1}, "temperature must lie"),
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"max_new_tokens": -1}, "max_new_tokens must lie"),
        ({"seed": -1}, "seed must lie"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"seed": True}, "seed must be a whole number"),
        ({"stop": ["a", 3]}, "stop must be a text or several"),
        ({"stop": 3}, "stop must be a text or several"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_told(model: Model, settings, says: str):
    with pytest.raises(UsageError, match=says):
        model.stream("x", **settings)


@pytest.mark.parametrize("prompt", [5, None, b"The fox"])
def test_a_prompt_that_is_no_text_is_one_sentence(model: Model, prompt):
    for tell in (model.stream, model.generate):
        with pytest.raises(UsageError, match="The prompt must be text, not"):
            tell(prompt)


def test_score_takes_one_story_or_several(model: Model):
    one, two = model.score("A cat."), model.score(["A cat.", "A cat."])
    assert two.bits == pytest.approx(2 * one.bits)
    assert one.bytes == 7


def test_loading_nothing_is_one_sentence():
    with pytest.raises(TinybuddyError, match="There is no model 'nowhere'"):
        tinybuddy.load("nowhere")
