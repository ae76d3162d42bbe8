"""Whatever can take the scorecard, opened by what it is."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tinybuddy.errors import TinybuddyError
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.formats.hub import is_saved_again
from tinybuddy.formats.references import Kind, find
from tinybuddy.generation.model import Model, load


def open_evaluated(
    model: str | Path | Model, threads: int = 1, backend: str = "engine"
) -> EvaluatedModel:
    """Open a model as the scorecard takes it.

    Args:
        model: a loaded model, or what `tinybuddy.load` takes, or any directory that
            ``AutoModelForCausalLM`` opens, with its tokenizer.
        threads: of the processor.
        backend: what computes: ``engine`` or ``torch``.

    Raises:
        TinybuddyError: if there is no such model, it is damaged, or it has no tokenizer.
    """
    if isinstance(model, Model):
        return _own(model, str(model.path or "model"))
    kind, path = find(model)
    if kind is not Kind.TRANSFORMERS:
        try:
            return _own(load(model, threads, backend), str(model))
        except TinybuddyError:
            # Ours once, but saved again by transformers in a way that only it opens, such as with
            # a further token.
            if kind is not Kind.HUB or not find_spec("transformers") or not is_saved_again(path):
                raise
    from tinybuddy.evaluation.adapters.transformers import open_transformers

    return open_transformers(path)


def _own(model: Model, name: str) -> EvaluatedModel:
    config = model.config
    context, count = config.max_position_embeddings, config.parameters
    return EvaluatedModel(name, model.backend, model.tokenizer, context, count, model.path)
