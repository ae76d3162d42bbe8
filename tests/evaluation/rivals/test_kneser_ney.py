from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybuddy.corpus import open_corpus
from tinybuddy.evaluation.rivals.kneser_ney import (
    CONTEXT,
    KneserNey,
    count,
    estimate,
    losses,
    pruned,
)
from tinybuddy.evaluation.rivals.ngrams import open_rivals
from tinybuddy.formats.references import RELEASED
from tinybuddy.scoring import score
from tinybuddy.tokenizer import load_tokenizer

BOS, V = 0, 8
stories = st.lists(st.lists(st.integers(1, V - 1), min_size=1, max_size=12), min_size=1, max_size=8)


def _with_bos(texts: list[list[int]]) -> list[list[int]]:
    return [[BOS, *text] for text in texts]


def _spread(model: KneserNey, history: list[int]) -> np.ndarray:
    rows = [row[0, -1] for row in model.histories(np.array([history]))]
    return model.distribution(rows)


@given(stories, st.integers(1, 4), st.lists(st.integers(1, V - 1), max_size=5))
def test_after_any_history_probabilities_are_positive_and_sum_to_one(texts, order, history):
    levels = count(_with_bos(texts), V, order)
    for model in (estimate(levels), estimate(levels, discount=0.4), pruned(levels, 12)):
        p = _spread(model, [BOS, *history])
        assert p.sum() == pytest.approx(1.0)
        assert (p > 0).all()


@given(stories, st.lists(st.integers(1, V - 1), min_size=1, max_size=9))
def test_scoring_and_continuing_agree(texts, asked):
    model = estimate(count(_with_bos(texts), V, 3))
    ids = np.array([[BOS, *asked]])
    scored = model.log_likelihoods(ids[:, :-1], ids[:, 1:])[0]
    stream = model.stream()
    texts = [stream.feed(ids[:, i : i + 1])[0, ids[0, i + 1]] for i in range(len(asked))]
    np.testing.assert_allclose(scored, texts, rtol=1e-5)


def test_it_is_the_interpolated_model_of_nltk():
    """NLTK's has one discount and leaves single tokens undiscounted, which is put in here."""
    nltk = pytest.importorskip("nltk.lm")
    from nltk.lm.smoothing import KneserNey as Theirs
    from nltk.util import everygrams

    random = np.random.default_rng(5)
    text = [BOS, *(int(n) for n in random.zipf(1.3, 4000).clip(max=V - 1))]
    ours = estimate(count([text], V, 3), discount=0.6)
    single = _spread(ours, [BOS, 7, 7])  # only fills in what NLTK lacks

    class WithOurSingles(Theirs):
        def unigram_score(self, word: str) -> float:
            return float(ours.levels[0].direct[int(word)] + ours.floor)

    theirs = nltk.KneserNeyInterpolated(3, discount=0.6)
    words = [str(id) for id in text]
    theirs.fit([list(everygrams(words, max_len=3))], vocabulary_text=words)
    theirs.estimator = WithOurSingles(theirs.vocab, theirs.counts, order=3, discount=0.6)
    assert single.sum() == pytest.approx(1.0)
    compared = 0
    for a, b in {*pairwise(text[1:-1])}:
        p = _spread(ours, [BOS, a, b])
        for word in range(1, V):
            expected = theirs.unmasked_score(str(word), (str(a), str(b)))
            # The text's own beginning stands before one pair, which NLTK counts as a token.
            assert p[word] == pytest.approx(expected, abs=2e-3)
            compared += 1
    assert compared > 250


@settings(max_examples=30)
@given(stories, st.integers(V, 60))
def test_pruning_keeps_its_budget_and_every_history_that_it_needs(texts, budget):
    levels = count(_with_bos(texts), V, 4)
    model = pruned(levels, budget)
    assert model.stored <= budget
    for shorter, level in pairwise(model.levels):
        assert (level.keys // V < len(shorter.keys)).all()
    everything = sum(len(level.keys) for level in levels)
    assert pruned(levels, everything).stored == estimate(levels).stored


def test_the_least_loss_is_pruned_first():
    texts = _with_bos([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 5, 6], [7, 2, 3]] * 5)
    levels = count(texts, V, 2)
    (loss,) = losses(levels, estimate(levels))[1:]
    kept = {int(key) for key in pruned(levels, V - 1 + 3).levels[1].keys}
    assert kept == {int(key) for key in levels[1].keys[np.argsort(-loss)[:3]]}


def test_an_end_that_is_also_the_beginning_is_no_commoner_for_it():
    """As in llama2.c and GPT-2: the first id of a story is not predicted, and not counted."""
    one = count([[1, 2, 3, 1], [1, 4, 5, 1]] * 9, V, 2)
    two = count([[0, 2, 3, 1], [0, 4, 5, 1]] * 9, V, 2)
    assert _spread(estimate(one), [1])[[2, 3, 4, 5]] == pytest.approx(
        _spread(estimate(two), [0])[[2, 3, 4, 5]], abs=1e-12
    )
    assert estimate(one).levels[0].direct[1] == estimate(two).levels[0].direct[1]


def test_copied_text_leaves_something_to_what_it_lacks():
    random = np.random.default_rng(1)
    texts = _with_bos([[int(n) for n in random.integers(1, V, 9)] for _ in range(60)])
    levels = count([text for text in texts for _ in range(4)], V, 4)
    p = _spread(estimate(levels), [BOS, 1, 2, 3])
    assert (p > 0).all()
    assert p.sum() == pytest.approx(1.0)


@pytest.mark.slow
def test_the_anchors_on_tinystories(tinystories: Path):
    """The values of the design: 1.615, 1.274 and 1.201 with 68k, 390k and 1.95M n-grams."""
    corpus = open_corpus(str(tinystories), stories=5000)
    tokenizer = load_tokenizer(RELEASED / "tinybuddy-80k-card" / "tokenizer.json")
    rivals = open_rivals(tokenizer, list(corpus.train()), corpus.validation())
    for order, bits, n_grams in ((2, 1.615, 67_924), (3, 1.274, 390_317), (5, 1.201, 1_948_872)):
        model = estimate(rivals.levels[:order])
        found = score(model, tokenizer, CONTEXT, rivals.validation).bits_per_byte
        assert model.stored == n_grams
        assert bits - 0.008 < found < bits + 0.003
    best = rivals.best(83_856)
    assert best["n_grams"] <= 83_856
    assert best["bits_per_byte"] == pytest.approx(1.295, abs=0.001)
