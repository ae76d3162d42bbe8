"""PyTorch behind the interface of a back end: the reference, and the way to a GPU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tinybuddy.backends.interface import Ids, State, Stream
from tinybuddy.backends.lockstep import LockstepBackend
from tinybuddy.config import ModelConfig, TrainConfig
from tinybuddy.errors import TinybuddyError
from tinybuddy.weights import Weights, hidden_matrices, weight_shapes

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from tinybuddy.backends.llama import Transformer


class TorchBackend(LockstepBackend):
    """A model in PyTorch, on one device."""

    def __init__(
        self, config: ModelConfig, weights: Weights, threads: int = 1, device: str = "cpu"
    ) -> None:
        import torch

        from tinybuddy.backends.llama import create_model

        torch.set_num_threads(threads)
        # The model draws weights of its own; the caller's random numbers stay as they were.
        with torch.random.fork_rng(devices=[]), _memory_errors():
            self.model: Transformer = create_model(
                {name: getattr(config, name) for name in config.__dataclass_fields__}
            )
        self.model.load_state_dict({n: torch.from_numpy(w.copy()) for n, w in weights.items()})
        self.model.to(device)
        self.device, self.context = device, config.max_position_embeddings

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
        from tinybuddy.backends.llama import Cache

        self._model, self._device, self._cache = model, device, Cache(model, texts)

    def feed(self, ids: Ids) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            logits = self._model(torch.from_numpy(ids).to(self._device), self._cache)
            result: NDArray[np.float32] = logits[:, -1].cpu().numpy()
        return result


class TorchTrainer(TorchBackend):
    """The same, with clipping and AdamW (Loshchilov & Hutter 2017, arXiv 1711.05101), or Muon."""

    def __init__(self, config: ModelConfig, train: TrainConfig, weights: Weights) -> None:
        import torch

        from tinybuddy.backends.muon import Muon

        super().__init__(config, weights, train.threads, train.device)
        self._train = train
        self._names = list(weight_shapes(config))
        self._parameters = dict(self.model.named_parameters())
        hidden = hidden_matrices(config) if train.optimizer == "muon" else []
        adamw = [p for n, p in self._parameters.items() if n not in hidden]
        embedding = self._parameters["model.embed_tokens.weight"]
        embedding_decay = train.weight_decay * train.embedding_decay_ratio
        groups: list[dict[str, Any]] = [
            {"params": [p for p in adamw if p.ndim == 2 and p is not embedding]},
            {"params": [embedding], "weight_decay": embedding_decay},
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
        """Train on one batch (B, T); return mean loss in nats a token and gradient norm.

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

    def load_weights(self, weights: Weights) -> None:
        """Put other weights in place; the optimizer's state stays."""
        import torch

        with torch.no_grad():
            for name, array in weights.items():
                self._parameters[name].copy_(torch.from_numpy(array))

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
                "state.safetensors is not the state of this model's optimizer: delete this "
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
        """Each weight and its optimizer."""
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
