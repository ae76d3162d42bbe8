"""The golden texts of any model, which exports are compared with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.exporters.conftest import MODELS
from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters.golden import Golden, compare, golden
from tinybuddy.formats.references import open_model

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


def test_a_difference_is_said():
    expected = Golden("Once", [1, 5], [7, 8])
    compare(expected, [1, 5], [7, 8, 9], Path("x"), "A program")
    with pytest.raises(TinybuddyError, match=r"A program reads 'Once' otherwise with x \(\[5\]"):
        compare(expected, [5], [7, 8], Path("x"), "A program")
    with pytest.raises(TinybuddyError, match="continues 'Once' otherwise"):
        compare(expected, [1, 5], [7], Path("x"), "A program")
