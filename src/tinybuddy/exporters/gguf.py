"""A GGUF file for llama.cpp and all that is built on it; for ollama a ``Modelfile`` beside it.

Where ``out`` ends in ``.gguf`` it is that file alone; else it is a directory that holds both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import (
    GGML_QUANT_VERSION,
    MODEL_ARCH,
    GGMLQuantizationType,
    GGUFWriter,
    LlamaFileType,
    get_tensor_name_map,
)
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray

from tinybuddy.disk import write_text
from tinybuddy.errors import TinybuddyError, require
from tinybuddy.exporters.gguf_tokenizer import add_tokenizer
from tinybuddy.exporters.golden import compare, golden
from tinybuddy.formats.loaded import LoadedModel
from tinybuddy.weights import adjacent_pairs

SUFFIX, MODEL_FILE = ".gguf", "model.gguf"
BLOCK = 32  # weights of a row that share a scale
TYPES = {
    "float32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "float16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
IN_BLOCKS = ("q8_0", "q4_0")
MODELFILE = """FROM ./{file}
TEMPLATE {{{{ .Prompt }}}}
PARAMETER num_ctx {context}
PARAMETER repeat_penalty {sample.repetition_penalty}
PARAMETER temperature {sample.temperature}
PARAMETER top_k {sample.top_k}
PARAMETER top_p {sample.top_p}
PARAMETER min_p {sample.min_p}
"""


def write(model: LoadedModel, out: Path, weights: str) -> None:
    """Write the file or directory ``out``.

    Raises:
        TinybuddyError: if the rows of a matrix cannot be cut in blocks of 32, which ``q8_0`` and
            ``q4_0`` need, or llama.cpp has no such tokenizer.
    """
    config, path = model.config, _model_file(out)
    if weights in IN_BLOCKS:
        _check_rows(model, weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    quantization, file_type = TYPES[weights]
    writer = GGUFWriter(path, "llama")
    writer.add_file_type(file_type)
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    add_tokenizer(writer, model)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, array in model.weights.items():
        theirs = names.get_name(name, try_suffixes=(".weight",))
        assert theirs is not None
        if array.ndim == 1:
            writer.add_tensor(theirs, array)
            continue
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            array = adjacent_pairs(array, config.head_dim)
        writer.add_tensor(theirs, quantize(array, quantization), raw_dtype=quantization)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    if path != out:
        text = MODELFILE.format(
            file=MODEL_FILE, context=config.max_position_embeddings, sample=model.sample
        )
        write_text(out / "Modelfile", text)


def _model_file(out: Path) -> Path:
    return out if out.suffix == SUFFIX else out / MODEL_FILE


def _check_rows(model: LoadedModel, weights: str) -> None:
    """Refuse what llama.cpp's own tools would store in another type without a word."""
    for name, array in model.weights.items():
        if array.ndim == 2 and (width := array.shape[1]) % BLOCK:
            raise TinybuddyError(
                f"{weights} cuts each row of a matrix in blocks of {BLOCK}, and those of {name} "
                f"have {width} weights: take float16, or sizes that are multiples of {BLOCK}."
            )
