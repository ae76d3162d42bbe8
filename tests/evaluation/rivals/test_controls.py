"""The scorecard can say no: each control fails the value that is meant to catch it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinybuddy.evaluation.evidence import Evidence, gather
from tinybuddy.evaluation.rivals.controls import CAUGHT_BY
from tinybuddy.evaluation.rivals.ngrams import Rivals, open_rivals
from tinybuddy.evaluation.scorecard import Standard, open_standard, score_controls
from tinybuddy.formats.references import RELEASED
from tinybuddy.tokenizer import load_tokenizer


def _check(evidence: Evidence, standard: Standard, rivals: Rivals) -> None:
    cards = score_controls(evidence, standard, rivals, lambda *_: None)
    human = cards.pop("human")
    assert cards.keys() == CAUGHT_BY.keys()
    for name, caught_by in CAUGHT_BY.items():
        if caught_by:
            assert cards[name].values()[caught_by].passed is False, name
            assert cards[name].speaks_english is False
    assert [f.name for f in human.values().values() if f.passed is False] == []
    for name in ("uniform tokens", "one token, always", "unigram"):
        assert cards[name].values()["grammar.pairs"].value == 0.5
    for name, measured in (
        ("uniform tokens", "coherence.pairs"),
        ("3-character chain", "sentences.whole"),
        ("one human story, always", "variety.distinct_words"),
        ("training stories, copied", "originality.longest_copy"),
    ):
        assert cards[name].values()[measured].passed is False, (name, measured)
    # What is only shuffled, repeated or copied is caught by that alone, not by everything.
    for name in ("human, words shuffled", "human, sentences shuffled", "training stories, copied"):
        passed = [f.passed for f in cards[name].values().values()]
        assert passed.count(True) >= 6, name


def test_controls_of_the_tales(evidence: Evidence, standard: Standard, rivals: Rivals):
    _check(evidence, standard, rivals)


@pytest.mark.slow
def test_controls_of_tinystories(tinystories: Path):
    evidence = gather(str(tinystories), 5000, lambda *_: None)
    standard = open_standard(evidence, evidence.statistics)
    tokenizer = load_tokenizer(RELEASED / "tinybuddy-80k-card" / "tokenizer.json")
    rivals = open_rivals(tokenizer, evidence.train, evidence.validation)
    _check(evidence, standard, rivals)
