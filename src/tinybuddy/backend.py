"""The one interface that whatever computes a model meets; behind it, the engine or PyTorch.

Arrays come in and go out as NumPy's, so nothing outside this module and `tinybuddy.model` knows
PyTorch. The engine, in `tinybuddy.engine`, is what computes unless PyTorch is asked for; NumPy is
imported only by what needs arrays, since telling a story does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

from tinybuddy.config import ModelConfig, TrainConfig
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.modelfile import StoredWeights, Weights, weight_shapes

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from tinybuddy.engine.trainer import EngineRunner
    from tinybuddy.model import Transformer

Ids: TypeAlias = "NDArray[np.int64]"
State: TypeAlias = "dict[str, NDArray[np.float32]]"


class Stream(Protocol):
    """Texts being continued side by side, with their key-value cache."""

    def feed(self, ids: Ids) -> NDArray[np.float32]:
        """Logits (B, V) after ``ids`` (B, T); all ids since the beginning must fit the context."""
        ...


class Runner(Protocol):
    """A model that scores and continues text."""

    def stream(self, texts: int = 1) -> Stream:
        """Begin one text, or several of equal length."""
        ...

    def log_likelihoods(self, inputs: Ids, targets: Ids) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id after the inputs up to its place."""
        ...


class Trainer(Runner, Protocol):
    """A model that learns."""

    def step(self, inputs: Ids, targets: Ids, learning_rate: float) -> tuple[float, float]:
        """Learn from one batch (B, T); return mean loss in nats a token and gradient norm."""
        ...

    def weights(self) -> Weights:
        """Copies of the weights, under transformers' names."""
        ...

    def state(self) -> State:
        """Copies of what the optimizer remembers."""
        ...

    def load_state(self, state: State) -> None:
        """Put back what `state` gave; the weights come with the constructor."""
        ...


def open_runner(
    config: ModelConfig, weights: Weights, threads: int = 1, backend: str = "engine"
) -> Runner:
    """Return a model ready to score and to continue text, on the processor.

    Raises:
        UsageError: if there is no such back end.
        TinybuddyError: if it is not installed.
    """
    if backend == "engine":
        return NativeRunner(config, weights, threads)
    if backend != "torch":
        raise UsageError(f"backend must be engine or torch, not {backend!r}.")
    check_device()
    return TorchRunner(config, weights, threads=threads)


def open_trainer(config: ModelConfig, train: TrainConfig, weights: Weights | None) -> Trainer:
    """Return a model ready to learn; without weights, new random ones from ``train.seed``.

    Raises:
        TinybuddyError: if the back end or the asked device is not there.
    """
    check_backend(train)
    if train.backend == "engine":
        from tinybuddy.engine.trainer import EngineTrainer

        return EngineTrainer(config, train, weights)
    return TorchTrainer(config, train, weights)


def check_backend(train: TrainConfig) -> None:
    """Raise TinybuddyError if what shall compute is not there, or not on that device."""
    if train.backend == "torch":
        check_device(train.device)
        return
    if train.device != "cpu":
        raise UsageError(
            f"The engine computes on the processor: use --backend torch for {train.device}."
        )
    from tinybuddy.engine.library import load

    load()


def check_device(device: str = "cpu") -> None:
    """Raise TinybuddyError if PyTorch or the device is not there; cheap for the processor."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise TinybuddyError("This needs PyTorch: pip install 'tinybuddy[torch]'.")
    if device == "cpu":
        return
    import torch

    if not (torch.cuda if device == "cuda" else torch.backends.mps).is_available():
        raise TinybuddyError(f"There is no {device} device here: use --device cpu.")


class NativeRunner:
    """A model in the engine, on the processor: it tells at once, and scores once asked to.

    Attributes:
        decoder: what continues text.
    """

    def __init__(self, config: ModelConfig, weights: Weights, threads: int = 1) -> None:
        from tinybuddy.engine.decoder import Decoder

        buffers = weights.buffers if isinstance(weights, StoredWeights) else weights
        self.decoder = Decoder(config, buffers)
        self._parts = config, weights, threads

    def stream(self, texts: int = 1) -> Stream:
        """Begin one text, or several of equal length."""
        return self.decoder.stream(texts)

    def log_likelihoods(self, inputs: Ids, targets: Ids) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id after the inputs up to its place."""
        return self._scorer.log_likelihoods(inputs, targets)

    @cached_property
    def _scorer(self) -> EngineRunner:
        from tinybuddy.engine.trainer import EngineRunner

        return EngineRunner(*self._parts)


class TorchRunner:
    """A model in PyTorch, on one device."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Weights | None,
        threads: int = 1,
        device: str = "cpu",
        seed: int = 0,
        init_std: float = 0.02,
    ) -> None:
        import torch

        from tinybuddy.model import create_model

        torch.set_num_threads(threads)
        # The caller's random numbers stay as they were.
        with torch.random.fork_rng(devices=[]), _memory_errors():
            torch.manual_seed(seed)
            self.model: Transformer = create_model(
                {name: getattr(config, name) for name in config.__dataclass_fields__}, init_std
            )
        if weights is not None:
            self.model.load_state_dict({n: torch.from_numpy(w.copy()) for n, w in weights.items()})
        self.model.to(device)
        self.device = device

    def stream(self, texts: int = 1) -> Stream:
        """Begin one text, or several of equal length."""
        return _TorchStream(self.model, self.device, texts)

    def log_likelihoods(self, inputs: Ids, targets: Ids) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id after the inputs up to its place."""
        import torch

        with torch.inference_mode():
            logits = self.model(torch.from_numpy(inputs).to(self.device))
            losses = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1),
                torch.from_numpy(targets).to(self.device).flatten(),
                reduction="none",
            )
            result: NDArray[np.float32] = -losses.view(targets.shape).cpu().numpy()
        return result


class _TorchStream:
    def __init__(self, model: Transformer, device: str, texts: int) -> None:
        from tinybuddy.model import Cache

        self._model, self._device, self._cache = model, device, Cache(model, texts)

    def feed(self, ids: Ids) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            logits = self._model(torch.from_numpy(ids).to(self._device), self._cache)
            result: NDArray[np.float32] = logits[:, -1].cpu().numpy()
        return result


class TorchTrainer(TorchRunner):
    """The same, with AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101) and clipping."""

    def __init__(self, config: ModelConfig, train: TrainConfig, weights: Weights | None) -> None:
        import torch

        super().__init__(config, weights, train.threads, train.device, train.seed, train.init_std)
        self._clip = train.grad_clip or float("inf")
        self._names = list(weight_shapes(config))
        parameters = dict(self.model.named_parameters())
        matrices = [p for p in parameters.values() if p.ndim == 2]
        norms = [p for p in parameters.values() if p.ndim == 1]
        self._parameters = parameters
        self._optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": train.weight_decay},
                {"params": norms, "weight_decay": 0.0},
            ],
            lr=train.learning_rate,
            betas=(train.beta1, train.beta2),
            fused=train.device != "mps",
        )

    def step(self, inputs: Ids, targets: Ids, learning_rate: float) -> tuple[float, float]:
        """Learn from one batch (B, T); return mean loss in nats a token and gradient norm.

        A loss or gradient that is not finite changes nothing.
        """
        import torch

        with _memory_errors():
            logits = self.model(torch.from_numpy(inputs).to(self.device))
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), torch.from_numpy(targets).to(self.device).flatten()
            )
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
        result = loss.item(), norm.item()
        if all(map(math.isfinite, result)):
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
            self._optimizer.step()
        return result

    def weights(self) -> Weights:
        """Copies of the weights, under transformers' names."""
        return {n: _to_numpy(self._parameters[n]) for n in self._names}

    def state(self) -> State:
        """AdamW's two moments and its step count of each weight."""
        return {
            f"{name}.{key}": _to_numpy(value)
            for name, parameter in self._parameters.items()
            for key, value in self._optimizer.state[parameter].items()
        }

    def load_state(self, state: State) -> None:
        """Put back what `state` gave.

        Raises:
            TinybuddyError: if it is of another model; the native code would read beyond its end.
        """
        import numpy as np
        import torch

        shapes = {
            f"{name}.{key}": () if key == "step" else tuple(parameter.shape)
            for name, parameter in self._parameters.items()
            for key in ("step", "exp_avg", "exp_avg_sq")
        }
        if {name: array.shape for name, array in state.items()} != shapes or any(
            array.dtype != np.float32 for array in state.values()
        ):
            raise TinybuddyError(
                "state.safetensors is not what the optimizer of this model remembers: delete this "
                "checkpoint and name the one before it in latest."
            )
        for name, array in state.items():
            parameter, key = name.rsplit(".", 1)
            device = "cpu" if key == "step" and self.device == "mps" else self.device
            value = torch.from_numpy(array.copy()).to(device)
            self._optimizer.state[self._parameters[parameter]][key] = value


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Raise MemoryError where PyTorch raises a RuntimeError that says it."""
    try:
        yield
    except RuntimeError as error:
        if "allocate memory" in str(error) or "out of memory" in str(error):
            raise MemoryError from None
        raise


def _to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().cpu().numpy().copy()
    return array
