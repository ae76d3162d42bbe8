from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinybuddy
from tinybuddy.errors import TinybuddyError
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.evaluation.metrics.blimp import blimp

PAIRS = {
    "verb": [
        ("The cats are in the box.", "The cats is in the box."),
        ("The boys are happy.", "The boys is happy."),
        ("The quarks are happy.", "The quarks is happy."),
    ],
    "same": [("Tom ran home.", "Tom ran home.")],
    "rare": [("Xylem flows.", "Xylem flow.")],
}
KNOWN = ["the", "cats", "boys", "are", "is", "in", "box", "happy", "tom", "ran", "home"]


@pytest.fixture(scope="module")
def evaluated() -> EvaluatedModel:
    model = tinybuddy.load("tinybuddy-80k-card")
    context, parameters = model.config.max_position_embeddings, model.config.parameters
    return EvaluatedModel("card", model.backend, model.tokenizer, context, parameters)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, pairs in PAIRS.items():
        rows = [{"sentence_good": good, "sentence_bad": bad, "UID": name} for good, bad in pairs]
        text = "".join(json.dumps(row) + "\r\n" for row in rows) + "\n"
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "README.md").write_text("not of it", encoding="utf-8")
    return tmp_path


def test_pairs_of_known_words_are_judged(evaluated: EvaluatedModel, folder: Path):
    found = blimp(evaluated, folder, KNOWN)
    assert list(found) == ["same", "verb"]
    good, bad = (
        evaluated.log_likelihoods([pair[side] for pair in PAIRS["verb"][:2]]) for side in (0, 1)
    )
    assert found["verb"].parts.tolist() == (good > bad).astype(float).tolist()
    assert found["same"].value == 0.5  # a tie
    everything = {*KNOWN, "quarks", "xylem", "flows", "flow"}
    assert {
        name: len(share.parts) for name, share in blimp(evaluated, folder, everything).items()
    } == {name: len(pairs) for name, pairs in PAIRS.items()}


def test_exchanged_sentences_give_the_rest(evaluated: EvaluatedModel, folder: Path):
    share = blimp(evaluated, folder, KNOWN)["verb"]
    (folder / "verb.jsonl").write_text(
        "\n".join(
            json.dumps({"sentence_good": bad, "sentence_bad": good}) for good, bad in PAIRS["verb"]
        ),
        encoding="utf-8",
    )
    assert np.array_equal(blimp(evaluated, folder, KNOWN)["verb"].parts, 1 - share.parts)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "lacks the text sentence_good or sentence_bad"),
        ('"text"', "lacks the text"),
        ('{"sentence_good": "The cats are happy."}', "lacks the text"),
        ('{"sentence_good": "The cats are happy.", "sentence_bad": 3}', "lacks the text"),
    ],
)
def test_a_damaged_line_is_named(evaluated: EvaluatedModel, folder: Path, line: str, said: str):
    with (folder / "verb.jsonl").open("a", encoding="utf-8") as file:
        file.write(line)
    with pytest.raises(TinybuddyError, match=rf"Line 5 of .*verb\.jsonl {said}"):
        blimp(evaluated, folder, KNOWN)


def test_a_folder_without_files_is_said(evaluated: EvaluatedModel, tmp_path: Path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(TinybuddyError, match=r"There is no \.jsonl file in"):
            blimp(evaluated, folder, KNOWN)
    (tmp_path / "a.jsonl").write_bytes(b"\xff")
    with pytest.raises(TinybuddyError, match="is not UTF-8"):
        blimp(evaluated, tmp_path, KNOWN)
