"""The course's training in NumPy: its optimizer is PyTorch's, its crops and its model are good."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import tinybuddy
from tinybuddy.config import ModelConfig

FOLDER = Path(__file__).parents[1] / "docs" / "course"
sys.path.insert(0, str(FOLDER))  # as it is for a notebook there
import training  # noqa: E402

SMALL = ModelConfig(320, 16, 24, 2, 2, 1, 24)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SHAPE", SMALL)
    monkeypatch.setattr(training, "BATCH", 64)


def test_ten_steps_of_clipping_and_adamw_are_those_of_pytorch() -> None:
    random = np.random.default_rng(0)
    weights = {"matrix": random.standard_normal((4, 3)), "norm": random.standard_normal(5)}
    theirs = {name: torch.nn.Parameter(torch.tensor(w)) for name, w in weights.items()}
    means, squares = ({n: np.zeros_like(w) for n, w in weights.items()} for _ in range(2))
    groups = [
        {"params": [theirs["matrix"]], "weight_decay": 0.1},
        {"params": [theirs["norm"]], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))
    clipped = 0
    for step in range(10):
        drawn = {n: 0.3 * random.standard_normal(w.shape) for n, w in weights.items()}
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(drawn[name])
        clipped += float(torch.nn.utils.clip_grad_norm_(theirs.values(), 1.0)) > 1
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (step + 1)
        optimizer.step()
        training.clip(drawn)
        training.adamw(weights, drawn, means, squares, step, 0.01 * (step + 1))
    assert 0 < clipped < 10
    for name, weight in weights.items():
        np.testing.assert_allclose(weight, theirs[name].detach().numpy(), atol=1e-6)


@pytest.mark.usefixtures("small")
def test_crops_lie_within_stories_and_hold_every_token(stories: list[str]) -> None:
    _, row = training.prepare(stories[:3])
    begins = np.append(np.flatnonzero(row == 1), len(row))
    random, held = np.random.default_rng(0), np.zeros(len(row), int)
    crossing = 0
    for _ in range(200):
        for start in training.within_stories(row, random):
            assert np.searchsorted(begins, start, "right") == np.searchsorted(begins, start + 25)
            held[start : start + 25] += 1
        for start in training.anywhere(row, random):
            assert 0 <= start <= len(row) - 25
            crossing += 1 in row[start + 1 : start + 25]
    # The first and the last of a story are in half as many as one in the middle; in one of 25 they
    # would be if all crops within it were drawn alike.
    ends = held[[*begins[:-1], *(begins[1:] - 1)]]
    assert ends.mean() > 0.4 * held.mean()
    assert crossing > 0


@pytest.mark.usefixtures("small")
def test_it_learns_and_what_it_saves_is_a_model(stories: list[str], tmp_path: Path) -> None:
    tokenizer, row = training.prepare(stories)
    weights = training.new_weights()
    losses = [*training.train(weights, row, steps=60)]
    assert losses[0] == pytest.approx(np.log(320), abs=0.1)
    assert np.mean(losses[-5:]) < losses[0] - 1
    folder = tmp_path / "runs" / "own"
    for _ in range(2):  # the second in place of the first
        training.save(weights, tokenizer, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["own"]
    model = tinybuddy.load(folder)
    assert model.parameters == SMALL.parameters
    assert 1 < model.score(stories[:5]).bits_per_byte < 5


def test_the_rate_rises_and_falls_to_nothing() -> None:
    shares = [training.schedule(step, 400, warmup=40) for step in range(400)]
    assert shares[:2] == [1 / 40, 2 / 40]
    assert max(shares) == shares[39] == shares[40] == 1
    assert shares[220] == pytest.approx(0.5)
    assert 0 < shares[-1] < 1e-4
