"""Markdown and HTML as the text that a reader sees."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_UNSEEN = {"script", "style", "head", "template", "noscript"}
_BLOCKS = {
    "address", "article", "aside", "blockquote", "dd", "div", "dl", "dt", "figure", "footer",
    "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p",
    "pre", "section", "table", "tr", "ul",
}  # fmt: skip


class _Text(HTMLParser):
    """Collects what is seen; a block stands in lines of its own."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0
        self._kept = 0  # depth of <pre>, whose lines stay as they are

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in _UNSEEN
        self._kept += tag == "pre"
        if tag in _BLOCKS:
            self.parts.append("\n\n" if tag != "li" else "\n")
        elif tag == "br":
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(0, self._unseen - (tag in _UNSEEN))
        self._kept = max(0, self._kept - (tag == "pre"))
        if tag in _BLOCKS and tag != "li":
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data if self._kept else re.sub(r"\s+", " ", data))


def html_text(page: str) -> str:
    """Text of an HTML page: paragraphs a blank line apart, without scripts and styles."""
    parser = _Text()
    parser.feed(page)
    parser.close()
    lines = "".join(parser.parts).split("\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.strip() for line in lines)).strip()


def markdown_text(source: str) -> str:
    """Text of Markdown (CommonMark), its signs taken away."""
    from markdown_it import MarkdownIt

    return html_text(MarkdownIt("commonmark", {"breaks": True}).render(source))
