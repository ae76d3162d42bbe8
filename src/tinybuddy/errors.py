"""The two ways a user's request can fail, each carrying one sentence that says what to do."""


class TinybuddyError(Exception):
    """What was asked could not be done (exit code 1)."""


class UsageError(TinybuddyError):
    """What was asked makes no sense as written: a wrong option, key or value (exit code 2)."""


class NotInstalledError(TinybuddyError):
    """Another program or library is needed, and is not there."""


class TinybuddyWarning(UserWarning):
    """What a reader should know of a result that could be given all the same."""


def counted(number: int, noun: str, nouns: str = "") -> str:
    """A number with its noun, in the singular for one; ``nouns`` where an s is not all."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def require(name: str, module: str, extra: str) -> None:
    """Raise `NotInstalledError` unless a library is there, which an extra of this package brings.

    Args:
        name: of the library, for people.
        module: that it is imported by; nothing is imported here.
        extra: of this package.
    """
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise NotInstalledError(f"This needs {name}: pip install 'tinybuddy[{extra}]'.")
