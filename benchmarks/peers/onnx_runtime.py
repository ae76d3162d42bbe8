"""ONNX Runtime as a back end that scores: one thread, no cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions


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


def chosen(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float32]:
    """Log-probabilities (B, T) of ``targets`` (B, T) by logits (B, T, V)."""
    largest = logits.max(axis=-1, keepdims=True)
    total = np.log(np.exp(logits - largest).sum(axis=-1)) + largest[..., 0]
    return np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0] - total


class Scorer:
    """What `score` asks of a back end, by ONNX Runtime."""

    def __init__(self, session: InferenceSession) -> None:
        self.session = session

    def log_likelihoods(
        self, inputs: NDArray[np.int64], targets: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Log-probabilities (B, T) of ``targets`` (B, T) after ``inputs`` (B, T)."""
        ones = np.ones_like(inputs)
        return chosen(run(self.session, inputs, ones, ones.cumsum(axis=1) - 1), targets)
