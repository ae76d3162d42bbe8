"""tinybuddy: the smallest language models that speak English.

>>> import tinybuddy
>>> run = tinybuddy.train(data="tales", out="my-run")  # doctest: +SKIP
>>> model = tinybuddy.load("my-run")  # doctest: +SKIP
>>> print(model.generate("Once upon a time", seed=1))  # doctest: +SKIP

Everything public is named here. Nothing heavy is imported before it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinybuddy.config import ModelConfig, Recipe, SampleConfig, TrainConfig
    from tinybuddy.corpus.overview import describe_corpus
    from tinybuddy.errors import TinybuddyError, TinybuddyWarning, UsageError
    from tinybuddy.evaluation.report.published import released_models
    from tinybuddy.evaluation.session import Evaluation, evaluate
    from tinybuddy.exporters.session import export
    from tinybuddy.formats.summary import info
    from tinybuddy.generation.model import Model, load
    from tinybuddy.recipes import load_recipe
    from tinybuddy.scoring import Score
    from tinybuddy.training.run import Run
    from tinybuddy.training.session import resume, train

__version__ = "0.1.0"

_HOMES = {
    "ModelConfig": "config",
    "Recipe": "config",
    "SampleConfig": "config",
    "TrainConfig": "config",
    "describe_corpus": "corpus.overview",
    "info": "formats.summary",
    "load_recipe": "recipes",
    "Evaluation": "evaluation.session",
    "evaluate": "evaluation.session",
    "export": "exporters.session",
    "released_models": "evaluation.report.published",
    "TinybuddyError": "errors",
    "TinybuddyWarning": "errors",
    "UsageError": "errors",
    "Model": "generation.model",
    "load": "generation.model",
    "Score": "scoring",
    "Run": "training.run",
    "resume": "training.session",
    "train": "training.session",
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
    "TinybuddyWarning",
    "TrainConfig",
    "UsageError",
    "describe_corpus",
    "evaluate",
    "export",
    "info",
    "load",
    "load_recipe",
    "released_models",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tinybuddy' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"tinybuddy.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
