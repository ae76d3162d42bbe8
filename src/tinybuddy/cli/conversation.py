"""A conversation in the shell: story after story, each begun by a line that is typed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinybuddy.cli.wrapping import width, wrapped
from tinybuddy.config import SampleConfig, unknown, whole_number
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.generation.model import MAX_NEW_TOKENS, Model, load, random_seed

PROMPT = "> "
HISTORY_LINES = 1_000
ENDS = ("bye", "exit", "quit")
HELP = """\
A line is how a story begins; an empty one begins a new story. Ctrl-C ends a story.
/again            the last beginning again, with the next seed
/seed N           of the next story; random draws one for each
/temperature T    and /top_k, /top_p, /min_p, /repetition_penalty, /max_new_tokens
/model NAME       go on with another model
/bye              end, as Ctrl-D does"""
SETTINGS = (*SampleConfig.__dataclass_fields__, "max_new_tokens")
COMMANDS = ("again", "bye", "help", "model", "seed", *SETTINGS)


def converse(
    model: str,
    backend: str,
    seed: int | None,
    stop: Sequence[str] | None,
    settings: Mapping[str, Any],
) -> None:
    """Ask for beginnings and generate stories, until the end of standard input.

    Args:
        model: a reference, as `load` takes it.
        backend: what computes.
        seed: of the first story; None draws one for each.
        stop: texts before which a story ends.
        settings: as `Model.stream` takes them.
    """
    talk = _Conversation(load(model, backend=backend), backend, seed, stop, settings)
    print(f"{talk.model.name} goes on with what you type; /help says more.")
    with _history():
        while True:
            try:
                if not talk.take(input(PROMPT)):
                    return
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print("\n(Ctrl-D or /bye ends)")
            except UnicodeDecodeError:
                print("What you typed is not valid UTF-8.")
            except TinybuddyError as error:
                print(error)


class _Conversation:
    def __init__(
        self,
        model: Model,
        backend: str,
        seed: int | None,
        stop: Sequence[str] | None,
        settings: Mapping[str, Any],
    ) -> None:
        self.model = model
        self._backend, self._seed, self._stop = backend, seed, stop
        self._settings = dict(settings)
        self._last = ""  # beginning

    def take(self, line: str) -> bool:
        """Do what a line says; False if that is to end."""
        if not line.startswith("/"):
            self._last = line
            self._tell()
            return True
        name, _, value = line[1:].strip().partition(" ")
        name, value = name.replace("-", "_"), value.strip()  # /top-k as the option is spelled
        if name in ENDS:
            return False
        if name in ("help", "?"):
            print(HELP)
        elif name == "again":
            self._seed = None if self._seed is None else self._seed + 1
            self._tell()
        elif name in COMMANDS:
            if value:
                self._set(name, value)
            print(f"({name} {self._told(name)})")
        else:
            raise UsageError(unknown("command", name, COMMANDS))
        return True

    def _set(self, name: str, value: str) -> None:
        if name == "model":
            self.model = load(value, backend=self._backend)
        elif name == "seed" and value == "random":
            self._seed = None
        elif name == "seed":
            self._seed = whole_number(name, _number(name, value), 0, 2**63 - 1)
        elif name == "max_new_tokens":
            self._settings[name] = whole_number(name, _number(name, value), 0, 2**62)
        else:
            sample = SampleConfig.from_mapping({name: _number(name, value)})
            self._settings[name] = getattr(sample, name)

    def _told(self, name: str) -> object:
        """What holds now."""
        if name == "model":
            return self.model.name
        if name == "seed":
            return "random" if self._seed is None else self._seed
        default = getattr(self.model.sample_config, name, MAX_NEW_TOKENS)
        return self._settings.get(name, default)

    def _tell(self) -> None:
        notes: dict[str, None] = {}
        self.model.on_note = lambda note: notes.update({note: None})
        seed = random_seed() if self._seed is None else self._seed
        pieces = self.model.stream(self._last, seed=seed, stop=self._stop, **self._settings)
        how = ""
        try:
            for piece in wrapped(pieces, width()):
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            how = "stopped, "
        print()
        for note in notes:
            print(note)
        print(f"({how}seed {seed})")


def _number(name: str, value: str) -> float:
    try:
        return int(value)
    except ValueError:
        with contextlib.suppress(ValueError):
            return float(value)
    raise UsageError(f"{name} must be a number, not {value!r}.")


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """Lines can be edited, and those of earlier times are there again, where the system can."""
    try:
        import readline
    except ImportError:  # Windows has its own
        yield
        return
    file = _history_file()
    readline.set_history_length(HISTORY_LINES)
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # what is typed is nobody else's business
                os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))
            readline.write_history_file(file)


def _history_file() -> Path:
    import platformdirs

    return platformdirs.user_state_path("tinybuddy") / "history"
