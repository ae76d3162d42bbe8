"""From engine threads to the tasks of an event loop: there is something new.

What is urgent, a text's first ids and its end, is passed on at once, the rest every 20 ms, or less
often where waking all readers takes longer than a quarter of the loop's time, which new clients
need too.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterable

FLUSH_SECONDS = 0.02  # that new ids wait before their reader is woken
SOME = 50  # readers that are woken before the loop turns to new clients: some 5 ms
PAUSE = 3  # times as long as waking all of them took, before they are woken again
UNHEARD_SECONDS = 0.05  # that an engine thread waits at most for the loop


class News:
    """Wakes the tasks of an event loop for which threads have something."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._lock = loop, threading.Lock()
        self._due: set[asyncio.Event] = set()
        self._ticking = False

    def add(
        self, urgent: list[asyncio.Event], others: list[asyncio.Event], heard: threading.Event
    ) -> None:
        """Set events, from any thread.

        Args:
            urgent: to be set now.
            others: to be set with the next tick.
            heard: is set once those that wait for what is urgent have run.
        """
        with self._lock:
            self._due.update(others)
            start, self._ticking = bool(others) and not self._ticking, self._ticking or bool(others)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            if urgent:
                heard.clear()
                self._loop.call_soon_threadsafe(self._pass_on, urgent, heard)
            if start:
                self._loop.call_soon_threadsafe(self._tick)

    def _pass_on(self, urgent: list[asyncio.Event], heard: threading.Event) -> None:
        _set(urgent)
        self._loop.call_soon(heard.set)  # behind the tasks that wait for them

    def _tick(self) -> None:
        with self._lock:
            due, self._due = self._due, set()
            self._ticking = bool(due)
        if due:
            self._wake(list(due), time.monotonic())

    def _wake(self, due: list[asyncio.Event], began: float) -> None:
        """Set events, some at a time, so that the loop turns to new clients in between."""
        _set(due[:SOME])
        if rest := due[SOME:]:
            self._loop.call_soon(self._wake, rest, began)
        else:
            took = time.monotonic() - began
            self._loop.call_later(max(FLUSH_SECONDS, PAUSE * took), self._tick)


def _set(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        event.set()
