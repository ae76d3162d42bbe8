"""Which versions, on which machine: what a figure must carry to be believed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from tinybuddy import __version__
from tinybuddy.backends.engine.library import used_kernels

PACKAGES = ("tinybuddy", "numpy", "tokenizers", "safetensors")


def provenance(torch: bool | None = None) -> dict[str, Any]:
    """Versions, commit, system, processor, its number of cores, and the engine's instructions.

    Args:
        torch: whether PyTorch computes; by default whether it is loaded, which nothing else does.
    """
    loaded = sys.modules.get("torch") is not None if torch is None else torch
    packages = [*PACKAGES, *(["torch"] if loaded else [])]
    return {
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in packages},
        "engine": used_kernels(),
        "git_commit": _git_commit(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _version(package: str) -> str | None:
    """Return a package's version, None where its metadata is not there, as in a frozen program."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return __version__ if package == "tinybuddy" else None


def _git_commit() -> str | None:
    """Return the commit of this source tree, None where it is not in git."""
    here = Path(__file__).parent
    for command in (["ls-files", "--error-unmatch", Path(__file__).name], ["rev-parse", "HEAD"]):
        try:
            done = subprocess.run(
                ["git", *command], cwd=here, capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
    return done.stdout.strip()


def _processor() -> str:
    """Name the processor; Linux keeps it in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
