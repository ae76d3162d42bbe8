"""The law: found again in runs that were made by one, and refused where there are too few."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the extra frontier")

from tests.frontier.made import row
from tinybuddy.errors import TinybuddyError
from tinybuddy.frontier.law import Law, fit, held_back, observations, said_of

E, A, POWER_A, B, POWER_B = 0.7, 20.0, 0.35, 60.0, 0.4
WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128)


def runs(steps: tuple[int, ...], noise: float = 0.003) -> list[dict[str, Any]]:
    """Runs that a known law made, with noise of the size that seeds make."""
    rng = np.random.default_rng(1)
    rows = []
    for hidden in WIDTHS:
        for each in steps:
            found = row(hidden, 1.0, steps=each)
            bits = E + A / found["parameters"] ** POWER_A + B / found["tokens"] ** POWER_B
            rows.append(found | {"bits_per_byte": bits * np.exp(rng.normal(0, noise))})
    return rows


def interval(law: Law, name: str) -> tuple[float, float]:
    found = law.to_mapping()["constants"][name]
    return found["low"], found["high"]


def test_known_constants_are_found_again():
    law = fit(runs((20, 100, 500, 2500)))
    assert law.tokens == 3
    for name, constant in (("E", E), ("a", POWER_A), ("b", POWER_B)):
        low, high = interval(law, name)
        assert low <= constant <= high, name
        assert high - low < 0.25
    assert law.constants[[0, 2, 4]] == pytest.approx([E, POWER_A, POWER_B], abs=0.08)


def test_one_bad_run_hardly_matters():
    rows = runs((20, 100, 500, 2500))
    before = fit(rows).bits(20_000, 1e6)
    rows[7]["bits_per_byte"] *= 1.5
    assert fit(rows).bits(20_000, 1e6) == pytest.approx(before, rel=0.01)


def test_what_few_numbers_of_tokens_do_not_tell_is_not_claimed():
    two, one = fit(runs((100, 2500))), fit(runs((100,)))
    assert two.tokens == 2
    assert two.constants[4] == two.constants[2]
    assert one.tokens == 1
    assert one.constants[3] == 0
    assert "D" not in str(one)
    for law, steps in ((two, 2500), (one, 100)):
        for seen in observations(runs((steps,), noise=0)):
            assert law.bits(seen.parameters, seen.tokens) == pytest.approx(seen.bits, rel=0.02)


def test_three_numbers_of_tokens_that_no_budget_has_are_as_two():
    budgets = sorted({each["budget"] for each in runs((100,))})
    small = [each for each in runs((20, 2500)) if each["budget"] < budgets[-3]]
    large = [each for each in runs((20, 250)) if each["budget"] >= budgets[-3]]
    law = fit([*small, *large])
    assert law.tokens == 2
    assert law.constants[4] == law.constants[2]
    assert len(law.observations) == 2 * len(WIDTHS)


def test_tokens_of_one_budget_alone_change_nothing():
    rows = runs((100,))
    longer = row(WIDTHS[-1], 0.8, steps=9999)
    assert str(fit([*rows, longer])) == str(fit(rows))
    found = held_back([*rows, longer], longer["budget"])
    assert found["tokens"] == 100_000
    assert found["low"] < found["measured"] < found["high"]


def test_a_budget_that_was_held_back_is_predicted():
    rows = runs((20, 100, 500, 2500))
    largest = max(each["budget"] for each in rows)
    found = held_back(rows, largest)
    assert found["low"] < found["measured"] < found["high"]
    assert found["high"] - found["low"] < 0.1
    assert found["tokens"] == 2_500_000
    assert f"{largest:,}" in said_of(found)
    others = [each for each in rows if each["budget"] != largest]
    changed = [*others, *(each | {"bits_per_byte": 5.0} for each in rows if each not in others)]
    assert held_back(changed, largest)["predicted"] == found["predicted"]


def test_the_best_recipe_of_a_budget_counts_by_the_mean_of_its_seeds():
    lucky = [row(8, bits, fingerprint="a", seed=seed) for seed, bits in enumerate((1.5, 2.1))]
    steady = [row(8, bits, fingerprint="b", seed=seed) for seed, bits in enumerate((1.6, 1.7))]
    (found,) = observations([*lucky, *steady])
    assert found.bits == pytest.approx(1.65)


def test_too_few_rows_give_a_sentence():
    rows = runs((100, 500))
    kept = sorted({each["budget"] for each in rows})[:3]
    with pytest.raises(TinybuddyError, match="at least 4 budgets, and there are of 3 budgets"):
        fit([each for each in rows if each["budget"] in kept])
    with pytest.raises(TinybuddyError, match="of 0 budgets"):
        fit([])
    with pytest.raises(TinybuddyError, match="No run of 7 parameters"):
        held_back(rows, 7)
