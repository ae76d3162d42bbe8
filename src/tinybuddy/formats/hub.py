"""A model as a directory in the hub's own form, which transformers opens as it is.

``config.json`` (a ``LlamaConfig``), ``model.safetensors`` (transformers' weight names, float32, the
tied embedding once), ``tokenizer.json``, ``tokenizer_config.json``, ``generation_config.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.disk import read_bytes, read_text, write_bytes, write_text
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.formats.loaded import ModelFiles, StoredWeights, as_numbers
from tinybuddy.formats.runs import way_back
from tinybuddy.tokenizer import load_tokenizer
from tinybuddy.tokenizer.layout import BOS, EOS, PAD
from tinybuddy.weights import weight_shapes

TOKENIZER_HASH = "tokenizer_sha256"  # in config.json; other libraries do not mind it
MAX_JSON_BYTES = 1_000_000
MAX_HEADER_BYTES = 1_000_000


def write_model(folder: Path, model: ModelFiles) -> None:
    """Write a model directory; the same model gives the same bytes.

    Raises:
        TinybuddyError: if it cannot be written.
    """
    import numpy as np
    import safetensors.numpy

    tokenizer = model.tokenizer.to_json()
    config = hub_config(model.config) | {TOKENIZER_HASH: _sha256(tokenizer)}
    for name, value in (
        ("config.json", config),
        ("generation_config.json", _generation_config(model.sample)),
        ("tokenizer_config.json", _tokenizer_config(model.config)),
    ):
        write_text(folder / name, json.dumps(value, indent=2) + "\n")
    write_text(folder / "tokenizer.json", tokenizer)
    weights = {name: np.ascontiguousarray(array) for name, array in model.weights.items()}
    data = safetensors.numpy.save(weights, metadata={"format": "pt"})  # transformers asks for it
    write_bytes(folder / "model.safetensors", data)


def read_model(folder: Path) -> ModelFiles:
    """Read and check a model directory.

    Raises:
        TinybuddyError: if a file is missing or damaged, or the files do not go together; for the
            latest checkpoint of a run it says which one may serve instead.
    """
    with way_back(folder):
        return _read_model(folder)


def _read_model(folder: Path) -> ModelFiles:
    values = _read_json(folder / "config.json")
    config = _parse_config(values, folder / "config.json")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    known = values.get(TOKENIZER_HASH)
    if known is not None and known != _sha256(tokenizer.to_json()):
        raise TinybuddyError(
            f"The tokenizer in {folder} is not the one that its model was trained with: "
            "copy the directory again, whole."
        )
    if tokenizer.vocab_size > config.vocab_size:
        raise TinybuddyError(
            f"The tokenizer in {folder} has {tokenizer.vocab_size:,} tokens and its model "
            f"{config.vocab_size:,}: they do not belong together."
        )
    weights = _read_weights(folder / "model.safetensors", config)
    sample = SampleConfig()
    if (path := folder / "generation_config.json").exists():
        sample = _read_sample(path)
    return ModelFiles(config, weights, tokenizer, sample, folder)


def hub_config(config: ModelConfig) -> dict[str, Any]:
    """``config.json``, with keys that transformers 5 renamed under both names."""
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_position_embeddings,
        "rope_theta": config.rope_theta,
        "rope_scaling": None,
        "rope_parameters": rope,
        "rms_norm_eps": config.rms_norm_eps,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "dtype": "float32",
        "torch_dtype": "float32",
    }


def read_config(path: Path) -> ModelConfig:
    """Read the shape out of a ``config.json``.

    Raises:
        TinybuddyError: if it is not a Llama of the kind that this package computes.
    """
    return _parse_config(_read_json(path), path)


def is_ours(folder: Path) -> bool:
    """Whether this package wrote a directory; one whose ``config.json`` is broken counts as ours.

    What others wrote is laid out otherwise: evaluation opens it with transformers.
    """
    try:
        return TOKENIZER_HASH in _read_json(folder / "config.json")
    except TinybuddyError:
        return True  # so that the error says what is wrong with it


def is_saved_again(folder: Path) -> bool:
    """Whether transformers wrote a directory that this package had written before."""
    return "transformers_version" in _read_json(folder / "config.json")


def _parse_config(values: Mapping[str, Any], path: Path) -> ModelConfig:
    if values.get("model_type") != "llama":
        raise TinybuddyError(f"{path} is not of a Llama (model_type is not 'llama').")
    fixed = {"tie_word_embeddings": True, "hidden_act": "silu"}
    fixed |= {"attention_bias": False, "mlp_bias": False}
    for key, value in fixed.items():
        # What a LlamaConfig does not say is so, but for the tied head, which must be said.
        if values.get(key, value if key != "tie_word_embeddings" else False) != value:
            raise TinybuddyError(
                f"{path} needs {key} = {json.dumps(value)}: others are not computed."
            )
    rope = values.get("rope_parameters") or {}
    if not isinstance(rope, dict) or rope.get("rope_type", "default") != "default":
        raise TinybuddyError(f"{path} scales its rotary positions, which is not computed here.")
    if values.get("rope_scaling"):
        raise TinybuddyError(f"{path} scales its rotary positions, which is not computed here.")
    shape = {k: values[k] for k in ModelConfig.__dataclass_fields__ if k in values}
    shape["rope_theta"] = rope.get("rope_theta", values.get("rope_theta", 10_000.0))
    shape.setdefault("num_key_value_heads", values.get("num_attention_heads"))
    needed = {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"}
    needed |= {"num_attention_heads", "max_position_embeddings"}
    if missing := sorted(needed - shape.keys()):
        raise TinybuddyError(f"{path} lacks {', '.join(missing)}.")
    try:
        config = ModelConfig.from_mapping(shape)
    except TinybuddyError as error:
        raise TinybuddyError(f"{path} is impossible: {error}") from None
    if values.get("head_dim") not in (None, config.head_dim):
        raise TinybuddyError(f"{path} has a head_dim other than hidden_size / heads.")
    return config


def _generation_config(sample: SampleConfig) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "temperature": sample.temperature,
        "top_k": sample.top_k,
        "top_p": sample.top_p,
        "min_p": sample.min_p,
        "repetition_penalty": sample.repetition_penalty,
    }
    if sample.temperature == 0:  # transformers' word for it is another flag
        drawn = {"repetition_penalty": sample.repetition_penalty}
    return {
        "do_sample": sample.temperature > 0,
        **drawn,
        "pad_token_id": PAD,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
    }


def _read_sample(path: Path) -> SampleConfig:
    values = _read_json(path)
    known = {k: v for k in SampleConfig.__dataclass_fields__ if (v := values.get(k)) is not None}
    if values.get("do_sample") is False:
        known["temperature"] = 0.0
    try:
        return SampleConfig.from_mapping(known)
    except UsageError as error:
        raise TinybuddyError(f"{path} is impossible: {error}") from None


def _tokenizer_config(config: ModelConfig) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": config.max_position_embeddings,
    }


def _sha256(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_text(path, MAX_JSON_BYTES))
    except (ValueError, RecursionError):
        raise TinybuddyError(f"{path} is not valid JSON.") from None
    if not isinstance(value, dict):
        raise TinybuddyError(f"{path} is not a JSON object.")
    return value


def _read_weights(path: Path, config: ModelConfig) -> StoredWeights:
    """Read weights, having first checked that the files are of the size that the shape needs.

    Transformers may have saved them in several files, and in half the bytes.
    """
    from safetensors import SafetensorError, deserialize

    stored: dict[str, Any] = {}
    for part in _parts(path):
        data = read_bytes(part, 4 * config.parameters + MAX_HEADER_BYTES)
        try:
            stored |= dict(deserialize(data))  # type: ignore[no-untyped-call]
        except SafetensorError as error:
            raise TinybuddyError(f"{part} is not a whole safetensors file: {error}.") from None
    shapes = weight_shapes(config)
    if stored.keys() != shapes.keys():
        names = ", ".join(sorted(stored.keys() ^ shapes.keys())[:3])
        raise TinybuddyError(f"{path} does not hold the weights of its config.json: see {names}.")
    buffers = {}
    for name, shape in shapes.items():
        kind, found = stored[name]["dtype"], tuple(stored[name]["shape"])
        if kind not in ("F32", "F16", "BF16") or found != shape:
            raise TinybuddyError(f"{name} in {path} is {kind} {found}; F32 {shape} is expected.")
        data = stored[name]["data"]
        if kind != "F32":
            data = _widened(data, kind)
        buffers[name] = as_numbers(data, shape, f"{name} in {path}")
    return StoredWeights(buffers)


def _parts(path: Path) -> list[Path]:
    """The files that hold the weights: one, or those that an index names."""
    index = path.with_name(f"{path.name}.index.json")
    if path.exists() or not index.exists():
        return [path]
    match _read_json(index):
        case {"weight_map": dict(names)} if all(_is_name(name) for name in names.values()):
            return [path.with_name(name) for name in sorted({*names.values()})]
    raise TinybuddyError(f"{index} names no files of weights.")


def _is_name(name: Any) -> bool:
    """Whether a part is a plain file of the folder itself."""
    return isinstance(name, str) and name.endswith(".safetensors") and Path(name).name == name


def _widened(data: bytes, kind: str) -> bytes:
    """Return float16 or bfloat16 numbers as the bytes of float32, each of the same value."""
    import numpy as np

    half = np.frombuffer(data, "<u2")
    if kind == "F16":
        return half.view("<f2").astype("<f4").tobytes()
    return (half.astype("<u4") << 16).tobytes()
