"""What MkDocs is told beside `mkdocs.yml`: pages that are made when the site is built.

- A chapter of the course is shown from its text, with what it printed and drew when `make docs` ran
  it in `build/course`.
- A link of a page to a file of the project that is no document, `../src/tinybuddy/x.py`, leads to a
  page with that file, and `x.py#name` to the line that defines the name.
- TeX between dollars becomes MathML, which browsers show themselves.
- The page of the default model is exported, to be played with.
"""

from __future__ import annotations

import ast
import base64
import html
import json
import posixpath
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

import tinybuddy
from tinybuddy.defaults import DEFAULT_MODEL

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RAN = ROOT / "build" / "course"  # the notebooks, with what came of them
SOURCE = "source"  # the folder of the site with files of the project
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)(?:#([^)\s]+))?\)")
FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
CODE_NAME = re.compile(r"(?<!\[)`(tinybuddy(?:\.\w+)+|(?:src|docs)/[\w/.-]+)`")
LANGUAGES = {".c": "c", ".h": "c", ".js": "js", ".py": "python", ".toml": "toml"}
MATH = re.compile(r'<(span|div) class="arithmatex">\\(?:\((.*?)\\\)|\[(.*?)\\\])</\1>', re.DOTALL)
WIDE = ("README.md", "play.md")  # without the lists of pages and headings beside them


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made: chapters, files that are linked, and the model's own page."""
    for path in sorted((DOCS / "course").glob("[1-8]-*.py")):
        text, pictures = chapter(path)
        files.append(File.generated(config, uri_of(path), content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"course/{name}", content=content))
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        for path in linked(page):
            uri = uri_of(path)
            if uri.startswith(SOURCE) and uri not in files.src_uris:
                added = File.generated(config, uri, content=shown(path))
                files.append(added)
                waiting += [added] if uri.endswith(".md") else []
    with tempfile.TemporaryDirectory() as folder:
        story = Path(folder) / "story.html"
        tinybuddy.export("html", DEFAULT_MODEL, story)
        files.append(File.generated(config, "story.html", content=story.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let the links of a page lead to where the site has what they are about."""
    if page.file.src_uri in WIDE or page.file.src_uri.startswith(f"{SOURCE}/"):
        page.meta["hide"] = ["navigation", "toc"]
    here = origin(page.file.src_uri)

    def led(match: re.Match[str]) -> str:
        path, name = (here.parent / match[1]).resolve(), match[2]
        uri = posixpath.relpath(uri_of(path), posixpath.dirname(page.file.src_uri) or ".")
        if name and path.suffix in (".c", ".py"):
            name = f"L-0-{line_of(path, name)}"
        return f"]({uri}#{name})" if name else f"]({uri})"

    return "".join(LINK.sub(led, part) if prose else part for prose, part in parts(markdown))


def on_page_content(html_text: str, **_: Any) -> str:
    """Write formulas in MathML, and leave out headers of columns that have none."""

    def formula(match: re.Match[str]) -> str:
        display = "inline" if match[1] == "span" else "block"
        return convert(html.unescape(match[2] or match[3]), display=display)

    return MATH.sub(formula, re.sub("<th[^>]*></th>", "<td></td>", html_text))


def on_post_page(output: str, **_: Any) -> str:
    """Name the dialog of the search for who hears the page: the theme does not."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')


def chapter(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return a chapter as a page, and its pictures; what it names of the project is linked."""
    cells = jupytext.read(path, fmt="py:percent").cells
    outputs = outputs_of(path.stem)
    blocks, pictures = [], {}
    for cell in cells:
        if cell.cell_type == "markdown":
            blocks.append(CODE_NAME.sub(lambda match: named(match, path.parent), cell.source))
            continue
        blocks.append(f"```python\n{cell.source}\n```")
        for output in outputs.get(cell.source, []):
            if output["output_type"] == "stream":
                printed = "".join(output["text"]).rstrip()
                blocks.append(f"``` {{ .text .printed }}\n{printed}\n```")
            elif picture := output.get("data", {}).get("image/png"):
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(picture)
                blocks.append(f"![{title_of(cell.source)}]({name})")
    title, *rest = blocks
    run = (
        f'!!! tip "Run it"\n    `make course` opens this chapter as a notebook: '
        f'<a href="{path.stem}.ipynb" download>{path.stem}.ipynb</a>'
    )
    heading, _, opening = title.partition("\n")
    return "\n\n".join([heading, run, opening, *rest]), pictures


def outputs_of(name: str) -> dict[str, list[dict[str, Any]]]:
    """Return what came of each cell of a notebook, by its source; nothing if it was not run."""
    if not (RAN / "ran").exists():
        return {}
    cells = json.loads((RAN / f"{name}.ipynb").read_text("utf-8"))["cells"]
    return {"".join(cell["source"]): cell.get("outputs", []) for cell in cells}


def title_of(source: str) -> str:
    """Return the title that code gives its picture, with what it computes left out."""
    found = re.search(r'title\(\s*f?"([^"]+)"', source)
    return re.sub(r"\{[^}]*\}", "…", found[1]) if found else "What this code draws"


def named(match: re.Match[str], folder: Path) -> str:
    """Return the link of `tinybuddy.module.name` or `src/path` between backquotes."""
    name = match[1]
    if "/" in name:
        path, rest = ROOT / name, ""
    else:
        path, rest = module_of(name)
    up = "../" * len(folder.relative_to(ROOT).parts)
    target = up + path.relative_to(ROOT).as_posix() + (f"#{rest}" if rest else "")
    return f"[{match[0]}]({target})"


def module_of(name: str) -> tuple[Path, str]:
    """Return the file of the longest part of a dotted name that is a module, and what remains."""
    words = name.split(".")
    for count in range(len(words), 0, -1):
        path = ROOT / "src" / Path(*words[:count])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file, ".".join(words[count:])
    raise ValueError(f"There is no module {name}.")


def line_of(path: Path, name: str) -> int:
    """Return the line where a file of Python or C defines a name, `Class.method` among them.

    Raises:
        ValueError: if it does not.
    """
    text = path.read_text("utf-8")
    if path.suffix == ".c":
        if found := re.search(rf"^\w[^;\n]*\b{re.escape(name)}\(", text, re.MULTILINE):
            return text.count("\n", 0, found.start()) + 1
        raise ValueError(f"{path} defines no {name}.")
    node: ast.AST = ast.parse(text)
    for word in name.split("."):
        inside = [child for child in ast.iter_child_nodes(node) if word in names_of(child)]
        if not inside:
            raise ValueError(f"{path} defines no {name}.")
        node = inside[0]
    line: int = node.lineno  # type: ignore[attr-defined]
    return line


def names_of(node: ast.AST) -> list[str]:
    """Return what a statement defines."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.ImportFrom(names=names):
            return [alias.asname or alias.name for alias in names]
    return []


def linked(page: File) -> Iterator[Path]:
    """Yield the files that the links of a page lead to."""
    for prose, part in parts(page.content_string):
        for match in LINK.finditer(part) if prose else ():
            yield (origin(page.src_uri).parent / match[1]).resolve()


def parts(markdown: str) -> Iterator[tuple[bool, str]]:
    """Yield the parts of a page, each with whether it is prose and not a block of code."""
    for index, part in enumerate(FENCE.split(markdown)):
        yield index % 2 == 0, part


def origin(uri: str) -> Path:
    """Return the file of the project that a page of the site shows."""
    if not uri.startswith(f"{SOURCE}/"):
        return DOCS / uri
    path = ROOT / uri.removeprefix(f"{SOURCE}/")
    return path if path.exists() else path.with_suffix("")


def uri_of(path: Path) -> str:
    """Return where the site has a file or folder of the project."""
    if (
        path.parent == DOCS / "course"
        and path.suffix in (".ipynb", ".py")
        and path.stem[0].isdigit()
    ):
        return f"course/{path.stem}.md"
    if path.is_relative_to(DOCS) and not path.is_dir() and path.suffix != ".py":
        return path.relative_to(DOCS).as_posix()
    uri = f"{SOURCE}/{path.relative_to(ROOT).as_posix()}"
    return uri if path.suffix in (".md", ".gz") else f"{uri}.md"


def shown(path: Path) -> str | bytes:
    """Return a page with a file or with those of a folder; Markdown and archives are themselves."""
    if path.suffix == ".gz":
        return path.read_bytes()
    if path.suffix == ".md":
        return path.read_text("utf-8")
    inside = sorted(path.glob("*.py")) if path.is_dir() else [path]
    title = f"# {path.relative_to(ROOT).as_posix()}\n"
    return title + "".join(
        (f"\n## {file.name}\n" if file != path else "")
        + f"\n``` {LANGUAGES.get(file.suffix, 'text')}\n{file.read_text('utf-8')}\n```\n"
        for file in inside
    )
