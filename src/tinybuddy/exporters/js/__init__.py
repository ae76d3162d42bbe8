"""One ES module that holds a model and its engine, for web pages, Node.js, Deno and workers.

Its weights are a compact file (`tinybuddy.formats.compact`), so the module reads any other one too.
It unpacks the file itself, as browsers let no function wait for their own unpacking. In base 85 a
file of 91 KB, which 84k parameters take at most, is 7 KB shorter than in base 64.
"""

from __future__ import annotations

import json
import re
import shutil
import string
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tinybuddy.errors import NotInstalledError, TinybuddyError
from tinybuddy.exporters.golden import (
    BITS,
    PROMPTS,
    TOKENS,
    compare,
    golden,
    own_tokenizer,
    rounded,
    seeded,
)
from tinybuddy.formats.compact import pack_compact
from tinybuddy.formats.loaded import LoadedModel

HERE = Path(__file__).parent.resolve()
CHECK = HERE / "check.mjs"
NAME, TYPES = "buddy.js", "buddy.d.ts"
# What the module is put together from, in the order in which one would read it; `weights.js`, the
# last one, is written here.
PARTS = ("index", "model", "session", "decoder", "sampling", "tokenizer", "file", "inflate")
OLDEST_NODE = 18
SEEDS = range(4)
DIGITS = string.digits + string.ascii_letters.swapcase() + "!#$%&()*+-;<=>?@^_`{|}~"  # of b85encode
ASK = """
import { readFileSync } from "node:fs";
const asked = JSON.parse(readFileSync(0, "utf8"));
const [{ answer }, { load }] = await Promise.all([import(asked.check), import(asked.module)]);
console.log(JSON.stringify(answer(load(), asked)));
"""


def write(model: LoadedModel, out: Path, weights: str) -> None:
    """Write the module alone where ``out`` ends in ``.js`` or ``.mjs``; else a directory of it, its
    types and a ``package.json``.

    Raises:
        TinybuddyError: if the model is too large, or its tokenizer is not of this package.
    """
    head = (
        f"// A language model of {model.config.parameters:,} parameters, of {BITS[weights]} bits "
        "each, and all that runs it:\n"
        '//   import { load } from "./buddy.js";\n'
        '//   for await (const piece of load().stream("Once upon a time", { seed: 1 })) ...\n'
        "// Made by tinybuddy. The code is under the MIT licence, without any warranty.\n"
    )
    parts = [part_of(name, exports=name == PARTS[0]) for name in PARTS]
    module = "\n".join([head, *parts, weights_of(model, weights)])
    if out.suffix in (".js", ".mjs"):
        _write_text(out, module)
        return
    package = {
        "name": "buddy",
        "version": "1.0.0",
        "type": "module",
        "exports": {"types": f"./{TYPES}", "default": f"./{NAME}"},
    }
    out.mkdir(parents=True)
    _write_text(out / NAME, module)
    _write_text(out / TYPES, _text(TYPES))
    _write_text(out / "package.json", json.dumps(package, indent=2) + "\n")


def weights_of(model: LoadedModel, weights: str, digits: str = DIGITS) -> str:
    """The part of the module that holds the model.

    Args:
        model: what it holds.
        weights: their type.
        digits: that its file is written with.

    Raises:
        TinybuddyError: if the model is too large, or its tokenizer is not of this package.
    """
    data = as_text(pack_compact(own_tokenizer(model), BITS[weights]), digits)
    return f'const DIGITS = {json.dumps(digits)};\nconst BUDDY =\n  "{data}";\n'


def check(model: LoadedModel, out: Path, weights: str) -> str:
    """Let Node.js generate the golden texts and some drawn ones, of the same rounded weights.

    Raises:
        NotInstalledError: if there is no Node.js, or an old one.
        TinybuddyError: if it does otherwise.
    """
    node, version = _node()
    files = own_tokenizer(model)
    own = rounded(files, BITS[weights])
    drawn = [seeded(own, PROMPTS[0], seed) for seed in SEEDS]
    settings = [
        {"seed": seed, "maxNewTokens": len(case.new)}
        for seed, case in zip(SEEDS, drawn, strict=True)
    ]
    done = _run(
        node,
        out / NAME if out.is_dir() else out,
        {
            "prompts": PROMPTS,
            "tokens": TOKENS,
            "stories": [[PROMPTS[0], how] for how in settings],
        },
    )
    for case, theirs in zip(golden(own), done["golden"], strict=True):
        compare(case, theirs["ids"], theirs["new"], out, "Node.js")
    for case, story in zip(drawn, done["stories"], strict=True):
        if story != case.prompt + files.tokenizer.decode(case.new):
            raise TinybuddyError(f"Node.js draws another story with {out}: not kept.")
    return f"Node.js {version} generates the golden texts"


def _run(node: str, module: Path, asked: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        # By its name alone Node.js takes buddy.js for another kind of module.
        copy = Path(folder).resolve() / "buddy.mjs"
        shutil.copyfile(module, copy)
        done = subprocess.run(
            [node, "--input-type=module", "--eval", ASK],
            input=json.dumps(asked | {"module": copy.as_uri(), "check": CHECK.as_uri()}),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["nothing was said"]
        raise TinybuddyError(f"Node.js does not run {module} ({reason[0]}): not kept.")
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def _node() -> tuple[str, str]:
    """Where Node.js is, and its version."""
    found = shutil.which("node") or shutil.which("nodejs")
    said = subprocess.run([found, "--version"], capture_output=True, text=True) if found else None
    version = re.match(r"v((\d+)\S*)", said.stdout if said else "")
    if not found or not version or int(version[2]) < OLDEST_NODE:
        raise NotInstalledError(f"Node.js {OLDEST_NODE} or later is not installed")
    return found, version[1]


def as_text(data: bytes, digits: str = DIGITS) -> str:
    """Text that the module's `fromText` reads, with a few zeros at its end.

    Of 85 digits 5 hold 4 bytes, and of 116 digits 7 hold 6: no more than a float64 counts exactly.
    """
    base = len(digits)
    size = 4 if base == 85 else 6
    rows = np.frombuffer(data + bytes(-len(data) % size), np.uint8).reshape(-1, size)
    numbers = rows @ 256 ** np.arange(size - 1, -1, -1)
    places = numbers[:, None] // base ** np.arange(size, -1, -1) % base
    return str(np.frombuffer(digits.encode("ascii"), np.uint8)[places].tobytes(), "ascii")


def part_of(name: str, *, exports: bool = False) -> str:
    """A part of the module."""
    return joined(_text(f"{name}.js"), exports=exports)


def joined(text: str, *, exports: bool = False) -> str:
    """Text of a part without what joins it to the others."""
    text = re.sub(r'^import .* from "[./\w]+\.js";\n', "", text, flags=re.MULTILINE)
    return (text if exports else re.sub(r"^export ", "", text, flags=re.MULTILINE)).lstrip("\n")


def _text(name: str) -> str:
    return (HERE / name).read_text("utf-8")


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
