"""The verb ``serve``."""

from __future__ import annotations

import argparse
import os
import sys

from tinybuddy.cli.common import print_json
from tinybuddy.errors import UsageError, require

EXAMPLES = ("", "my-run tinybuddy-80k --port 8080", "--host 0.0.0.0 --token-file token.txt")


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Describe its options."""
    verb.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="the first is the default; nothing serves all released ones",
    )
    verb.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine alone")
    verb.add_argument("--port", type=int, default=8000, help="default: 8000; 0 takes a free one")
    verb.add_argument("--threads", type=int, metavar="N", help="of the engine; default: one a core")
    for name, default, text in (
        ("places", 1024, "texts generated side by side at most"),
        ("queue", 1024, "texts that wait at most; others are answered 429"),
        ("timeout", 120, "seconds that an answer may take"),
        ("grace", 30, "seconds to end what runs, when stopped"),
    ):
        verb.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{text}; default: {default}"
        )
    verb.add_argument(
        "--token-file",
        metavar="FILE",
        help="holds a token that clients must send; else TINYBUDDY_TOKEN may hold it",
    )
    verb.add_argument(
        "--cors", action="append", metavar="ORIGIN", help="a site whose pages may ask; * for all"
    )


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    from tinybuddy.config import MAX_THREADS, whole_number

    for name, low, high in (
        ("port", 0, 65_535),
        ("places", 1, 1 << 20),
        ("queue", 0, 1 << 20),
        ("timeout", 1, 86_400),
        ("grace", 0, 86_400),
    ):
        whole_number(f"`{name}`", getattr(options, name), low, high)
    threads = _cores() if options.threads is None else options.threads
    whole_number("`threads`", threads, 1, MAX_THREADS)
    token = _token(options.token_file)
    for library in ("starlette", "uvicorn", "httptools", "pydantic", "prometheus_client"):
        require(library, library, "serve")
    from tinybuddy.server.app import Settings
    from tinybuddy.server.models import Models
    from tinybuddy.server.run import serve

    models = Models(options.models or _released(), threads)
    settings = Settings(
        threads, options.places, options.queue, options.timeout, token, options.cors or ()
    )

    def on_ready(url: str) -> None:
        print(f"{', '.join(models.names)}: {url} (Ctrl-C ends)", file=sys.stderr, flush=True)
        if options.json:
            print_json({"url": url, "models": models.names})
            sys.stdout.flush()

    if not token and options.host not in ("127.0.0.1", "::1", "localhost"):
        print("Whoever reaches this machine may ask: see --token-file.", file=sys.stderr)
    serve(models, settings, options.host, options.port, options.grace, on_ready)


def _released() -> list[str]:
    from tinybuddy.defaults import DEFAULT_MODEL
    from tinybuddy.formats.references import released_names

    return [DEFAULT_MODEL, *(name for name in released_names() if name != DEFAULT_MODEL)]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # those that this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _token(file: str | None) -> str:
    if file is None:
        return os.environ.get("TINYBUDDY_TOKEN", "").strip()
    from tinybuddy.disk import expanded, read_text

    token = read_text(expanded(file), 10_000).strip()
    if not token:
        raise UsageError(f"{file} is empty: write a token there.")
    return token
