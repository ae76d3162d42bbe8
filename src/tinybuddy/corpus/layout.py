"""How a text is laid out: what a user says of it, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, field

from tinybuddy.errors import TinybuddyError


@dataclass
class Layout:
    """How to read text, and how it turned out to be laid out.

    Attributes:
        split: what separates the stories of plain text: ``lines``, ``blank`` (lines), or a text;
            empty to find out.
        text_key: key or column of rows that holds the stories; empty to find out.
        found: in words, how the stories were told apart, in the order in which it was met.
        skipped: files of a folder that were not read, each with the reason.
        splits: whether what separates stories was met anywhere.
    """

    split: str = ""
    text_key: str = ""
    found: dict[str, None] = field(default_factory=dict)
    skipped: dict[str, None] = field(default_factory=dict)
    splits: bool = False

    @property
    def separator(self) -> str:
        r"""What separates stories where ``split`` is a text: ``\n`` and ``\t`` in it are meant."""
        return self.split.replace("\\n", "\n").replace("\\t", "\t")


class NoTextError(TinybuddyError):
    """A file of rows of which none is text, or several keys are.

    Attributes:
        reason: why, in a few words.
    """

    def __init__(self, message: str, reason: str = "no text") -> None:
        super().__init__(message)
        self.reason = reason
