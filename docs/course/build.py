"""Write the notebook of every chapter from its text.

python docs/course/build.py
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import jupytext

HERE = Path(__file__).parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def chapters() -> list[Path]:
    """The texts of the chapters, in order."""
    return sorted(HERE.glob("[1-8]-*.py"))


def notebook(chapter: Path) -> str:
    """The notebook of a chapter, without outputs.

    The id of a cell is a digest of its source, so that a change moves no other cell's.
    """
    book = jupytext.read(chapter, fmt="py:percent")
    book.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    seen: Counter[str] = Counter()
    for cell in book.cells:
        digest = hashlib.blake2b(cell.source.encode(), digest_size=4).hexdigest()
        seen[digest] += 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    text: str = jupytext.writes(book, fmt="ipynb")
    return text.rstrip() + "\n"


def main() -> None:
    """Write all of them."""
    for chapter in chapters():
        path = chapter.with_suffix(".ipynb")
        path.write_text(notebook(chapter), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
