"""The engine behind the interfaces of a back end: scoring and training.

Everything that the C code takes for granted, sizes, types, order in memory and range of ids, is
checked here before it is called.
"""

from __future__ import annotations

import _thread
import math
import threading
from collections.abc import Callable, Mapping
from ctypes import POINTER, byref, c_double, c_int32, c_void_p
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinybuddy.backends.engine import abi
from tinybuddy.backends.engine.abi import CODES, Config, OptimizerSettings
from tinybuddy.backends.engine.decoder import Decoder, DecodingBackend
from tinybuddy.backends.engine.library import load, run_stoppable
from tinybuddy.config import ModelConfig, TrainConfig
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.weights import Weights, hidden_matrices, weight_shapes

if TYPE_CHECKING:
    from tinybuddy.backends.interface import Ids, State


class EngineScorer(DecodingBackend):
    """A model that scores text, and generates it.

    Args:
        config: shape.
        weights: float32 arrays, as `weight_shapes` lists them.
        threads: of the processor; the numbers do not depend on it.
        muon: whether Muon shall train the matrices within the blocks, not AdamW.

    Raises:
        TinybuddyError: if the engine was not built, or the weights are not of this shape.
        MemoryError: if there is not enough.
    """

    def __init__(
        self, config: ModelConfig, weights: Weights, threads: int = 1, muon: bool = False
    ) -> None:
        self.config = config
        self._shapes = weight_shapes(config)
        self._library = load()
        self._handle = c_void_p()
        made = self._library.tb_trainer_new(
            byref(Config.of(config)), threads, muon, byref(self._handle)
        )
        abi.check(made)
        self._lock = threading.Lock()  # one call at a time: they share memory
        self._stop, self._stopped = c_int32(0), False  # the flag of the running call; for all
        self._put(CODES["TB_WEIGHTS"], weights)

    def __del__(self) -> None:
        if handle := self.__dict__.pop("_handle", None):
            self._library.tb_trainer_free(handle)

    def current_decoder(self) -> Decoder:
        """Return what generates text with the weights as they are now."""
        return Decoder(self.config, self.weights())

    def weights(self) -> Weights:
        """Copies of the weights, under transformers' names."""
        return self._get(CODES["TB_WEIGHTS"])

    def log_likelihoods(self, inputs: Ids, targets: Ids) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id after the inputs up to its place."""
        read, wanted = self._pair(inputs, targets)
        result = np.empty(read.shape, np.float32)
        if len(read):
            self._call(
                2 * read.size,
                self._library.tb_trainer_score,
                _pointer(read),
                _pointer(wanted),
                *read.shape,
                out=_pointer(result),
            )
        return result

    def logits(self, inputs: Ids) -> NDArray[np.float32]:
        """Logits (B, T, V) of the token after each position of ``inputs`` (B, T)."""
        read = self._batch(inputs)
        result = np.empty((*read.shape, self.config.vocab_size), np.float32)
        if len(read):
            self._call(
                2 * read.size,
                self._library.tb_trainer_logits,
                _pointer(read),
                *read.shape,
                out=_pointer(result),
            )
        return result

    def stop(self) -> None:
        """Let what trains or scores, now or later, raise `Stopped`, as far as it can be ended.

        A signal handler may call it. A step so ended changes nothing; one that was already
        changing the weights returns.
        """
        self._stopped = True  # before the flag: a call that begins in between sees it
        self._stop.value = 1

    def _batch(self, ids: NDArray[Any]) -> NDArray[np.int32]:
        """Return ids (B, T) as the C code reads them.

        Raises:
            UsageError: if they are not whole numbers of the vocabulary, or more than the context.
        """
        ids, context = np.asarray(ids), self.config.max_position_embeddings
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise UsageError("Token ids must be whole numbers in rows and columns.")
        if not 1 <= ids.shape[1] <= context:
            raise UsageError(f"{ids.shape[1]} positions do not fit the context of {context}.")
        if ids.size and not (ids.min() >= 0 and ids.max() < self.config.vocab_size):
            raise UsageError(f"A token id lies outside 0 to {self.config.vocab_size - 1}.")
        return np.ascontiguousarray(ids, np.int32)

    def _pair(
        self, inputs: NDArray[Any], targets: NDArray[Any]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return both as the C code reads them; they are of one shape."""
        read, wanted = self._batch(inputs), self._batch(targets)
        if read.shape != wanted.shape:
            raise UsageError(f"Inputs {read.shape} and targets {wanted.shape} differ in shape.")
        return read, wanted

    def _put(self, what: int, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        if {name: array.shape for name, array in arrays.items()} != self._shapes or any(
            array.dtype != np.float32 for array in arrays.values()
        ):
            raise TinybuddyError("The weights are not of this model's shape: check config.json.")
        dense = np.concatenate([arrays[name].ravel() for name in self._shapes])
        with self._lock:
            abi.check(self._library.tb_trainer_put(self._handle, what, _pointer(dense)))

    def _get(self, what: int) -> dict[str, NDArray[np.float32]]:
        dense = np.empty(self.config.parameters, np.float32)
        with self._lock:
            abi.check(self._library.tb_trainer_get(self._handle, what, _pointer(dense)))
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        parts = np.split(dense, np.cumsum(sizes)[:-1])
        return {
            name: part.reshape(shape).copy()
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def _call(self, products: int, function: Callable[..., int], *arguments: Any, out: Any) -> int:
        """Call the C code; Ctrl-C ends a long call before its next product of matrices.

        Args:
            products: operations for each of the parameters, roughly.
            function: of the library.
            arguments: what it takes after the model.
            out: its last argument, after the flag that stops it.

        Raises:
            Stopped: if `stop` ended it.
            MemoryError: if there is not enough.
        """
        stop = c_int32(0)

        def call() -> int:
            with self._lock:
                self._stop = stop
                if self._stopped:
                    stop.value = 1
                return function(self._handle, *arguments, byref(stop), out)

        config = self.config
        attention = config.num_hidden_layers * config.hidden_size * config.max_position_embeddings
        result = run_stoppable(call, stop, products * (config.parameters + attention))
        abi.check(result, "TB_NOT_FINITE")
        return result


class EngineTrainer(EngineScorer):
    """The same, with clipping and AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), or Muon.

    Muon (Keller Jordan 2024, kellerjordan.github.io/posts/muon) is for the matrices within the
    blocks; AdamW trains the embedding and the norms beside it.

    Args:
        config: shape.
        train: settings of the optimizer, and threads.
        weights: to begin with.

    Raises:
        TinybuddyError: if the engine was not built, or the weights are not of this shape.
        MemoryError: if there is not enough.
    """

    def __init__(self, config: ModelConfig, train: TrainConfig, weights: Weights) -> None:
        super().__init__(config, weights, train.threads, train.optimizer == "muon")
        self._train = train
        hidden = hidden_matrices(config) if train.optimizer == "muon" else ()
        self._muon = {n: shape for n, shape in self._shapes.items() if n in hidden}
        self._adamw = {n: shape for n, shape in self._shapes.items() if n not in hidden}

    def step(
        self,
        inputs: Ids,
        targets: Ids,
        learning_rate: float,
        matrix_learning_rate: float | None = None,
    ) -> tuple[float, float]:
        """Train on one batch (B, T).

        A loss or gradient that is not finite changes nothing. A step that Ctrl-C ends changes
        nothing either; one that was already changing the weights returns, and Ctrl-C then comes
        a moment later.

        Args:
            inputs: ids.
            targets: ids that follow them.
            learning_rate: of AdamW.
            matrix_learning_rate: of Muon; None takes its peak.

        Returns:
            Mean loss in nats a token, and norm of the gradient before clipping.

        Raises:
            UsageError: if the ids do not fit.
        """
        read, wanted = self._pair(inputs, targets)
        if not len(read):
            raise UsageError("A step needs at least one sequence.")
        train, result = self._train, (c_double * 2)()
        clip = train.grad_clip or math.inf
        if matrix_learning_rate is None:
            matrix_learning_rate = train.matrix_learning_rate
        settings = OptimizerSettings(
            *(learning_rate, train.beta1, train.beta2, 1e-8),
            *(train.weight_decay, train.weight_decay * train.embedding_decay_ratio, clip),
            *(matrix_learning_rate, train.momentum),
        )
        done = self._library.tb_trainer_steps(self._handle)
        try:
            self._call(
                6 * read.size,
                self._library.tb_trainer_step,
                _pointer(read),
                _pointer(wanted),
                *read.shape,
                byref(settings),
                out=result,
            )
        except KeyboardInterrupt:
            if self._library.tb_trainer_steps(self._handle) == done:
                raise
            threading.Timer(0.01, _thread.interrupt_main).start()
        return result[0], result[1]

    def load_weights(self, weights: Weights) -> None:
        """Put other weights in place; the optimizer's state stays.

        Raises:
            TinybuddyError: if they are not of this shape.
        """
        self._put(CODES["TB_WEIGHTS"], weights)

    def gradient(self) -> Weights:
        """Gradient of the last step's loss, before clipping."""
        return self._get(CODES["TB_GRADIENT"])

    def state(self) -> State:
        """The optimizer's state, under torch.optim's names; empty before the first step.

        Of each weight AdamW's two moments and step count, or Muon's momentum.
        """
        steps = self._library.tb_trainer_steps(self._handle)
        if not steps:
            return {}
        count = np.array(steps, np.float32)
        state: State = {}
        means, squares = self._get(CODES["TB_MEAN"]), self._get(CODES["TB_SQUARE"])
        for name in self._muon:
            state[f"{name}.momentum_buffer"] = means[name]
        for name in self._adamw:
            state[f"{name}.step"] = count.copy()
            state[f"{name}.exp_avg"] = means[name]
            state[f"{name}.exp_avg_sq"] = squares[name]
        return state

    def load_state(self, state: State) -> None:
        """Put back what `state` gave.

        Raises:
            TinybuddyError: if it is of another model.
        """
        shapes = {
            f"{name}.{key}": () if key == "step" else shape
            for name, shape in self._adamw.items()
            for key in ("step", "exp_avg", "exp_avg_sq")
        } | {f"{name}.momentum_buffer": shape for name, shape in self._muon.items()}
        counts = {float(a) for n, a in state.items() if n.endswith(".step") and not a.shape}
        if (
            {name: array.shape for name, array in state.items()} != shapes
            or any(array.dtype != np.float32 for array in state.values())
            or len(counts) != 1
            or not all(count >= 1 and count.is_integer() for count in counts)
        ):
            raise TinybuddyError(
                "state.safetensors is not the state of this model's optimizer: delete this "
                "checkpoint and name the one before it in latest."
            )
        none = {name: np.zeros(shape, np.float32) for name, shape in self._muon.items()}
        momenta = {name: state[f"{name}.momentum_buffer"] for name in self._muon}
        for what, key, muon in (
            (CODES["TB_MEAN"], "exp_avg", momenta),
            (CODES["TB_SQUARE"], "exp_avg_sq", none),
        ):
            adamw = {name: state[f"{name}.{key}"] for name in self._adamw}
            self._put(what, adamw | muon)
        abi.check(self._library.tb_trainer_set_steps(self._handle, int(counts.pop())))


def _pointer(array: NDArray[Any]) -> Any:
    return array.ctypes.data_as(POINTER(np.ctypeslib.as_ctypes_type(array.dtype)))
