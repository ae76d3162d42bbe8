from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybuddy.backends.llama import create_model
from tinybuddy.config import ModelConfig, Recipe, SampleConfig, TrainConfig
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.recipes import load_recipe, parse_recipe, parse_settings, recipe_names
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


def test_card_is_the_default_of_every_field():
    card = load_recipe("card")
    assert (card.model, card.train, card.sample) == (ModelConfig(), TrainConfig(), SampleConfig())


@pytest.mark.parametrize("name", recipe_names())
def test_published_recipes_claim_their_true_size(name: str):
    recipe = load_recipe(name)
    assert recipe.name == name
    model = create_model(asdict(recipe.model))
    assert recipe.model.parameters == sum(p.numel() for p in model.parameters())


@given(shapes())
def test_breakdown_is_the_sum_of_the_weights(config: ModelConfig):
    assert config.parameters == sum(math.prod(shape) for shape in weight_shapes(config).values())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hidden_size": 50}, "use a hidden_size of 48 or 56"),
        ({"hidden_size": 52}, "odd size 13"),
        ({"num_key_value_heads": 3}, "use one of 1, 2, 4"),
        ({"vocab_size": 100}, "tokenizer = 'characters'"),
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


def test_a_linear_schedule_and_muons_rate():
    config = TrainConfig(steps=1000, warmup_steps=50, schedule="linear", matrix_learning_rate=0.5)
    assert config.matrix_rate(0) == pytest.approx(0.01)
    assert config.matrix_rate(49) == config.matrix_rate(50) == 0.5
    assert config.matrix_rate(525) == pytest.approx(0.25)
    assert config.matrix_rate(999) == pytest.approx(0.5 / 950)
    assert config.rate(525) == pytest.approx(config.learning_rate / 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[train]\nlerning_rate = 1", "did you mean 'learning_rate'"),
        ("[trane]\n", "did you mean 'train'"),
        ("parameters = 83_857", "claims 83857 parameters; its shape has 83,856"),
        ("steps", "not valid TOML"),
        ("model = 3", r"write \[model\]"),
        ("a = " + "[" * 5000, "not valid TOML"),
        (f"a = {'9' * 5000}", "not valid TOML"),
        ("expected.x = 1", r"\[expected.x\].*two lists of numbers"),
        ("[expected.x]\nsteps = [1, 2]\nbits_per_byte = [1]", "as long as"),
        ("[expected.x]\nsteps = ['a']\nbits_per_byte = [1]", "two lists of numbers"),
        ("expected" + ".a" * 3000 + " = 1", "two lists|not valid TOML"),
        ('name = "a/b"', "cannot name a recipe"),
        ('name = "a\\u0000b"', "cannot name a recipe"),
        ('name = ".."', "cannot name a recipe"),
    ],
)
def test_broken_recipes_are_one_sentence(text: str, says: str):
    with pytest.raises(UsageError, match=says):
        parse_recipe(text, "mine")


def test_recipe_files(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text("[train]\nsteps = 7\n", encoding="utf-8")
    recipe = load_recipe(path)
    assert (recipe.name, recipe.train.steps) == ("mine", 7)
    with pytest.raises(UsageError, match="did you mean 'card'"):
        load_recipe("cart")
    with pytest.raises(TinybuddyError, match="Cannot read"):
        load_recipe(tmp_path / "none.toml")
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(TinybuddyError, match="not UTF-8"):
        load_recipe(path)
    path.write_bytes(b"#" * 2_000_000)
    with pytest.raises(TinybuddyError, match="too large"):
        load_recipe(path)


def test_set_reads_numbers_and_words():
    pairs = ["steps=5", "learning_rate=3e-3", "clean=false", "data=tales", "name=a=b"]
    expected = {"steps": 5, "learning_rate": 0.003, "clean": False, "data": "tales", "name": "a=b"}
    assert parse_settings(pairs) == expected
    with pytest.raises(UsageError, match="key=value"):
        parse_settings(["steps"])
