"""A directory for the hub with an ONNX graph in it, which transformers.js and optimum open."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx.helper import make_node
from onnx.numpy_helper import from_array, to_array

from tinybuddy.disk import write_bytes, write_text
from tinybuddy.errors import TinybuddyError, require
from tinybuddy.exporters import hub
from tinybuddy.exporters.golden import BITS, compare, golden, own_tokenizer, rounded
from tinybuddy.formats.loaded import LoadedModel
from tinybuddy.quantization import quantize, to_scales

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# What transformers.js calls each type of weights, and the file that it then looks for.
FILES = {"float32": ("fp32", "model.onnx"), "int8": ("q8", "model_quantized.onnx")}


def write(model: LoadedModel, out: Path, weights: str) -> None:
    """Write the directory ``out``: that of the format hub, and in its ``onnx`` the graph.

    Raises:
        TinybuddyError: if the tokenizer is llama2.c's, or one that transformers.js reads otherwise.
        NotInstalledError: if PyTorch is not there.
    """
    files = own_tokenizer(model)
    if (files.tokenizer.kind, files.tokenizer.alphabet) == ("bpe", "seen"):
        # Of "naïve", where ï is unknown, the library merges the a and the v; transformers.js not.
        raise TinybuddyError(
            "transformers.js would split a word with an unknown character otherwise than this "
            'tokenizer of alphabet = "seen": train with "bytes", or with tokenizer = "unigram".'
        )
    require("PyTorch", "torch", "onnx")
    from tinybuddy.exporters.onnx_graph import to_onnx

    hub.write(files, out, "float32")
    dtype, name = FILES[weights]
    # Else transformers.js looks for q8 in a browser, and for fp32 under Node.js.
    _add(out / "config.json", {"transformers.js_config": {"dtype": dtype}})
    # Else its pipeline begins without <bos>.
    _add(out / "tokenizer_config.json", {"add_bos_token": True})
    exported = to_onnx(files.config, files.weights)
    if weights == "int8":
        _quantize(exported.graph)
    (out / "onnx").mkdir()
    write_bytes(out / "onnx" / name, exported.SerializeToString())


def _add(path: Path, values: Mapping[str, Any]) -> None:
    known = json.loads(path.read_text("utf-8"))
    write_text(path, json.dumps(known | values, indent=2) + "\n")


def _quantize(graph: onnx.GraphProto) -> None:
    """Put 8-bit codes and their scales in the place of each matrix, and nodes that multiply them.

    ONNX Runtime multiplies once, when it loads the graph, and computes with float32 then: that
    costs 0.0001 to 0.0003 bits per byte (the released models, TinyStories' validation split). Its
    own dynamic quantization, which rounds what each layer reads too, costs 0.0016 to 0.0054 and is
    larger; where it meets DequantizeLinear it also rounds so.
    """
    gathered = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    for tensor in [tensor for tensor in graph.initializer if len(tensor.dims) == 2]:
        matrix, name = to_array(tensor), tensor.name
        graph.initializer.remove(tensor)
        if name in gathered:  # the embedding (V, C); the exporter has made the others (in, out)
            codes, scales = quantize(matrix, 8)
            parts = codes, to_scales(scales)[:, None]
        else:
            codes, scales = quantize(matrix.T, 8)
            parts = codes.T, to_scales(scales)
        graph.initializer.extend(
            from_array(np.ascontiguousarray(part), f"{name}.{kind}")
            for part, kind in zip(parts, ("codes", "scales"), strict=True)
        )
        cast = make_node("Cast", [f"{name}.codes"], [f"{name}.numbers"], to=onnx.TensorProto.FLOAT)
        graph.node.insert(0, cast)
        graph.node.insert(1, make_node("Mul", [f"{name}.numbers", f"{name}.scales"], [name]))


def check(model: LoadedModel, out: Path, weights: str) -> str:
    """Generate the golden texts by ONNX Runtime, with prompts fed whole, and token by token.

    Raises:
        TinybuddyError: if they differ.
        NotInstalledError: if ONNX Runtime is not there.
    """
    require("ONNX Runtime", "onnxruntime", "onnx")
    import onnxruntime
    from tokenizers import Tokenizer

    who = f"ONNX Runtime {onnxruntime.__version__}"
    session = onnxruntime.InferenceSession(out / "onnx" / FILES[weights][1])
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    for expected in golden(rounded(model, BITS[weights])):
        ids = tokenizer.encode(expected.prompt).ids
        for step in (len(ids), 1):
            compare(expected, ids, generate(session, ids, len(expected.new), step), out, who)
    return f"{who} generates the golden texts"


def generate(session: InferenceSession, ids: Sequence[int], count: int, step: int) -> list[int]:
    """Continue a prompt with the most probable tokens.

    Args:
        session: of a graph.
        ids: of the prompt.
        count: how many new ones.
        step: how many of the prompt are fed at a time.
    """
    past = {
        value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
        for value in session.get_inputs()
        if value.name.startswith("past_key_values")
    }
    known, start = list(ids), 0
    while len(known) < len(ids) + count:
        end = min(start + step, len(known))
        inputs = {
            "input_ids": np.array([known[start:end]]),
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(start, end)[None],
        }
        logits, *present = session.run(None, inputs | past)
        past, start = dict(zip(past, present, strict=True)), end
        if end == len(known):
            known.append(int(logits[0, -1].argmax()))
    return known[len(ids) :]
