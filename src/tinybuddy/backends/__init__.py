"""What computes a model, behind one interface: the engine in C, or PyTorch.

NumPy is imported only by what needs arrays, since generating text does not.
"""

from __future__ import annotations

from tinybuddy.backends.interface import Backend, Trainer
from tinybuddy.config import MAX_THREADS, ModelConfig, TrainConfig, whole_number
from tinybuddy.errors import TinybuddyError, UsageError, require
from tinybuddy.weights import Weights, random_weights


def open_backend(
    config: ModelConfig, weights: Weights, threads: int = 1, name: str = "engine"
) -> Backend:
    """Return a model ready to score and to generate text, on the processor.

    Raises:
        UsageError: if there is no such back end, or no such number of threads.
        TinybuddyError: if it is not installed.
    """
    threads = whole_number("threads", threads, 1, MAX_THREADS)
    if name == "engine":
        from tinybuddy.backends.engine.backend import EngineBackend

        return EngineBackend(config, weights, threads)
    if name != "torch":
        raise UsageError(f"backend must be engine or torch, not {name!r}.")
    check_device()
    from tinybuddy.backends.pytorch import TorchBackend

    return TorchBackend(config, weights, threads=threads)


def open_trainer(config: ModelConfig, train: TrainConfig, weights: Weights | None) -> Trainer:
    """Return a model ready to be trained; without weights, new random ones from ``train.seed``.

    Raises:
        TinybuddyError: if the back end or the asked device is not there.
    """
    check_backend(train)
    if weights is None:
        weights = random_weights(config, train.seed, train.init_std)
    if not train.uses_torch:
        from tinybuddy.backends.engine.trainer import EngineTrainer

        return EngineTrainer(config, train, weights)
    from tinybuddy.backends.pytorch import TorchTrainer

    return TorchTrainer(config, train, weights)


def check_backend(train: TrainConfig) -> None:
    """Raise TinybuddyError if what shall compute is not there, or not on that device."""
    if train.uses_torch:
        check_device(train.device)
        return
    if train.device != "cpu":
        raise UsageError(
            f"The engine computes on the processor: use `backend` torch for {train.device}."
        )
    from tinybuddy.backends.engine.library import load

    load()


def check_device(device: str = "cpu") -> None:
    """Raise TinybuddyError if PyTorch or the device is not there; cheap for the processor."""
    require("PyTorch", "torch", "torch")
    if device == "cpu":
        return
    import torch

    if not (torch.cuda if device == "cuda" else torch.backends.mps).is_available():
        raise TinybuddyError(f"There is no {device} device here: use `device` cpu.")
