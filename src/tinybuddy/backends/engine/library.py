"""Find and load the native engine: of its libraries the fastest that this processor runs."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path

from tinybuddy.backends.engine.abi import declare
from tinybuddy.backends.engine.build import KERNELS, SUFFIX
from tinybuddy.errors import TinybuddyError

FOLDER = Path(__file__).parent
# Operations that end within 0.2 s at 1.25 GFLOP/s, a sixth of what the plain kernels reach for the
# card; another thread costs 0.05 ms.
_LONG = 2.5e8


@functools.cache
def load(kernels: str | None = None) -> ctypes.CDLL:
    """Return the engine's library, loaded once.

    Args:
        kernels: one of `KERNELS`. None is what the environment's ``TINYBUDDY_KERNELS`` names, else
            the fastest that this processor runs.

    Raises:
        TinybuddyError: if it was not built, or not for this system, or there are no such
            kernels, or this processor lacks them.
    """
    baseline = _open("baseline")
    best: str = baseline.tb_processor().decode()
    able = KERNELS[: KERNELS.index(best) + 1]
    built = [name for name in able if _path(name).is_file()]  # an old compiler lacks avx512_bf16
    wanted = kernels or os.environ.get("TINYBUDDY_KERNELS") or built[-1]
    if wanted not in able:
        problem = (
            f"This processor does not run the kernels {wanted!r}"
            if wanted in KERNELS
            else f"There are no kernels {wanted!r}, only {', '.join(KERNELS)}"
        )
        raise TinybuddyError(
            f"{problem}: set TINYBUDDY_KERNELS to {' or '.join(able)}, or not at all."
        )
    return baseline if wanted == "baseline" else _open(wanted)


def kernels_of(library: ctypes.CDLL) -> str:
    """Return which kind of processor a library was compiled for, such as ``avx2``."""
    found: bytes = library.tb_kernels_name()
    return found.decode()


def used_kernels() -> str | None:
    """Return the kernels that are used here; None where the engine cannot be used."""
    try:
        return kernels_of(load())
    except TinybuddyError:
        return None


def run_stoppable(call: Callable[[], int], stop: ctypes.c_int32, operations: float) -> int:
    """Call the engine, so that Ctrl-C ends a long call: then ``stop`` is set and it returns soon.

    Python runs what Ctrl-C stands for between its own instructions alone, so a long call of the
    main thread is made by another one while that waits.

    Args:
        call: what to do.
        stop: what the native code looks at.
        operations: of floating point, roughly; a call of few is made at once.
    """
    if operations < _LONG or threading.current_thread() is not threading.main_thread():
        return call()
    result: list[int] = []
    errors: list[BaseException] = []
    done = threading.Event()  # join() may take an interrupted thread for one that has ended

    def work() -> None:
        try:
            result.append(call())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    def wait() -> None:
        while not done.wait(0.1):  # Windows runs what Ctrl-C stands for between waits alone
            pass

    worker = threading.Thread(target=work)
    try:
        worker.start()
        wait()
    except BaseException:
        while not (stop.value and done.is_set()):
            with contextlib.suppress(KeyboardInterrupt):
                stop.value = 1
                if worker.ident is None:  # it never began, or ends at its first look
                    break
                wait()
        raise
    if errors:
        raise errors[0]
    return result[0]


def _path(kernels: str) -> Path:
    return FOLDER / f"_engine_{kernels}{SUFFIX}"


def _open(kernels: str) -> ctypes.CDLL:
    path = _path(kernels)
    if not path.is_file():
        raise TinybuddyError(
            "The engine was not built: reinstall tinybuddy where a C compiler is, or use "
            "`backend` torch."
        )
    try:
        library = declare(ctypes.CDLL(str(path)))
        library.tb_processor.restype = ctypes.c_char_p
        return library
    except (OSError, AttributeError) as error:
        raise TinybuddyError(
            f"The engine cannot be loaded ({error}): reinstall tinybuddy on this machine, or use "
            "`backend` torch."
        ) from None
