"""One page that holds a model and its engine, tells stories and shows what goes on inside.

It is put together from small files without a bundler. The engine is that of the format js; it
stands in the page as text, of which the page makes a worker. A content security policy lets the
page fetch nothing and run no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import re
import tempfile
import zlib
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from tinybuddy.corpus.statistics import read_statistics
from tinybuddy.errors import TinybuddyError, counted
from tinybuddy.exporters import js
from tinybuddy.exporters.golden import own_tokenizer
from tinybuddy.formats.loaded import LoadedModel, ModelFiles
from tinybuddy.formats.runs import name_of
from tinybuddy.training.metadata import statistics_beside, training_of

HERE = Path(__file__).parent.resolve()
PARTS = ("charts", "link", "words", "story", "weights", "page")  # in the order in which they run
ENGINE = ("session", "decoder", "sampling", "tokenizer", "file", "inflate")  # of the format js
CODE = re.compile(r'<script type="text/plain" id="(?:engine|worker)">\n(.*?)</script>', re.DOTALL)
# What the worker is asked when it is checked, as if it were the module of the format js.
ASKED = """
export const load = () => ({
  tokenizer,
  session: (prompt) => new Session(model, decoder, prompt),
  generate(prompt, { seed, maxNewTokens: count }) {
    ACTIONS.begin({ prompt, seed, picks: [] });
    const { tokens } = ACTIONS.draw({ count, settings: {} });
    return prompt + tokens.map(({ text }) => text).join("");
  },
});
"""
WORD_BITS = 18  # of 10,000 words, 1 in 25 other words has the hash of one of them
MAX_WORDS = 12_000  # they take 1.3 bytes each; of more, none is kept
MAX_LINE = 300  # of what was measured
MARKS = " A <u>wavy line</u> marks a word that its training text never had."
# The least that hold 6 bytes in 7 digits, by which a page is 8 KB shorter than in base 85: ASCII
# without quotes, white space, and what HTML, JavaScript or a terminal takes for something else.
DIGITS = "".join(chr(c) for c in range(1, 127) if chr(c) not in '\t\n\v\f\r\x1a"&<\\')


def write(model: LoadedModel, out: Path, weights: str) -> None:
    """Write the page; raises as `page_of`."""
    out.write_text(page_of(model, weights), encoding="utf-8", newline="\n")


def page_of(model: LoadedModel, weights: str) -> str:
    """Text of the page.

    Raises:
        TinybuddyError: if the model is too large, or its tokenizer is not of this package.
    """
    style = _tabbed(_text("page.css"))
    script = _tabbed("\n".join(js.joined(_text(f"{name}.js")) for name in PARTS))
    files = own_tokenizer(model)
    word_bytes, words = _words(files.path)
    engine = _tabbed("\n".join(map(js.part_of, ENGINE)))
    page = _facts(files) | {
        "policy": _policy(style, script),
        "style": style,
        "marks": MARKS if words else "",
        "bytes": str(word_bytes),
        "words": words,
        "engine": engine + js.weights_of(model, weights, DIGITS),
        "worker": _tabbed(js.joined(_text("worker.js"))),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: page[found[1]], _text("page.html"))


def check(model: LoadedModel, out: Path, weights: str) -> str:
    """Let Node.js generate the golden texts and some drawn ones with the code of the page's worker.

    Raises:
        NotInstalledError: if there is no Node.js, or an old one.
        TinybuddyError: if it does otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder) / "worker.js"
        module.write_text(module_in(out), encoding="utf-8", newline="\n")
        return js.check(model, module, weights)


def module_in(page: Path) -> str:
    """A module that loads and asks a model as the worker of a page does.

    Raises:
        TinybuddyError: if the page holds none.
    """
    code = CODE.findall(page.read_text(encoding="utf-8"))
    if len(code) != 2:
        raise TinybuddyError(f"{page} holds no engine: not kept.")
    return "".join(["let onmessage;\n", *code, ASKED])


def _policy(style: str, script: str) -> str:
    """A content security policy: no network; of scripts and styles, those of the page."""
    return (
        f"default-src 'none'; script-src {source_hash(script)}; style-src {source_hash(style)}; "
        "worker-src blob:; base-uri 'none'; form-action 'none'"
    )


def source_hash(text: str) -> str:
    """What a content security policy names a script or a style of a page by."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _tabbed(text: str) -> str:
    """Code that is indented by tabs, which makes the page 3 KB shorter."""
    return re.sub(r"^ +", lambda found: "\t" * (len(found[0]) // 2), text, flags=re.MULTILINE)


def _facts(files: ModelFiles) -> dict[str, str]:
    """What the page says of the model, as HTML: whoever made it may have written anything."""
    config = files.config
    training = training_of(files.path) if files.path else {}
    recipe = training.get("recipe")
    name = training.get("name") or (recipe.get("name") if isinstance(recipe, dict) else None)
    if files.path and files.path.parent.name == "checkpoints":
        name = name_of(files.path)
    measured = _scorecard(training.get("measured")) or _result(training.get("result"))
    parts = config.breakdown() | {"total": config.parameters}
    return {
        "name": escape(str(name or "a model of my own")[:80]),
        "parameters": f"{config.parameters:,}",
        "hidden": str(config.hidden_size),
        "measured": escape(" ".join(f"{line[:1].upper()}{line[1:]}." for line in measured)),
        "parts": "".join(
            f'<tr><th scope="row">{part.replace("_", "-")}</th><td>{count:,}</td></tr>'
            for part, count in parts.items()
        ),
        "shape": f"Layers: {config.num_hidden_layers}. Heads: {config.num_attention_heads}, for "
        f"keys and values {config.num_key_value_heads}. Hidden size: {config.hidden_size}. "
        f"Feed-forward: {config.intermediate_size}. Vocabulary: {config.vocab_size:,} tokens. It "
        f"sees {config.max_position_embeddings} tokens at a time.",
    }


def _scorecard(measured: Any) -> list[str]:
    """What `evaluate` said of the model: whether it speaks, and its weakest side."""
    parts = measured if isinstance(measured, list) else []
    lines = [
        str(line)[:MAX_LINE]
        for part in parts
        if isinstance(part, dict) and str(part.get("command")).startswith("tinybuddy evaluate ")
        for line in part.get("lines", [])
    ]
    return [line for line in lines if "speaks English:" in line or "weakest" in line][:2]


def _result(result: Any) -> list[str]:
    """What its own run measured."""
    match result:
        case {"bits_per_byte": float(bits), "validation_stories": int(stories)}:
            tales = counted(stories, "story", "stories")
            return [f"It needs {bits:.3f} bits a byte to guess {tales} that it has not seen"]
    return []


def _words(path: Path | None) -> tuple[int, str]:
    """Hashes of the words of the training text, if they are known: the gaps between them, how many
    bytes they take, and these as a text.

    A hash is the lowest bits of a word's CRC-32. A gap is a byte, 255 standing for 255 and more.
    """
    facts = statistics_beside(path) if path and path.is_dir() else None
    counts = read_statistics(facts).counts if facts else {}
    if not 0 < len(counts) <= MAX_WORDS:
        return 0, ""
    mask = (1 << WORD_BITS) - 1
    hashes = sorted({zlib.crc32(word.encode("utf-8")) & mask for word in counts})
    gaps = b"".join(
        b"\xff" * (gap // 255) + bytes([gap % 255]) for gap in np.diff(hashes, prepend=0).tolist()
    )
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return len(gaps), js.as_text(packer.compress(gaps) + packer.flush(), DIGITS)


def _text(name: str) -> str:
    return (HERE / name).read_text("utf-8")
