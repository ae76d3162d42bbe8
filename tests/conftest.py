"""What several tests share: small stories, a small trained run, and the real data where it is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tinybuddy.corpus.tales import generate_tale
from tinybuddy.progress import Hooks
from tinybuddy.training.run import Run
from tinybuddy.training.session import train

Opened = Callable[..., Any]  # of a page: its file, what follows in its link, and how

# A model that learns in a second: the settings of every test that must train.
SMALL = {
    "vocab_size": 320,
    "hidden_size": 16,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "steps": 12,
    "warmup_steps": 2,
    "batch_size": 4,
    "eval_every": 4,
    "eval_stories": 2,
}

# Seconds after which a process that hangs is ended and its test fails. It is the only time in the
# tests: nothing waits for a clock, asserts a duration or goes on because time has passed.
HANG = 600

# Nor does hypothesis ask how long an example took, or how long it took to draw one.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.hookimpl(tryfirst=True)  # before pytest deselects what is slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what needs a browser: only `make test-all` installs what drives one."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["TINYBUDDY_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c() -> None:
    """Take Ctrl-C, which a shell's background jobs, and what they start, ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright.

    A module has its own: an event loop runs in this thread while Playwright is open, beside which
    neither a second one nor another module's `asyncio.run` can start.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Opened]:
    """Open a page from its file, without a network; nothing may go wrong in it."""
    contexts, wrong = [], []

    def open_file(path: Path, link: str = "", **how: Any) -> Any:
        context = browser.new_context(offline=True, reduced_motion="reduce", **how)
        context.set_default_timeout(1000 * HANG)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if _out(request.url) else None)
        page.goto(path.as_uri() + link)
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert not wrong


def _out(url: str) -> bool:
    return not url.startswith(("file:", "blob:", "data:"))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of this test run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def _zig_cache(shared_folder: Path) -> Iterator[None]:
    """Let all tests share zig's cache: the C library of a platform takes it half a minute."""
    with pytest.MonkeyPatch.context() as patch:
        if "ZIG_GLOBAL_CACHE_DIR" not in os.environ:
            patch.setenv("ZIG_GLOBAL_CACHE_DIR", str(shared_folder / "zig"))
        yield


@pytest.fixture(scope="session")
def stories() -> list[str]:
    return [generate_tale(index).text for index in range(60)]


@pytest.fixture(scope="session")
def story_file(stories: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stories") / "stories.txt"
    path.write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small_run(story_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "small"
    return train(data=story_file, out=out, hooks=Hooks(), **SMALL)


@pytest.fixture
def tinystories() -> Path:
    """The real data set's version 1; set TINYBUDDY_STORIES to the folder above it."""
    default = Path(__file__).parents[2] / "shared" / "tinystories"
    folder = Path(os.environ.get("TINYBUDDY_STORIES", default)) / "v1"
    if not folder.is_dir():
        pytest.skip("needs TinyStories: set TINYBUDDY_STORIES to a folder that holds v1/")
    return folder


def interrupting(interrupt: Callable[[], object] | None = None) -> threading.Thread:
    """Send Ctrl-C, or call what is given, as soon as the caller lets go of Python's lock.

    That is while it waits for a long native call, or computes in it.
    """

    due, interval = threading.Event(), sys.getswitchinterval()

    def send() -> None:
        due.wait()
        sys.setswitchinterval(interval)
        interrupt() if interrupt else os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    sys.setswitchinterval(1e3)  # seconds that a thread may keep the lock
    due.set()
    return thread


Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run the command in a process of its own, in an empty folder, without a terminal."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        options = {"input": "", "cwd": tmp_path, "timeout": HANG} | options
        return subprocess.run(
            [sys.executable, "-m", "tinybuddy", *map(str, arguments)],
            capture_output=True,
            encoding="utf-8",
            **options,  # type: ignore[call-overload]
        )

    return run


def set_options(settings: dict[str, object]) -> list[str]:
    """Return the command-line options that make the same settings."""
    return [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
