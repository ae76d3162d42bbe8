"""What a model or recipe is made of, counted exactly."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tinybuddy.config import ModelConfig, unknown
from tinybuddy.disk import expanded
from tinybuddy.errors import UsageError
from tinybuddy.formats.hub import read_config
from tinybuddy.formats.references import is_reference, open_shape, released_names
from tinybuddy.recipes import load_recipe, recipe_names


def info(subject: str) -> dict[str, Any]:
    """Count the parameters of a recipe, a model directory or file, a run, or a config.json.

    Args:
        subject: its name or path.

    Returns:
        ``name``, ``parameters``, ``breakdown`` by part, ``bytes`` as float32, and ``shape``.

    Raises:
        UsageError: if there is no recipe or model of this name.
        TinybuddyError: if it is none of these.

    Examples:
        >>> tinybuddy.info("card")["breakdown"]
        {'embedding': 49152, 'attention': 6912, 'feed_forward': 27648, 'norms': 144}
    """
    config = _shape(subject)
    return {
        "name": subject,
        "parameters": config.parameters,
        "breakdown": config.breakdown(),
        "bytes": 4 * config.parameters,
        "shape": asdict(config),
    }


def _shape(subject: str) -> ModelConfig:
    path = expanded(subject)
    if is_reference(subject):
        return open_shape(subject)
    if path.suffix == ".json":
        return read_config(path)
    if not path.exists() and path.suffix != ".toml" and subject not in recipe_names():
        raise UsageError(unknown("recipe or model", subject, {*recipe_names(), *released_names()}))
    return load_recipe(subject).model
