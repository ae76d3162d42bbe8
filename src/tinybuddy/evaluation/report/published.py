"""The record table: models measured before, as the report shows them beside those just measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Record:
    """A model that has taken the scorecard.

    Attributes:
        name: of the model.
        parameters: trained numbers, each counted once.
        claim: what its makers say of it.
        speaks_english: the verdict; None if it is open.
        bits_per_byte: of the validation stories, where they were scored.
        fails: values that fail.
        measured_by: the command that measured it.
    """

    name: str
    parameters: int
    claim: str
    speaks_english: bool | None
    bits_per_byte: float | None
    fails: tuple[str, ...]
    measured_by: str


def records() -> list[Record]:
    """Read the records that come with this package."""
    text = (resources.files(__package__) / "published.json").read_text("utf-8")
    return [Record(**row | {"fails": tuple(row["fails"])}) for row in json.loads(text)]
