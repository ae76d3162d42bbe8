from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tinybuddy.backends.llama import EOS, Cache, create_model
from tinybuddy.config import ModelConfig
from tinybuddy.formats.hub import hub_config
from tinybuddy.weights import weight_shapes

GRID = [
    ModelConfig(),
    ModelConfig(num_hidden_layers=3),
    ModelConfig(hidden_size=64, num_attention_heads=8, num_key_value_heads=1),
    ModelConfig(hidden_size=24, num_attention_heads=4, num_key_value_heads=4, vocab_size=301),
    ModelConfig(hidden_size=20, intermediate_size=7, num_attention_heads=2, num_key_value_heads=2),
    ModelConfig(hidden_size=2, num_attention_heads=1, num_key_value_heads=1, vocab_size=27),
    ModelConfig(max_position_embeddings=1),
    ModelConfig(rope_theta=500.0, rms_norm_eps=1e-3, num_hidden_layers=4),
]


def _pair(config: ModelConfig) -> tuple[torch.nn.Module, LlamaForCausalLM]:
    torch.manual_seed(1)
    ours = create_model(asdict(config), init_std=0.2)
    theirs = LlamaForCausalLM(LlamaConfig.from_dict(hub_config(config))).eval()
    missing = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert missing.missing_keys in (["lm_head.weight"], [])
    assert missing.unexpected_keys == []
    theirs.tie_weights()
    return ours, theirs


@pytest.mark.parametrize("config", GRID, ids=range(len(GRID)))
@torch.no_grad()
def test_logits_are_those_of_llama(config: ModelConfig):
    ours, theirs = _pair(config)
    assert sum(p.numel() for p in theirs.parameters()) == config.parameters
    ids = torch.randint(0, config.vocab_size, (3, config.max_position_embeddings))
    expected, actual = theirs(ids).logits, ours(ids)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", GRID, ids=range(len(GRID)))
@torch.no_grad()
def test_cache_gives_the_same_logits(config: ModelConfig):
    model, _ = _pair(config)
    ids = torch.randint(0, config.vocab_size, (2, config.max_position_embeddings))
    cache = Cache(model, batch=2)
    half = config.max_position_embeddings // 2
    parts = [model(ids[:, :half], cache)] if half else []
    parts += [model(ids[:, t : t + 1], cache) for t in range(half, ids.shape[1])]
    # Another order of summation: logits of about 10 differ by about 1e-5.
    torch.testing.assert_close(torch.cat(parts, 1), model(ids), atol=1e-4, rtol=1e-5)


def test_weights_have_the_names_of_llama():
    config = ModelConfig(num_hidden_layers=2)
    state = create_model(asdict(config)).state_dict()
    assert {name: tuple(weight.shape) for name, weight in state.items()} == weight_shapes(config)


def test_more_than_the_context_is_refused():
    model = create_model(asdict(ModelConfig(max_position_embeddings=4)))
    with pytest.raises(ValueError, match="5 positions exceed the context of 4"):
        model(torch.zeros(1, 5, dtype=torch.long))


def test_greedy_generation_is_that_of_llama():
    ours, theirs = _pair(ModelConfig(max_position_embeddings=64))
    prompt = torch.tensor([[1, 70, 80, 90]])
    expected = theirs.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=40
    )
    assert ours.generate(prompt, max_new_tokens=40, temperature=0).tolist() == expected.tolist()


def test_generation_slides_past_the_context_and_samples_within_top_k():
    torch.manual_seed(0)
    model = create_model(asdict(ModelConfig(max_position_embeddings=8)), init_std=0.2)
    prompt = torch.tensor([[1, 5]])
    told = model.generate(prompt, max_new_tokens=50, temperature=1.0, top_k=2)
    assert told[0, :2].tolist() == [1, 5]
    assert told.shape == (1, 52) or told[0, -1] == EOS
    with torch.no_grad():
        best = model(prompt)[0, -1].topk(2).indices.tolist()
    assert told[0, 2].item() in best
