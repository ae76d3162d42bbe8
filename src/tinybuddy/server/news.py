"""From threads to the tasks of an event loop: there is something new."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable

FLUSH_SECONDS = 0.02  # that new ids wait at most before their reader is woken


class News:
    """Wakes the tasks of an event loop for which threads have something."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._lock = loop, threading.Lock()
        self._due: set[asyncio.Event] = set()
        self._ticking = False

    def add(self, ended: list[asyncio.Event], others: list[asyncio.Event]) -> None:
        """Set events from any thread: those of ended texts now, the others every 20 ms."""
        with self._lock:
            self._due.update(others)
            start, self._ticking = bool(others) and not self._ticking, self._ticking or bool(others)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            if ended:
                self._loop.call_soon_threadsafe(_set, ended)
            if start:
                self._loop.call_soon_threadsafe(self._tick)

    def _tick(self) -> None:
        with self._lock:
            due, self._due = self._due, set()
            self._ticking = bool(due)
        _set(due)
        if due:
            self._loop.call_later(FLUSH_SECONDS, self._tick)


def _set(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        event.set()
