"""Find and load the native engine."""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path

from tinybuddy.errors import TinybuddyError

_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
LIBRARY = Path(__file__).parent / f"_engine{_SUFFIX}"


@functools.cache
def load() -> ctypes.CDLL:
    """Return the engine's library, loaded once.

    Raises:
        TinybuddyError: if it was not built, or not for this system.
    """
    if not LIBRARY.is_file():
        raise TinybuddyError(
            "The engine was not built: reinstall tinybuddy where a C compiler is, or use "
            "--backend torch."
        )
    try:
        return ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise TinybuddyError(
            f"The engine cannot be loaded ({error}): reinstall tinybuddy on this machine, or use "
            "--backend torch."
        ) from None


def kernels() -> str | None:
    """Return which instructions the engine uses, such as ``avx2``; None where it cannot be used."""
    try:
        library = load()
    except TinybuddyError:
        return None
    name = library.tb_kernels_name
    name.restype = ctypes.c_char_p
    found: bytes = name()
    return found.decode()
