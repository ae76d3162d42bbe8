from __future__ import annotations

import pytest

from tinybuddy.backends import open_trainer
from tinybuddy.config import ModelConfig, TrainConfig


def test_initial_weights_are_as_told_and_follow_the_seed():
    shape = ModelConfig()
    one, two, again = (
        open_trainer(shape, TrainConfig(seed=s, init_std=0.02), None).weights() for s in (1, 2, 1)
    )
    for name, weight in one.items():
        if weight.ndim == 1:
            assert (weight == 1).all()
        else:
            assert weight.std() == pytest.approx(0.02, rel=0.1)
            assert (weight != two[name]).any()
        assert (weight == again[name]).all()
