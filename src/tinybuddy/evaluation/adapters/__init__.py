"""Whatever can take the scorecard, opened by what it is."""

from __future__ import annotations

import json
from pathlib import Path

from tinybuddy.evaluation.subject import Subject
from tinybuddy.formats.hub import TOKENIZER_HASH
from tinybuddy.formats.references import find_model
from tinybuddy.generation.model import Model, load


def open_subject(model: str | Path | Model, threads: int = 1, backend: str = "engine") -> Subject:
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
        return _own(model, str(model.path) if model.path != Path() else "model")
    path = Path(model) if Path(model).suffix == ".bin" else find_model(model)
    if path.is_dir() and not _is_own(path):
        from tinybuddy.evaluation.adapters.transformers import open_transformers

        return open_transformers(path)
    return _own(load(model, threads, backend), str(model))


def _own(model: Model, name: str) -> Subject:
    config = model.config
    context, count = config.max_position_embeddings, config.parameters
    path = model.path if model.path != Path() else None
    return Subject(name, model.backend, model.tokenizer, context, count, path)


def _is_own(folder: Path) -> bool:
    """Whether this package wrote the directory; what others wrote is opened as they open it."""
    try:
        values = json.loads((folder / "config.json").read_bytes())
    except (ValueError, RecursionError):
        return True  # which says what is wrong with it
    return isinstance(values, dict) and TOKENIZER_HASH in values
