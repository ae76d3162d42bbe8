"""Muon for PyTorch in float32.

torch.optim.Muon, whose rule and names these are, multiplies in bfloat16: two machines, or two back
ends, then differ in the third digit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov's momentum with all of its singular values brought near 1.

    Keller Jordan 2024, kellerjordan.github.io/posts/muon. A matrix (rows, columns) moves by its
    learning rate times ``sqrt(max(1, rows / columns))``.

    Args:
        matrices: what it trains; two dimensions each.
        lr: learning rate.
        momentum: decay of the mean gradient.
        weight_decay: decoupled.
    """

    def __init__(
        self, matrices: list[torch.nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change the matrices by their gradients."""
        for group in self.param_groups:
            for matrix in group["params"]:
                _update(matrix, self.state[matrix], group)


def _update(matrix: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(matrix)
    assert matrix.grad is not None
    mean = state["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
    update = orthogonalized(matrix.grad.lerp(mean, group["momentum"]))
    rows, columns = matrix.shape
    matrix.mul_(1 - group["lr"] * group["weight_decay"])
    matrix.add_(update, alpha=-group["lr"] * math.sqrt(max(1, rows / columns)))


def orthogonalized(x: Tensor) -> Tensor:
    """Return x (rows, columns) with its singular values brought near 1, by Newton and Schulz.

    The coefficients are Keller Jordan's, which bring them near soon rather than ever to 1.
    """
    if x.shape[0] > x.shape[1]:
        return orthogonalized(x.T).T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x
