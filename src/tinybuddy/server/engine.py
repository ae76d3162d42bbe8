"""Threads that generate all texts that are asked for, side by side: continuous batching.

A text waits in the order in which it came, joins the batch of a thread that has no more than its
share of all, and leaves it at any token. Texts that are generated never wait for who reads them:
ids gather in `Text.ids`, and the reader takes what is there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Protocol

from tinybuddy.backends.interface import Backend
from tinybuddy.config import SampleConfig
from tinybuddy.generation.decoding import BatchedDecoder
from tinybuddy.server.news import UNHEARD_SECONDS, News

log = logging.getLogger(__name__)


class Generator(Protocol):
    """A model with a back end for each thread.

    Attributes:
        name: for metrics.
        eos: id that ends a text.
        backends: one for each thread, used by that thread alone.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def eos(self) -> int: ...  # noqa: D102

    @property
    def backends(self) -> Sequence[Backend]: ...  # noqa: D102


class BusyError(Exception):
    """As many texts wait as may."""


class Text:
    """One text that is asked for.

    Attributes:
        ids: new ones so far; a thread adds to them.
        ended: nothing follows, and ``ids`` is whole.
        error: why it could not be ended, as a sentence.
        news: is set when there are ids to be taken, or only at the end unless it ``streams``.
        asked, began: when it was submitted, and when its first id came; by `time.monotonic`.
    """

    def __init__(
        self,
        model: Generator,
        prompt: Sequence[int],
        count: int,
        sample: SampleConfig,
        seed: int,
        news: asyncio.Event,
        streams: bool = True,
    ) -> None:
        """Take what `BatchedDecoder.join` takes."""
        self.model, self.prompt, self.count = model, prompt, count
        self.sample, self.seed = sample, seed
        self.news, self.streams = news, streams
        self.ids: list[int] = []
        self.ended, self.error = False, ""
        self.asked, self.began = time.monotonic(), 0.0
        self.worker: _Worker | None = None
        self.key = -1  # in its batch, once it has joined


class Hooks(Protocol):
    """What is called by the threads as texts go on; an implementation counts."""

    def on_step(self, model: str, tokens: int, seconds: float) -> None:
        """Some texts of a model have got so many tokens in one step, which took so long."""

    def on_begin(self, seconds: float) -> None:
        """A text has its first token, so long after it was asked for."""


class EnginePool:
    """One thread a core, each with a batch for each model.

    Args:
        threads: how many.
        places: texts that are generated side by side at most.
        queue: texts that wait at most.
        hooks: called by the threads.
    """

    def __init__(self, threads: int, places: int, queue: int, hooks: Hooks) -> None:
        self._most, self._places = places + queue, -(-places // threads)  # those of a thread
        news = News(asyncio.get_running_loop())
        self._changed = threading.Condition()
        self._waiting: dict[Text, None] = {}
        self._closing = False
        self._workers = [_Worker(number, self._next, news, hooks) for number in range(threads)]
        for worker in self._workers:
            worker.start()

    @property
    def running(self) -> int:
        """Texts in a batch."""
        return sum(worker.running for worker in self._workers)

    @property
    def waiting(self) -> int:
        """Texts that wait for a place."""
        return len(self._waiting)

    def submit(self, texts: Iterable[Text]) -> None:
        """Let texts in, all of them or none.

        Raises:
            BusyError: if there is no room for them.
        """
        new = dict.fromkeys(texts)
        with self._changed:
            if self.running + self.waiting + len(new) > self._most:
                raise BusyError
            self._waiting |= new
            self._changed.notify_all()

    def cancel(self, texts: Iterable[Text]) -> None:
        """Take texts out, at the next token; nothing happens to those that have ended."""
        with self._changed:
            for text in texts:
                if text in self._waiting:
                    del self._waiting[text]
                elif text.worker and not text.ended:
                    text.worker.leaving.append(text)

    def close(self) -> None:
        """End the threads; what they generate is given up."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    def _next(self, worker: _Worker) -> tuple[list[Text], list[Text]] | None:
        """Wait until a thread has something to do; return who joins and who leaves it.

        None ends the thread.
        """
        with self._changed:
            while not (worker.running or self._room(worker) or self._closing):
                self._changed.wait()
            if self._closing:
                return None
            joining = list(islice(self._waiting, self._room(worker)))
            for text in joining:
                del self._waiting[text]
                text.worker = worker
            worker.running += len(joining)
            leaving, worker.leaving = worker.leaving, []
        return joining, leaving

    def _room(self, worker: _Worker) -> int:
        """How many of those that wait a thread may take: none has more than its share of all."""
        share = -(-(self.running + self.waiting) // len(self._workers))
        return max(0, min(share, self._places) - worker.running) if self._waiting else 0


class _Batch:
    """The texts of one model in one thread."""

    def __init__(self, backend: Backend) -> None:
        self.decoder = BatchedDecoder(backend, time.thread_time)
        self.texts: dict[int, Text] = {}


class _Worker(threading.Thread):
    """A thread; what it calls ``running`` it alone changes, under no lock but as it takes texts.

    Attributes:
        running: texts in its batches.
        leaving: texts that are to leave them.
    """

    def __init__(
        self,
        number: int,
        take: Callable[[_Worker], tuple[list[Text], list[Text]] | None],
        news: News,
        hooks: Hooks,
    ) -> None:
        super().__init__(name=f"engine-{number}", daemon=True)
        self._number, self._take = number, take
        self._news, self._hooks = news, hooks
        self._heard = threading.Event()  # what it had to say last
        self._heard.set()
        self._batches: dict[Generator, _Batch] = {}
        self.running = 0
        self.leaving: list[Text] = []

    def run(self) -> None:
        while found := self._take(self):
            joining, leaving = found
            for text in leaving:
                self._leave(text)
            for text in joining:
                self._join(text)
            for model, batch in list(self._batches.items()):
                if batch.texts:
                    self._heard.wait(UNHEARD_SECONDS)  # the loop needs the processor more
                    self._step(model, batch)

    def _leave(self, text: Text) -> None:
        batch = self._batches.get(text.model)
        if batch and batch.texts.get(text.key) is text:  # it has not ended meanwhile
            batch.decoder.cancel(text.key)
            del batch.texts[text.key]
            self.running -= 1

    def _join(self, text: Text) -> None:
        model = text.model
        try:
            if model not in self._batches:
                self._batches[model] = _Batch(model.backends[self._number])
            batch = self._batches[model]
            text.key = batch.decoder.join(
                text.prompt, text.count, text.sample, text.seed, model.eos
            )
            batch.texts[text.key] = text
        except Exception as error:
            self._fail([text], error)

    def _step(self, model: Generator, batch: _Batch) -> None:
        began = time.monotonic()
        try:
            pieces = batch.decoder.step()
        except Exception as error:  # whatever it was, the next texts begin afresh
            del self._batches[model]
            self._fail(list(batch.texts.values()), error)
            return
        now, urgent, others = time.monotonic(), [], []
        for key, ids, is_ended, broken in pieces:
            text = batch.texts[key]
            text.ids += ids
            begins = bool(ids and not text.began)
            if begins:
                text.began = now
                self._hooks.on_begin(now - text.asked)
            if broken:
                text.error = "The model's numbers are not finite: its weights are broken."
            if is_ended:
                del batch.texts[key]
                self.running -= 1
                text.ended = True  # after all else, as its reader does not wait for a lock
            if is_ended or (begins and text.streams):
                urgent.append(text.news)
            elif text.streams:
                others.append(text.news)
        self._hooks.on_step(model.name, sum(len(piece.ids) for piece in pieces), now - began)
        self._news.add(urgent, others, self._heard)

    def _fail(self, texts: list[Text], error: Exception) -> None:
        log.error("The engine failed: %s", type(error).__name__, exc_info=error)
        for text in texts:
            text.error = "The engine failed: ask again."
            text.ended = True
        self.running -= len(texts)
        self._news.add([text.news for text in texts], [], self._heard)
