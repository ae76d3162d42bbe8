"""The format html: one page, proved in Node.js, and in Chromium from a file, with no network."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import Opened
from tests.exporters.chromium import check_policy
from tests.exporters.conftest import MODELS, Exports, exporting
from tinybuddy.corpus.statistics import read_statistics
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters import html
from tinybuddy.exporters.golden import PROMPTS, TOKENS, compare, golden, rounded
from tinybuddy.exporters.js import CHECK
from tinybuddy.exporters.session import export
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.formats.references import find_directory, open_model
from tinybuddy.training.metadata import statistics_beside

AXE = Path(__file__).parent / "node" / "node_modules" / "axe-core" / "axe.min.js"
SHIFTED = """new Promise((resolve) => {
  let total = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => (total += entry.value)))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(total), 300);
})"""
HOSTILE = {
    "script": ("#prompt=%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D1%3E&seed=<script>", "seed"),
    "long": ("#prompt=" + "a%20" * 100_000, "too long"),
    "longer than a prompt": ("#prompt=" + "a" * 20_001, "20,000 characters"),
    "not a number": ("#prompt=Once&t=NaN", "temperature must be"),
    "infinite": ("#prompt=Once&t=1e999", "temperature must be"),
    "too hot": ("#t=2.5", "temperature must be"),
    "half a token": ("#k=1.5", "top-k must be"),
    "negative": ("#seed=-1", "A seed is"),
    "seed beyond": ("#seed=9007199254740993", "A seed is"),
    "a lone surrogate": ("#prompt=%ED%A0%80", "damaged"),
    "half an escape": ("#prompt=%E0%A4", "damaged"),
    "a pick of no token": ("#picks=5.70000", "picks are no tokens"),
    "a pick of the padding": ("#picks=5.0", "picks are no tokens"),
    "no pick": ("#picks=5", "picks are no tokens"),
    "many picks": ("#picks=" + "_".join(["5.9"] * 1001), "more than 1000"),
    "another key": ("#__proto__=1", "holds something"),
}


@pytest.fixture(scope="session")
def pages(reference: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """The page of one of `MODELS`, and in Python what has the same rounded weights."""
    return exporting("html", ".html", reference, tmp_path_factory.mktemp("html"))


def _ended(page: Any) -> str:
    """The story that a page has told to its end."""
    page.locator("#status", has_text=re.compile("The end|It went on")).wait_for()
    return _story(page)


def _story(page: Any) -> str:
    text: str = page.evaluate("document.getElementById('story').textContent")
    return text


def _link(page: Any) -> str:
    """What a page shares."""
    page.click("#share")
    page.locator("#status", has_text="The link is").wait_for()
    link: str = page.evaluate("location.hash")
    return link


def _count(page: Any, count: int) -> None:
    """Wait until the story has so many tokens, <bos> among them."""
    page.locator(f"#story [data-index='{count - 1}']").wait_for(state="attached")
    page.locator(f"#story [data-index='{count}']").wait_for(state="detached")


@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("name", MODELS)
def test_the_page_holds_an_engine_that_generates_the_golden_texts(
    name: str, weights: str, reference: Callable[[str], str], tmp_path: Path
):
    out = tmp_path / "story.html"
    done = export("html", reference(name), out, weights=weights)
    assert done.checked.endswith(" generates the golden texts")
    if name == DEFAULT_MODEL:
        assert out.stat().st_size < {"int8": 200_000, "int4": 160_000}[weights]
    text = out.read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=\"(?!#)", text)
    assert len(re.findall("</script", text, re.IGNORECASE)) == 4


def test_the_policy_allows_what_is_in_the_page_alone(pages: Exports):
    text = pages(DEFAULT_MODEL)[0].read_text(encoding="utf-8")
    check_policy(text)


def test_what_a_stranger_says_of_a_model_is_text(tmp_path: Path):
    folder = shutil.copytree(find_directory("tinybuddy-80k-card"), tmp_path / "model")
    training = json.loads((folder / "training.json").read_text("utf-8"))
    lines = ["<img src=x> speaks English: {{policy}}"]
    training |= {"name": "</script><b>", "measured": [{"command": "tinybuddy evaluate x"}]}
    training["measured"][0]["lines"] = lines
    (folder / "training.json").write_text(json.dumps(training), encoding="utf-8")
    text = html.page_of(open_model(folder), "int8")
    assert "<b>&lt;/script&gt;&lt;b&gt;</b>" in text
    assert "&lt;img src=x&gt; speaks English: {{policy}}." in text
    assert "<img" not in text


def test_another_engine_is_not_kept(tmp_path: Path):
    model = open_model("tinybuddy-80k-card")
    out = tmp_path / "story.html"
    html.write(model, out, "int8")
    with pytest.raises(TinybuddyError, match="not kept"):
        html.check(open_model(DEFAULT_MODEL), out, "int8")
    out.write_text("<p>nothing</p>", encoding="utf-8")
    with pytest.raises(TinybuddyError, match="holds no engine"):
        html.check(model, out, "int8")


@pytest.mark.parametrize("name", MODELS)
def test_chromium_generates_the_golden_texts_and_the_same_stories(
    name: str, reference: Callable[[str], str], pages: Exports, browser: Any, opened: Opened
):
    page_file, model = pages(name)
    prompts = ["Once upon a time", "The dog", ""]
    for seed, prompt in enumerate(prompts, 3):
        page = opened(page_file, f"#prompt={quote(prompt)}&seed={seed}")
        assert _ended(page) == model.generate(prompt, seed=seed)
    page = opened(page_file, "#prompt=The&seed=5&t=1.1&k=0&p=0.9&m=0.02&r=1.2")
    how: dict[str, Any] = {"temperature": 1.1, "top_k": 0, "top_p": 0.9, "min_p": 0.02}
    assert _ended(page) == model.generate("The", seed=5, repetition_penalty=1.2, **how)
    files = open_model(reference(name))
    assert isinstance(files, ModelFiles)
    context = browser.new_context(offline=True)
    code = re.sub(
        "^export ", "", html.module_in(page_file) + CHECK.read_text("utf-8"), flags=re.MULTILINE
    )
    asked = json.dumps({"prompts": PROMPTS, "tokens": TOKENS, "stories": []})
    answer = context.new_page().evaluate(f"(() => {{ {code}; return answer(load(), {asked}); }})()")
    context.close()
    for case, theirs in zip(golden(rounded(files, 8)), answer["golden"], strict=True):
        compare(case, theirs["ids"], theirs["new"], page_file, "Chromium")


def test_one_types_picks_hovers_steps_back_and_shares(pages: Exports, opened: Opened):
    page_file, model = pages(DEFAULT_MODEL)
    page = opened(page_file)
    assert _ended(page) == model.generate("Once upon a time", seed=0)
    page.fill("#prompt", "A cat")
    page.fill("#seed", "12")
    page.click("text=Tell it")
    page.locator("#story .given", has_text="cat").wait_for()
    whole = _ended(page)
    assert whole == model.generate("A cat", seed=12)

    # Back and forward again, the same tokens are drawn.
    count = page.locator("#story span").count()
    for n in range(1, 6):
        page.click("#back")
        _count(page, count - n)
    for n in range(4, -1, -1):
        page.click("#forward")
        _count(page, count - n)
    assert _story(page) == whole
    page.click("#forward")
    page.locator("#status", has_text="The end").wait_for()

    # A token of one's own.
    page.click("#back")
    _count(page, count - 1)
    page.wait_for_timeout(300)
    button = page.locator("#bars button").nth(2)
    name = button.locator(".name").inner_text()
    button.click()
    _count(page, count)
    assert page.locator("#story .chosen").count() == 1
    assert _story(page).endswith(name.replace("·", " ").replace("↵", "\n"))

    # What a token looks back at.
    page.hover("#window span:nth-child(9)")
    page.locator("#window span:nth-child(9)[aria-current]").wait_for()
    page.locator("#heads button").nth(5).click()
    page.locator("#looked", has_text="Layer 2, head 2").wait_for()
    seen = page.evaluate(
        "[...document.querySelectorAll('#window span')]"
        ".map(span => Number(span.style.getPropertyValue('--look')))"
    )
    start = page.evaluate("Number(document.querySelector('#window span').dataset.index)")
    assert seen[9:] == [0] * len(seen[9:])  # nothing that comes after it
    assert sum(x * x for x in seen) == pytest.approx(1, abs=0.15)
    page.focus("#story")
    page.keyboard.press("ArrowLeft")
    page.locator("#window span:nth-child(8)[aria-current]").wait_for()
    assert f"number {start + 7} of" in page.inner_text("#about")

    # The link has the token of one's own.
    told = _story(page)
    link = _link(page)
    again = opened(page_file, link)
    again.locator("#story .chosen").wait_for()
    assert _ended(again).startswith(told)
    # Told again, it has it too. The page may be faster than a question whether it is gone for now.
    again.evaluate(
        "new MutationObserver(() => {"
        " if (!document.querySelector('#story .chosen')) document.body.dataset.again = '';"
        "}).observe(document.querySelector('#story'), { childList: true, subtree: true })"
    )
    again.click("#play")
    again.locator("body[data-again]").wait_for()
    again.locator("#story .chosen").wait_for()
    assert _ended(again).startswith(told)

    # Settings change what is probable, and travel with the link.
    page.locator("#temperature").fill("0")
    page.locator("#possible", has_text="Only one token").wait_for()
    page.locator("#temperature").fill("0.6")
    page.click("#another")
    while page.input_value("#seed") == "12":  # until then the status is of the story before
        page.wait_for_timeout(20)
    other = _ended(page)
    seed = int(page.input_value("#seed"))
    assert other == model.generate("A cat", seed=seed, temperature=0.6)
    again = opened(page_file, _link(page))
    assert _ended(again) == other
    again.reload()
    assert _ended(again) == other


def test_a_link_tells_the_story_again_whatever_was_done_on_the_way(pages: Exports, opened: Opened):
    page_file, _ = pages(DEFAULT_MODEL)
    page = opened(page_file, "#prompt=One%20day&seed=7&t=0.7")
    _ended(page)
    for place, row in ((9, 4), (5, 0), (3, 2)):  # picks, of which some are taken back
        while page.locator("#story span").count() > place:
            before = page.locator("#story span").count()
            page.click("#back")
            _count(page, before - 1)
        page.wait_for_timeout(300)
        page.locator("#bars button").nth(row).click()
        _count(page, place + 1)
        page.locator("#temperature").fill(str(row / 4))  # the greedy one draws no number
        page.click("#forward")
        _count(page, place + 2)
    page.click("#play")
    whole = _ended(page)
    again = opened(page_file, _link(page))
    told = _ended(again)
    if "went on" in again.inner_text("#status"):  # so many tokens at once, and whole has some more
        assert whole.startswith(told)
    else:
        assert told == whole
    # An end of one's own is in the link too.
    page.click("#back")
    page.wait_for_timeout(300)
    while not page.locator("#bars button", has_text="the end").count():
        page.click("#back")
        page.wait_for_timeout(300)
    page.locator("#bars button", has_text="the end").click()
    shorter = _ended(page)
    assert shorter != whole
    again = opened(page_file, _link(page))
    assert _ended(again) == shorter


@pytest.mark.parametrize("name", MODELS)
def test_what_is_typed_is_shown_as_tokens(name: str, pages: Exports, opened: Opened):
    page_file, model = pages(name)
    page = opened(page_file, "#seed=x")
    page.locator("#typed span").first.wait_for()
    for text in ("The dog's bone", "A zorbling", "cat \u65e5\U0001f600", ""):
        page.locator("#prompt").fill(text)
        ids = model.tokenizer.encode(text)
        count = f"{len(ids)} token" if ids else "No token"
        page.locator("#count", has_text=count).wait_for()
        chips = page.locator("#typed span").all_inner_texts()
        shown = "".join(chips).replace("·", " ")
        lost = model.tokenizer.lost_bytes(text, ids)
        if text.isascii() and not lost:
            assert shown == text
        assert len(chips) == len(ids)
        assert ("does not know" in page.inner_text("#count")) == bool(lost)
        assert ("never had “zorbling”" in page.inner_text("#count")) == ("zorbling" in text)
    page.locator("#prompt").fill("a" * 20_001)
    page.locator("#status", has_text="20,000 characters").wait_for()


def test_hostile_links_do_nothing_but_show_an_error(pages: Exports, opened: Opened):
    page_file, _ = pages(DEFAULT_MODEL)
    model = open_model(DEFAULT_MODEL)
    for link, said in HOSTILE.values():
        page = opened(page_file, link)
        page.locator("#status", has_text=said).wait_for()
        page.locator("#story", has_text="time").wait_for()  # once the model runs
        assert page.title() == "A language model in one page"
        assert page.locator("img").count() == 0
        assert _story(page) == "Once upon a time"  # nothing was told
        assert page.input_value("#seed") == "0"
        assert page.input_value("#temperature") == str(model.sample.temperature)
        page.click("#forward")
        _count(page, page.locator("#story .given").count() + 1)  # and it works
        page.context.close()
    page = opened(page_file, "#prompt=%3Cimg%20src%3Dx%3E&seed=1")
    _ended(page)
    assert "<img src=x>" in page.input_value("#prompt")
    assert page.locator("#story img").count() == 0


def test_words_that_the_training_text_did_not_have_are_marked(pages: Exports, opened: Opened):
    path = statistics_beside(find_directory(DEFAULT_MODEL))
    assert path
    known = list(read_statistics(path).counts)
    page_file, model = pages(DEFAULT_MODEL)
    letters = {
        c for c in "".join(known) if not model.tokenizer.lost_bytes(c, model.tokenizer.encode(c))
    }
    sample = [word for word in known[::50] if set(word) <= letters]
    made_up = [f"{a}zq{b}x" for a, b in zip(sample, reversed(sample), strict=True)]
    for words, least, most in ((sample, 0, 0), (made_up, 0.88, 1)):
        page = opened(page_file, f"#seed=1&prompt={quote(' '.join(words) + ' and')}")
        _ended(page)
        marked = page.evaluate(
            """[...document.querySelectorAll('#story .given')].map(s =>
                [...s.childNodes].map(n => n.nodeName === "U" ? `[${n.textContent}]` : n.data)
                .join("")).join("")"""
        )
        runs = re.sub(r"\]\[", "", marked)
        share = sum(f"[{word}]" in runs for word in words) / len(words)
        assert least <= share <= most, runs[:300]


@pytest.mark.parametrize("width", [360, 768, 1400, 2000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_nothing_moves(width: int, scheme: str, pages: Exports, opened: Opened):
    page = opened(
        pages(DEFAULT_MODEL)[0],
        "#seed=x",
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
    )
    page.locator("#weights canvas").first.wait_for()
    page.locator("#bars button").first.wait_for()
    measure = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    before = page.evaluate(measure)
    assert before[0] == width
    assert page.evaluate(SHIFTED) < 0.02  # of the screen, while it was opened; 0.1 is called good
    page.click("#play")
    _ended(page)
    assert page.evaluate(measure) == before


@pytest.mark.parametrize("width", [360, 768, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(width: int, scheme: str, pages: Exports, opened: Opened):
    if not AXE.exists():
        pytest.skip(f"needs axe-core: npm ci --prefix {AXE.parents[2]}")
    page = opened(
        pages(DEFAULT_MODEL)[0],
        "#prompt=A%20zorbling&seed=1",
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
    )
    _ended(page)
    page.locator("#weights canvas").first.wait_for()
    page.keyboard.press("Tab")  # the link that skips to the story
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run()")
    assert [(each["id"], each["nodes"]) for each in found["violations"]] == []
    passed = {each["id"] for each in found["passes"]}
    assert passed >= {
        "color-contrast",
        "label",
        "button-name",
        "html-has-lang",
        "landmark-one-main",
    }


def test_a_long_story_stays_whole(pages: Exports, opened: Opened):
    page_file, model = pages(DEFAULT_MODEL)
    prompt = "The dog ran to the big tree and sat. " * 500
    page = opened(page_file, "#seed=x")
    page.locator("#status", has_text="A seed is").wait_for()
    page.fill("#prompt", prompt)
    page.fill("#seed", "4")
    page.click("text=Tell it")
    page.locator("#story [data-index='4500']").wait_for(state="attached")
    assert _ended(page) == model.generate(prompt, seed=4)
