"""The two ways a user's request can fail, each carrying one sentence that says what to do."""


class TinybuddyError(Exception):
    """What was asked could not be done (exit code 1)."""


class UsageError(TinybuddyError):
    """What was asked makes no sense as written: a wrong option, key or value (exit code 2)."""
