"""The golden texts of any model, which exports are compared with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.peers.numpy_decoder import NumpyDecoder
from transformers import AutoModelForCausalLM

from tests.exporters.conftest import MODELS
from tinybuddy.backends.pytorch import TorchBackend
from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters.golden import Golden, compare, golden
from tinybuddy.formats.hub import write_model
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.formats.references import open_model

Continue = Callable[[list[int], int], list[int]]

GREEDY = json.loads((Path(__file__).parents[1] / "golden" / "greedy.json").read_text("utf-8"))


def test_they_are_those_of_the_card():
    model = open_model(GREEDY["model"])
    found = golden(model, [case["prompt"] for case in GREEDY["cases"]])
    assert [case.new for case in found] == [case["ids"] for case in GREEDY["cases"]]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_some(name: str, reference: Callable[[str], str]):
    model = open_model(reference(name))
    found = golden(model)
    assert sum(len(case.new) for case in found) > 40
    assert all(case.ids[0] == model.tokenizer.bos for case in found)


def _pytorch(model: ModelFiles, _: Path) -> Continue:
    llama = TorchBackend(model.config, model.weights).model

    def new(ids: list[int], count: int) -> list[int]:
        found = llama.generate(torch.tensor([ids]), max_new_tokens=count, temperature=0)
        return found[0, len(ids) :].tolist()

    return new


def _numpy(model: ModelFiles, _: Path) -> Continue:
    decoder = NumpyDecoder(model.config, model.weights)

    def new(ids: list[int], count: int) -> list[int]:
        known = list(ids)
        for position in range(len(ids) + count - 1):
            logits = decoder.logits(known[position], position)
            if position + 1 == len(known):
                known.append(int(np.argmax(logits)))
        return known[len(ids) :]

    return new


def _transformers(model: ModelFiles, folder: Path) -> Continue:
    write_model(folder, model)
    llama = AutoModelForCausalLM.from_pretrained(folder)

    def new(ids: list[int], count: int) -> list[int]:
        found = llama.generate(torch.tensor([ids]), max_new_tokens=count, do_sample=False)
        return found[0, len(ids) :].tolist()

    return new


@pytest.mark.parametrize("program", [_pytorch, _numpy, _transformers])
@pytest.mark.parametrize("name", MODELS)
def test_what_computes_in_python_generates_them(
    name: str,
    program: Callable[[ModelFiles, Path], Continue],
    reference: Callable[[str], str],
    tmp_path: Path,
):
    model = open_model(reference(name))
    assert isinstance(model, ModelFiles)
    generated = program(model, tmp_path / "model")
    for case in golden(model):
        compare(case, case.ids, generated(case.ids, len(case.new)), tmp_path, program.__name__)


def test_a_difference_is_said():
    expected = Golden("Once", [1, 5], [7, 8])
    compare(expected, [1, 5], [7, 8, 9], Path("x"), "A program")
    with pytest.raises(TinybuddyError, match=r"A program reads 'Once' otherwise with x \(\[5\]"):
        compare(expected, [5], [7, 8], Path("x"), "A program")
    with pytest.raises(TinybuddyError, match="continues 'Once' otherwise"):
        compare(expected, [1, 5], [7], Path("x"), "A program")
