"""Minimal pairs: does a model prefer good English to bad English of nearly the same words?

The method is that of BLiMP (Warstadt et al. 2020, arXiv 1912.00582): two texts differ in one place,
one of them is good English, and a model is right when it finds that one more probable.

**Mirroring**, which is ours: pairs come in couples, and what is right in one of a couple is wrong
in the other, at the same place and with the same spelling.

    The dog (was) happy.     rather than     The dog (were) happy.
    The dogs (were) happy.   rather than     The dogs (was) happy.

So a model that merely finds "was" more frequent than "were", or short texts more probable than
long ones, is right once a couple: a score above one half comes from the words around that place
alone.

The texts are in `minimal_pairs.toml`, written for this project. In a template of it

    {table}         stands for a word of that table, the same wherever it is named again
    (one|two)       is what sets the members of a couple apart: `one` in the first, `two` in the
                    other
    <one|two>       is the place in question: `one` is right in the first member, `two` in the other

and a word of a table may have these signs itself, such as `(dog|dogs)`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import product

from tinybuddy.evaluation.pairs import Pair

TEMPLATES = 60  # in each paradigm
FILLINGS = 2  # couples of each template: another template says more than another filling

_SLOT = re.compile(r"\{(\w+)\}")
_MEMBER = re.compile(r"\(([^()|]*)\|([^()|]*)\)")
_PLACE = re.compile(r"<([^<>|]*)\|([^<>|]*)>")


def minimal_pairs() -> dict[str, list[list[Pair]]]:
    """Pairs of each of the 60 templates of 12 paradigms, always the same: two couples each."""
    file = resources.files(__package__) / "minimal_pairs.toml"
    source = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        paradigm: [
            [pair for text in _filled(template, source["words"], start) for pair in _couple(text)]
            for start, template in enumerate(lines.splitlines())
        ]
        for paradigm, lines in source["templates"].items()
    }


def _filled(template: str, words: Mapping[str, Sequence[str]], start: int) -> list[str]:
    """Some texts of a template (before it is said for a member), unlike each other.

    They are in steps of about the golden section through all rows of words, which visits each once
    because the step has no divisor in common with their number. Another ``start`` gives other words
    first.
    """
    tables = list(dict.fromkeys(_SLOT.findall(template)))
    rows = list(product(*(words[table] for table in tables)))
    step = next(
        n for n in range(int(0.618 * len(rows)), 2 * len(rows)) if math.gcd(n, len(rows)) == 1
    )
    order = ((start + i) * step % len(rows) for i in range(FILLINGS))
    return [template.format(**dict(zip(tables, rows[n], strict=True))) for n in order]


def _couple(text: str) -> tuple[Pair, Pair]:
    first, second = (
        Pair(good=(_said(text, member, member),), bad=(_said(text, member, 1 - member),))
        for member in (0, 1)
    )
    return first, second


def _said(text: str, member: int, choice: int) -> str:
    """The text for a member of its couple, with one of the two words at the place in question."""
    return _PLACE.sub(rf"\{choice + 1}", _MEMBER.sub(rf"\{member + 1}", text))
