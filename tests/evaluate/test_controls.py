"""The scorecard can say no: each control fails the figure that is meant to catch it."""

from __future__ import annotations

from pathlib import Path

from tinybuddy.evaluate.bits_per_byte import Rivals, open_rivals
from tinybuddy.evaluate.controls import CAUGHT_BY, open_controls
from tinybuddy.evaluate.evidence import Evidence, gather
from tinybuddy.evaluate.scorecard import (
    Scorecard,
    Standard,
    open_standard,
    score_model,
    score_text,
)
from tinybuddy.evaluate.subject import Subject
from tinybuddy.modelfile import RELEASED
from tinybuddy.tokenizer import load_tokenizer


def _cards(evidence: Evidence, standard: Standard, rivals: Rivals) -> dict[str, Scorecard]:
    cards = {}
    for control in open_controls(evidence, rivals):
        if isinstance(control.source, Subject):
            own = rivals if control.source.tokenizer is rivals.tokenizer else None
            card = score_model(control.source, standard, own, lambda *_: None, plainly=False)
        else:
            card = score_text(control.name, control.source, standard)
        cards[control.name] = card
    return cards


def _check(cards: dict[str, Scorecard], human: Scorecard) -> None:
    assert cards.keys() == CAUGHT_BY.keys()
    for name, caught_by in CAUGHT_BY.items():
        if caught_by:
            assert cards[name].figures()[caught_by].passed is False, name
            assert cards[name].speaks_english is False
    assert [f.name for f in human.figures().values() if f.passed is False] == []
    for name in ("uniform tokens", "one token, always", "unigram"):
        assert cards[name].figures()["grammar.pairs"].value == 0.5
    # What is only shuffled, repeated or copied is caught by that alone, not by everything.
    for name in ("human, words shuffled", "human, sentences shuffled", "training stories, copied"):
        passed = [f.passed for f in cards[name].figures().values()]
        assert passed.count(True) >= 6, name


def test_controls_of_the_tales(evidence: Evidence, standard: Standard, rivals: Rivals):
    human = score_text("human", evidence.more_human, standard)
    _check(_cards(evidence, standard, rivals), human)


def test_controls_of_tinystories(tinystories: Path):
    evidence = gather(str(tinystories), 5000, lambda what: None)
    standard = open_standard(evidence, evidence.facts())
    tokenizer = load_tokenizer(RELEASED / "tinybuddy-80k-card" / "tokenizer.json")
    rivals = open_rivals(tokenizer, evidence.train, evidence.validation)
    human = score_text("human", evidence.more_human, standard)
    _check(_cards(evidence, standard, rivals), human)
