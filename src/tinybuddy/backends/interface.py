"""The interface that whatever computes a model meets. Arrays come in and go out as NumPy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from tinybuddy.weights import Weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Ids: TypeAlias = "NDArray[np.int64]"
State: TypeAlias = "dict[str, NDArray[np.float32]]"


class Stream(Protocol):
    """Texts being continued side by side, with their key-value cache."""

    def feed(self, ids: Ids) -> NDArray[np.float32]:
        """Logits (B, V) after ``ids`` (B, T); all ids since the beginning must fit the context."""
        ...


class Backend(Protocol):
    """A model that scores and continues text."""

    def stream(self, texts: int = 1) -> Stream:
        """Begin one text, or several of equal length."""
        ...

    def log_likelihoods(self, inputs: Ids, targets: Ids) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id after the inputs up to its place."""
        ...


class Stopped(KeyboardInterrupt):
    """Raised by a call that `Trainer.stop` ended; it changed nothing."""


class Trainer(Backend, Protocol):
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
