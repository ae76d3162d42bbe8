"""Find and load the native engine: of its libraries the fastest that this processor runs."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path

from tinybuddy.errors import TinybuddyError

FOLDER = Path(__file__).parent
KERNELS = ("baseline", "avx2", "avx512")  # what build.py names libraries after, slow to fast
_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")


@functools.cache
def load(kernels: str | None = None) -> ctypes.CDLL:
    """Return the engine's library, loaded once.

    Args:
        kernels: one of `KERNELS`. None is what the environment's ``TINYBUDDY_KERNELS`` names, else
            the fastest that this processor runs.

    Raises:
        TinybuddyError: if it was not built, or not for this system, or this processor lacks the
            kernels.
    """
    baseline = _open("baseline")
    baseline.tb_processor.restype = ctypes.c_char_p
    best: str = baseline.tb_processor().decode()
    wanted = kernels or os.environ.get("TINYBUDDY_KERNELS") or best
    able = KERNELS[: KERNELS.index(best) + 1]
    if wanted not in able:
        raise TinybuddyError(
            f"This processor does not run the kernels {wanted!r}: set TINYBUDDY_KERNELS to "
            f"{' or '.join(able)}, or not at all."
        )
    return baseline if wanted == "baseline" else _open(wanted)


def kernels_of(library: ctypes.CDLL) -> str:
    """Return which kind of processor a library was compiled for, such as ``avx2``."""
    name = library.tb_kernels_name
    name.restype = ctypes.c_char_p
    found: bytes = name()
    return found.decode()


def used_kernels() -> str | None:
    """Return the kernels that are used here; None where the engine cannot be used."""
    try:
        return kernels_of(load())
    except TinybuddyError:
        return None


def _open(kernels: str) -> ctypes.CDLL:
    path = FOLDER / f"_engine_{kernels}{_SUFFIX}"
    if not path.is_file():
        raise TinybuddyError(
            "The engine was not built: reinstall tinybuddy where a C compiler is, or use "
            "--backend torch."
        )
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise TinybuddyError(
            f"The engine cannot be loaded ({error}): reinstall tinybuddy on this machine, or use "
            "--backend torch."
        ) from None
