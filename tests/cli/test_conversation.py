"""`tinybuddy generate` in a terminal, without a prompt."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import HANG, Cli
from tinybuddy.training.run import Run

if os.name != "posix":
    pytest.skip("needs a POSIX terminal", allow_module_level=True)
import pty
import termios

MODEL = "tinybuddy-80k-card"


class Terminal:
    """What a person types and sees."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.master, self.process = master, process
        self._seen = ""

    def until(self, text: str) -> str:
        """Read up to a text; return what came before it."""
        while text not in self._seen:
            self._seen += os.read(self.master, 65_536).decode("utf-8").replace("\r\n", "\n")
        before, _, self._seen = self._seen.partition(text)
        return before

    def say(self, line: str) -> str:
        """Type a line; return what came back up to the next prompt."""
        self.type(f"{line}\n")
        return self.until("\n> ")

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode("utf-8"))

    def until_it_waits(self) -> None:
        """Until it waits for keys: the prompt comes first, and Python misses Ctrl-C meanwhile."""
        while Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2][0] != "S":
            pass

    def end(self) -> int:
        return self.process.wait(HANG)


@contextmanager
def _terminal(tmp_path: Path, *options: object, encoding: str = "") -> Iterator[Terminal]:
    master, slave = pty.openpty()
    mode = termios.tcgetattr(slave)
    mode[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, mode)
    process = subprocess.Popen(
        [sys.executable, "-m", "tinybuddy", "generate", *map(str, options)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=tmp_path,
        env=os.environ
        | {"XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "dumb"}
        | ({"PYTHONIOENCODING": encoding} if encoding else {}),
        start_new_session=True,
        preexec_fn=_own_terminal,
    )
    os.close(slave)
    terminal = Terminal(master, process)
    try:
        terminal.until("> ")
        yield terminal
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _own_terminal() -> None:
    """Let Ctrl-C of the terminal reach the process."""
    import fcntl

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _words(text: str) -> list[str]:
    return text.split()


def test_stories_are_those_of_the_command_line(tmp_path: Path, cli: Cli):
    def printed(prompt: str, *options: object) -> list[str]:
        return _words(cli("generate", prompt, "-m", MODEL, *options).stdout)

    with _terminal(tmp_path, "-m", MODEL, "-s", 5) as terminal:
        assert _words(terminal.say("One day"))[-2:] == ["(seed", "5)"]
        said = terminal.say("/again")
        assert "(seed 6)" in said
        for word in printed("One day", "-s", 6):
            assert word in said
        terminal.say("/temperature 0.5")
        terminal.say("/seed 3")
        said = terminal.say("Once upon a time")
        for word in printed("Once upon a time", "-s", 3, "--temperature", 0.5):
            assert word in said
        assert "(seed 3)" in said
        terminal.type("/bye\n")
        assert terminal.end() == 0


def test_another_model_takes_over(tmp_path: Path):
    with _terminal(tmp_path, "-m", MODEL) as terminal:
        terminal.say("/model tinybuddy-80k")
        assert "(model tinybuddy-80k)" in terminal.say("/model")
        assert "There is no model" in terminal.say("/model none")
        assert "(seed 0)" in terminal.say("")


def test_mistakes_are_said_and_change_nothing(tmp_path: Path):
    with _terminal(tmp_path, "-m", MODEL) as terminal:
        assert "must lie between" in terminal.say("/temperature -1")
        assert "must be a number" in terminal.say("/temperature hot")
        assert "did you mean 'again'" in terminal.say("/agian")
        assert terminal.say("/temperature") == "(temperature 0.8)"
        assert terminal.say("/top_k 5") == terminal.say("/top-k") == "(top_k 5)"
        assert "/again" in terminal.say("/help")
        assert "(seed 0)" in terminal.say("One day")


def test_what_is_no_utf_8_is_said_and_changes_nothing(tmp_path: Path):
    """Where the locale is none of C's, Python refuses such a line."""
    with _terminal(tmp_path, "-m", MODEL, encoding="utf-8:strict") as terminal:
        os.write(terminal.master, b"caf\xff\n")
        assert terminal.until("\n> ") == "What you typed is not valid UTF-8."
        assert "(seed 0)" in terminal.say("One day")


def test_a_random_seed_is_drawn_for_each_story(tmp_path: Path):
    with _terminal(tmp_path, "-m", MODEL, "-s", "random") as terminal:
        seeds = [terminal.say("One day").rpartition("(seed ")[2] for _ in range(2)]
        assert seeds[0] != seeds[1]


def test_ctrl_c_ends_a_story_and_not_the_conversation(small_run: Run, tmp_path: Path):
    """A model that is hardly trained says the same for ever."""
    endless = ("--temperature", 0, "--max-new-tokens", 1 << 40)
    with _terminal(tmp_path, "-m", small_run.path, *endless) as terminal:
        terminal.type("One day\n")
        terminal.until("One day")
        terminal.type("\x03")
        assert "stopped, seed 0" in terminal.until("\n> ")
        if sys.platform == "linux":
            terminal.until_it_waits()
            terminal.type("\x03")
            terminal.until("ends)\n> ")
        terminal.type("\x04")
        assert terminal.end() == 0


def test_what_was_typed_is_kept_for_its_writer_alone(tmp_path: Path):
    with _terminal(tmp_path, "-m", MODEL, "--max-new-tokens", 1) as terminal:
        terminal.say("One day")
        terminal.type("\x04")
        assert terminal.end() == 0
    file = tmp_path / "state" / "tinybuddy" / "history"
    assert "One day" in file.read_text("utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
