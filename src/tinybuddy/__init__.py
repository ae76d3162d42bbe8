"""tinybuddy: the smallest language models that speak English.

>>> import tinybuddy
>>> run = tinybuddy.train(data="tales", out="my-run")  # doctest: +SKIP
>>> model = tinybuddy.load("my-run")  # doctest: +SKIP
>>> print(model.generate("Once upon a time", seed=1))  # doctest: +SKIP

Everything public is named here. Nothing heavy is imported before it is used.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinybuddy.config import ModelConfig, Recipe, SampleConfig, TrainConfig, load_recipe
    from tinybuddy.errors import TinybuddyError, UsageError
    from tinybuddy.evaluate import Evaluation, evaluate
    from tinybuddy.export import export
    from tinybuddy.generate import Model, load
    from tinybuddy.scoring import Score
    from tinybuddy.train import Run, resume, train

__version__ = "0.1.0"
DEFAULT_MODEL = "tinybuddy-80k"
DEFAULT_RECIPE = "speedrun"
DEFAULT_RECIPE_FROM = "finetune"  # of a training that goes on from a model

_HOMES = {
    "ModelConfig": "config",
    "Recipe": "config",
    "SampleConfig": "config",
    "TrainConfig": "config",
    "load_recipe": "config",
    "Evaluation": "evaluate",
    "evaluate": "evaluate",
    "export": "export",
    "TinybuddyError": "errors",
    "UsageError": "errors",
    "Model": "generate",
    "load": "generate",
    "Score": "scoring",
    "Run": "train",
    "resume": "train",
    "train": "train",
}

__all__ = [
    "Evaluation",
    "Model",
    "ModelConfig",
    "Recipe",
    "Run",
    "SampleConfig",
    "Score",
    "TinybuddyError",
    "TrainConfig",
    "UsageError",
    "evaluate",
    "export",
    "load",
    "load_recipe",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tinybuddy' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"tinybuddy.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


class _Package(ModuleType):
    """Keeps ``tinybuddy.train`` the function, though importing a submodule binds its name here."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
