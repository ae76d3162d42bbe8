from __future__ import annotations

import io

import pytest
from rich.console import Console

from tinybuddy.terminal import LiveProgress, PlainProgress, clock, open_progress, sparkline

ROW = {
    "step": 50,
    "loss": 3.25,
    "bits_per_byte": 1.5,
    "tokens_per_second": 50_000.0,
    "train_seconds": 30.0,
    "sample": "The fox\nsaid [hello].",
}


def test_plain_lines(capsys: pytest.CaptureFixture[str]):
    with PlainProgress() as hooks:
        hooks.on_note("A note.")
        hooks.on_step(1, 100, 3.0, 1.0)
        hooks.on_progress("reading", 1, 2)
        hooks.on_evaluation(ROW, 100)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "A note.\n"
        "step  50/100  loss 3.250  1.500 bits/byte  50,000 tokens/s  0:30 left  "
        "| The fox said [hello].\n"
    )


def test_long_work_is_named_once(capsys: pytest.CaptureFixture[str], monkeypatch):
    now = 0.0
    monkeypatch.setattr("tinybuddy.terminal.time.monotonic", lambda: now)
    hooks = PlainProgress()
    for now in (0.0, 1.0, 3.0, 4.0, 9.0):
        hooks.on_progress("reading", int(now), 10)
    assert capsys.readouterr().err == "reading (30%) ...\n"


def test_the_live_view_shows_it_learn():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, height=30)
    with LiveProgress(console) as hooks:
        hooks.on_note("A [note].")
        hooks.on_progress("encoding", 5, 10)
        for step in range(1, 60):
            hooks.on_step(step, 100, 6.0 / step, 54_321.0)
        hooks.on_evaluation(ROW, 100)
    shown = screen.getvalue()
    for text in ("A [note].", "training", "54,321", "said [hello].", "after 50 steps", "left"):
        assert text in shown, text


def test_work_of_several_parts_is_one_bar_with_the_time_left(monkeypatch: pytest.MonkeyPatch):
    times = [0.0]
    monkeypatch.setattr("tinybuddy.terminal.time.monotonic", lambda: times[-1])
    screen = io.StringIO()
    with LiveProgress(Console(file=screen, force_terminal=True, width=100, height=30)) as hooks:
        for time, what, done in ((0, "reading", 0), (10, "counting", 25), (20, "measuring", 50)):
            times.append(float(time))
            hooks.on_progress(what, done, 100)
        assert "measuring" in screen.getvalue()
        assert "50%" in screen.getvalue()
        assert "0:20 left" in screen.getvalue()
        before = len(screen.getvalue())
    assert "measuring" not in screen.getvalue()[before:].split("\x1b[2K")[-1], "the bar has gone"


def test_a_run_that_goes_on_keeps_its_curve():
    screen = io.StringIO()
    with LiveProgress(Console(file=screen, force_terminal=True, width=100, height=30)) as hooks:
        hooks.on_resume(400, 1000, [6.0, 5.0, 4.0])
        hooks.on_step(401, 1000, 3.0, 54_321.0)
    assert "going on from step 400 of 1,000" in screen.getvalue()
    assert sparkline([6.0, 5.0, 4.0, 3.0]) in screen.getvalue()


def test_no_terminal_no_view(monkeypatch: pytest.MonkeyPatch):
    assert isinstance(open_progress(), PlainProgress)
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_progress(), PlainProgress), "it could not move the cursor"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (61, "1:01"), (3725, "1:02:05")])
def test_clock(seconds: float, text: str):
    assert clock(seconds) == text
