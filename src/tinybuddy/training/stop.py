"""How a training is told to end soon."""

from __future__ import annotations

from collections.abc import Callable


class Stop:
    """Ends a `fit` soon, once it is called; another thread or a signal handler may call it."""

    def __init__(self) -> None:
        self.asked = False
        self._end_step: Callable[[], None] = lambda: None

    def __call__(self) -> None:
        """End it."""
        self.asked = True
        self._end_step()

    def ends(self, end_step: Callable[[], None]) -> None:
        """Call ``end_step`` too, which ends a long step midway."""
        self._end_step = end_step
        if self.asked:
            end_step()
