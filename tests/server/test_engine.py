"""The threads that generate: who joins, waits, leaves or fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import HANG
from tinybuddy.backends import open_backend
from tinybuddy.backends.interface import Backend
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.generation.decoding import continue_ids
from tinybuddy.server.engine import BusyError, EnginePool, Text
from tinybuddy.weights import random_weights

CONFIG = ModelConfig(40, 16, 24, 1, 2, 1, 12)
SAMPLE = SampleConfig(temperature=1.5, top_k=0, repetition_penalty=1.1)
ENDLESS = 1 << 30


class Generator:
    """A model of random weights."""

    eos = 2

    def __init__(self, seed: int = 0, threads: int = 2) -> None:
        self.name = str(seed)
        self.backends: list[Any] = [
            open_backend(CONFIG, random_weights(CONFIG, seed, 0.5)) for _ in range(threads)
        ]


class Counts:
    """What the threads have said."""

    def __init__(self) -> None:
        self.tokens = self.begun = 0

    def on_step(self, model: str, tokens: int, seconds: float) -> None:
        self.tokens += tokens

    def on_begin(self, seconds: float) -> None:
        self.begun += 1


MODELS = [Generator(0), Generator(1)]


def _run(
    test: Callable[[EnginePool], Awaitable[None]], places: int = 8, queue: int = 100
) -> Counts:
    counts = Counts()

    async def run() -> None:
        pool = EnginePool(2, places, queue, counts)
        try:
            async with asyncio.timeout(HANG):
                await test(pool)
        finally:
            pool.close()

    asyncio.run(run())
    return counts


def _text(model: Any, prompt: Sequence[int] = (1,), count: int = 30, seed: int = 0) -> Text:
    return Text(model, prompt, count, SAMPLE, seed, asyncio.Event())


def _endless(texts: int) -> list[Text]:
    """Texts that nothing ends."""
    model = Generator(0)
    model.eos = -1
    return [_text(model, count=ENDLESS, seed=seed) for seed in range(texts)]


def _alone(text: Text) -> list[int]:
    backend: Backend = text.model.backends[0]
    texts = continue_ids(backend, [text.prompt], text.count, SAMPLE, [text.seed], text.model.eos)
    return [id for _, new in texts for id in new]


async def _ended(text: Text) -> None:
    while not text.ended:
        await text.news.wait()
        text.news.clear()


@settings(max_examples=20)
@given(data=st.data())
def test_a_text_is_the_same_whatever_is_beside_it(data: st.DataObject):
    """Of two models, on two threads, with fewer places than texts, some cancelled."""

    async def test(pool: EnginePool) -> None:
        texts, cancelled = [], []
        for number in range(data.draw(st.integers(1, 20), "texts")):
            prompt = data.draw(st.lists(st.integers(3, 39), min_size=1, max_size=40), "prompt")
            count = data.draw(st.integers(0, 40), "count")
            text = _text(data.draw(st.sampled_from(MODELS), "model"), prompt, count, number)
            pool.submit([text])
            texts.append(text)
            if data.draw(st.booleans(), "pause"):
                await asyncio.sleep(0)
            if data.draw(st.integers(0, 4), "cancel") == 0:
                cancelled.append(data.draw(st.sampled_from(texts), "which"))
                pool.cancel(cancelled[-1:])
        for text in texts:
            if text not in cancelled:
                await _ended(text)
                assert not text.error
                assert text.ids == _alone(text)

    _run(test, places=4)


def test_who_is_cancelled_frees_the_place_at_once():
    async def test(pool: EnginePool) -> None:
        endless = _endless(4)
        pool.submit(endless)
        waiting = [_text(MODELS[0]) for _ in range(2)]
        pool.submit(waiting)
        for text in endless:
            await text.news.wait()  # all have begun
        assert (pool.running, pool.waiting) == (4, 2)
        pool.cancel(endless[:1])
        await _ended(waiting[0])  # it waited for this place, or the other one did
        pool.cancel(endless)
        for text in waiting:
            await _ended(text)
        while pool.running:
            await asyncio.sleep(0)
        assert pool.waiting == 0
        assert not any(text.ended for text in endless)

    _run(test, places=4)


def test_threads_share_the_texts_and_none_is_idle_while_one_waits():
    async def test(pool: EnginePool) -> None:
        endless = _endless(8)
        pool.submit(endless)
        for text in endless:
            await text.news.wait()
        assert [worker.running for worker in pool._workers] == [4, 4]
        waiting = [_text(MODELS[0], seed=seed) for seed in range(6)]
        pool.submit(waiting)
        pool.cancel(text for text in endless if text.worker is pool._workers[0])
        for text in waiting:  # the other thread has no room for them
            await _ended(text)
            assert text.worker is pool._workers[0]
        assert pool._workers[1].running == 4

    _run(test, places=8)


def test_who_waits_and_is_cancelled_makes_room_in_the_queue():
    async def test(pool: EnginePool) -> None:
        endless = _endless(4)
        pool.submit(endless[:2])
        for text in endless[:2]:
            await text.news.wait()
        pool.submit(endless[2:])
        with pytest.raises(BusyError):
            pool.submit([_text(MODELS[0])])
        pool.cancel(endless[3:])
        pool.submit([_text(MODELS[0])])
        with pytest.raises(BusyError):
            pool.submit([_text(MODELS[0])])
        assert (pool.running, pool.waiting) == (2, 2)

    _run(test, places=2, queue=2)


def test_texts_are_let_in_together_or_not_at_all():
    async def test(pool: EnginePool) -> None:
        with pytest.raises(BusyError):
            pool.submit([_text(MODELS[0]) for _ in range(5)])
        assert pool.running + pool.waiting == 0
        texts = [_text(MODELS[0]) for _ in range(4)]
        pool.submit(texts)
        for text in texts:
            await _ended(text)

    _run(test, places=2, queue=2)


class Failing:
    """A back end that fails once it is let."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self.fails = backend, threading.Event()

    def begin(self, prompt: Sequence[int], *others: Any) -> Any:
        if 39 in prompt:
            raise MemoryError
        return self._backend.begin(prompt, *others)

    def advance(self, generations: Sequence[Any], steps: int) -> None:
        if self.fails.is_set():
            raise RuntimeError("broken")
        self._backend.advance(generations, steps)


def test_a_failure_ends_the_texts_of_its_batch_alone():
    async def test(pool: EnginePool) -> None:
        model = Generator(0)
        model.eos = -1
        model.backends = failing = [Failing(backend) for backend in model.backends]
        texts = [_text(model, count=ENDLESS, seed=seed) for seed in range(4)]
        others = [_text(MODELS[1], seed=seed) for seed in range(4)]
        pool.submit(texts + others)
        for text in texts:
            await text.news.wait()
        for backend in failing:
            backend.fails.set()
        for text in texts:
            await _ended(text)
            assert text.error == "The engine failed: ask again."
        for text in others:
            await _ended(text)
            assert not text.error
            assert text.ids == _alone(text)
        for backend in failing:
            backend.fails.clear()
        again = _text(model)
        pool.cancel(texts)  # their keys are those of others now
        pool.submit([again])
        await _ended(again)
        assert (again.error, again.ids) == ("", _alone(again))
        assert pool.running == 0

    _run(test)


def test_a_text_that_cannot_begin_fails_alone():
    async def test(pool: EnginePool) -> None:
        model = Generator(0)
        model.backends = [Failing(backend) for backend in model.backends]
        bad, good = _text(model, [39]), _text(model, [38])
        pool.submit([bad, good])
        await _ended(bad)
        await _ended(good)
        assert bad.error
        assert not good.error
        assert pool.running == 0

    _run(test)


def test_tokens_and_beginnings_are_counted():
    texts: list[Text] = []

    async def test(pool: EnginePool) -> None:
        texts.extend(_text(MODELS[0], seed=seed) for seed in range(5))
        pool.submit(texts)
        for text in texts:
            await _ended(text)

    counts = _run(test)
    assert counts.tokens == sum(len(text.ids) for text in texts)
    assert counts.begun == sum(bool(text.ids) for text in texts)
