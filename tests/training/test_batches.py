from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinybuddy.config import TrainConfig
from tinybuddy.corpus.packed import Tokens
from tinybuddy.tokenizer.layout import BOS
from tinybuddy.training.batches import Batches

TOKENS = np.arange(1000, dtype=np.uint16)


def _stories(sizes: list[int]) -> Tokens:
    """Stories of so many tokens, each of its own number after its beginning."""
    rows = [np.full(size, 10 + n, np.uint16) for n, size in enumerate(sizes)]
    for row in rows:
        row[0] = BOS
    return np.concatenate(rows)


def test_batches_are_crops_that_depend_on_seed_and_step_alone():
    batches = Batches(TOKENS, TrainConfig(batch_size=500), 8)
    inputs, targets = batches(3)
    assert inputs.shape == targets.shape == (500, 8)
    assert (targets == inputs + 1).all()
    assert inputs.min() == 0 or inputs.min() < 10
    assert targets.max() > 990
    assert (batches(3)[0] == inputs).all()
    assert (batches(4)[0] != inputs).any()
    assert (Batches(TOKENS, TrainConfig(batch_size=500, seed=1), 8)(3)[0] != inputs).any()


@given(st.sampled_from(["anywhere", "stories"]))
def test_the_shortest_text_has_one_crop(crops: str):
    tokens = TOKENS[BOS : BOS + 9]
    inputs, targets = Batches(tokens, TrainConfig(crops=crops), 8)(0)
    assert (inputs == tokens[:8]).all()
    assert targets[0, -1] == tokens[8]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20).filter(lambda s: sum(s) > 8))
def test_crops_keep_within_a_story_that_is_long_enough(sizes: list[int]):
    tokens = _stories(sizes)
    inputs, targets = Batches(tokens, TrainConfig(crops="stories", batch_size=200), 8)(0)
    crops = np.hstack([inputs, targets[:, -1:]])
    if min(sizes) > 8:
        assert (crops[:, 1:] != BOS).all()
    windows = {window.tobytes() for window in np.lib.stride_tricks.sliding_window_view(tokens, 9)}
    assert {crop.astype(tokens.dtype).tobytes() for crop in crops} <= windows


def test_the_ends_of_stories_are_in_as_many_crops():
    tokens = np.arange(10, 60, dtype=np.uint16)
    tokens[[0, 20]] = BOS
    inputs, targets = Batches(tokens, TrainConfig(crops="stories", batch_size=60_000), 4)(0)
    crops = np.hstack([inputs, targets[:, -1:]])
    counts = np.bincount(crops.ravel())[tokens[tokens != BOS]]
    assert counts.max() < 2 * counts.min()


def test_a_share_of_the_steps_has_short_crops():
    batches = Batches(TOKENS, TrainConfig(batch_size=5, short_crops=0.3), 8)
    shapes = [batches(step)[0].shape for step in range(400)]
    assert {*shapes} == {(5, 8), (20, 2)}
    assert 0.2 < shapes.count((20, 2)) / 400 < 0.4
    assert Batches(TOKENS, TrainConfig(batch_size=5, short_crops=1.0), 3)(0)[0].shape == (20, 1)
