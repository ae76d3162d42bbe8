"""The command line, a file a verb; each imports what it needs when it runs.

Exit codes: 0 done, 1 could not, 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from tinybuddy import __version__
from tinybuddy.errors import TinybuddyError, UsageError

VERBS = {  # and what each does, which --help says
    "train": "train a model from nothing, or go on from one",
    "resume": "go on with a run that was stopped",
    "generate": "generate a story",
    "evaluate": "measure whether a model speaks English",
    "export": "write a model in the form that others open",
    "serve": "answer to clients of OpenAI's API, on this machine",
    "info": "count the parameters of a model or recipe",
    "corpus": "look at a text, or write it as one file",
    "frontier": "search for the best model of each number of parameters",
    "models": "list the models that come with tinybuddy",
    "completion": "print what lets a shell complete commands",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; never a trace-back for a user's mistake."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):  # any text, in any locale
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    warnings.showwarning = _show_warning
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["help"]:
            given = [*given[1:2], "--help"]
        if given and not given[0].startswith("-") and given[0] not in VERBS:
            from tinybuddy.config import unknown

            raise UsageError(unknown("verb", given[0], VERBS))
        parser = build_parser(given[0] if given and given[0] in VERBS else None)
        options, others = parser.parse_known_args(given)
        if others:
            _refuse(others, options)
        if not options.verb:
            parser.print_help()
            return 0
        options.run(options)
        sys.stdout.flush()
    except UsageError as error:
        return _fail(error, 2)
    except TinybuddyError as error:
        return _fail(error, 1)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "stopped.", 130)
    except BrokenPipeError:  # the reader of our output has gone: nothing more to say
        sys.stdout = None  # or the interpreter flushes it at its end
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'the system'}: {error.strerror or error}.", 1)
    except MemoryError:
        return _fail("there is not enough memory for this: choose a smaller model or batch.", 1)
    return 0


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Say a warning as a sentence, without the line of code that it came from."""
    print(message, file=sys.stderr)


def _refuse(others: list[str], options: argparse.Namespace) -> NoReturn:
    verb = options.verb
    name = f"tinybuddy {verb}" if verb else "tinybuddy"
    advice = f"see {name} --help."
    if verb == "generate" and not others[0].startswith("-"):
        advice = f"put the prompt in quotes, or {advice}"
    elif verb and others[0].startswith("--"):
        import difflib

        given = others[0].partition("=")[0]
        if near := difflib.get_close_matches(given, options.parser.option_names(), n=1):
            advice = f"did you mean {near[0]}? See {name} --help."
    raise UsageError(f"unrecognized arguments: {' '.join(others)}; {advice}")


def _fail(problem: object, code: int) -> int:
    print(f"tinybuddy: {as_options(str(problem))}", file=sys.stderr)
    return code


def as_options(text: str) -> str:
    """Write arguments, which the library's messages name as `out` or `text_key`, as options."""
    return re.sub(r"`(\w+)`", lambda match: "--" + match[1].replace("_", "-"), text)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal; argparse would ask shutil, which takes 5 ms to import."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
        except (OSError, ValueError):
            columns = 80
        super().__init__(prog, width=columns - 2)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        verb = self.prog
        raise UsageError(f"{message}; see {verb} --help.")

    def option_names(self) -> list[str]:
        """Names of its options."""
        return [*self._option_string_actions]


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Describe all verbs and options, or one verb alone, which saves the time of the others."""
    parser = _Parser(
        prog="tinybuddy",
        description="The smallest language models that speak English.",
        epilog="tinybuddy help VERB says more of one.",
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"tinybuddy {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
    for name, summary in VERBS.items():
        if verb in (None, name):
            _add_verb(verbs, name, summary)
    return parser


def _add_verb(verbs: Any, name: str, summary: str) -> None:
    module = import_module(f"tinybuddy.cli.{name}")
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog="examples:\n" + "\n".join(f"  tinybuddy {name} {line}" for line in module.EXAMPLES),
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    verb.add_argument(
        "--json", action="store_true", help="print one JSON object as the last line of output"
    )
    module.add_arguments(verb)
    verb.set_defaults(run=module.run, parser=verb)
