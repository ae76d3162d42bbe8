from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import chain

import pytest

import tinybuddy
from tinybuddy.corpus.statistics import read_statistics, words
from tinybuddy.evaluation.metrics.minimal_pairs import minimal_pairs
from tinybuddy.evaluation.pairs import Pair
from tinybuddy.training.metadata import statistics_beside

TEMPLATED = minimal_pairs()
PARADIGMS = {name: [*chain(*templates)] for name, templates in TEMPLATED.items()}
MODEL = tinybuddy.load("tinybuddy-80k-card")
each_paradigm = pytest.mark.parametrize("paradigm", PARADIGMS)


def gpt2_pieces(text: str) -> list[str]:
    """As GPT-2 splits a text before it looks for tokens (Radford et al. 2019)."""
    return re.findall(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d+| ?[^\s\w]+|\s+", text)


def couples(paradigm: str) -> list[tuple[Pair, Pair]]:
    pairs = PARADIGMS[paradigm]
    return list(zip(pairs[::2], pairs[1::2], strict=True))


def preferred(score: Callable[[str], int], pairs: Sequence[Pair]) -> float:
    """Share of pairs whose better texts score higher, a tie counting one half."""
    leads = [sum(map(score, pair.good)) - sum(map(score, pair.bad)) for pair in pairs]
    return sum(1.0 if lead > 0 else 0.5 if lead == 0 else 0.0 for lead in leads) / len(leads)


def stretch(pair: Pair) -> tuple[list[str], list[str]]:
    """Pieces of the good and the bad text, without those that they begin and end with alike."""
    good, bad = (gpt2_pieces(text) for (text,) in pair)
    for at in (0, -1):
        while good and bad and good[at] == bad[at]:
            del good[at], bad[at]
    return good, bad


def test_twelve_paradigms_of_sixty_templates_with_two_couples_each():
    assert len(TEMPLATED) == 12
    assert {len(templates) for templates in TEMPLATED.values()} == {60}
    assert {len(pairs) for templates in TEMPLATED.values() for pairs in templates} == {4}


def test_no_pair_is_there_twice_and_no_text_is_both_good_and_bad():
    pairs = [pair for paradigm in PARADIGMS.values() for pair in paradigm]
    assert len(set(pairs)) == len(pairs)
    good = {text for pair in pairs for text in pair.good}
    assert good.isdisjoint(text for pair in pairs for text in pair.bad)


@each_paradigm
def test_what_is_right_in_one_of_a_couple_is_wrong_in_the_other(paradigm: str):
    for first, second in couples(paradigm):
        right, wrong = stretch(first)
        assert stretch(second) == (wrong, right)
        assert right != wrong
        assert len(right) + len(wrong) <= 4


@each_paradigm
@pytest.mark.parametrize("encode", [gpt2_pieces, MODEL.tokenizer.encode], ids=["words", "tokens"])
def test_word_frequencies_alone_decide_nothing(
    paradigm: str, encode: Callable[[str], Sequence[object]]
):
    for seed in range(5):
        draw = random.Random(seed)
        # Whole numbers, so that sums are exact.
        weights: defaultdict[object, int] = defaultdict(lambda draw=draw: draw.getrandbits(32))

        def score(text: str, weights: defaultdict[object, int] = weights) -> int:
            return sum(weights[piece] for piece in encode(text))

        assert preferred(score, PARADIGMS[paradigm]) == 0.5


@each_paradigm
def test_length_alone_decides_nothing(paradigm: str):
    pairs = PARADIGMS[paradigm]
    assert preferred(lambda text: 0, pairs) == 0.5
    assert preferred(lambda text: -len(text), pairs) == 0.5
    assert preferred(lambda text: -len(MODEL.tokenizer.encode(text)), pairs) == 0.5


def test_word_order_pairs_have_the_same_words():
    for pair in PARADIGMS["word_order"]:
        good, bad = (Counter(MODEL.tokenizer.encode(text)) for (text,) in pair)
        assert good == bad


@each_paradigm
def test_no_row_of_three_words_decides_a_paradigm(paradigm: str):
    rows: Counter[tuple[str, ...]] = Counter()
    for pair in PARADIGMS[paradigm]:
        good, bad = (gpt2_pieces(text) for (text,) in pair)
        at = next(i for i, piece in enumerate(good) if bad[i : i + 1] != [piece])
        rows[tuple(good[max(0, at - 1) : at + 2])] += 1
    assert max(rows.values()) <= 18  # of 240


@each_paradigm
def test_texts_are_short_and_whole(paradigm: str):
    for pair in PARADIGMS[paradigm]:
        for text in (*pair.good, *pair.bad):
            assert 5 <= len(text.split()) <= 16
            assert re.fullmatch(r"""["A-Z][A-Za-z ,.!?"']*[.!?]"?""", text)
            assert "  " not in text
        if paradigm != "quotation":
            assert all(text.count('"') % 2 == 0 for text in (*pair.good, *pair.bad))


def test_every_word_is_known_to_the_released_model():
    statistics = statistics_beside(MODEL.path)
    assert statistics is not None
    known = read_statistics(statistics).counts
    texts = [t for pairs in PARADIGMS.values() for pair in pairs for t in (*pair.good, *pair.bad)]
    assert {word for text in texts for word in words(text)} <= known.keys()
