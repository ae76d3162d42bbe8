"""The record table: models measured before, as the report shows them beside those just measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.evaluation.report.wording import LABELS, VERDICTS
from tinybuddy.formats.references import Kind, find, open_shape, released_names


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


def released_models() -> list[dict[str, Any]]:
    """List the models that come with this package, the smallest first.

    Returns:
        Of each ``name``, ``parameters``, ``kilobytes`` (of 1,000 bytes: the weights as float32, or
        all of a compact file), ``bits_per_byte`` of the validation stories, ``verdict`` (YES, NO or
        OPEN), ``fails`` (the values that fail) and ``default``: whether it is what the verbs take.

    Examples:
        >>> [row["name"] for row in tinybuddy.released_models() if row["default"]]
        ['tinybuddy-80k']
    """
    known = {record.name: record for record in records()}
    found = []
    for name in released_names():
        parameters = open_shape(name).parameters
        kind, path = find(name)
        size = path.stat().st_size if kind is Kind.COMPACT else 4 * parameters
        record = known.get(name)
        found.append(
            {
                "name": name,
                "parameters": parameters,
                "kilobytes": round(size / 1000),
                "bits_per_byte": record.bits_per_byte if record else None,
                "verdict": VERDICTS[record.speaks_english if record else None],
                "fails": [LABELS[value] for value in record.fails] if record else [],
                "default": name == DEFAULT_MODEL,
            }
        )
    return sorted(found, key=lambda row: (row["parameters"], -row["kilobytes"]))


def records() -> list[Record]:
    """Read the records that come with this package."""
    text = (resources.files(__package__) / "published.json").read_text("utf-8")
    return [Record(**row | {"fails": tuple(row["fails"])}) for row in json.loads(text)]
