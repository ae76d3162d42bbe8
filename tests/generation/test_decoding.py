"""The batched decoder: what is beside a text, and when it joins, changes nothing of it."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybuddy.backends import open_backend
from tinybuddy.backends.interface import Backend
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.generation.decoding import BatchedDecoder, continue_ids
from tinybuddy.weights import random_weights

CONFIG = ModelConfig(40, 16, 24, 1, 2, 1, 12)
SAMPLE = SampleConfig(temperature=1.5, top_k=0, repetition_penalty=1.1)
EOS, COUNT = 2, 30  # past the context of 12


@pytest.fixture(scope="module", params=["engine", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return open_backend(CONFIG, random_weights(CONFIG, 0, 0.5), name=request.param)


def _alone(backend: Backend, prompt: list[int], seed: int) -> list[int]:
    texts = continue_ids(backend, [prompt], COUNT, SAMPLE, [seed], EOS)
    return [id for _, new in texts for id in new]


@settings(max_examples=15)
@given(data=st.data())
def test_texts_join_and_leave_at_any_token(backend: Backend, data: st.DataObject):
    batch, prompts = BatchedDecoder(backend), {}
    said: dict[int, list[int]] = defaultdict(list)
    cancelled: set[int] = set()
    left = data.draw(st.integers(1, 6), "texts")
    while left or len(batch):
        if left and (not len(batch) or data.draw(st.booleans(), "join")):
            prompt = data.draw(st.lists(st.integers(3, 39), min_size=1, max_size=20), "prompt")
            prompts[batch.join(prompt, COUNT, SAMPLE, len(prompts), EOS)] = prompt
            left -= 1
        for key, ids, ended, broken in batch.step(data.draw(st.integers(1, 5), "tokens")):
            assert not broken
            assert ids or ended
            assert key not in cancelled
            said[key] += ids
        if len(batch) and data.draw(st.integers(0, 9), "cancel") == 0:
            key = data.draw(st.sampled_from(sorted(prompts)), "which")
            cancelled.add(key)
            batch.cancel(key)
    for key, prompt in prompts.items():
        alone = _alone(backend, prompt, key)
        assert said[key] == (alone[: len(said[key])] if key in cancelled else alone)


def test_all_texts_move_on_together(backend: Backend):
    """However many there are: none is at its end before another has begun."""
    batch = BatchedDecoder(backend)
    count = CONFIG.max_position_embeddings - 1
    keys = [batch.join([1], count, SAMPLE, seed) for seed in range(50)]
    for _ in range(count):
        pieces = batch.step(1)
        assert [piece.key for piece in pieces] == keys
        assert all(len(piece.ids) == 1 for piece in pieces)
    assert len(batch) == 0
    assert batch.step() == []


def test_a_text_that_is_left_out_comes_back_as_it_was(backend: Backend):
    texts = [backend.begin([1, 5], COUNT, SAMPLE, seed, EOS) for seed in (1, 2)]
    backend.advance(texts, 3)
    backend.advance(texts[:1], 11)
    backend.advance(texts, COUNT)
    assert [t.new_ids() for t in texts] == [_alone(backend, [1, 5], seed) for seed in (1, 2)]


def test_a_broken_model_is_said_of_each_text(backend: Backend):
    weights = {n: np.full_like(w, np.nan) for n, w in random_weights(CONFIG, 0, 0.5).items()}
    name = "engine" if type(backend).__name__.startswith("Engine") else "torch"
    broken = open_backend(CONFIG, weights, name=name)
    batch = BatchedDecoder(broken)
    keys = [batch.join([1], COUNT, SAMPLE, seed) for seed in (0, 1)]
    pieces = [piece for _ in range(2) for piece in batch.step()]
    assert [(p.key, p.ids, p.ended, p.broken) for p in pieces] == [
        (k, [], True, True) for k in keys
    ]
    with pytest.raises(TinybuddyError, match="numbers are not finite"):
        list(continue_ids(broken, [[1]], COUNT, SAMPLE, [0]))


def test_what_cannot_begin_is_refused(backend: Backend):
    with pytest.raises(UsageError, match="first id"):
        BatchedDecoder(backend).join([], COUNT, SAMPLE, 0)


def test_nothing_is_asked_for(backend: Backend):
    assert list(continue_ids(backend, [[1], [1, 2]], 0, SAMPLE, [0, 1])) == []


def test_a_text_goes_on_as_long_as_it_is_wanted(backend: Backend):
    said: dict[int, list[int]] = {0: [], 1: []}
    for place, new in continue_ids(
        backend, [[1], [1]], 10_000, SAMPLE, [0, 1], -1, lambda place: len(said[place]) < 100
    ):
        said[place] += new
    assert all(100 <= len(ids) < 200 for ids in said.values())
