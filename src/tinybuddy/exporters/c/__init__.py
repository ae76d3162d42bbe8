"""A folder of C99 that is the model: for microcontrollers, games, and whatever links C.

It is at once a library for CMake, Arduino and PlatformIO. The decoder and sampler are the engine's
own files, weights a table that stays in flash, and there is neither malloc nor stdio.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

from tinybuddy import __version__
from tinybuddy.backends import open_backend
from tinybuddy.disk import write_text
from tinybuddy.errors import NotInstalledError, TinybuddyError
from tinybuddy.exporters.c.tables import model_header, tables
from tinybuddy.exporters.c.vocabulary import vocabulary
from tinybuddy.exporters.golden import BITS, Golden, compare, golden, own_tokenizer, rounded
from tinybuddy.formats.compact import MAX_PARAMETERS
from tinybuddy.formats.loaded import LoadedModel, ModelFiles
from tinybuddy.generation.decoding import continue_ids
from tinybuddy.generation.model import Model

# Of the engine, as they are; the export has a `target.h` of its own.
ENGINE = (
    *("config.c", "config.h", "decode.c", "decode.h", "decode_internal.h", "decode_model.c"),
    *("packed.h", "product.h", "rope.h", "sample.c", "sample.h", "vector.h"),
)
OWN = (
    *("CMakeLists.txt", "LICENSE", "demo/story.c", "examples/Story/Story.ino", "test/golden.c"),
    *("src/tinybuddy.c", "src/tinybuddy.h", "src/tables.h", "src/tokens.c", "src/tokens.h"),
    *("src/utf8.c", "src/utf8.h"),
)
# Templates, in which {version} and the like are filled in.
FILLED = ("README.md", "library.json", "library.properties")

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O2", "-ffp-contract=off")
STORY = "Once upon a time"  # with seed 1, the demo's own
BEYOND = 32  # tokens that the story goes beyond the context, so that the window slides


def write(model: LoadedModel, out: Path, weights: str) -> None:
    """Write the folder ``out``.

    Raises:
        TinybuddyError: if the model is too large, or its tokenizer is not of this package or has
            scores of more than two decimals.
    """
    files, bits = own_tokenizer(model), BITS[weights]
    if files.config.parameters > MAX_PARAMETERS:
        raise TinybuddyError(
            f"A C table holds at most {MAX_PARAMETERS:,} parameters, and this model has "
            f"{files.config.parameters:,}."
        )
    vocab = vocabulary(files.tokenizer)
    header = model_header(files, bits, vocab)
    own, engine = (
        resources.files("tinybuddy.exporters.c"),
        resources.files("tinybuddy.backends.engine"),
    )
    encoder = "unigram" if files.tokenizer.kind == "unigram" else "bpe"
    extra = ("src/unicode.h",) if encoder == "bpe" else ()
    texts = {name: (own / name).read_text("utf-8") for name in (*OWN, *extra)}
    texts |= {f"src/engine/{name}": (engine / name).read_text("utf-8") for name in ENGINE}
    texts["src/engine/target.h"] = (own / "src/target.h").read_text("utf-8")
    texts["src/encode.c"] = (own / f"src/encode_{encoder}.c").read_text("utf-8")
    texts["src/model.h"] = header.text
    texts["src/tables.c"] = tables(files, bits, vocab)
    texts["test/cases.h"] = _cases(files, bits)
    facts = header.facts | {"version": __version__, "weights": weights}
    for name in FILLED:
        text = (own / name).read_text("utf-8")
        for key, value in facts.items():
            text = text.replace(f"{{{key}}}", value)
        texts[name] = text
    for name, text in texts.items():
        write_text(out / name, text)


def check(model: LoadedModel, out: Path, weights: str) -> str:
    """Compile the tests and the demo, and compare what they generate with the engine.

    Raises:
        NotInstalledError: if there is no C compiler.
        TinybuddyError: if they do not compile, or generate otherwise.
    """
    files, bits = own_tokenizer(model), BITS[weights]
    compiler = next((name for name in COMPILERS if shutil.which(name)), None)
    if compiler is None:
        raise NotInstalledError("a C compiler (cc, gcc or clang) is not installed.")
    with tempfile.TemporaryDirectory() as scratch:
        tests, demo = Path(scratch) / "golden", Path(scratch) / "story"
        compile_program(compiler, out, out / "test" / "golden.c", tests)
        compile_program(compiler, out, out / "demo" / "story.c", demo)
        lines = subprocess.run([tests], capture_output=True, text=True).stdout
        story = subprocess.run([demo], capture_output=True).stdout.decode("utf-8", "replace")
    compare_output(expected(files, bits), lines, out, compiler)
    own = rounded(files, bits)
    reference = Model(own, open_backend(own.config, own.weights))
    reference.on_note = lambda _: None
    if story.replace("\r\n", "\n") != reference.generate(STORY, seed=1) + "\n":
        raise TinybuddyError(f"The demo in {out} tells another story: not kept.")
    return f"compiled by {_version(compiler)}, it generates the golden texts and the same story"


def compile_program(compiler: str, out: Path, main: Path, program: Path) -> None:
    """Compile all of an export with the file that holds ``main``.

    Raises:
        TinybuddyError: if that fails.
    """
    sources = sorted((out / "src").rglob("*.c"))
    command = [compiler, *FLAGS, f"-I{out / 'src'}", *map(str, sources), str(main)]
    done = subprocess.run([*command, "-o", str(program), "-lm"], capture_output=True, text=True)
    if done.returncode:
        first = (done.stderr.strip() or "it says nothing").splitlines()[0]
        raise TinybuddyError(f"{compiler} does not compile {out} ({first}): not kept.")


def expected(files: ModelFiles, bits: int) -> list[Golden]:
    """What the folder's tests must generate: the golden texts, then a story with seed 1."""
    own = rounded(files, bits)
    tokenizer, backend = files.tokenizer, open_backend(own.config, own.weights)
    ids = [tokenizer.bos, *tokenizer.encode(STORY)]
    most = files.config.max_position_embeddings + BEYOND
    parts = continue_ids(backend, [ids], most, files.sample, [1], tokenizer.eos)
    new = [id for _, part in parts for id in part]
    new += [tokenizer.eos] * (len(new) < most)
    return [*golden(own), Golden(STORY, ids, new)]


def compare_output(cases: list[Golden], lines: str, out: Path, who: str) -> None:
    """Compare what the folder's tests printed: a line of ids read, one of new ids, a case.

    Raises:
        TinybuddyError: if it is another.
    """
    found = [[int(word) for word in line.split()[1:]] for line in lines.splitlines()]
    found += [[]] * (2 * len(cases) - len(found))
    for case, ids, new in zip(cases, found[::2], found[1::2], strict=False):
        compare(case, ids, new, out, who)


def _cases(files: ModelFiles, bits: int) -> str:
    cases = expected(files, bits)
    rows = []
    for number, case in enumerate(cases, 1):
        data = case.prompt.encode("utf-8")
        text = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in data)
        ids, new = (", ".join(map(str, part)) for part in (case.ids, case.new or [0]))
        greedy = int(number < len(cases))
        rows.append(
            f'    {{"{text}", {len(data)}, {greedy}, {len(case.ids)}, {len(case.new)},\n'
            f"     {{{ids}}},\n     {{{new}}}}},\n"
        )
    most = [max(map(len, part)) for part in ([c.ids for c in cases], [c.new for c in cases])]
    return (
        "/* What the model generates, by tinybuddy's own engine: text, its length in bytes,\n"
        "   whether the best token is always taken (else they are drawn with seed 1), numbers of\n"
        "   ids, and the ids of the text and of what follows. */\n"
        "static const struct golden_case {\n"
        "    const char *text;\n    int32_t length, greedy, reads, follows;\n"
        f"    uint16_t ids[{most[0]}], next[{most[1]}];\n}} cases[] = {{\n{''.join(rows)}}};\n"
    )


def _version(compiler: str) -> str:
    text = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    return (text.splitlines() or [compiler])[0]
