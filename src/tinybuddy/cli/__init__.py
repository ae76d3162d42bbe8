"""The verbs of the command line; each imports what it needs when it runs.

Exit codes: 0 done, 1 could not, 2 wrong usage, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from tinybuddy import DEFAULT_MODEL, DEFAULT_RECIPE, DEFAULT_RECIPE_FROM, __version__
from tinybuddy.errors import TinybuddyError, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; never a trace-back for a user's mistake."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):  # any text, in any locale
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    given = sys.argv[1:] if arguments is None else arguments
    parser = build_parser(given[0] if given and given[0] in _VERBS else None)
    try:
        options, unknown = parser.parse_known_args(given)
        if unknown:
            _refuse(unknown, options.verb)
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


def _refuse(unknown: list[str], verb: str | None) -> NoReturn:
    quotes = verb == "generate" and not unknown[0].startswith("-")
    advice = "put the prompt in quotes, or " if quotes else ""
    name = f"tinybuddy {verb}" if verb else "tinybuddy"
    raise UsageError(f"unrecognized arguments: {' '.join(unknown)}; {advice}see {name} --help.")


def _fail(problem: object, code: int) -> int:
    print(f"tinybuddy: {problem}", file=sys.stderr)
    return code


class _Formatter(argparse.HelpFormatter):
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


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Describe all verbs and options, or one verb alone, which saves it the time of the others."""
    parser = _Parser(
        prog="tinybuddy",
        description="The smallest language models that speak English.",
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"tinybuddy {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
    for name, add in _VERBS.items():
        if verb in (None, name):
            add(verbs)
    return parser


def _add_verb(verbs: Any, name: str, run: Any, summary: str) -> argparse.ArgumentParser:
    text = f"{summary[0].upper()}{summary[1:]}."
    verb: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=text, allow_abbrev=False, formatter_class=_Formatter
    )
    verb.add_argument(
        "--json", action="store_true", help="print one JSON object as the last line of output"
    )
    verb.set_defaults(run=run)
    return verb


def _add_train(verbs: Any) -> None:
    verb = _add_verb(verbs, "train", _train, "train a model from nothing")
    verb.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help=f"default: {DEFAULT_RECIPE}, with --from {DEFAULT_RECIPE_FROM}",
    )
    verb.add_argument(
        "--data",
        metavar="PATH|HUB_NAME|tales|-",
        help="text to learn from; default: TinyStories, or the tales where there is no network",
    )
    verb.add_argument("--stories", type=int, metavar="N", help="training stories; 0 for all")
    verb.add_argument("--out", metavar="RUN", help="directory of the run; default: runs/RECIPE")
    verb.add_argument("--seed", type=int, metavar="S", help="default: the recipe's, 0")
    verb.add_argument("--steps", type=int, metavar="N", help="optimizer steps")
    verb.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="default: the recipe's, 1; the engine has work for 8 at most, on Windows for one",
    )
    verb.add_argument("--device", choices=("cpu", "cuda", "mps"), help="default: cpu")
    verb.add_argument(
        "--backend", choices=("engine", "torch"), help="default: engine, on a GPU torch"
    )
    verb.add_argument(
        "--from", dest="from_model", metavar="MODEL", help="go on from a trained model"
    )
    verb.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any field of the recipe, such as learning_rate=0.003; may be repeated",
    )


def _train(options: argparse.Namespace) -> None:
    from tinybuddy.recipes import parse_settings

    settings = parse_settings(options.set)
    for name in ("data", "from_model", "stories", "seed", "steps", "threads", "device", "backend"):
        if (value := getattr(options, name)) is not None:
            settings[name] = value
    from tinybuddy.training.session import train

    run = train(options.recipe, out=options.out, **settings)
    _show_run(run.result, options.json)


def _add_resume(verbs: Any) -> None:
    verb = _add_verb(verbs, "resume", _resume, "go on with a run that was stopped")
    verb.add_argument("run_path", metavar="RUN", help="directory of the run")


def _resume(options: argparse.Namespace) -> None:
    from tinybuddy.training.session import resume

    _show_run(resume(options.run_path).result, options.json)


def _show_run(result: Any, as_json: bool) -> None:
    import shlex

    if as_json:
        _print_json(result)
        return
    print(
        f"{result['bits_per_byte']:.3f} bits per byte on {result['validation_stories']:,} stories "
        f"that it has not seen, after {result['train_seconds']:.0f} seconds of training "
        f"({result['tokens_per_second']:,.0f} tokens/s), {result['seconds']:.0f} in all.\n"
        f"Hear it: tinybuddy generate --model {shlex.quote(result['run'])}\n"
        f"Its curve: {result['run']}/loss.svg"
    )


def _add_generate(verbs: Any) -> None:
    verb = _add_verb(verbs, "generate", _generate, "tell a story")
    verb.add_argument(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help="how it begins; - or a pipe reads standard input; nothing begins a new story",
    )
    verb.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="M", help=f"default: {DEFAULT_MODEL}"
    )
    verb.add_argument("--max-new-tokens", type=int, metavar="N", help="default: 512")
    for name, kind, letter, text, released in (
        ("temperature", float, "T", "0 takes the best token", "0.8"),
        ("top-k", int, "K", "draw among the K best; 0 = off", "40"),
        ("top-p", float, "P", "among the best that reach P", "1"),
        ("min-p", float, "P", "drop those below P x the best", "0"),
        ("repetition-penalty", float, "R", "above 1: less of it", "1"),
    ):
        default = f"default: the model's, {released} if released"
        verb.add_argument(f"--{name}", type=kind, metavar=letter, help=f"{text}; {default}")
    verb.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")
    verb.add_argument("--stop", metavar="TEXT", help="end before this text")
    verb.add_argument("--n", type=int, default=1, metavar="K", help="stories, seeds S, S+1, ...")
    _add_backend(verb)


def _generate(options: argparse.Namespace) -> None:
    from tinybuddy.config import SampleConfig

    if options.n < 1:
        raise UsageError(f"--n must be 1 or more, not {options.n}.")
    if options.n > 2**63:
        raise UsageError(
            f"--n must be 2^63 or less, as each story has a seed of its own, not {options.n}."
        )
    if not 0 <= options.seed <= 2**63 - options.n:
        raise UsageError(f"--seed must lie between 0 and 2^63 - N, not {options.seed}.")
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    settings = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    SampleConfig.from_mapping(settings)  # wrong usage is said before anything is loaded
    prompt = _read_prompt(options.prompt)
    from tinybuddy.generation.model import load

    model = load(options.model, backend=options.backend)
    notes: list[str] = []  # told after the story, so that they do not stand in the middle of it
    model.on_note = notes.append
    if options.max_new_tokens is not None:
        settings["max_new_tokens"] = options.max_new_tokens
    stories: list[dict[str, Any]] = []

    def print_stories() -> None:
        if options.json:
            _print_json({"model": str(options.model), "prompt": prompt, "stories": stories})

    try:
        for number in range(options.n):
            pieces = model.stream(
                prompt,
                seed=options.seed + number,
                stop=options.stop,
                **settings,
            )
            if options.json:
                stories.append({"seed": options.seed + number, "text": "".join(pieces)})
                continue
            if number:
                print("\n" + "-" * 20 + "\n")
            for piece in pieces:
                print(piece, end="", flush=True)
            print()
    except KeyboardInterrupt:
        print_stories()  # those that are told to their end
        raise
    for note in dict.fromkeys(notes):
        print(note, file=sys.stderr)
    print_stories()


def _read_prompt(prompt: str | None) -> str:
    """Return the prompt; a pipe's trailing newline is not part of it."""
    if prompt is None and sys.stdin.isatty():
        return ""
    if prompt is None or prompt == "-":
        try:
            return sys.stdin.buffer.read().decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise UsageError("The prompt on standard input is not UTF-8 text.") from None
    return prompt


def _add_evaluate(verbs: Any) -> None:
    verb = _add_verb(verbs, "evaluate", _evaluate, "measure whether a model speaks English")
    verb.add_argument(
        "models",
        nargs="*",
        default=[DEFAULT_MODEL],
        metavar="MODEL",
        help="a model or run directory, a released name, a .bin of llama2.c, any directory of "
        f"transformers; several are compared with the first; default: {DEFAULT_MODEL}",
    )
    verb.add_argument(
        "--data",
        metavar="PATH|HUB_NAME|tales",
        help="human stories; without them some gauges cannot be run",
    )
    verb.add_argument(
        "--stories",
        type=int,
        metavar="N",
        help="training stories; 0 for all; default: those that the first model was trained on",
    )
    verb.add_argument(
        "--controls", action="store_true", help="measure sources that must fail, too (needs --data)"
    )
    verb.add_argument(
        "--report", metavar="FILE.html", help="write a page; with --data it has the controls"
    )
    verb.add_argument("--blimp", metavar="FOLDER", help="score its .jsonl files of BLiMP, too")
    verb.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="for scoring, which on Windows uses one in the engine; default: 1",
    )
    _add_backend(verb)


def _add_backend(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--backend", choices=("engine", "torch"), default="engine", help="default: engine"
    )


def _evaluate(options: argparse.Namespace) -> None:
    from pathlib import Path

    from tinybuddy.evaluation.session import evaluate
    from tinybuddy.terminal import open_progress

    if options.report and Path(options.report).suffix != ".html":
        raise UsageError(f"--report writes a page: end {options.report} in .html.")
    with open_progress() as hooks:
        found = evaluate(
            *options.models,
            data=options.data,
            stories=options.stories,
            with_controls=options.controls or bool(options.report and options.data),
            blimp=options.blimp,
            threads=options.threads,
            backend=options.backend,
            on_progress=hooks.on_progress,
        )
    if options.json:
        _print_json(found.to_mapping())
    else:
        from rich.console import Console

        from tinybuddy.evaluation.report.table import tables

        # A pipe has no width, and rich would take 80 columns for it.
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
        console.width = max(80, console.width)  # a narrower terminal wraps, rich would cut figures
        for part in tables(found):
            console.print(part)
    if options.report:  # last, so that what was measured is not lost with it
        from tinybuddy.evaluation.report.page import write_report

        write_report(found, options.report)
        print(f"Wrote {options.report}.", file=sys.stderr)


def _add_export(verbs: Any) -> None:
    verb = _add_verb(verbs, "export", _export, "write a model in the form that others open")
    verb.add_argument("format", metavar="FORMAT", help="hub: a directory for transformers")
    verb.add_argument("model", metavar="MODEL", help="a model or run directory, or a released name")
    verb.add_argument("-o", "--out", required=True, metavar="PATH", help="where to write")
    verb.add_argument("--force", action="store_true", help="replace what is there")
    verb.add_argument("--push", metavar="USER/NAME", help="upload it to the hub too (HF_TOKEN)")


def _export(options: argparse.Namespace) -> None:
    from tinybuddy.exporters import export

    if options.push and options.format != "hub":
        raise UsageError("--push goes with the format hub.")
    facts = {"format": options.format, "out": options.out}
    export(options.format, options.model, options.out, force=options.force)
    if options.push:
        from pathlib import Path

        from tinybuddy.exporters.hub import push

        facts["url"] = push(Path(options.out), options.push)
    if options.json:
        _print_json(facts)
    else:
        print("\n".join(f"{key:<8} {value}" for key, value in facts.items()))


def _add_info(verbs: Any) -> None:
    verb = _add_verb(verbs, "info", _info, "count the parameters of a model or recipe")
    verb.add_argument(
        "subject",
        nargs="?",
        default=DEFAULT_MODEL,
        metavar="MODEL|RECIPE|config.json|FILE.bin",
        help=f"default: {DEFAULT_MODEL}",
    )


def _info(options: argparse.Namespace) -> None:
    from tinybuddy.formats.summary import describe

    facts = describe(options.subject)
    if options.json:
        _print_json(facts)
        return
    shape = facts["shape"]
    print(f"{facts['name']}: {facts['parameters']:,} parameters, {facts['bytes']:,} bytes")
    for part, count in facts["breakdown"].items():
        print(f"  {part:<14} {count:>12,}  {count / facts['parameters']:6.1%}")
    print("  (the output head is tied to the embedding and counts once)")
    print("\n".join(f"  {key:<24} {value:>10,}" for key, value in shape.items()))


def _add_corpus(verbs: Any) -> None:
    verb = _add_verb(verbs, "corpus", _corpus, "look at a text, or write it as one file")
    verb.add_argument("data", metavar="PATH|HUB_NAME|tales|-", help="what to look at")
    verb.add_argument("--stories", type=int, default=0, metavar="N", help="training stories")
    verb.add_argument(
        "-o", "--out", metavar="FILE", help="write the stories to FILE (.txt, .jsonl)"
    )
    verb.add_argument("--force", action="store_true", help="replace FILE if it is there")


def _corpus(options: argparse.Namespace) -> None:
    from tinybuddy.corpus.overview import overview
    from tinybuddy.terminal import PlainProgress

    hooks = PlainProgress()

    def on_story(number: int) -> None:
        hooks.on_progress("reading the stories", number, 0)

    facts = overview(options.data, options.stories, options.out, on_story, force=options.force)
    if options.json:
        _print_json(facts)
        return
    entropy = facts.pop("entropy", None)
    warning = facts.pop("warning")
    for key, value in facts.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        print(f"{key.replace('_', ' '):<22} {shown}")
    if entropy:
        print(
            f"entropy of the grammar {entropy['bits_per_byte']:.4f} bits per byte, which no model "
            f"can beat (± {entropy['standard_error']:.4f}, of {entropy['tales']:,} tales)"
        )
    if warning:
        print(warning, file=sys.stderr)


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, ensure_ascii=False))


_VERBS = {
    "train": _add_train,
    "resume": _add_resume,
    "generate": _add_generate,
    "evaluate": _add_evaluate,
    "export": _add_export,
    "info": _add_info,
    "corpus": _add_corpus,
}
