"""A GGUF file for llama.cpp and all that is built on it; for ollama a ``Modelfile`` beside it.

Where ``out`` ends in ``.gguf`` it is that file alone; else it is a directory that holds both.
"""

from __future__ import annotations

from contextlib import closing, redirect_stderr
from dataclasses import replace
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

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
from tinybuddy.exporters.golden import LEAD, compare, golden
from tinybuddy.formats.loaded import LoadedModel
from tinybuddy.weights import Weights, adjacent_pairs

SUFFIX, MODEL_FILE = ".gguf", "model.gguf"
BLOCK = 32  # weights of a row that share a scale


class Type(NamedTuple):
    """How matrices are stored.

    Attributes:
        stored: the type of a matrix.
        file: the type of a file of such.
        lead: that the best token must have in a golden text, since llama.cpp rounds to the same
            type what it multiplies with these weights: logits of three blocks of 32 are off by
            0.00001 and 0.02, those of a model that has blocks by 0.07.
    """

    stored: GGMLQuantizationType
    file: LlamaFileType
    lead: float


TYPES = {
    "float32": Type(GGMLQuantizationType.F32, LlamaFileType.ALL_F32, LEAD),
    "float16": Type(GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16, 0.05),
    "q8_0": Type(GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0, 0.2),
    "q4_0": Type(GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0, 0.2),
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
    stored, file_type, _ = TYPES[weights]
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
        writer.add_tensor(theirs, quantize(array, stored), raw_dtype=stored)
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


def check(model: LoadedModel, out: Path, weights: str) -> str:
    """Compare golden texts of the weights as they are stored with what llama.cpp generates.

    Raises:
        NotInstalledError: if llama-cpp-python is not there.
        TinybuddyError: if they differ.
    """
    require("llama-cpp-python", "llama_cpp", "llama-cpp")
    import llama_cpp

    expected = golden(
        replace(model, weights=_rounded(model.weights, weights)), lead=TYPES[weights].lead
    )
    who = f"llama.cpp (llama-cpp-python {llama_cpp.__version__})"
    try:
        with redirect_stderr(StringIO()):  # it warns that its context is a multiple of 256
            llama = llama_cpp.Llama(
                str(_model_file(out)),
                n_ctx=model.config.max_position_embeddings,
                n_threads=1,
                type_k=llama_cpp.GGML_TYPE_F32,
                type_v=llama_cpp.GGML_TYPE_F32,
                verbose=False,
            )
    except ValueError:
        raise TinybuddyError(f"{who} does not open {out}: not kept.") from None
    with closing(llama):
        for case in expected:
            ids = llama.tokenize(case.prompt.encode("utf-8"), add_bos=True, special=False)
            new = islice(llama.generate(ids, temp=0.0), len(case.new))
            compare(case, ids, list(new), out, who)
    return f"{who} generates the golden texts"


def _rounded(weights: Weights, type: str) -> dict[str, NDArray[np.float32]]:
    """Weights as a file of a type gives them back."""
    stored = TYPES[type].stored
    return {
        name: dequantize(quantize(array, stored), stored) if array.ndim == 2 else array
        for name, array in weights.items()
    }


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
