"""What the benchmarks compare with must compute the same model."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.peers.numpy_decoder import NumpyDecoder

from tinybuddy.backends.pytorch import TorchBackend
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.formats.references import find_directory
from tinybuddy.weights import weight_shapes

SHAPE = {
    "vocab_size": 300,
    "hidden_size": 48,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "max_position_embeddings": 12,
}


@pytest.fixture(scope="module")
def card() -> ModelFiles:
    return read_model(find_directory("tinybuddy-80k-card"))


def test_the_numpy_decoder_computes_the_reference():
    config, random = ModelConfig(**SHAPE), np.random.default_rng(0)
    weights = {
        name: random.normal(1 if len(shape) == 1 else 0, 0.1, shape).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }
    ids = random.integers(0, config.vocab_size, config.max_position_embeddings)
    decoder = NumpyDecoder(config, weights)
    stream = TorchBackend(config, weights).stream()
    for position, token in enumerate(ids):
        (expected,) = stream.feed(np.array([[token]]))
        np.testing.assert_allclose(decoder.logits(token, position), expected, atol=1e-4)


def test_the_numpy_decoder_draws_by_the_settings(card: ModelFiles):
    decoder, bos = NumpyDecoder(card.config, card.weights), card.tokenizer.bos
    drawn = [
        decoder.generate(bos, 20, SampleConfig(temperature=0.8, top_k=top_k), seed=1)
        for top_k in (0, 40, 1)
    ]
    best = decoder.generate(bos, 20, SampleConfig(temperature=0.0), seed=1)
    assert drawn[2] == best
    assert all(len(ids) == 20 and ids != best for ids in drawn[:2])
