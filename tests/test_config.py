from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybuddy.config import ModelConfig, Recipe, TrainConfig
from tinybuddy.errors import UsageError
from tinybuddy.recipes import load_recipe
from tinybuddy.weights import weight_shapes


def shapes() -> st.SearchStrategy[ModelConfig]:
    """Any small allowed shape."""

    @st.composite
    def build(draw: st.DrawFn) -> ModelConfig:
        kv_heads = draw(st.integers(1, 3))
        heads = kv_heads * draw(st.integers(1, 3))
        return ModelConfig(
            vocab_size=draw(st.integers(4, 40)),
            hidden_size=heads * 2 * draw(st.integers(1, 4)),
            intermediate_size=draw(st.integers(1, 30)),
            num_hidden_layers=draw(st.integers(1, 4)),
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=draw(st.integers(1, 16)),
        )

    return build()


def test_card_counts_what_its_total_says():
    card = load_recipe("card").model
    assert card.parameters == 83_856
    assert card.breakdown() == {
        "embedding": 49_152,
        "attention": 6_912,
        "feed_forward": 27_648,
        "norms": 144,
    }


@given(shapes())
def test_breakdown_is_the_sum_of_the_weights(config: ModelConfig):
    assert config.parameters == sum(math.prod(shape) for shape in weight_shapes(config).values())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hidden_size": 50}, "use a hidden_size of 48 or 56"),
        ({"hidden_size": 52}, "odd size 13"),
        ({"num_key_value_heads": 3}, "use one of 1, 2, 4"),
        ({"vocab_size": 100}, "alphabet = 'seen'"),
        ({"vocab_size": 70_000}, "vocab_size must lie between 4 and 65,535"),
        ({"hidden_sise": 48}, "did you mean 'hidden_size'?"),
        ({"zzz": 1}, "known are"),
        ({"temperature": -1}, "temperature must lie between"),
        ({"learning_rate": math.nan}, "learning_rate must lie between"),
        ({"grad_clip": math.inf}, "any finite number"),
        ({"steps": 0}, "steps must lie between 1"),
        ({"steps": 1.5}, "steps must be a whole number"),
        ({"steps": True}, "steps must be a whole number"),
        ({"clean": 1}, "clean must be true or false"),
        ({"device": "tpu"}, "device must be cpu or cuda or mps"),
    ],
)
def test_impossible_values_are_refused_with_the_sentence_that_mends_them(settings, says: str):
    with pytest.raises(UsageError, match="(?s)" + says.replace("?", r"\?")):
        load_recipe("card").with_settings(settings)


def test_settings_reach_the_section_they_belong_to():
    recipe = Recipe().with_settings({"hidden_size": 64, "steps": 5, "top_k": 0, "beta1": 0})
    assert (recipe.model.hidden_size, recipe.train.steps, recipe.sample.top_k) == (64, 5, 0)
    assert recipe.train.beta1 == 0.0


def test_the_expected_curve_goes_with_what_it_was_measured_on():
    card = load_recipe("card")
    assert card.expected
    assert card.with_settings({"seed": 3, "data": "x", "temperature": 1}).expected == card.expected
    assert card.with_settings({"steps": 1000}).expected == card.expected
    assert not card.with_settings({"steps": 500}).expected
    assert not card.with_settings({"hidden_size": 64}).expected


def test_rate_warms_up_and_falls_to_zero():
    config = TrainConfig(steps=1000, warmup_steps=50, learning_rate=1.0)
    assert config.rate(0) == pytest.approx(1 / 50)
    assert config.rate(49) == config.rate(50) == 1.0
    assert config.rate(525) == pytest.approx(0.5)
    assert config.rate(999) < 1e-5
    rates = [config.rate(step) for step in range(50, 1000)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("schedule", "middle"), [("quadratic", 0.25), ("sqrt", 1 - 0.5**0.5)])
def test_the_other_schedules_fall_to_nothing(schedule: str, middle: float):
    config = TrainConfig(steps=1000, warmup_steps=50, schedule=schedule, learning_rate=1.0)
    assert config.rate(50) == 1.0
    assert config.rate(525) == pytest.approx(middle)
    assert 0 < config.rate(999) < 2e-3
    rates = [config.rate(step) for step in range(50, 1000)]
    assert rates == sorted(rates, reverse=True)


def test_a_linear_schedule_and_muons_rate():
    config = TrainConfig(steps=1000, warmup_steps=50, schedule="linear", matrix_learning_rate=0.5)
    assert config.matrix_rate(0) == pytest.approx(0.01)
    assert config.matrix_rate(49) == config.matrix_rate(50) == 0.5
    assert config.matrix_rate(525) == pytest.approx(0.25)
    assert config.matrix_rate(999) == pytest.approx(0.5 / 950)
    assert config.rate(525) == pytest.approx(config.learning_rate / 2)
