"""A directory for the hub: all that transformers opens, a model card, and the card's own files.

``model.py``, ``output/model.pt`` and ``data/tokenizer.json`` are what the usage code of the
published card of this model names; that tokenizer adds no ``<bos>`` by itself, since the code does.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Mapping
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from tinybuddy.backends import open_backend
from tinybuddy.disk import write_bytes, write_text
from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters.golden import own_tokenizer
from tinybuddy.exporters.model_card import model_card
from tinybuddy.formats.hub import read_model, write_model
from tinybuddy.formats.loaded import LoadedModel, ModelFiles
from tinybuddy.tokenizer.layout import BOS
from tinybuddy.training.metadata import FACTS, TRAINING, statistics_beside, training_of

TOLERANCE = 1e-5  # of the logits
EXTRA_CARD_FILES = ("model.py", "output/model.pt", "data/tokenizer.json")


def write(model: LoadedModel, out: Path, weights: str) -> None:
    """Write the directory ``out``, with what lies beside the model on its training.

    Raises:
        TinybuddyError: if the tokenizer is not of this package.
    """
    files = own_tokenizer(model)
    known = files.path if files.path and files.path.is_dir() else None
    training = training_of(known) if known else {}
    write_release(files, training, statistics_beside(known) if known else None, out)
    _write_card_files(files, out)


def write_release(
    files: ModelFiles, training: Mapping[str, Any], facts: Path | None, out: Path
) -> None:
    """Write the model, how it was trained, facts of the text, and the model card."""
    write_model(out, files)
    if training:
        write_text(out / TRAINING, json.dumps(training, indent=2) + "\n")
    if facts:
        shutil.copyfile(facts, out / FACTS)
    write_text(out / "README.md", model_card(files, training))


def push(folder: Path, name: str) -> str:
    """Upload a directory to the hub as ``USER/NAME``; HF_TOKEN or a login says who you are.

    Returns:
        The address of the upload.

    Raises:
        TinybuddyError: if the hub refuses or does not answer.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    api = HfApi()
    try:
        api.create_repo(name, repo_type="model", exist_ok=True)
        commit = api.upload_folder(
            repo_id=name, folder_path=folder, commit_message="Upload from tinybuddy"
        )
    except HFValidationError as error:
        raise TinybuddyError(f"{name!r} is no name on the hub ({error}): use USER/NAME.") from None
    except Exception as error:  # also those of the HTTP library below, which is not always the same
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TinybuddyError(
            f"The hub did not take {name} ({reason}): check the name, the network, and that "
            "HF_TOKEN may write."
        ) from None
    return str(commit.commit_url)


def _write_card_files(files: ModelFiles, out: Path) -> None:
    import torch

    write_text(
        out / "model.py", (resources.files("tinybuddy.backends") / "llama.py").read_text("utf-8")
    )
    tokenizer = json.loads(files.tokenizer.to_json()) | {"post_processor": None}
    write_text(out / "data" / "tokenizer.json", json.dumps(tokenizer, indent=2))
    weights = {name: torch.from_numpy(array.copy()) for name, array in files.weights.items()}
    data = BytesIO()  # PyTorch says little of a disk that is full
    torch.save(weights, data)
    write_bytes(out / "output" / "model.pt", data.getvalue())


def check(model: LoadedModel, out: Path, weights: str) -> str:
    """Compare logits: the copy in safetensors, and the card's files, against the original.

    Raises:
        TinybuddyError: if they differ.
    """
    import torch

    files = own_tokenizer(model)
    ids = [BOS, *files.tokenizer.encode("Once upon a time, a fox found a drum.")]
    ids = ids[: files.config.max_position_embeddings]
    expected = (
        open_backend(files.config, files.weights, name="torch").stream().feed(np.array([ids]))
    )
    copy = read_model(out)
    spec = importlib.util.spec_from_file_location("exported_model", out / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    llama = module.create_model(json.loads((out / "config.json").read_text("utf-8")))
    llama.load_state_dict(torch.load(out / "output" / "model.pt", weights_only=True))
    with torch.inference_mode():
        card = llama(torch.tensor([ids]))[0, -1].numpy()
    again = open_backend(copy.config, copy.weights, name="torch").stream().feed(np.array([ids]))
    for logits in (again, card):
        if not np.allclose(logits, expected, atol=TOLERANCE, rtol=0):
            raise TinybuddyError(f"The model written to {out} computes other logits: not kept.")
    return f"PyTorch {torch.__version__} computes the same logits"
