"""Reading files of bounded size, and writing them so that a kill leaves the old or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tinybuddy.errors import TinybuddyError


def expanded(path: str | Path) -> Path:
    """Return a path as a user wrote it, a tilde being the home directory."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # nobody has that home
        return Path(path)


def exists(path: str | Path) -> bool:
    """Whether something lies at a path; what can be no path, such as a story, does not."""
    try:
        return expanded(path).exists()
    except (OSError, ValueError):
        return False


def read_bytes(path: Path, most: int) -> bytes:
    """Return a file's bytes.

    Raises:
        TinybuddyError: if it cannot be read, or has more than ``most`` bytes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise TinybuddyError(f"Cannot read {path}: {error.strerror}.") from None
    if len(data) > most:
        raise TinybuddyError(f"{path} is too large: at most {most:,} bytes are expected there.")
    return data


def read_text(path: Path, most: int) -> str:
    """Return a file's UTF-8 text.

    Raises:
        TinybuddyError: if it cannot be read, has more than ``most`` bytes, or is not UTF-8.
    """
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError:
        raise TinybuddyError(f"{path} is not UTF-8 text: save it as UTF-8.") from None


def read_record(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of at most a megabyte; empty where it holds none.

    Raises:
        TinybuddyError: as `read_text` does.
    """
    import json  # here, since most that use the disk read none

    try:
        record = json.loads(read_text(path, 1_000_000))
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside ``path`` to write; synced and renamed to it if all went well.

    Raises:
        TinybuddyError: if it cannot be written; what stood at ``path`` is still there.
    """
    import tempfile  # 3 ms, which who only reads need not spend

    beside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o666 & ~_umask())
        Path(beside).replace(path)
        beside = None
    except OSError as error:
        raise TinybuddyError(
            f"Cannot write {path}: {error.strerror}; make room there or choose another place."
        ) from None
    finally:
        if beside:
            Path(beside).unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file whole.

    Raises:
        TinybuddyError: if it cannot be written; what stood there is still there.
    """
    with replacing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Replace a file whole with UTF-8 text, line ends as they are; raises as `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def sync_folder(path: Path) -> None:
    """Make renames in a folder last through a power cut, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
