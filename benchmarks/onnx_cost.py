"""What 8-bit weights cost an ONNX graph: ours, and ONNX Runtime's dynamic quantization.

    python benchmarks/onnx_cost.py DATA MODEL [MODEL ...]

All of DATA's validation split is scored by ONNX Runtime on one thread; the best of 20 runs of 100
tokens, one text, gives the tokens a second.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.quantization import quantize_dynamic

from tinybuddy.corpus import open_corpus
from tinybuddy.exporters.onnx import FILES, generate
from tinybuddy.exporters.session import export
from tinybuddy.formats.references import open_model
from tinybuddy.scoring import score

RUNS, TOKENS = 20, 100


def open_graph(path: Path) -> InferenceSession:
    """Load a graph for one thread."""
    options = SessionOptions()
    options.intra_op_num_threads = 1
    return InferenceSession(path, options)


def run(
    session: InferenceSession,
    ids: NDArray[np.int64],
    mask: NDArray[np.int64],
    positions: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Logits (B, T, V) of texts (B, T) with nothing before them."""
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    for value in session.get_inputs()[len(inputs) :]:
        inputs[value.name] = np.zeros((len(ids), value.shape[1], 0, value.shape[3]), np.float32)
    logits: NDArray[np.float32] = session.run(["logits"], inputs)[0]
    return logits


class Scorer:
    """What `score` asks of a back end, by ONNX Runtime."""

    def __init__(self, session: InferenceSession) -> None:
        self.session = session

    def log_likelihoods(
        self, inputs: NDArray[np.int64], targets: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Log-probabilities (B, T) of ``targets`` (B, T) after ``inputs`` (B, T)."""
        ones = np.ones_like(inputs)
        logits = run(self.session, inputs, ones, ones.cumsum(axis=1) - 1)
        largest = logits.max(axis=-1, keepdims=True)
        total = np.log(np.exp(logits - largest).sum(axis=-1)) + largest[..., 0]
        return np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0] - total


def seconds(session: InferenceSession) -> float:
    """Of the processor, that the fastest run takes."""
    taken = []
    for _ in range(RUNS):
        start = time.process_time()
        generate(session, [1], TOKENS, 1)
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    """Print a line a model and kind of weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    stories = open_corpus(options.data).validation()
    for name in options.models:
        model = open_model(name)
        context = model.config.max_position_embeddings
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            for weights, (_, file) in FILES.items():
                out = export("onnx", name, Path(folder) / weights, weights=weights).path
                paths[weights] = out / "onnx" / file
            paths["dynamic"] = Path(folder) / "dynamic.onnx"
            quantize_dynamic(paths["float32"], paths["dynamic"])
            for weights, path in paths.items():
                session = open_graph(path)
                found = score(Scorer(session), model.tokenizer, context, stories)
                print(
                    f"{name}, {weights}: {path.stat().st_size:,} bytes, "
                    f"{found.bits_per_byte:.4f} bits per byte, "
                    f"{TOKENS / seconds(session):,.0f} tokens/s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
