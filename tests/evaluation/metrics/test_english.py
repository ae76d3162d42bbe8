from __future__ import annotations

import random
import re
from collections import defaultdict
from importlib import resources
from string import ascii_lowercase

import pytest

from tinybuddy.corpus.statistics import words
from tinybuddy.corpus.tales import generate_tale
from tinybuddy.evaluation.metrics.english import english_words

FOLDER = resources.files("tinybuddy.evaluation.metrics")
LINES = (FOLDER / "english_words.txt").read_bytes().decode("utf-8").split("\n")
HEADER = [line for line in LINES if line.startswith("#")]
LISTED = LINES[len(HEADER) : -1]
FUNCTION_WORDS = """
a about after all am an and are as at be because been but by can can't could did didn't do does
doesn't don't for from had has have he her him his how i i'll i'm if in into is isn't it its let's
may me must my no nor not of off on or our she should so than that the their them then there they
they're this those to too up us was we were what when where which who whose why will with won't
would you you're your
"""


def test_the_file_is_sorted_and_of_single_words():
    assert sorted(set(LISTED)) == LISTED
    assert all(words(word) == [word] for word in LISTED)
    assert {word for word in LISTED if len(word) == 1} == {"a", "i", "o"}
    assert LINES[-1] == ""


def test_the_header_is_true():
    assert f"# Count: {len(LISTED)}" in HEADER
    assert sum(len(line.encode("utf-8")) + 1 for line in LINES) < 160_000
    notices = (FOLDER / "english_words.LICENSE.txt").read_text(encoding="utf-8")
    assert "Copyright 2000-2018 by Kevin Atkinson" in notices
    assert "Copyright (c) 2018-2021 Tyler Barrus" in notices


def test_possessives_are_formed():
    assert {"mom's", "timmy's", "it's", "let's"} <= english_words()
    assert not {"don't's", "mom's's", ""} & english_words()
    assert english_words().issuperset(LISTED)


def test_function_words_and_names_are_words():
    assert set(FUNCTION_WORDS.split()) <= english_words()
    assert {"lily", "tom", "timmy", "mia", "ben", "mommy", "yummy", "colour"} <= english_words()


def test_words_of_the_tales_are_words():
    found = [word for index in range(500) for word in words(generate_tale(index).text)]
    # 98.1 % measured; missing are names (Leila, Kofi), animals and sounds (piglet, ribbit).
    assert sum(word in english_words() for word in found) / len(found) > 0.975


# Shares measured: 8.1 %, 3.0 %, 0.37 %, 0.022 % and below.
@pytest.mark.parametrize("length, bound", [(2, 0.1), (3, 0.04), (4, 0.005), (5, 3e-4), (6, 2e-5)])
def test_few_strings_are_words(length: int, bound: float):
    plain = [w for w in english_words() if len(w) == length and set(w) <= set(ascii_lowercase)]
    assert 0 < len(plain) / 26**length < bound


# Shares measured: 1.6 %, 0.33 %, 0.06 %, 0.007 %.
@pytest.mark.parametrize("length, bound", [(5, 0.02), (6, 0.005), (7, 0.0015), (8, 5e-4)])
def test_few_strings_that_look_like_words_are(length: int, bound: float):
    follow = defaultdict(str)
    for word in LISTED:
        if re.fullmatch("[a-z]+", word):
            for before, letter in zip(" " + word, word, strict=False):
                follow[before] += letter
    draw, accepted = random.Random(0), 0
    for _ in range(20_000):
        text = " "
        while len(text) <= length:
            text += draw.choice(follow[text[-1]])
        accepted += text[1:] in english_words()
    assert accepted / 20_000 < bound
