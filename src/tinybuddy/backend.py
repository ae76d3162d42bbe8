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
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

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


class Stopped(KeyboardInterrupt):
    """Raised by a call that `Trainer.stop` ended; it changed nothing."""


class Trainer(Runner, Protocol):
    """A model that learns."""

    def step(
        self,
        inputs: Ids,
        targets: Ids,
        learning_rate: float,
        matrix_learning_rate: float | None = None,
    ) -> tuple[float, float]:
        """Learn from one batch (B, T); return mean loss in nats a token and gradient norm.

        The second rate is Muon's, by default its peak.
        """
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

    def stop(self) -> None:
        """Let what learns or scores, now or later, raise `Stopped`, as far as it can be ended.

        A signal handler may call it.
        """
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
    if weights is None:
        weights = random_weights(config, train.seed, train.init_std)
    if not train.uses_torch:
        from tinybuddy.engine.trainer import EngineTrainer

        return EngineTrainer(config, train, weights)
    return TorchTrainer(config, train, weights)


def check_backend(train: TrainConfig) -> None:
    """Raise TinybuddyError if what shall compute is not there, or not on that device."""
    if train.uses_torch:
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


def random_weights(config: ModelConfig, seed: int, init_std: float) -> Weights:
    """Draw new weights, the same for every back end: matrices of N(0, init_std), norms of ones."""
    import numpy as np

    random = np.random.Generator(np.random.PCG64(seed))
    return {
        name: np.ones(shape, np.float32)
        if len(shape) == 1
        else random.standard_normal(shape, np.float32) * np.float32(init_std)
        for name, shape in weight_shapes(config).items()
    }


def hidden_matrices(config: ModelConfig) -> list[str]:
    """Names of the matrices within the blocks, which Muon may learn: not embedding, nor norms."""
    return [
        name
        for name, shape in weight_shapes(config).items()
        if len(shape) == 2 and name.startswith("model.layers.")
    ]


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
        self, config: ModelConfig, weights: Weights, threads: int = 1, device: str = "cpu"
    ) -> None:
        import torch

        from tinybuddy.model import create_model

        torch.set_num_threads(threads)
        # The model draws weights of its own; the caller's random numbers stay as they were.
        with torch.random.fork_rng(devices=[]), _memory_errors():
            self.model: Transformer = create_model(
                {name: getattr(config, name) for name in config.__dataclass_fields__}
            )
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
    """The same, with clipping and AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), or Muon."""

    def __init__(self, config: ModelConfig, train: TrainConfig, weights: Weights) -> None:
        import torch

        from tinybuddy.muon import Muon

        super().__init__(config, weights, train.threads, train.device)
        self._train = train
        self._names = list(weight_shapes(config))
        self._parameters = dict(self.model.named_parameters())
        hidden = hidden_matrices(config) if train.optimizer == "muon" else []
        adamw = [p for n, p in self._parameters.items() if n not in hidden]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in adamw if p.ndim == 2]},
            {"params": [p for p in adamw if p.ndim == 1], "weight_decay": 0.0},
        ]
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                groups,
                lr=train.learning_rate,
                betas=(train.beta1, train.beta2),
                weight_decay=train.weight_decay,
                fused=train.device != "mps",
            )
        ]
        if hidden:
            matrices = [self._parameters[name] for name in hidden]
            rate = train.matrix_learning_rate
            self._optimizers.append(Muon(matrices, rate, train.momentum, train.weight_decay))

    def step(
        self,
        inputs: Ids,
        targets: Ids,
        learning_rate: float,
        matrix_learning_rate: float | None = None,
    ) -> tuple[float, float]:
        """Learn from one batch (B, T); return mean loss in nats a token and gradient norm.

        A loss or gradient that is not finite changes nothing. The second rate is Muon's, by
        default its peak.
        """
        import torch

        if matrix_learning_rate is None:
            matrix_learning_rate = self._train.matrix_learning_rate
        with _memory_errors():
            logits = self.model(torch.from_numpy(inputs).to(self.device))
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), torch.from_numpy(targets).to(self.device).flatten()
            )
            self.model.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        clip = self._train.grad_clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        result = loss.item(), norm.item()
        if all(map(math.isfinite, result)):
            rates = (learning_rate, matrix_learning_rate)
            for optimizer, rate in zip(self._optimizers, rates, strict=False):
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
        return result

    def weights(self) -> Weights:
        """Copies of the weights, under transformers' names."""
        return {n: _to_numpy(self._parameters[n]) for n in self._names}

    def state(self) -> State:
        """Of each weight AdamW's two moments and step count, or Muon's momentum."""
        return {
            f"{name}.{key}": _to_numpy(value)
            for name, (parameter, optimizer) in self._owners().items()
            for key, value in optimizer.state[parameter].items()
        }

    def load_state(self, state: State) -> None:
        """Put back what `state` gave.

        Raises:
            TinybuddyError: if it is of another model; the native code would read beyond its end.
        """
        import numpy as np
        import torch

        owners = self._owners()
        shapes = {
            f"{name}.{key}": () if key == "step" else tuple(parameter.shape)
            for name, (parameter, optimizer) in owners.items()
            for key in (
                ("step", "exp_avg", "exp_avg_sq")
                if isinstance(optimizer, torch.optim.AdamW)
                else ("momentum_buffer",)
            )
        }
        if {name: array.shape for name, array in state.items()} != shapes or any(
            array.dtype != np.float32 for array in state.values()
        ):
            raise TinybuddyError(
                "state.safetensors is not what the optimizer of this model remembers: delete this "
                "checkpoint and name the one before it in latest."
            )
        for name, array in state.items():
            name, key = name.rsplit(".", 1)
            device = "cpu" if key == "step" and self.device == "mps" else self.device
            parameter, optimizer = owners[name]
            optimizer.state[parameter][key] = torch.from_numpy(array.copy()).to(device)

    def stop(self) -> None:
        """Do nothing: PyTorch does not end a step midway."""

    def _owners(self) -> dict[str, tuple[torch.nn.Parameter, torch.optim.Optimizer]]:
        """Each weight and what learns it."""
        of = {p: o for o in self._optimizers for group in o.param_groups for p in group["params"]}
        return {name: (p, of[p]) for name, p in self._parameters.items()}


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
