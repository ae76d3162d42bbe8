"""Each metric on texts whose values can be told by hand, and the laws that all of them keep."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybuddy.corpus.statistics import text_statistics
from tinybuddy.evaluation.bootstrap import Share
from tinybuddy.evaluation.evidence import Evidence, overlapping
from tinybuddy.evaluation.metrics.bounds import BOUNDS
from tinybuddy.evaluation.metrics.coherence import coherence_pairs, measure_coherence
from tinybuddy.evaluation.metrics.discriminator import measure_discriminator
from tinybuddy.evaluation.metrics.grammar import measure_grammar
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.metrics.originality import measure_originality
from tinybuddy.evaluation.metrics.repetition import measure_repetition
from tinybuddy.evaluation.metrics.sentences import measure_sentences
from tinybuddy.evaluation.metrics.variety import STRETCH, measure_variety
from tinybuddy.evaluation.metrics.words import measure_words
from tinybuddy.evaluation.shuffle import drawer, shuffled, shuffled_words
from tinybuddy.evaluation.stories import (
    CHARACTERS,
    Story,
    human_story,
    sentences,
    share_of_stories,
    story_of,
)


def _stories(*texts: str) -> list[Story]:
    return [Story("", text, False) for text in texts]


def _value(metric: Metric, name: str) -> float:
    return next(f.value for f in metric.values if f.name == name)


# ---------------------------------------------------------------- shares


def test_an_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = Share.of(random.random(100) < 0.3).interval()
        covered += low <= 0.3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_share_is_a_ratio_of_sums():
    share = Share.of([1, 0, 3], [2, 2, 4])
    assert share.value == 0.5
    assert math.isnan(Share.of([], []).value)
    assert all(math.isnan(end) for end in Share.of([], []).interval())
    assert Share.of([2, 2], [4, 4]).interval() == (0.5, 0.5)


def test_what_was_drawn_together_is_drawn_anew_together():
    one_by_one = Share.of([1.0] * 50 + [0.0] * 50)
    grouped = Share.grouped([n // 10 for n in range(100)], one_by_one.parts)
    assert grouped.value == one_by_one.value == 0.5
    assert sorted(grouped.parts) == [0.0] * 5 + [10.0] * 5
    low, high = one_by_one.interval()
    wide_low, wide_high = grouped.interval()
    assert wide_high - wide_low > 2.5 * (high - low), "it should be about the root of ten"


def test_strata_are_all_drawn_from():
    share = Share.of([1.0] * 20 + [0.0] * 20, strata=[0] * 20 + [1] * 20)
    assert share.interval() == (0.5, 0.5), "all that varies is between the strata"


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=40))
def test_grouping_changes_no_value(items):
    groups, parts = zip(*items, strict=True)
    grouped = Share.grouped(groups, parts, [10] * len(parts))
    assert grouped.value == pytest.approx(sum(parts) / (10 * len(parts)))
    assert len(grouped.parts) == len(set(groups))


def test_stories_of_one_prompt_are_one_unit():
    told = [Story("p", "x", False, group) for group in (0, 0, 1, 1)]
    assert list(share_of_stories(told, [1, 2, 3, 4]).parts) == [3, 7]
    alone = _stories("x", "y")
    assert sorted(share_of_stories(alone, [1, 2]).parts) == [1, 2]


def test_a_figure_is_judged_by_the_unfavourable_end():
    wide, sure = Share.of([1, 0] * 20), Share.of([1.0] * 20)
    assert MetricValue("grammar.pairs", wide).passed is False
    assert MetricValue("grammar.pairs", sure).passed is True
    assert MetricValue("grammar.pairs", Share.of([0.78, 0.76] * 5)).passed is True
    assert MetricValue("grammar.pairs", Share.of([1, 0.5])).passed is False, (
        "on average it is right"
    )
    assert MetricValue("repetition.repeated_4grams", Share.of([0.0, 0.3])).passed is False
    assert MetricValue("grammar.pairs", Share.of([], [])).passed is False, "nothing is no pass"
    assert MetricValue("tell_apart.accuracy", sure).passed is None


def test_a_bound_may_be_measured_or_of_human():
    assert MetricValue("variety.own_4grams", Share.of([0.5]), human=0.8).limit == pytest.approx(0.4)
    bits = MetricValue("bits_per_byte.validation", Share.of([1.2], [1]), bound=1.3)
    assert (bits.limit, bits.passed) == (1.3, True)


def test_a_metric_that_did_not_wholly_run_is_not_passed():
    good = MetricValue("words.english", Share.of([1.0]))
    bad = MetricValue("words.english", Share.of([0.0]))
    assert Metric("words", [good]).passed is True
    assert Metric("words", [good], lacks="more").passed is None
    assert Metric("words", [good, bad], lacks="more").passed is False
    assert Metric("words", [], lacks="more").passed is None
    json.dumps(Metric("words", [good, bad]).to_mapping())


# ---------------------------------------------------------------- texts


def test_sentences_end_where_a_reader_says_so():
    text = 'The cat ran. "Stop!" said Tom. "Why?"\n\nShe asked, "Are you sad?" He was not... Yes'
    assert sentences(text) == [
        "The cat ran.",
        '"Stop!" said Tom.',
        '"Why?"',
        'She asked, "Are you sad?"',
        "He was not...",
        "Yes",
    ]
    assert sentences(" \n ") == []


@given(st.text(alphabet='aB .!?"\n’', max_size=80))  # noqa: RUF001
def test_sentences_lose_nothing_but_white_space(text):
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(st.text(alphabet='aB .!?"\n', max_size=3 * CHARACTERS))
def test_what_is_told_is_short_and_ends_with_a_sentence_if_it_has_one(text):
    story = story_of("P", text)
    assert len(story.text) <= CHARACTERS
    assert text.startswith(story.text)
    if story.cut and len(sentences(story.text)) > 1:
        assert story.text.rstrip('"')[-1] in ".!?"
    if not story.cut:
        assert story.text == text.rstrip()


def test_sentences_of_endless_marks_are_found_in_no_time():
    assert sentences("Oh" + "." * 200_000 + " No.") == ["Oh" + "." * 200_000, "No."]


@given(st.text(alphabet="aB .!?", min_size=CHARACTERS, max_size=2 * CHARACTERS))
def test_it_does_not_matter_who_cuts_a_story(text):
    assert story_of("P", text[:CHARACTERS]) == story_of("P", text)


def test_a_human_story_is_treated_as_a_models():
    story = human_story("Once upon a time there was a cat. It ran.")
    assert story == Story("Once upon a time", " there was a cat. It ran.", False)
    assert human_story("Short.").whole == "Short."


@given(st.lists(st.sampled_from("abc"), max_size=8))
def test_shuffled_is_another_order_of_the_same(items):
    found = shuffled(items, drawer("x"))
    assert sorted(found) == sorted(items)
    assert (found != items) == (len(set(items)) > 1)


def test_shuffled_words_keep_both_ends():
    found = shuffled_words("The big dog ran to the tree.", drawer("x")).split()
    assert found[0] == "The"
    assert found[-1] == "tree."
    assert sorted(found) == sorted(["The", "big", "dog", "ran", "to", "the", "tree."])
    assert shuffled_words("Yes!", drawer("x")) == "Yes!"
    assert shuffled_words("", drawer("x")) == ""


# ---------------------------------------------------------------- metrics


def test_words():
    metric = measure_words(_stories("The cat zorked. Zorked!", "The cat"), {"the", "cat"}, None)
    assert metric.values[0].value == pytest.approx(4 / 6)
    assert metric.details["unknown"] == ["zorked"]


def test_repetition():
    metric = measure_repetition(_stories("a b c d a b c d", "one two three four"), None)
    # Five 4-grams in the first, of which "a b c d" comes again.
    assert metric.values[0].value == pytest.approx(1 / 6)


def test_variety():
    same = _stories(*["the same old story again"] * 4)
    assert _value(measure_variety(same, {}), "variety.own_4grams") == 0.0
    other = _stories("one two three four", "five six seven eight nine")
    assert _value(measure_variety(other, {}), "variety.own_4grams") == 1.0
    long = _stories(" ".join(["a"] * (STRETCH - 1) + ["b"]), "c d")
    assert _value(measure_variety(long, {}), "variety.distinct_words") == 2 / STRETCH
    assert math.isnan(_value(measure_variety(other, {}), "variety.distinct_words"))


def test_originality():
    statistics = text_statistics(["the cat sat on the big red mat today"])
    metric = measure_originality(
        _stories("Then the cat sat on the big blue mat", "nothing of it stands there"),
        statistics,
        {},
    )
    # Known: "the cat sat on", "cat sat on the", "sat on the big": three rows are six words.
    assert _value(metric, "originality.longest_copy") == 6 / 2
    assert _value(metric, "originality.new_4grams") == (3 + 2) / (6 + 2)
    assert measure_originality(_stories("x"), None, {}).passed is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat ran. It was sad.", 1.0),
        ("the cat ran. It was sad.", 0.5),
        ("The cat ran. It was", 0.5),
        ('"Stop!" said Tom. "I will," she said.', 1.0),
        ('"Please stop! I will, she said.\n\nHe ran home.', 2 / 3),
        ("“Stop! she said.", 0.0),
        ("The cat ran. No.", 0.5),
        ("and then and then", 0.0),
        ("", 0.0),
    ],
)
def test_sentences_metric(text: str, expected: float):
    found = measure_sentences(_stories(text), (2, 10), None).values[0].value
    assert found == pytest.approx(expected)


def test_a_quotation_that_was_cut_off_is_forgiven():
    text = 'He ran. She said, "Come here. It is late.'
    assert measure_sentences([Story("", text, True)], (2, 10), None).values[0].value == 1.0
    assert measure_sentences([Story("", text, False)], (2, 10), None).values[0].value < 1.0


def test_tell_apart(evidence: Evidence):
    human, more = evidence.human, evidence.more_human
    same = measure_discriminator(more, human).values[0].value
    babble = measure_discriminator(_stories(*["zork bling zork"] * len(human)), human)
    assert 0.3 < same < 0.7
    assert babble.values[0].value == 1.0
    assert measure_discriminator(_stories("x"), human).passed is None


def test_pairs_of_coherence_have_the_same_words_on_both_sides(evidence: Evidence):
    couples = coherence_pairs(evidence.validation)
    kinds = Counter(kind for pairs in couples for kind in pairs)
    assert kinds.keys() == {"next_sentence", "order", "hero"}
    assert min(kinds.values()) > 15
    for pairs in couples:
        for pair in pairs.values():
            good, bad = (sorted(" ".join(side).split()) for side in pair)
            assert pair.good != pair.bad
            assert [w.rstrip(".,!?\"'s") for w in good] == [w.rstrip(".,!?\"'s") for w in bad]


def test_the_judge_prefers_english(evidence: Evidence):
    judge = evidence.judge
    assert judge is not None
    grammar = measure_grammar(None, evidence.human, judge, None)
    coherence = measure_coherence(None, evidence.validation, evidence.human, judge, None)
    assert grammar.values[0].value > 0.95
    assert coherence.values[0].value > 0.6


def test_overlap_is_found_by_content(evidence: Evidence):
    statistics = text_statistics(evidence.train)
    assert overlapping(evidence.validation, statistics) == []
    seen = text_statistics([*evidence.train, *(s.upper() for s in evidence.validation[3:6])])
    assert overlapping(evidence.validation, seen) == [3, 4, 5]


def test_every_metric_but_one_has_bounds():
    assert {name.partition(".")[0] for name in BOUNDS} == {
        "bits_per_byte",
        "words",
        "grammar",
        "coherence",
        "repetition",
        "variety",
        "originality",
        "sentences",
    }
