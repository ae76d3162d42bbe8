"""The models that every export is tested with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tinybuddy.corpus.tales import generate_tale
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.exporters.golden import Golden, golden
from tinybuddy.exporters.session import export
from tinybuddy.formats.loaded import LoadedModel
from tinybuddy.generation.model import Model, load
from tinybuddy.training.session import train

MODELS = ("tinybuddy-80k-card", DEFAULT_MODEL, "grouped")  # in turn, what `reference` takes
Exports = Callable[[str], tuple[Path, Model]]


@pytest.fixture(scope="session")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run: hidden 64, two query heads to each key-value head, and a Unigram tokenizer."""
    run = train(
        out=tmp_path_factory.mktemp("grouped") / "run",
        data="tales",
        tokenizer="unigram",
        vocab_size=512,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=96,
        steps=150,
        batch_size=16,
        learning_rate=5e-3,
    )
    return run.path


@pytest.fixture(scope="session")
def reference(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Turn one of `MODELS` into what `export` takes."""
    return lambda name: str(request.getfixturevalue(name)) if name == "grouped" else name


def exporting(format: str, suffix: str, reference: Callable[[str], str], folder: Path) -> Exports:
    """Return what gives the export of one of `MODELS`, and in Python its rounded weights."""

    def exported(name: str) -> tuple[Path, Model]:
        out = folder / f"{name}{suffix}"
        if not out.exists():
            export(format, reference(name), out)
            export("compact", reference(name), folder / f"{name}.buddy")
        model = load(folder / f"{name}.buddy")
        model.on_note = lambda note: None
        return out, model

    return exported


def ending(model: LoadedModel) -> tuple[LoadedModel, Golden]:
    """A model, and a golden text of it that goes on to the end of the story.

    Where none does, it is a model that ends where it would have gone on for long.
    """
    tails = [generate_tale(index).text[-120:-20] for index in range(20)]
    prompts, end = ["happily ever after.\n\nThe end", *tails], model.tokenizer.eos
    cases = golden(model, prompts)
    if not any(case.new[-1:] == [end] for case in cases):
        embedding = model.weights["model.embed_tokens.weight"].copy()
        embedding[end] = 1.5 * embedding[max(cases, key=lambda case: len(case.new)).new[5]]
        model = replace(model, weights={**model.weights, "model.embed_tokens.weight": embedding})
        cases = golden(model, prompts)
    return model, next(case for case in cases if case.new[-1:] == [end])
