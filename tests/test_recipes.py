from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from tinybuddy.backends.llama import create_model
from tinybuddy.config import ModelConfig, SampleConfig, TrainConfig
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.recipes import load_recipe, parse_recipe, parse_settings, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_published_recipes_claim_their_true_size(name: str):
    recipe = load_recipe(name)
    assert recipe.name == name
    model = create_model(asdict(recipe.model))
    assert recipe.model.parameters == sum(p.numel() for p in model.parameters())


def test_card_is_the_default_of_every_field():
    card = load_recipe("card")
    assert (card.model, card.train, card.sample) == (ModelConfig(), TrainConfig(), SampleConfig())


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
