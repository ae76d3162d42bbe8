from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tinybuddy
from tinybuddy.backends import open_backend
from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.hub import read_model
from tinybuddy.generation.model import Model
from tinybuddy.scoring import BATCH_TOKENS, LOST_BYTE_BITS, batched, score, windows
from tinybuddy.tokenizer import encode_story
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.training.run import Run
from tinybuddy.weights import weight_shapes


@given(st.integers(0, 500), st.integers(1, 130))
def test_windows_score_each_prediction_once_with_context(length: int, context: int):
    covered: list[int] = []
    for a, p, e in windows(length, context):
        assert 0 <= a <= p < e <= length
        assert e - a <= context
        assert a == 0 or p - a >= context // 2
        covered += range(p, e)
    assert covered == list(range(length))


def test_windows_by_hand():
    assert list(windows(10, 4)) == [(0, 0, 4), (2, 4, 6), (4, 6, 8), (6, 8, 10)]
    assert list(windows(5, 4)) == [(0, 0, 4), (1, 4, 5)]
    assert list(windows(3, 4)) == [(0, 0, 3)]


@torch.no_grad()
def test_score_is_the_definition_computed_plainly(small_run: Run):
    """One window at a time, one prediction at a time, in another arithmetic."""
    model = tinybuddy.load(small_run.path, backend="torch")
    context = model.config.max_position_embeddings
    stories = ["A cat.", "Mia ran to the big pond and fell in, and then 😀 she swam. " * 8, "x"]
    bits, size = 0.0, 0
    for story in stories:
        ids = encode_story(model.tokenizer, story)
        size += len(story.encode()) + 1
        length = len(ids) - 1
        p = 0
        while p < length:
            a = 0 if p == 0 else max(0, min(p - context // 2, length - context))
            e = min(a + context, length)
            logits = model.backend.model(torch.tensor([ids[a:e]])).double()[0]
            for i in range(p, e):
                bits -= logits[i - a].log_softmax(-1)[ids[i + 1]].item() / math.log(2)
            p = e
    found = model.score(stories)
    assert found.bytes == size
    assert found.bits == pytest.approx(bits, rel=1e-6)
    assert found.bits_per_byte == found.bits / size


def test_progress_counts_the_stories(small_run: Run):
    seen: list[int] = []
    model = small_run.model
    score(model.backend, model.tokenizer, 32, iter(["a", "b", "c"]), seen.append)
    assert seen == [1, 2, 3]


def test_lost_bytes_cost_eight_bits(small_run: Run):
    class Sure:
        def log_likelihoods(self, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
            return np.zeros(targets.shape, np.float32)

    tokenizer = train_tokenizer(["aaa bbb"], 6, "characters")
    found = score(Sure(), tokenizer, 8, ["ab", "aé"])  # type: ignore[arg-type]
    assert found.bits == 2 * LOST_BYTE_BITS
    assert found.bytes == 3 + 4


def test_nothing_to_score_is_one_sentence(small_run: Run):
    with pytest.raises(TinybuddyError, match="no story to score"):
        small_run.model.score([])


def test_broken_weights_are_one_sentence(small_run: Run):
    files = read_model(small_run.path / "checkpoints" / "000012")
    weights = {n: np.full(s, np.nan, np.float32) for n, s in weight_shapes(files.config).items()}
    model = Model(files, open_backend(files.config, weights))
    with pytest.raises(TinybuddyError, match="not finite"):
        model.score("A cat.")


SIZES = st.integers(1, 2 * BATCH_TOKENS)


@given(st.lists(st.tuples(st.integers(1, 5), SIZES), max_size=40))
def test_batches_are_of_one_group_and_not_too_large(items: list[tuple[int, int]]):
    found = list(batched(items, lambda it: it[0], lambda it: it[1]))
    assert sorted(item for batch in found for item in batch) == sorted(items)
    for batch in found:
        assert len({group for group, _ in batch}) == 1
        assert len(batch) == 1 or len(batch) * max(size for _, size in batch) <= BATCH_TOKENS
