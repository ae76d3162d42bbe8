"""The two ways a user's request can fail, each carrying one sentence that says what to do."""


class TinybuddyError(Exception):
    """What was asked could not be done (exit code 1). Its text is a sentence that says what to do.

    Examples:
        >>> tinybuddy.load("tinybuddy-80")
        Traceback (most recent call last):
            ...
        tinybuddy.errors.TinybuddyError: There is no model 'tinybuddy-80': did you mean ...
    """


class UsageError(TinybuddyError):
    """What was asked makes no sense as written: a wrong option, key or value (exit code 2).

    Examples:
        >>> tinybuddy.load_recipe("cart")
        Traceback (most recent call last):
            ...
        tinybuddy.errors.UsageError: There is no recipe 'cart': did you mean 'card'?
    """


class NotInstalledError(TinybuddyError):
    """Another program or library is needed, and is not there."""


class TinybuddyWarning(UserWarning):
    """What a reader should know of a result that could be given all the same.

    Examples:
        >>> import warnings
        >>> model = tinybuddy.load()
        >>> with warnings.catch_warnings(record=True, action="always") as caught:
        ...     text = model.generate("The sun 日", max_new_tokens=1)
        >>> print(caught[0].message)
        (the model does not know 日, and skips it)
    """


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
