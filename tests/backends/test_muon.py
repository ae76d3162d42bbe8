"""Muon in float32, against PyTorch's in bfloat16 and against what it promises."""

from __future__ import annotations

import pytest
import torch

from tinybuddy.backends.muon import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(48, 48), (24, 48), (192, 48), (47, 190), (1, 1), (3, 1)])
def test_it_is_that_of_pytorch_up_to_the_rounding_of_bfloat16(shape: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(1)
    ours = torch.nn.Parameter(torch.randn(shape, generator=random))
    theirs = torch.nn.Parameter(ours.detach().clone())
    begin = ours.detach().clone()
    optimizers = (
        Muon([ours], lr=0.02, momentum=0.95, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.02, momentum=0.95, weight_decay=0.1),
    )
    for _ in range(5):
        ours.grad = torch.randn(shape, generator=random)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = torch.linalg.norm(theirs - begin)
    assert torch.linalg.norm(ours - theirs) < 0.02 * moved
    buffers = [o.state[p] for o, p in zip(optimizers, (ours, theirs), strict=True)]
    assert buffers[0].keys() == buffers[1].keys() == {"momentum_buffer"}
    torch.testing.assert_close(buffers[0]["momentum_buffer"], buffers[1]["momentum_buffer"])


def test_singular_values_come_near_one() -> None:
    x = torch.randn((40, 100), generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalized(x))
    assert 0.6 < values.min() < values.max() < 1.3
    assert not orthogonalized(torch.zeros(3, 2)).any()
