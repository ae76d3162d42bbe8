"""Make the animated picture of the page, `pictures/page.webp`, which opens the README.

    python docs/page_picture.py [MODEL]

Chromium opens the page of a model with a clock that stands still between two frames, so the same
model and browser give the same picture. It needs the extra `browser` and Debian's `chromium`.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

import tinybuddy
from tinybuddy.defaults import DEFAULT_MODEL

PICTURE = Path(__file__).parent / "pictures" / "page.webp"
SIZE = (1000, 640)
PROMPT = "Lily found a red balloon"  # with the seed 0, the first
TOKEN = 84  # milliseconds, at the speed that the page begins with
Frame = tuple[bytes, int]  # a picture, and for how many milliseconds it is seen


def main() -> None:
    """Write the page, open it, and take its pictures."""
    model = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        page_file = tinybuddy.export("html", model, Path(folder) / "story.html").path
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        size = {"width": SIZE[0], "height": SIZE[1]}
        page = browser.new_page(viewport=size, color_scheme="light")
        page.clock.install(time=0)
        page.clock.pause_at(1)
        page.goto(page_file.as_uri())
        page.locator("#weights canvas").first.wait_for()
        page.click("#play")  # halt: it has told a token
        frames = list(_film(page))
        browser.close()
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data, _ in frames]
    pictures[0].save(
        PICTURE,
        save_all=True,
        append_images=pictures[1:],
        duration=[shown for _, shown in frames],
        loop=0,
        quality=55,
        method=6,
        minimize_size=True,
    )
    seconds = sum(shown for _, shown in frames) / 1000
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes, {seconds:.0f} seconds")


def _film(page: Any) -> Iterator[Frame]:
    """What is done, frame by frame."""
    take = _camera(page)
    for end in range(1, len(PROMPT) + 1):
        page.fill("#prompt", PROMPT[:end])
        yield take(70)
    yield take(700)
    page.evaluate("document.getElementById('form').requestSubmit()")
    while PROMPT not in page.inner_text("#story"):
        page.wait_for_timeout(10)
    for _ in range(40):
        yield take(110)
        _tick(page)
    page.click("#play")  # halt
    yield take(600)
    _scroll(page, "#nextTitle")
    yield take(1800)
    for _ in range(3):
        page.click("#forward")
        _settle(page)
        yield take(700)
    page.locator("#bars button").nth(2).hover()
    yield take(900)
    page.locator("#bars button").nth(2).click()
    _settle(page)
    yield take(1500)
    _scroll(page, "#attentionTitle")
    yield take(1200)
    for nth in (12, 16, 20, 24, 28):
        page.locator(f"#window span:nth-child({nth})").hover()
        _settle(page)
        yield take(500)
    _scroll(page, "#streamTitle")
    yield take(2500)
    _scroll(page, "#weightsTitle")
    for _ in range(2):
        yield take(900)
        page.click("#forward")
        _settle(page)
    yield take(2000)


def _camera(page: Any) -> Callable[[int], Frame]:
    def take(milliseconds: int) -> Frame:
        return page.screenshot(animations="disabled", caret="hide"), milliseconds

    return take


def _tick(page: Any) -> None:
    """Let the page's clock go on until a further token is told."""
    before = page.locator("#story [data-index]").count()
    while page.locator("#story [data-index]").count() == before:
        page.clock.run_for(TOKEN)
        page.wait_for_timeout(15)


def _settle(page: Any) -> None:
    """Let the page draw what is asked for."""
    for _ in range(4):
        page.clock.run_for(100)
        page.wait_for_timeout(30)


def _scroll(page: Any, to: str) -> None:
    page.evaluate(
        "([to]) => { const { top } = document.querySelector(to).getBoundingClientRect();"
        "scrollBy({ top: top - 40, behavior: 'instant' }); }",
        [to],
    )
    _settle(page)


if __name__ == "__main__":
    main()
