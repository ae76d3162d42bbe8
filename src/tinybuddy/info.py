"""What a model or recipe is made of, counted exactly."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinybuddy.config import ModelConfig, load_recipe
from tinybuddy.modelfile import find_model, read_config, released_names


def describe(subject: str) -> dict[str, Any]:
    """Count the parameters of a recipe, a model directory, a run or a ``config.json``.

    Returns:
        ``name``, ``parameters``, ``breakdown`` by part, ``bytes`` as float32, and ``shape``.

    Raises:
        TinybuddyError: if it is none of these.
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
    path = Path(subject)
    if path.is_dir() or subject in released_names():
        return read_config(find_model(subject) / "config.json")
    if path.suffix == ".json":
        return read_config(path)
    return load_recipe(subject).model
