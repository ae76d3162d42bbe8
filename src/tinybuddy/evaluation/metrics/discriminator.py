"""Discriminator: how well a classifier tells the stories from human ones; reported, not judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tinybuddy.corpus.statistics import words
from tinybuddy.evaluation.metrics.metric import Metric, MetricValue
from tinybuddy.evaluation.stories import Story, share_of_stories

FOLDS = 5
PENALTY = 0.01  # of the squared weights, beside the mean loss
STEPS = 300


def measure_discriminator(stories: Sequence[Story], human: Sequence[Story]) -> Metric:
    """Accuracy in telling ``stories`` from as many ``human`` ones: 50 % is indistinguishable.

    Logistic regression on words and pairs of words, each story a vector of length 1; five-fold
    cross-validation, so that no story is classified by what was fitted to itself.
    """
    count = min(len(stories), len(human))
    if count < FOLDS:
        return Metric("tell_apart", [], lacks="human stories: give them as data")
    # Alternating, so that a fold has as many of both.
    texts = [t.text for two in zip(stories[:count], human[:count], strict=True) for t in two]
    labels = np.resize([1.0, -1.0], len(texts))
    kernel = _kernel(texts)
    folds = np.arange(len(texts)) // 2 % FOLDS
    right = np.zeros(len(texts))
    for fold in range(FOLDS):
        test, train = folds == fold, folds != fold
        weights = _fit(kernel[np.ix_(train, train)], labels[train])
        scores = kernel[np.ix_(test, train)] @ weights
        right[test] = np.where(scores == 0.0, 0.5, np.sign(scores) == labels[test])
    both = right.reshape(count, 2).sum(axis=1)  # of a story and the human one beside it
    share = share_of_stories(stories[:count], both, np.full(count, 2))
    return Metric("tell_apart", [MetricValue("tell_apart.accuracy", share)])


def _kernel(texts: Sequence[str]) -> NDArray[np.float64]:
    """Inner products (texts, texts) of the texts' vectors of words and pairs of words."""
    found = [words(text) for text in texts]
    grams = [Counter([*row, *pairwise(row)]) for row in found]
    columns = {gram: n for n, gram in enumerate(dict.fromkeys(g for c in grams for g in c))}
    matrix = np.zeros((len(texts), len(columns)))
    for row, counts in zip(matrix, grams, strict=True):
        row[[columns[gram] for gram in counts]] = np.log1p(list(counts.values()))
    matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    return matrix @ matrix.T


def _fit(kernel: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (texts,) of the training texts: gradient descent on the logistic loss."""
    weights = np.zeros(len(labels))
    rate = 1.0 / (0.25 * np.linalg.norm(kernel, 2) / len(labels) + PENALTY)
    for _ in range(STEPS):
        margins = labels * (kernel @ weights)
        gradient = labels / (1.0 + np.exp(margins)) / len(labels)
        weights += rate * (gradient - PENALTY * weights)
    return weights
