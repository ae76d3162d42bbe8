from __future__ import annotations

import numpy as np
import pytest
import torch

from tinybuddy.backends import open_trainer
from tinybuddy.config import ModelConfig, TrainConfig


def test_steps_are_those_of_a_plain_loop():
    """Against AdamW, clipping and decay written out in torch, over 20 steps."""
    shape = ModelConfig(vocab_size=40, hidden_size=8, intermediate_size=12, num_attention_heads=2)
    config = TrainConfig(
        grad_clip=0.5, init_std=0.1, seed=5, backend="torch", embedding_decay_ratio=0.2
    )
    ours = open_trainer(shape, config, None)
    weights = {n: torch.tensor(w, requires_grad=True) for n, w in ours.weights().items()}
    decayed = [w for name, w in weights.items() if w.ndim == 2 and "embed" not in name]
    embedding = [weights["model.embed_tokens.weight"]]
    plain = [w for w in weights.values() if w.ndim == 1]
    groups = [
        {"params": decayed, "weight_decay": 0.1},
        {"params": embedding, "weight_decay": 0.02},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=False, foreach=False)
    generator = np.random.default_rng(0)
    for step in range(20):
        ids = generator.integers(0, 40, (3, 11))
        loss, norm = ours.step(ids[:, :-1], ids[:, 1:], rate := 0.01 / (step + 1))
        logits = torch.func.functional_call(ours.model, weights, torch.tensor(ids[:, :-1]))
        expected = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), torch.tensor(ids[:, 1:]).flatten()
        )
        optimizer.zero_grad()
        expected.backward()
        expected_norm = torch.nn.utils.clip_grad_norm_(weights.values(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        assert loss == pytest.approx(expected.item(), abs=1e-5)
        assert norm == pytest.approx(expected_norm.item(), abs=1e-4)
    for name, weight in ours.weights().items():
        np.testing.assert_allclose(weight, weights[name].detach(), atol=1e-5, err_msg=name)
