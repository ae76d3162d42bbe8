"""What each format of `tinybuddy export` takes, how fast it runs, and what its weights cost.

    [RUN_C=llama2.c/run.c] python benchmarks/formats.py MODEL --data FOLDER [--runs 5]
                                                        [--seconds 0.5] [--record]

MODEL is exported in every format and type of weights; what refuses it is named, and why. Bytes are
those that the program which runs it reads: not what a hub's directory has for people. Of C they are
code and constants, compiled by `exporters/c`'s own flags for this processor.

Tokens a second: one text at a time, of a whole context from nothing, drawn as the model says, but
by ONNX Runtime, which draws nothing, greedily. All take turns; the median counts. The seconds are
the processor's, but of run.c: beside three trainings on two cores the engine was 5 % slower by them
than on an idle machine, and three times by a clock on the wall.

Bits per byte of all of FOLDER's validation split: by ONNX Runtime and llama.cpp themselves, which
round in their own ways; of the others by the engine with the weights that they have, which gives
the same numbers, as the golden texts show.

With --record the figures go to results/figures.jsonl; then `python docs/generate.py`.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any, NamedTuple

from decode_speed import use_one_core
from reproduce import shown

from tinybuddy.corpus import open_corpus
from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters import FORMATS
from tinybuddy.exporters.session import export
from tinybuddy.formats.references import open_model
from tinybuddy.scoring import score
from tinybuddy.training.provenance import provenance

if TYPE_CHECKING:
    from peers.generators import Generator

    from tinybuddy.backends.interface import Backend
    from tinybuddy.formats.loaded import LoadedModel

FIGURES = Path(__file__).parents[1] / "results" / "figures.jsonl"
PAGE = "docs/formats.md"
ROW = r"\S+ \S+ in .+: .+"  # names of the figures of a row, as docs/generate.py reads them
FOR_TRANSFORMERS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


class Consumer(NamedTuple):
    """Who runs a format.

    Attributes:
        name: for the page.
        reads: which files of an export, as a pattern each.
        generator: made of the model, its export, the type of weights and a folder for scratch.
        scorer: what `score` asks of a back end, made of the model, its export and the type.
        suffix: of the name of an export.
    """

    name: str
    reads: tuple[str, ...]
    generator: Callable[[LoadedModel, Path, str, Path], Generator]
    scorer: Callable[[LoadedModel, Path, str], Any]
    suffix: str = ""


class Row(NamedTuple):
    """What was measured of a format and a type of weights, and who runs it."""

    format: str
    weights: str
    consumer: str
    bytes: int
    bits_per_byte: float
    generator: Generator


def consumers() -> dict[str, Consumer]:
    """Who runs each format; after `use_one_core`, as libraries start their threads on import."""
    from peers import exports, generators
    from peers.onnx_runtime import Scorer, open_graph

    from tinybuddy.backends import open_backend
    from tinybuddy.exporters.golden import BITS, rounded

    def opened(path: Path) -> Backend:
        copy = open_model(path)
        return open_backend(copy.config, copy.weights)

    def as_rounded(model: LoadedModel, _: Path, weights: str) -> Backend:
        return open_backend(model.config, rounded(model, BITS[weights]).weights)

    def graph(out: Path) -> Path:
        (path,) = (out / "onnx").iterdir()
        return path

    return {
        "hub": Consumer(
            "transformers",
            ("model.safetensors", *FOR_TRANSFORMERS),
            lambda model, out, *_: generators.Transformers(model, out),
            lambda _, out, __: opened(out),
        ),
        "compact": Consumer(
            "tinybuddy",
            (),
            lambda _, out, *__: generators.Engine(open_model(out)),
            lambda _, out, __: opened(out),
            ".buddy",
        ),
        "onnx": Consumer(
            "ONNX Runtime",
            ("onnx/*", *FOR_TRANSFORMERS),
            lambda model, out, *_: exports.OnnxRuntime(model, graph(out)),
            lambda _, out, __: Scorer(open_graph(graph(out))),
        ),
        "gguf": Consumer(
            "llama.cpp",
            ("model.gguf",),
            lambda model, _, weights, folder: generators.LlamaCpp(model, folder, weights),
            lambda model, out, _: exports.LlamaCppScorer(
                out / "model.gguf", model.config.max_position_embeddings
            ),
        ),
        "llama2c": Consumer(
            "run.c",
            ("model.bin", "tokenizer.bin"),
            lambda model, _, __, folder: generators.Llama2c(model, folder),
            lambda _, out, __: opened(out / "model.bin"),
        ),
        "js": Consumer(
            "Node.js",
            ("buddy.js",),
            lambda _, out, *__: exports.NodeJs(out / "buddy.js"),
            as_rounded,
        ),
        "c": Consumer(
            "C",
            (),
            lambda _, out, __, folder: exports.CLibrary(out, folder),
            as_rounded,
        ),
    }


def size(out: Path, format: str, reads: tuple[str, ...]) -> int:
    """Bytes of what a program reads of an export."""
    from peers.exports import compiled_bytes

    if format == "c":
        return compiled_bytes(out)
    files = [out] if out.is_file() else [path for pattern in reads for path in out.glob(pattern)]
    return sum(path.stat().st_size for path in files)


def measure(name: str, stories: list[str], folder: Path) -> list[Row]:
    """Export a model in every way, and make all ready to generate."""
    from peers.generators import MissingError

    rows, model, known = [], open_model(name), consumers()
    context = model.config.max_position_embeddings
    for format, weights in [(key, type) for key, row in FORMATS.items() for type in row.weights]:
        if not (consumer := known.get(format)):
            print(f"{format} {weights}: this script knows nobody who runs it")
            continue
        try:
            out = folder / f"{format}-{weights}{consumer.suffix}"
            done = export(format, name, out, weights=weights)
            generator = consumer.generator(model, done.path, weights, folder)
        except (TinybuddyError, MissingError) as reason:
            print(f"{format} {weights}: {reason}", flush=True)
            continue
        backend = consumer.scorer(model, done.path, weights)
        cost = score(backend, model.tokenizer, context, stories).bits_per_byte
        taken = size(done.path, format, consumer.reads)
        rows.append(Row(format, weights, consumer.name, taken, cost, generator))
        print(f"{format} {weights}: {done.checked}; {generator.version}", flush=True)
    return rows


def figures(
    rows: list[Row], rates: list[list[float]], command: str, machine: dict[str, Any]
) -> list[dict[str, Any]]:
    """Lines of results/figures.jsonl, three a row."""
    about = {
        "spread": None,
        "kind": "measured",
        "command": command,
        "machine": f"{machine['processor']}, one core",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": (machine["git_commit"] or "")[:7],
    }
    return [
        {"page": PAGE, "name": f"{row.format} {row.weights} in {row.consumer}: {what}"}
        | {"value": value}
        | about
        for row, found in zip(rows, rates, strict=True)
        for what, value in (
            ("bytes", row.bytes),
            ("tokens/s", round(statistics.median(found))),
            ("bits per byte", round(row.bits_per_byte, 4)),
        )
    ]


def record(lines: list[dict[str, Any]]) -> None:
    """Put figures in the place of those that an earlier run left."""
    kept = [
        line
        for line in FIGURES.read_text("utf-8").splitlines()
        if not (json.loads(line)["page"] == PAGE and re.fullmatch(ROW, json.loads(line)["name"]))
    ]
    added = [json.dumps(line, ensure_ascii=False) for line in lines]
    FIGURES.write_text("\n".join([*kept, *added]) + "\n", encoding="utf-8", newline="\n")


def main() -> None:
    """Print what was measured, and record it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a folder or released name")
    parser.add_argument("--data", required=True, metavar="FOLDER")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each turn, at least")
    parser.add_argument("--record", action="store_true", help=f"put it into {FIGURES.name}")
    options = parser.parse_args()
    use_one_core()
    stories, sample = open_corpus(options.data).validation(), open_model(options.model).sample
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.model, stories, Path(folder))
        rates: list[list[float]] = [[] for _ in rows]
        for turn in range(options.runs):
            for row, found in zip(rows, rates, strict=True):
                found.append(
                    row.generator.generate(sample, 1000 * turn, options.seconds, process_time)[1]
                )
    command = f"python benchmarks/formats.py {options.model} --data {shown(options.data)}"
    machine = provenance()
    print(f"\n{machine['processor']}, one core; {len(stories):,} stories of {shown(options.data)}")
    print(f"{'':<18}{'bytes':>10}{'bits/byte':>11}{'tokens/s':>10}{'least':>10}{'most':>10}")
    for row, found in zip(rows, rates, strict=True):
        speeds = (statistics.median(found), min(found), max(found))
        print(
            f"{row.format + ' ' + row.weights:<18}{row.bytes:>10,}{row.bits_per_byte:>11.4f}"
            + "".join(f"{speed:>10,.0f}" for speed in speeds)
        )
    if options.record:
        record(figures(rows, rates, command, machine))


if __name__ == "__main__":
    main()
