"""The course's model in NumPy: the golden texts, and the engine's gradients."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinybuddy.backends.engine import trainer as face
from tinybuddy.backends.engine.library import load
from tinybuddy.backends.engine.trainer import EngineTrainer
from tinybuddy.config import ModelConfig, TrainConfig
from tinybuddy.formats.references import open_model
from tinybuddy.weights import Weights, random_weights

FOLDER = Path(__file__).parents[1] / "docs" / "course"
sys.path.insert(0, str(FOLDER))  # as it is for a notebook there
from llama import cross_entropy, forward  # noqa: E402

GOLDEN = Path(__file__).parent / "golden" / "greedy.json"
SHAPES = [
    ModelConfig(),  # the reference model
    ModelConfig(97, 20, 33, 3, 2, 2, 19),
    ModelConfig(259, 48, 65, 4, 8, 4, 33, rope_theta=500.0),
    ModelConfig(320, 24, 47, 2, 6, 3, 50, rms_norm_eps=1e-3),
]


def _drawn(config: ModelConfig) -> tuple[Weights, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    weights = {  # norms other than one, so that their part in the gradient shows
        name: w + 0.3 * random.standard_normal(w.shape).astype(np.float32) if w.ndim == 1 else w
        for name, w in random_weights(config, 3, 0.1).items()
    }
    shape = (2, 3, config.max_position_embeddings)
    inputs, targets = random.integers(0, config.vocab_size, shape)
    return weights, inputs, targets


@pytest.mark.parametrize("config", SHAPES, ids=range(len(SHAPES)))
def test_logits_and_gradients_are_those_of_the_engine(
    config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = load("baseline")  # in float32 on every processor
    monkeypatch.setattr(face, "load", lambda: plain)
    weights, inputs, targets = _drawn(config)
    engine = EngineTrainer(config, TrainConfig(grad_clip=0.0), weights)
    logits, back = forward(weights, config, inputs)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, engine.logits(inputs), rtol=0, atol=1e-5)
    loss, d = cross_entropy(logits, targets)
    assert loss == pytest.approx(engine.step(inputs, targets, 0.0)[0], abs=1e-5)
    found, expected = back(d), engine.gradient()
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert np.abs(gradient).max() > 1e-3, name
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=1e-5, err_msg=name)


def test_gradients_are_differences_of_the_loss() -> None:
    config = replace(SHAPES[3], max_position_embeddings=9)
    weights, inputs, targets = _drawn(config)
    exact = {name: w.astype(np.float64) for name, w in weights.items()}
    logits, back = forward(exact, config, inputs)
    gradient = back(cross_entropy(logits, targets)[1])
    random, step = np.random.default_rng(2), 1e-5
    for name, weight in exact.items():
        way = random.standard_normal(weight.shape)
        losses = [
            cross_entropy(forward(exact | {name: moved}, config, inputs)[0], targets)[0]
            for moved in (weight - step * way, weight + step * way)
        ]
        slope = (losses[1] - losses[0]) / (2 * step)
        assert float((gradient[name] * way).sum()) == pytest.approx(slope, rel=1e-6), name


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text("utf-8"))["cases"], ids=str)
def test_it_gives_the_golden_texts(case: dict[str, object]) -> None:
    model = open_model("tinybuddy-80k-card")
    weights = dict(model.weights)
    ids = [model.tokenizer.bos, *model.tokenizer.encode(str(case["prompt"]))]
    new: list[int] = []
    for _ in range(40):
        logits, _ = forward(weights, model.config, np.array([ids + new]))
        new.append(int(logits[0, -1].argmax()))
    assert isinstance(case["ids"], list)
    assert new[: len(case["ids"])] == case["ids"]


def test_it_is_150_lines() -> None:
    assert len((FOLDER / "llama.py").read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    ("chapter", "module", "left_out"),
    [("5-llama", "llama", set()), ("6-training", "training", {"own_model"})],
)
def test_a_chapter_shows_the_functions_of_its_module_as_they_are(
    chapter: str, module: str, left_out: set[str]
) -> None:
    shown = (FOLDER / f"{chapter}.py").read_text("utf-8")
    source = (FOLDER / f"{module}.py").read_text("utf-8")
    found = re.findall(r"^def (\w+)(.*?)(?=^def |\Z)", source, re.MULTILINE | re.DOTALL)
    assert len(found) >= 9
    for name, rest in found:
        assert (f"def {name}{rest.rstrip()}\n" in shown) == (name not in left_out), name
