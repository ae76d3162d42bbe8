"""Pieces of the report in HTML."""

from __future__ import annotations

from collections.abc import Iterable

from tinybuddy.evaluation.report.pictures import (
    LOOKS,
    clean,
)
from tinybuddy.evaluation.report.wording import (
    VERDICTS,
)


def name_tag(name: str) -> str:
    """A name from outside, whatever direction its letters go."""
    return f"<bdi>{clean(name)}</bdi>"


def section(title: str, *parts: str) -> str:
    """A part of the page."""
    return f"<section><h2>{title}</h2>\n{chr(10).join(parts)}\n</section>"


def definitions(**facts: object) -> str:
    """A list of names and what they are."""
    rows = (f"<div><dt>{spoken(k)}</dt><dd>{clean(v)}</dd></div>" for k, v in facts.items())
    return f"<dl>{''.join(rows)}</dl>"


def spoken(name: str) -> str:
    """An identifier as words."""
    return name.replace("_", " ")


def html_table(look: str, head: Iterable[str], rows: Iterable[str]) -> str:
    """A table that scrolls where it is too wide."""
    columns = "".join(f'<th scope="col"><span>{title}</span></th>' for title in head)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        '<p class="scrolls">This table is wider than the screen: it scrolls sideways.</p>'
        f'<div class="wide" tabindex="0" role="region" aria-label="{look}"><table class="{look}">'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def row_head(name: str) -> str:
    """The head of a row."""
    return f'<th scope="row">{name_tag(name)}</th>'


def verdict_cell(speaks: bool | None) -> str:
    """A cell with a verdict."""
    return f'<td class="{LOOKS[speaks]}">{VERDICTS[speaks]}</td>'
