"""The site: it builds without a network, its links lead somewhere, and everybody can read it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from filelock import FileLock

from tests.conftest import HANG, Opened
from tests.exporters.test_html import AXE
from tinybuddy.exporters.session import export
from tinybuddy.generation.model import load

pytest.importorskip("mkdocs", reason="needs pip install 'tinybuddy[docs]'")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
KINDS = (
    "index",
    "play",
    "course/5-llama",
    "how-to/own-text",
    "how-it-works",
    "reference/models",
    "reference/settings",
    "cli",
    "formats",
    "source/src/tinybuddy/sampling.py",
)
TO_NOWHERE = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")}


def without_network() -> list[str]:
    """What a command begins with that shall find no network, where this system has such."""
    words = ["unshare", "--map-root-user", "--net"]
    able = shutil.which("unshare") and not subprocess.run([*words, "true"], check=False).returncode
    return words if able else []


@pytest.fixture(scope="session")
def site(shared_folder: Path) -> Path:
    """Built once for all processes of a test run."""
    folder = shared_folder / "site"
    with FileLock(shared_folder / "site.lock"):
        if not folder.exists():
            part = shared_folder / "site.part"
            words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(part)]
            done = subprocess.run(
                [*without_network(), *words],
                cwd=ROOT,
                env=os.environ | TO_NOWHERE | {"NO_MKDOCS_2_WARNING": "1"},
                capture_output=True,
                encoding="utf-8",
                timeout=HANG,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert "WARNING" not in done.stderr, done.stderr
            part.rename(folder)
    return folder


class Page(HTMLParser):
    """What a page links to, what it loads, and where in it one can arrive."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors = {""}
        self.text = path.read_text("utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.anchors |= {named[key] for key in ("id", "name") if key in named}
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        elif "src" in named:
            self.loaded.append(named["src"])
        elif tag == "link" and "href" in named:
            self.loaded.append(named["href"])


def pages(site: Path) -> dict[Path, Page]:
    # The page of what is not found is served at any address: its own links are from the root.
    return {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_link_and_anchor_leads_somewhere(site: Path):
    found = pages(site)
    count = 0
    for path, page in found.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme:
                loads = link in page.loaded
                assert parts.scheme in ("http", "https", "mailto"), f"{path}: {link}"
                assert not loads, f"{path} loads {link} from outside"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{path}: {link}"
            if target in found and parts.fragment and target.name != "story.html":
                assert unquote(parts.fragment) in found[target].anchors, f"{path}: {link}"
            count += 1
    assert count > 1_000


def test_formulas_are_shown(site: Path):
    found = pages(site)
    assert not [path for path, page in found.items() if "arithmatex" in page.text]
    assert "<math" in found[site / "course" / "5-llama.html"].text


def test_the_map_leads_to_the_lines_that_define_what_it_names(site: Path):
    page = site / "how-it-works.html"
    links = re.findall(r'href="(source/[^"#]+)#(L-0-\d+)"><code>([^<]+)', page.read_text("utf-8"))
    assert len(links) >= 40
    for file, anchor, name in links:
        text = (site / file).read_text("utf-8")
        line = re.search(rf'id="{anchor}">(.*)', text)
        assert line, f"{file}#{anchor}"
        assert name.rpartition(".")[2] in re.sub("<[^>]*>", "", line[1]), f"{file}: {name}"


def test_the_reference_has_every_public_name(site: Path):
    import tinybuddy

    text = "".join(path.read_text("utf-8") for path in site.glob("reference/*.html"))
    anchors = set(re.findall(r'id="tinybuddy\.(\w+)"', text))
    assert anchors >= set(tinybuddy.__all__)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", KINDS)
def test_a_page_fits_and_axe_finds_no_violation(
    name: str, width: int, scheme: str, opened: Opened, site: Path
):
    if not AXE.exists():
        pytest.skip(f"needs axe-core: npm ci --prefix {AXE.parents[2]}")
    page = opened(
        site / f"{name}.html", viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.evaluate(AXE.read_text("utf-8"))
    # The page of a model is tested by itself.
    found = page.evaluate("axe.run({ exclude: ['iframe'] }, { preload: false, iframes: false })")
    assert [(each["id"], each["nodes"]) for each in found["violations"]] == []
    assert {each["id"] for each in found["passes"]} >= {"color-contrast", "html-has-lang"}


def test_the_search_finds_a_page_without_a_server(opened: Opened, site: Path):
    page = opened(site / "index.html", viewport={"width": 1400, "height": 900})
    # The search hears keys alone, and logs an error when a query ends in a hyphen: it gets one key.
    page.locator(".md-search__input").fill("Kneser-Ne")
    page.locator(".md-search__input").press_sequentially("y")
    page.locator(".md-search-result__link").first.wait_for()
    assert "Kneser" in page.inner_text(".md-search-result__list")


def test_one_plays_with_the_default_model(opened: Opened, site: Path, tmp_path: Path):
    page = opened(site / "play.html", viewport={"width": 1400, "height": 900})
    frame = page.frame_locator("iframe.play")
    ended = frame.locator("#status", has_text=re.compile("The end|It went on"))
    ended.wait_for()  # of the story that it begins with: from here on it hears clicks
    frame.locator("#prompt").fill("A cat")
    frame.locator("#seed").fill("12")
    frame.get_by_text("Tell it").click()
    frame.locator("#story .given", has_text="cat").wait_for()
    ended.wait_for()
    told = frame.locator("#story").evaluate("story => story.textContent")
    buddy = export("compact", "tinybuddy-80k", tmp_path / "story.buddy", weights="int8").path
    assert told == load(buddy).generate("A cat", seed=12)
