"""A model in the forms that others open: a table of formats, each of which proves what it wrote."""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """A row of the table; what it takes is imported when it is asked for.

    Attributes:
        summary: what is written, for ``--help``.
        suffix: how the name of what is written ends; empty for a directory.
        extra: what `tinybuddy.errors.require` must find; None where nothing more is needed.
        module: has ``write(source, out)`` and ``verify(source, out)``, which raises TinybuddyError
            if what was written does not do what the model does.
    """

    summary: str
    suffix: str
    extra: tuple[str, str, str] | None
    module: str


FORMATS = {
    "hub": Format(
        "a directory for transformers", "", ("PyTorch", "torch", "torch"), "tinybuddy.exporters.hub"
    ),
    "int8": Format("a file with weights of 8 bits", ".buddy", None, "tinybuddy.exporters.int8"),
    "int4": Format("the same of 4 bits", ".buddy", None, "tinybuddy.exporters.int4"),
}
