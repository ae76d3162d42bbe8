"""Where downloads and packed tokens are kept."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from tinybuddy.disk import expanded


def cache_folder() -> Path:
    """Where downloads and packed tokens are kept: ``TINYBUDDY_CACHE``, or the user's cache.

    Where that cannot be written, a folder that goes with the process, and a warning.
    """
    import platformdirs

    asked = os.environ.get("TINYBUDDY_CACHE")
    return _writable(expanded(asked) if asked else platformdirs.user_cache_path("tinybuddy"))


@cache
def _writable(folder: Path) -> Path:
    import tempfile
    import warnings

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        import atexit
        import shutil

        other = Path(tempfile.mkdtemp(prefix="tinybuddy-"))
        atexit.register(shutil.rmtree, other, ignore_errors=True)
        warnings.warn(
            f"The cache {folder} cannot be written ({error.strerror}): what belongs there is kept "
            "for this time only. TINYBUDDY_CACHE names another folder.",
            stacklevel=2,
        )
        return other
