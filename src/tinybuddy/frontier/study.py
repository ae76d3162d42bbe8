"""A study, as a TOML file holds it: parameter budgets, what is searched in each, and how long."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from tinybuddy.config import (
    NOT_OF_THE_RECIPE,
    ModelConfig,
    Recipe,
    TrainConfig,
    check_setting,
    unknown,
    whole_number,
)
from tinybuddy.disk import expanded, read_text
from tinybuddy.errors import UsageError
from tinybuddy.recipes import MAX_RECIPE_BYTES, load_recipe

STUDIES = Path(__file__).parent / "studies"
MOST_BUDGET = 100_000_000  # parameters
MOST_STEPS = 100_000_000
MOST_TRIALS = 100_000  # of a budget
MOST_RATIO = 1_000

# A budget decides these; the two ratios are searched in their place.
DERIVED = frozenset({"hidden_size", "intermediate_size", "num_key_value_heads"})
RATIOS = ("feed_forward_ratio", "group_size")
# The text is read once for all runs, and how long they last is the study's to say.
SHARED = NOT_OF_THE_RECIPE | {"stories", "clean", "from_model", "steps"}


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, whole where both are; by their logarithm if ``log``."""

    low: float
    high: float
    log: bool = False


Choice = tuple[Any, ...] | Range
Proposal = Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """What is searched, and for how long.

    Attributes:
        name: of the study.
        recipe: what all runs share, the data too.
        budgets: most parameters of a model, in rising order; each is searched by itself.
        space: what is searched: fields of a recipe, and ``feed_forward_ratio`` (intermediate to
            hidden size, at least) and ``group_size`` (query heads to a key-value head); see
            `tinybuddy.frontier.shapes`.
        start: proposals to begin each budget with.
        trials: proposals of each budget.
        rungs: steps of a trial after which it may be pruned; it ends at the last.
        final_steps: steps of the best proposal of each budget, trained anew with each seed; more
            than the last rung.
        final_seeds: of these; without any, the study ends with its trials.
        seed: of the proposals, and of every trial.
    """

    name: str
    recipe: Recipe
    budgets: tuple[int, ...]
    space: Mapping[str, Choice]
    start: tuple[Proposal, ...]
    trials: int
    rungs: tuple[int, ...]
    final_steps: int
    final_seeds: tuple[int, ...]
    seed: int

    def to_toml(self) -> str:
        """The study as its file holds it, with every field of the recipe."""
        values = asdict(self) | {"train": asdict(self.recipe.train)}
        values |= {"model": asdict(self.recipe.model)}
        del values["recipe"]
        return tomli_w.dumps(values)


def study_names() -> list[str]:
    """Names of the published studies."""
    return sorted(path.stem for path in STUDIES.glob("*.toml"))


def load_study(name: str | Path) -> Study:
    """Read a published study by name, or a TOML file by path.

    Raises:
        UsageError: for an unknown name or key, or an impossible value.
        TinybuddyError: if the file cannot be read.
    """
    path = expanded(name)
    if str(name) in study_names():
        path = STUDIES / f"{name}.toml"
    elif path.suffix != ".toml" and not path.is_file():
        raise UsageError(unknown("study", str(name), study_names()))
    return parse_study(read_text(path, MAX_RECIPE_BYTES), path.stem)


def parse_study(text: str, name: str) -> Study:
    """Check the TOML text of a study and return it; ``name`` serves where it names none.

    ``recipe`` names the recipe that its sections ``model`` and ``train`` change, by default
    ``card``.

    Raises:
        UsageError: for an unknown key or an impossible value.
    """
    import tomllib

    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The study {name} is not valid TOML: {error}.") from None
    known = {field.name for field in fields(Study)} | {"model", "train"}
    for key in values:
        if key not in known:
            raise UsageError(unknown("key of a study", key, known))
    model, train = (_section(values, key, name) for key in ("model", "train"))
    recipe = load_recipe(str(values.get("recipe", "card"))).with_settings(model | train)
    space = {key: _choice(key, value) for key, value in _section(values, "space", name).items()}
    rungs = _numbers(values, "rungs", MOST_STEPS)
    if any(rung % rungs[0] for rung in rungs):  # it is looked at after each so many steps
        raise UsageError(f"rungs must be multiples of the first, which is {rungs[0]:,}.")
    final_steps = whole_number("final_steps", values.get("final_steps", 1), 1, MOST_STEPS)
    final_seeds = _numbers(values, "final_seeds", 2**63 - 1, low=0, empty=True)
    if final_seeds and final_steps <= rungs[-1]:
        raise UsageError(
            f"final_steps must be more than the last rung, {rungs[-1]:,}, not {final_steps:,}."
        )
    return Study(
        name=str(values.get("name", name)),
        recipe=replace(recipe, name=str(values.get("name", name)), expected={}),
        budgets=_numbers(values, "budgets", MOST_BUDGET),
        space=space,
        start=_start(values.get("start", []), space),
        trials=whole_number("trials", values.get("trials", 1), 1, MOST_TRIALS),
        rungs=rungs,
        final_steps=final_steps,
        final_seeds=final_seeds,
        seed=whole_number("seed", values.get("seed", 0), 0, 2**32 - 1),
    )


def _section(values: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    section = values.get(key, {})
    if not isinstance(section, dict):
        raise UsageError(f"{key} in the study {name} must be a section: write [{key}].")
    return section


def _numbers(
    values: Mapping[str, Any], key: str, high: int, low: int = 1, empty: bool = False
) -> tuple[int, ...]:
    given = values.get(key, [])
    if not isinstance(given, list) or not (given or empty):
        raise UsageError(f"{key} must be a list of at least one number, such as [1000, 2000].")
    numbers = tuple(whole_number(f"Each of {key}", number, low, high) for number in given)
    if list(numbers) != sorted(set(numbers)):
        raise UsageError(f"{key} must be different numbers in rising order, not {given}.")
    return numbers


def _start(given: Any, space: Mapping[str, Choice]) -> tuple[Proposal, ...]:
    if not isinstance(given, list) or not all(isinstance(proposal, dict) for proposal in given):
        raise UsageError("start must be proposals: write [[start]] above each.")
    for proposal in given:
        for key in proposal:
            if key not in space:
                raise UsageError(unknown("key of [[start]] in [space]", key, space))
            if not _holds(space[key], proposal[key]):
                raise UsageError(
                    f"{key} in [[start]] must be one of its values in [space], not "
                    f"{reprlib.repr(proposal[key])}."
                )
    return tuple(given)


def _holds(choice: Choice, value: Any) -> bool:
    if not isinstance(choice, Range):
        return value in choice
    whole = isinstance(choice.low, int) and isinstance(choice.high, int)
    return type(value) in ((int,) if whole else (int, float)) and (
        choice.low <= value <= choice.high
    )


def _choice(key: str, value: Any) -> Choice:
    searched = {field.name for part in (ModelConfig, TrainConfig) for field in fields(part)}
    searched = (searched - DERIVED - SHARED) | {*RATIOS}
    if key not in searched:
        raise UsageError(unknown("key of [space]", key, searched))
    match value:
        case [_, *_] if len({type(item) for item in value}) == 1:
            for item in value:
                _check(key, item)
            return tuple(value)
        case {"low": int() | float() as low, "high": int() | float() as high, **rest} if (
            rest.keys() <= {"log"} and low < high and (low > 0 or not rest.get("log"))
        ):
            _check(key, low)
            _check(key, high)
            return Range(low, high, bool(rest.get("log", False)))
    raise UsageError(
        f"{key} in [space] must be a list of values, or a range such as "
        "{ low = 0.005, high = 0.05, log = true }."
    )


def _check(key: str, value: Any) -> None:
    """Raise `UsageError` if no run could take a value."""
    if key == "group_size":
        whole_number(key, value, 1, MOST_RATIO)
    elif key != "feed_forward_ratio":
        check_setting(key, value)
    elif type(value) not in (int, float) or not 0 < value <= MOST_RATIO:
        raise UsageError(f"{key} must be a number above 0, {MOST_RATIO:,} at most.")
