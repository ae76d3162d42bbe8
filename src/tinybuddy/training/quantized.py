"""Training for weights of few bits: quantization-aware, with a straight-through estimator.

The gradient is that of the quantized weights, as if rounding were no function at all (Bengio et al.
2013, arXiv 1308.3432), and what the optimizer makes of it is added to float32 weights, the master
weights. These are what small steps gather in until one reaches the next code.

A weight near the middle between two codes would go to and fro between them: of those of a model of
84k parameters a sixth changed its code within the last hundred steps. So master weights are drawn
to their codes, the more the lower the learning rate is (dampening, Nagel et al. 2022, arXiv
2203.11086).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinybuddy.backends import open_trainer
from tinybuddy.backends.interface import Generation, Ids, State, Stream, Trainer
from tinybuddy.config import Recipe, SampleConfig, TrainConfig
from tinybuddy.errors import TinybuddyError
from tinybuddy.quantization import quantized_again, to_numbers, to_scales
from tinybuddy.training.checkpoint import Checkpoint
from tinybuddy.weights import Weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

MASTER, SCALES = ".master", ".scales"  # end the names of a matrix's in a checkpoint's state
FULL = 32  # bits, of weights that are not quantized
DAMPENING = 0.01  # of the way to its code that a weight is drawn in a step, at the end


def open_any_trainer(recipe: Recipe, start: Checkpoint | None) -> Trainer:
    """Open what trains a recipe from where its run stands, quantized if the recipe says so.

    Raises:
        TinybuddyError: if the back end is not there, or the checkpoint's state is of another model.
    """
    weights, state = (start.files.weights, start.state) if start else (None, {})
    trainer = open_trainer(recipe.model, recipe.train, weights)
    if recipe.train.weight_bits != FULL:
        trainer = QuantizedTrainer(trainer, recipe.train)
        # Before the first step the optimizer has no state, but there are master weights already.
        if start and not start.step and state:
            trainer.load_master(state)
    if start and start.step:
        trainer.load_state(state)
    return trainer


class QuantizedTrainer:
    """A trainer whose weights are quantized whenever it scores, generates or is saved.

    Args:
        trainer: computes the steps; its weights become quantized.
        train: with the bits of the weights, 8 or 4, and the peak learning rate.
    """

    def __init__(self, trainer: Trainer, train: TrainConfig) -> None:
        self._trainer, self._bits = trainer, train.weight_bits
        self._peak = train.learning_rate
        self._master: dict[str, NDArray[np.float32]] = {}
        self._scales: dict[str, NDArray[np.uint16]] = {}
        self._put(trainer.weights())

    def step(
        self,
        inputs: Ids,
        targets: Ids,
        learning_rate: float,
        matrix_learning_rate: float | None = None,
    ) -> tuple[float, float]:
        """Train on one batch (B, T); return mean loss in nats a token and gradient norm."""
        result = self._trainer.step(inputs, targets, learning_rate, matrix_learning_rate)
        decayed = 1 - learning_rate / self._peak if self._peak else 0.0
        drawn = np.float32(DAMPENING * decayed)
        master: dict[str, NDArray[np.float32]] = {}
        for name, new in self._trainer.weights().items():
            old, before = self._master[name], self._quantized[name]
            master[name] = new if new.ndim == 1 else old + (new - before) + drawn * (before - old)
        self._put(master)
        return result

    def weights(self) -> Weights:
        """Copies of the quantized weights."""
        return self._trainer.weights()

    def state(self) -> State:
        """Copies of the optimizer's state, and of the matrices' master weights and scales."""
        masters = {n + MASTER: self._master[n].copy() for n in self._scales}
        scales = {n + SCALES: to_scales(numbers) for n, numbers in self._scales.items()}
        return self._trainer.state() | masters | scales

    def load_state(self, state: State) -> None:
        """Put back what `state` gave.

        Raises:
            TinybuddyError: if it is of another model.
        """
        ours = (MASTER, SCALES)
        self._trainer.load_state({n: a for n, a in state.items() if not n.endswith(ours)})
        self.load_master(state)

    def load_master(self, state: State) -> None:
        """Put back the master weights and scales alone.

        Raises:
            TinybuddyError: if they are not those of the weights, which are there already.
        """
        weights = self._trainer.weights()
        matrices = {name: array for name, array in weights.items() if array.ndim > 1}
        shapes = {name + MASTER: array.shape for name, array in matrices.items()}
        shapes |= {name + SCALES: array.shape[:1] for name, array in matrices.items()}
        ours = {name: array for name, array in state.items() if name.endswith((MASTER, SCALES))}
        if not (
            {name: array.shape for name, array in ours.items()} == shapes
            and all(a.dtype == np.float32 and np.isfinite(a).all() for a in ours.values())
            and self._fits(matrices, ours)
        ):
            raise TinybuddyError(
                "state.safetensors does not hold the float32 weights of this quantized model: "
                "delete this checkpoint and name the one before it in latest."
            )

    def _fits(self, matrices: Weights, state: State) -> bool:
        """Put master weights and scales in place if they give the quantized matrices."""
        scales = {name: to_numbers(state[name + SCALES]) for name in matrices}
        master = {name: state[name + MASTER] for name in matrices}
        again, found = quantized_again(master, self._bits, scales)
        for name, matrix in matrices.items():
            if (again[name] != matrix).any() or (found[name] != scales[name]).any():
                return False
        self._master, self._scales = self._master | master, scales
        return True

    def load_weights(self, weights: Weights) -> None:
        """Put other weights in place, which are quantized."""
        self._scales = {}
        self._put(weights)

    def stop(self) -> None:
        """Let what trains or scores, now or later, raise `Stopped`."""
        self._trainer.stop()

    def stream(self, texts: int = 1) -> Stream:
        """Begin one text, or several of equal length."""
        return self._trainer.stream(texts)

    def begin(
        self, prompt: Sequence[int], count: int, sample: SampleConfig, seed: int, eos: int = -1
    ) -> Generation:
        """Begin a text whose tokens are drawn here."""
        return self._trainer.begin(prompt, count, sample, seed, eos)

    def advance(self, generations: Sequence[Any], steps: int) -> None:
        """Go on with texts that `begin` gave."""
        self._trainer.advance(generations, steps)

    def log_likelihoods(self, inputs: Ids, targets: Ids) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id."""
        return self._trainer.log_likelihoods(inputs, targets)

    def _put(self, master: Weights) -> None:
        self._master = dict(master)
        self._quantized, self._scales = quantized_again(master, self._bits, self._scales)
        self._trainer.load_weights(self._quantized)
