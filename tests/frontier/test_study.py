"""What a study's file may say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinybuddy.config import Recipe
from tinybuddy.errors import UsageError
from tinybuddy.frontier.shapes import check_budgets, fitted
from tinybuddy.frontier.study import Study, load_study, parse_study, study_names

SOUND = """
budgets = [2_000]
rungs = [10, 20]
trials = 3
[space]
num_hidden_layers = { low = 1, high = 3 }
vocab_size = [300, 400]
"""


@pytest.mark.parametrize("name", study_names())
def test_published_studies_have_a_shape_for_each_budget(name: str):
    check_budgets(load_study(name))


def test_a_study_is_read_again_as_it_was_written(study: Study):
    assert parse_study(study.to_toml(), "other") == study
    sound = parse_study(SOUND, "sound")
    assert parse_study(sound.to_toml(), "other") == sound
    assert (sound.name, sound.recipe.name, sound.final_seeds) == ("sound", "sound", ())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("budgets = [2_000]", "", "budgets must be a list of at least one number"),
        ("[2_000]", "[]", "budgets must be a list of at least one number"),
        ("[2_000]", "[5, 4]", "budgets must be different numbers in rising order"),
        ("[2_000]", "[2_000, 2_000]", "budgets must be different numbers in rising order"),
        ("[2_000]", "[0]", "Each of budgets must lie between 1 and"),
        ("[2_000]", "[1.5]", "Each of budgets must be a whole number"),
        ("[2_000]", "['many']", "Each of budgets must be a whole number"),
        ("[10, 20]", "[10, 25]", "multiples of the first, which is 10"),
        ("trials = 3", "trials = 0", "trials must lie between 1 and"),
        ("trials = 3", "trails = 3", "did you mean 'trials'?"),
        ("trials = 3", "trials = 3\nfinal_seeds = [-1]", "Each of final_seeds must lie between"),
        ("trials = 3", "trials = 3\nrecipe = 'crad'", "did you mean 'card'?"),
        ("[space]", "[[space]]", "space in the study mine must be a section"),
        ("trials = 3", "trials = 3\nstart = 3", "start must be proposals"),
        ("trials = 3", "trials = 3\nstart = [{ epochs = 1 }]", "There is no key of [[start]]"),
        ("vocab_size = [300, 400]", "vocab_size = []", "vocab_size in [space] must be a list"),
        ("[300, 400]", "[300, 'many']", "vocab_size in [space] must be a list"),
        ("[300, 400]", "{ low = 0, high = 4, log = true }", "vocab_size in [space] must be a"),
        ("[300, 400]", "{ low = 4, high = 4 }", "vocab_size in [space] must be a"),
        ("vocab_size =", "hidden_size =", "There is no key of [space] 'hidden_size'"),
        ("vocab_size =", "vocab_size ", "is not valid TOML"),
        ("vocab_size =", "stories =", "There is no key of [space] 'stories'"),
        ("vocab_size =", "seed =", "There is no key of [space] 'seed'"),
        ("[300, 400]", "[300, 70_000]", "vocab_size must lie between 4 and 65,535"),
        ("[300, 400]", "[[300], [400]]", "vocab_size must be a whole number, not [300]"),
        ("[300, 400]", "[2026-01-01]", "vocab_size must be a whole number"),
        ("[300, 400]", "{ low = 300, high = 400.5 }", "vocab_size must be a whole number"),
        ("high = 3", "high = 1_000_000", "num_hidden_layers must lie between 1 and 128"),
        ("vocab_size = [300, 400]", "beta1 = { low = 0.5, high = 3.0 }", "beta1 must lie between"),
        ("vocab_size = [300, 400]", "beta1 = { low = 0.5, high = inf }", "beta1 must lie between"),
        ("vocab_size = [300, 400]", "group_size = [0, 1]", "group_size must lie between 1 and"),
        ("vocab_size = [300, 400]", "feed_forward_ratio = ['x']", "must be a number above 0"),
        ("vocab_size = [300, 400]", "feed_forward_ratio = [-1.0]", "must be a number above 0"),
        (
            "trials = 3",
            "trials = 3\nstart = [{ vocab_size = 999 }]",
            "vocab_size in [[start]] must be one of its values in [space], not 999",
        ),
        ("trials = 3", "trials = 3\nstart = [{ vocab_size = [1] }]", "must be one of its values"),
        (
            "trials = 3",
            "trials = 3\nstart = [{ num_hidden_layers = 4 }]",
            "num_hidden_layers in [[start]] must be one of its values in [space], not 4",
        ),
        (
            "trials = 3",
            "trials = 3\nfinal_seeds = [0]\nfinal_steps = 20",
            "final_steps must be more than the last rung, 20, not 20",
        ),
    ],
)
def test_what_makes_no_sense_is_said(old: str, new: str, said: str):
    assert old in SOUND
    with pytest.raises(UsageError) as error:
        parse_study(SOUND.replace(old, new), "mine")
    assert said in str(error.value)


def test_an_unknown_study_is_said(tmp_path: Path):
    with pytest.raises(UsageError, match="did you mean 'tales'"):
        load_study("tale")


def test_a_budget_that_no_shape_fits_into_is_said():
    with pytest.raises(UsageError, match=r"No shape of the study mine fits into 500 parameters"):
        check_budgets(parse_study(SOUND.replace("2_000", "500, 5_000"), "mine"))


def test_a_vocabulary_too_small_for_its_tokenizer_is_said():
    text = SOUND.replace("[300, 400]", "[128]")
    with pytest.raises(UsageError, match="vocab_size 128 is too small for byte-level BPE"):
        check_budgets(parse_study(text, "mine"))
    check_budgets(parse_study(text + "tokenizer = ['bpe', 'unigram']\n", "mine"))


@given(
    budget=st.integers(300, 400_000),
    vocab_size=st.integers(260, 3_000),
    layers=st.integers(1, 8),
    heads=st.integers(1, 8),
    group=st.sampled_from([1, 2, 4]),
    ratio=st.floats(0.1, 8.0),
)
def test_a_model_is_as_wide_as_its_budget_allows(
    budget: int, vocab_size: int, layers: int, heads: int, group: int, ratio: float
):
    proposal = {
        "vocab_size": vocab_size,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "group_size": group,
        "feed_forward_ratio": ratio,
    }
    recipe = fitted(Recipe("any"), proposal, budget)
    narrowest = vocab_size * 2 * heads
    if recipe is None:
        assert budget < 2 * narrowest + 100_000
        return
    model = recipe.model
    assert model.parameters <= budget
    one_more = 3 * model.hidden_size * layers  # parameters of a wider feed-forward layer
    assert model.parameters + one_more > budget
    assert model.intermediate_size >= round(ratio * model.hidden_size) or model.hidden_size == 2
    assert (model.vocab_size, model.num_hidden_layers) == (vocab_size, layers)
