"""What runs an exported model for `formats.py`, as the generators of `decode_speed.py` do.

Node.js and the C library end a story where it ends; the others take `<eos>` for a token like any.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peers.generators import Generator, Ids, MissingError
from peers.onnx_runtime import chosen, open_graph

from tinybuddy.config import SampleConfig
from tinybuddy.exporters import c, onnx
from tinybuddy.formats.loaded import LoadedModel

HERE = Path(__file__).parent


class OnnxRuntime(Generator):
    """A graph with its key-value cache, from Python; ONNX Runtime draws nothing: greedily."""

    def __init__(self, model: LoadedModel, path: Path) -> None:
        import onnxruntime

        self.session = open_graph(path)
        self.length, self.bos = model.config.max_position_embeddings - 1, model.tokenizer.bos
        self.version = f"ONNX Runtime {onnxruntime.__version__}"

    def begin(self, sample: SampleConfig, seed: int) -> Callable[[], Ids]:
        """Get ready."""
        return lambda: [onnx.generate(self.session, [self.bos], self.length, 1)]


class _Process(Generator):
    """A process of its own.

    Attributes:
        command: it takes a seed and seconds, and prints tokens a second.
    """

    command: Sequence[str | Path]

    def generate(
        self,
        sample: SampleConfig,
        seed: int,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.process_time,
    ) -> tuple[Ids, float]:
        """Tell by the model's own settings, the process timing itself; no ids come back."""
        return [], float(subprocess.check_output([*self.command, str(seed), str(seconds)]))


class NodeJs(_Process):
    """A module in a process of Node.js."""

    def __init__(self, module: Path) -> None:
        node = shutil.which("node") or shutil.which("nodejs")
        if not node:
            raise MissingError("install Node.js")
        self.command = (node, HERE / "stories.mjs", module.as_uri())


class CLibrary(_Process):
    """A library compiled here."""

    def __init__(self, library: Path, folder: Path) -> None:
        compiler = next((name for name in c.COMPILERS if shutil.which(name)), None)
        if compiler is None:
            raise MissingError("install a C compiler")
        program = folder / f"{library.name}-stories"
        c.compile_program(compiler, library, HERE / "stories.c", program)
        self.command = (program,)


def compiled_bytes(library: Path) -> int:
    """Code and constants of a C library, as it is compiled here."""
    with tempfile.TemporaryDirectory() as folder:
        sources = sorted((library / "src").rglob("*.c"))
        command = ["cc", *c.FLAGS, f"-I{library / 'src'}", "-c", *map(str, sources)]
        subprocess.run(command, cwd=folder, check=True)
        lines = subprocess.check_output(["size", *Path(folder).iterdir()], text=True).splitlines()
    return sum(int(text) + int(data) for text, data, *_ in map(str.split, lines[1:]))


class LlamaCppScorer:
    """What `score` asks of a back end, by llama.cpp."""

    def __init__(self, path: Path, context: int) -> None:
        import llama_cpp

        self.llama = llama_cpp.Llama(
            str(path),
            n_ctx=context,
            n_batch=context,
            n_threads=1,
            n_threads_batch=1,
            type_k=llama_cpp.GGML_TYPE_F32,
            type_v=llama_cpp.GGML_TYPE_F32,
            logits_all=True,
            verbose=False,
        )

    def log_likelihoods(
        self, inputs: NDArray[np.int64], targets: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Log-probabilities (B, T) of ``targets`` (B, T) after ``inputs`` (B, T)."""
        rows = []
        for ids in inputs:
            self.llama.reset()
            self.llama.eval(ids.tolist())
            rows.append(self.llama.scores[: len(ids)].copy())
        return chosen(np.stack(rows), targets)
