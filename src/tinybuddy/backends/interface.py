"""The interface that whatever computes a model meets. Arrays come in and go out as NumPy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tinybuddy.config import SampleConfig
from tinybuddy.weights import Weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Ids: TypeAlias = "NDArray[np.int64]"
State: TypeAlias = "dict[str, NDArray[np.float32]]"


class Stream(Protocol):
    """Texts side by side, with their key-value cache."""

    def feed(self, ids: Ids) -> NDArray[np.float32]:
        """Logits (B, V) after ``ids`` (B, T); all ids since the beginning must fit the context."""
        ...


class Generation(Protocol):
    """One text being generated.

    Attributes:
        ended: nothing follows: its end was drawn, or it is as long as it may be.
        broken: it ended because the model's logits are not finite.
    """

    @property
    def ended(self) -> bool: ...  # noqa: D102

    @property
    def broken(self) -> bool: ...  # noqa: D102

    def new_ids(self, begin: int = 0) -> list[int]:
        """Return the ids after the prompt, from the ``begin``-th on."""
        ...


class Backend(Protocol):
    """A model that scores and generates text."""

    def stream(self, texts: int = 1) -> Stream:
        """Begin one text, or several of equal length, of which the caller draws the tokens."""
        ...

    def begin(
        self, prompt: Sequence[int], count: int, sample: SampleConfig, seed: int, eos: int = -1
    ) -> Generation:
        """Begin a text whose tokens are drawn here.

        Args:
            prompt: ids that it begins with, one or more.
            count: new ids at most.
            sample: how they are drawn.
            seed: of its random numbers: one seed gives one text, whatever computes it and whatever
                is generated beside it.
            eos: the id that ends it and is no part of it; -1 for none.

        Raises:
            UsageError: if the prompt is empty.
            TinybuddyError: if an id is not in the vocabulary.
        """
        ...

    def advance(self, generations: Sequence[Any], steps: int) -> None:
        """Go on with texts that `begin` gave, side by side: ``steps`` new ids each at most.

        A long prompt may take a step for each of its parts. Past the context a text goes on from
        the last half of it. Texts may join and leave between calls.
        """
        ...

    def log_likelihoods(self, inputs: Ids, targets: Ids) -> NDArray[np.float32]:
        """Natural log-probability (B, T) of each target id after the inputs up to its place."""
        ...


class Stopped(KeyboardInterrupt):
    """Raised by a call that `Trainer.stop` ended; it changed nothing."""


class Trainer(Backend, Protocol):
    """A model being trained; what it generates is of the weights as they are when a text begins."""

    def step(
        self,
        inputs: Ids,
        targets: Ids,
        learning_rate: float,
        matrix_learning_rate: float | None = None,
    ) -> tuple[float, float]:
        """Train on one batch (B, T); return mean loss in nats a token and gradient norm.

        The second rate is Muon's, by default its peak.
        """
        ...

    def weights(self) -> Weights:
        """Copies of the weights, under transformers' names."""
        ...

    def load_weights(self, weights: Weights) -> None:
        """Put other weights of the same shapes in place; the optimizer's state stays."""
        ...

    def state(self) -> State:
        """Copies of the optimizer's state."""
        ...

    def load_state(self, state: State) -> None:
        """Put back what `state` gave; the weights come with the constructor."""
        ...

    def stop(self) -> None:
        """Let what trains or scores, now or later, raise `Stopped`, as far as it can be ended.

        A signal handler may call it.
        """
        ...
