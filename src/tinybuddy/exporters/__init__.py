"""A model in the forms that others open: a table of formats, each of which proves what it wrote."""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """A row of the table; what it takes is imported when it is asked for.

    Attributes:
        summary: what is written, for ``--help``.
        weights: the types of weights it may have, the first unless told otherwise.
        extra: what `tinybuddy.errors.require` must find; None where nothing more is needed.
        module: has ``write(model, out, weights)``, which takes a `LoadedModel`, and
            ``check(model, out, weights)``, which says in a few words what does with ``out`` as the
            model does; it raises `TinybuddyError` if that does otherwise, `NotInstalledError` if
            it is not there.
    """

    summary: str
    weights: tuple[str, ...]
    extra: tuple[str, str, str] | None
    module: str


FORMATS = {
    "hub": Format(
        "a directory for transformers",
        ("float32",),
        ("PyTorch", "torch", "torch"),
        "tinybuddy.exporters.hub",
    ),
    "compact": Format(
        "one small .buddy file", ("int8", "int4"), None, "tinybuddy.exporters.compact"
    ),
    "onnx": Format(
        "a directory for transformers.js and optimum",
        ("float32", "int8"),
        ("PyTorch's ONNX exporter", "onnxscript", "onnx"),
        "tinybuddy.exporters.onnx",
    ),
    "gguf": Format(
        "a .gguf file for llama.cpp, or a directory with a Modelfile too, for ollama",
        ("float32", "float16", "q8_0", "q4_0"),
        ("gguf", "gguf", "gguf"),
        "tinybuddy.exporters.gguf",
    ),
    "llama2c": Format(
        "a directory with model.bin and tokenizer.bin, for llama2.c",
        ("float32",),
        None,
        "tinybuddy.exporters.llama2c",
    ),
    "js": Format("one ES module, with its types", ("int8", "int4"), None, "tinybuddy.exporters.js"),
    "c": Format(
        "a C99 library, also for Arduino and PlatformIO",
        ("int8", "float32", "int4"),
        None,
        "tinybuddy.exporters.c",
    ),
    "html": Format(
        "one page that tells stories and shows how",
        ("int8", "int4"),
        None,
        "tinybuddy.exporters.html",
    ),
}
