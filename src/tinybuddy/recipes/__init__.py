"""Published recipes, a TOML file each in this folder, and how a recipe is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tinybuddy.config import ModelConfig, Recipe, SampleConfig, TrainConfig, unknown
from tinybuddy.disk import expanded, read_text
from tinybuddy.errors import UsageError

MAX_RECIPE_BYTES = 1_000_000
RECIPES = Path(__file__).parent


def recipe_names() -> list[str]:
    """Names of the published recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name: str | Path) -> Recipe:
    """Read a published recipe by name, or a TOML file by path.

    Args:
        name: a published name, or the path of a file.

    Raises:
        UsageError: for an unknown name or key, an impossible value, or broken TOML.
        TinybuddyError: if the file cannot be read.

    Examples:
        >>> recipe = tinybuddy.load_recipe("card")
        >>> recipe.train.steps, recipe.train.learning_rate
        (1000, 0.005)
    """
    path = expanded(name)
    if str(name) in recipe_names():
        text = read_text(RECIPES / f"{name}.toml", MAX_RECIPE_BYTES)
    elif path.suffix == ".toml" or path.is_file():
        text = read_text(path, MAX_RECIPE_BYTES)
    else:
        raise UsageError(unknown("recipe", str(name), recipe_names()))
    return parse_recipe(text, path.stem)


def parse_recipe(text: str, name: str) -> Recipe:
    """Check the TOML text of a recipe and return it; ``name`` serves where it names none.

    Raises:
        UsageError: for an unknown key, an impossible value, broken TOML, or a claimed number of
            parameters that the shape does not have.
    """
    import tomllib

    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # broken TOML is a ValueError
        raise UsageError(f"The recipe {name} is not valid TOML: {error}.") from None
    known = {"name", "parameters", "model", "train", "sample", "expected"}
    for key in values:
        if key not in known:
            raise UsageError(unknown("section", key, known))
    for key in ("model", "train", "sample", "expected"):
        if not isinstance(values.setdefault(key, {}), dict):
            raise UsageError(f"{key} in the recipe {name} must be a section: write [{key}].")
    for text, curve in values["expected"].items():
        if not _is_curve(curve):
            raise UsageError(
                f"[expected.{text}] in the recipe {name} must be two lists of numbers, as long as "
                "each other: steps and bits_per_byte."
            )
    recipe = Recipe(
        name=str(values.get("name", name)),
        model=ModelConfig.from_mapping(values["model"]),
        train=TrainConfig.from_mapping(values["train"]),
        sample=SampleConfig.from_mapping(values["sample"]),
        expected=values["expected"],
    )
    claimed, actual = values.get("parameters"), recipe.model.parameters
    if claimed is not None and claimed != actual:
        raise UsageError(
            f"The recipe {name} claims {claimed} parameters; its shape has {actual:,}."
        )
    return recipe


def _is_curve(curve: Any) -> bool:
    match curve:
        case {"steps": list(steps), "bits_per_byte": list(bits), **rest} if not rest:
            numbers = all(type(n) in (int, float) and abs(n) < 1e9 for n in steps + bits)
            return numbers and len(steps) == len(bits)
    return False


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Read ``key=value`` texts, as ``--set`` takes them; values as in JSON, else as text.

    Raises:
        UsageError: for a pair without ``=``.
    """
    import json

    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set takes key=value, not {pair!r}: for example steps=500.")
        try:
            settings[key.strip()] = json.loads(value)
        except (ValueError, RecursionError):
            settings[key.strip()] = value
    return settings
