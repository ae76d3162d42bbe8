"""What is handed over: the best by validation, and no more steps than the text bears."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinybuddy
from tests.conftest import SMALL
from tinybuddy.config import Recipe
from tinybuddy.corpus.tales import generate_tale
from tinybuddy.errors import UsageError
from tinybuddy.progress import Hooks
from tinybuddy.scoring import Score
from tinybuddy.training import loop
from tinybuddy.training.run import Run
from tinybuddy.training.session import resume, train

STORIES = [generate_tale(n).text for n in range(60)]


class Notes(Hooks):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def worsening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations that find the model best after step 4."""
    real, count = loop.score, iter(range(100))

    def score(backend, tokenizer, context, stories, on_progress=None) -> Score:
        found = real(backend, tokenizer, context, stories, on_progress)
        if on_progress:  # all of validation, which is scored at the end
            return found
        number = next(count)
        return Score(found.story_bytes * (1.0 + abs(number - 1)), found.story_bytes, found.tokens)

    monkeypatch.setattr(loop, "score", score)


@pytest.mark.usefixtures("worsening")
def test_the_best_is_handed_over_and_the_latest_is_kept(tmp_path: Path):
    notes = Notes()
    run = train(data=STORIES, out=tmp_path / "run", hooks=notes, **SMALL | {"eval_every": 2})
    assert run.result["best_step"] == 4
    assert run.result["steps"] == SMALL["steps"]
    assert run.model.path == run.path / "checkpoints" / "000004"
    assert (run.path / "latest").read_text() == "000012\n"
    assert tinybuddy.load(run.path).path == run.model.path
    assert any("best after step 4, and that is handed over" in note for note in notes.notes)


@pytest.mark.usefixtures("worsening")
def test_it_ends_where_it_gets_no_better(tmp_path: Path):
    settings = SMALL | {"eval_every": 2, "patience": 2}
    run = train(data=STORIES, out=tmp_path / "run", hooks=Hooks(), **settings)
    assert (run.result["steps"], run.result["best_step"]) == (8, 4)
    assert resume(run.path, Hooks()).result["steps"] == 8, "it is finished"


def test_it_can_be_trained_longer(small_run: Run, tmp_path: Path, story_file: Path):
    run = train(data=story_file, out=tmp_path / "run", hooks=Hooks(), **SMALL)
    with pytest.raises(UsageError, match="more than the 12"):
        resume(run.path, Hooks(), steps=12)
    longer = resume(run.path, Hooks(), steps=20)
    assert longer.result["steps"] == 20
    assert [row["step"] for row in longer.metrics] == [4, 8, 12, 16, 20]


@pytest.mark.parametrize(("stories", "steps"), [(30, 20), (60, None)])
def test_a_small_text_gets_few_steps(tmp_path: Path, stories: int, steps: int | None):
    settings = {k: v for k, v in SMALL.items() if k != "steps"}
    recipe = Recipe().with_settings(settings | {"epochs": 2.0, "steps": 10_000})
    run = train(recipe, data=STORIES[:stories], out=tmp_path / "run", hooks=Hooks())
    tokens = recipe.train.batch_size * recipe.model.max_position_embeddings
    seen = run.result["steps"] * tokens
    found = loop.read_metadata(run.path)["data"]["tokens"]
    assert run.result["steps"] == steps or seen == pytest.approx(2.0 * found, abs=tokens)
    again = train(recipe, data=STORIES[:stories], steps=3, out=tmp_path / "said", hooks=Hooks())
    assert again.result["steps"] == 3, "steps that are said are taken"


def test_fine_tuning_is_never_worse_than_what_it_began_with(tmp_path: Path):
    """At a rate that ruins it from the first step on."""
    run = train(
        from_model="tinybuddy-80k-card",
        data=STORIES,
        out=tmp_path / "run",
        hooks=Hooks(),
        steps=6,
        eval_every=2,
        learning_rate=5.0,
        matrix_learning_rate=5.0,
        warmup_steps=0,
    )
    assert run.result["best_step"] == 0
    assert run.result["bits_per_byte"] == run.result["before"]
    assert run.model.generate(seed=1) == tinybuddy.load("tinybuddy-80k-card").generate(seed=1)


def test_a_score_says_how_rough_it_is():
    few, many = (tinybuddy.load("tinybuddy-80k-card").score(STORIES[:n]) for n in (5, 60))
    assert 0 < many.standard_error < few.standard_error < 0.5
