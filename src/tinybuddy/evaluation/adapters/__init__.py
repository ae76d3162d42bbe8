"""Whatever can take the scorecard, opened by what it is."""

from __future__ import annotations

from pathlib import Path

from tinybuddy.evaluation.evaluated import EvaluatedModel
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
    if kind is Kind.TRANSFORMERS:
        from tinybuddy.evaluation.adapters.transformers import open_transformers

        return open_transformers(path)
    return _own(load(model, threads, backend), str(model))


def _own(model: Model, name: str) -> EvaluatedModel:
    config = model.config
    context, count = config.max_position_embeddings, config.parameters
    return EvaluatedModel(name, model.backend, model.tokenizer, context, count, model.path)
