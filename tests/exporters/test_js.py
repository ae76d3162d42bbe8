"""The format js: one module, proved in Node.js, and in a page and a worker of Chromium."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.conftest import HANG, Cli
from tests.exporters.chromium import open_page
from tests.exporters.conftest import MODELS, Exports, exporting
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.corpus.tales import generate_tale
from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters import FORMATS
from tinybuddy.exporters.golden import PROMPTS, TOKENS, compare, golden
from tinybuddy.exporters.js import CHECK, HERE, check, write
from tinybuddy.exporters.session import export
from tinybuddy.formats.compact import write_compact
from tinybuddy.formats.hub import read_model, write_model
from tinybuddy.formats.loaded import LoadedModel, ModelFiles
from tinybuddy.formats.references import find_directory, open_model
from tinybuddy.quantization import quantized
from tinybuddy.tokenizer import Tokenizer
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.weights import random_weights

NAME = "tinybuddy-80k-card"
Js = Callable[..., Any]


@pytest.fixture(scope="session")
def js(tmp_path_factory: pytest.TempPathFactory) -> Js:
    """Run JavaScript in Node.js: ``load`` is the module's, ``asked`` the argument, and what
    ``answer`` is set to comes back.
    """
    node = shutil.which("node")
    if not node:
        pytest.skip("needs Node.js: apt-get install nodejs")

    def run(module: Path, script: str, asked: Any = None) -> Any:
        code = f"""
        import {{ readFileSync }} from "node:fs";
        import * as buddy from {json.dumps((module / "buddy.js").as_uri())};
        const asked = JSON.parse(readFileSync(0, "utf8"));
        let answer;
        {script}
        console.log(JSON.stringify(answer));
        """
        done = subprocess.run(
            [node, "--input-type=module", "--eval", code],
            input=json.dumps(asked),
            capture_output=True,
            encoding="utf-8",
            timeout=HANG,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def exports(reference: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """The export of one of `MODELS`, and in Python what has the same rounded weights."""
    return exporting("js", "", reference, tmp_path_factory.mktemp("js"))


@pytest.mark.parametrize("weights", FORMATS["js"].weights)
@pytest.mark.parametrize("name", MODELS)
def test_node_generates_the_golden_texts(
    name: str, weights: str, reference: Callable[[str], str], js: Js, tmp_path: Path
):
    done = export("js", reference(name), tmp_path / "out", weights=weights)
    assert done.checked.startswith("Node.js ")
    assert done.checked.endswith(" generates the golden texts")
    assert sorted(p.name for p in done.path.iterdir()) == ["buddy.d.ts", "buddy.js", "package.json"]
    if name != "grouped":
        assert (done.path / "buddy.js").stat().st_size <= {"int8": 150_000, "int4": 100_000}[
            weights
        ]
    again = export("js", reference(name), tmp_path / "again", weights=weights)
    for path in done.path.iterdir():
        assert path.read_bytes() == (again.path / path.name).read_bytes()
    facts = js(
        done.path, "const m = buddy.load(); answer = { ...m.config, parameters: m.parameters }"
    )
    config = open_model(reference(name)).config
    assert facts["parameters"] == config.parameters
    assert facts["maxPositionEmbeddings"] == config.max_position_embeddings
    assert facts["headDim"] == config.head_dim


SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"temperature": 0},
    {"top_k": 0, "max_new_tokens": 60},
    {"top_k": 500, "temperature": 1.1, "max_new_tokens": 60},
    {"top_k": 0, "top_p": 0.8},
    {"top_p": 0.7, "min_p": 0.02},
    {"repetition_penalty": 1.3, "temperature": 0.6, "min_p": 0.1, "top_k": 0},
    {"stop": ["zzz", ". "]},
    {"stop": "Then"},
    {"max_new_tokens": 0},
    {"seed": 2**63 - 1, "max_new_tokens": 40},
)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_tells_the_same_story_as_in_python(name: str, js: Js, exports: Exports):
    """Past the context too: stories are up to 200 tokens long, of which it sees 96 or 128."""
    module, model = exports(name)
    asked = [
        (prompt, {"seed": seed, "max_new_tokens": 200} | settings)
        for seed, (prompt, settings) in enumerate(
            (prompt, settings)
            for settings in SETTINGS
            for prompt in ("Once upon a time", "", "The")
        )
    ]
    script = """
    const m = buddy.load();
    const notes = [];
    answer = [];
    for (const [prompt, settings] of asked) {
      const seed = BigInt(settings.seed);
      const how = { ...settings, seed, onNote: (note) => notes.push(note) };
      let story = "";
      for await (const piece of m.stream(prompt, how)) story += piece;
      if (story !== m.generate(prompt, { ...how, onNote() {} })) throw new Error(prompt);
      answer.push(story);
    }
    answer = { stories: answer, notes };
    """
    in_javascript = [
        (
            prompt,
            {_camel(key): value for key, value in settings.items()}
            | {"seed": str(settings["seed"])},
        )
        for prompt, settings in asked
    ]
    theirs = js(module, script, in_javascript)
    notes: list[str] = []
    model.on_note = notes.append
    for (prompt, settings), story in zip(asked, theirs["stories"], strict=True):
        assert story == model.generate(prompt, **settings), (prompt, settings)
    assert theirs["notes"] == notes != []


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


@pytest.mark.parametrize("name", [*MODELS, "seen", "characters"])
def test_text_is_encoded_and_decoded_as_in_python(
    name: str, js: Js, exports: Exports, tmp_path: Path
):
    if name in MODELS:
        module, tokenizer = exports(name)[0], exports(name)[1].tokenizer
    else:
        stories = [generate_tale(index).text for index in range(60)]
        how = ("bpe", "seen") if name == "seen" else ("characters", "seen")
        tokenizer = train_tokenizer(stories, 300 if name == "seen" else 80, *how)
        module = _untrained(tokenizer, tmp_path)
    assert isinstance(tokenizer, Tokenizer)
    texts = [*_texts(), "".join(chr(c) for c in range(0x250))]
    ids = [random.Random(1).choices(range(-1, tokenizer.vocab_size + 2), k=300) for _ in range(20)]
    script = """
    const { tokenizer } = buddy.load();
    answer = {
      kind: tokenizer.kind,
      size: tokenizer.vocabSize,
      encoded: asked.texts.map((text) => tokenizer.encode(text)),
      unknown: asked.texts.map((text) => tokenizer.unknown(text)),
      decoded: asked.ids.map((ids) => tokenizer.decode(ids)),
      pieces: asked.ids.map((ids) => [...ids, undefined].map(tokenizer.decoder())),
    };
    """
    found = js(module, script, {"texts": texts, "ids": ids})
    assert (found["kind"], found["size"]) == (tokenizer.kind, tokenizer.vocab_size)
    for text, theirs, unknown in zip(texts, found["encoded"], found["unknown"], strict=True):
        ours = tokenizer.encode(text)
        assert theirs == ours, text
        lost = (c for c in dict.fromkeys(text) if tokenizer.lost_bytes(c, tokenizer.encode(c)))
        assert unknown == "".join(lost)
    assert found["decoded"] == [tokenizer.decode(some) for some in ids]
    for some, pieces in zip(ids, found["pieces"], strict=True):
        ours = list(tokenizer.decode_stream(some))
        assert pieces == [*ours, *[""] * (len(pieces) - len(ours))]


def _texts() -> list[str]:
    """Random texts of what is common in stories, and of what is not."""
    parts = (
        *(
            "Once upon a time",
            " there was",
            " a dog",
            "'s",
            "'ll",
            "don't",
            " 's",
            "<eos>",
            "<bos>",
        ),
        *("\r\n", "\n\n\n", "\t\t", "  ", " ", "\u00a0", "\u0085", "\ufeff", "\u2028", "\x00"),
        *(
            "café",
            "日本",
            "😀",
            "👩‍👩‍👧",
            "e\u0301",
            "ß",
            "٣",
            "Ⅷ",
            "½",
            "\U0010ffff",
            "-",
            "...",
            "“",
        ),
        *("a" * 40, "ab" * 300, "the" * 500, "?!", "12345", "A", "z", "_"),
    )
    drawn = random.Random(0)
    return ["", *parts, *("".join(drawn.choices(parts, k=drawn.randint(1, 9))) for _ in range(300))]


def _untrained(tokenizer: Tokenizer, folder: Path) -> Path:
    """An export of random weights with a tokenizer."""
    config = ModelConfig(tokenizer.vocab_size, 8, 9, 1, 2, 1, 16)
    weights = random_weights(config, 0, 0.1)
    write_model(folder / "model", ModelFiles(config, weights, tokenizer, SampleConfig()))
    return export("js", folder / "model", folder / "out").path


@pytest.mark.parametrize("name", MODELS)
def test_what_is_inside_is_what_transformers_computes(
    name: str, js: Js, reference: Callable[[str], str], exports: Exports, tmp_path: Path
):
    files = open_model(reference(name))
    assert isinstance(files, ModelFiles)
    write_model(tmp_path / "m", replace(files, weights=quantized(files.weights, 8)))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "m", attn_implementation="eager")
    script = """
    const session = buddy.load().session(asked);
    const plain = (numbers) => Array.from(numbers);
    answer = session.ids.map((_, index) => {
      const { id, embedding, layers, logits } = session.inspect(index);
      return {
        id,
        embedding: plain(embedding),
        attention: layers.map((layer) => layer.attention.map(plain)),
        residual: layers.map((layer) => plain(layer.residual)),
        neurons: layers.map((layer) => plain(layer.neurons)),
        attended: layers.map((layer) => plain(layer.attended)),
        logits: plain(logits),
      };
    });
    const last = session.inspect().logits;
    if (last.some((score, id) => score !== session.logits[id])) throw new Error("other logits");
    """
    found = js(exports(name)[0], script, PROMPTS[1])
    ids = [row["id"] for row in found]
    assert ids == golden(files, [PROMPTS[1]])[0].ids
    neurons: list[torch.Tensor] = []
    attended: list[torch.Tensor] = []
    for layer in model.model.layers:
        layer.mlp.down_proj.register_forward_pre_hook(lambda _, x: neurons.append(x[0][0]))
        layer.post_attention_layernorm.register_forward_pre_hook(
            lambda _, x: attended.append(x[0][0])
        )
    with torch.inference_mode():
        theirs = model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
    for index, row in enumerate(found):
        np.testing.assert_allclose(row["logits"], theirs.logits[0, index], atol=1e-4)
        np.testing.assert_allclose(row["embedding"], theirs.hidden_states[0][0, index], atol=1e-5)
        for layer, attention in enumerate(theirs.attentions):
            ours = np.array(row["attention"][layer])
            np.testing.assert_allclose(ours, attention[0, :, index, : index + 1], atol=1e-5)
            np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-5)
            np.testing.assert_allclose(row["neurons"][layer], neurons[layer][index], atol=1e-4)
            np.testing.assert_allclose(row["attended"][layer], attended[layer][index], atol=1e-4)
        for layer, after in enumerate(theirs.hidden_states[1:-1]):  # the last one is normed
            np.testing.assert_allclose(row["residual"][layer], after[0, index], atol=1e-4)


def test_one_can_step_and_go_back(js: Js, exports: Exports):
    """Also over the places where the window slides, and from a prompt that is longer than it."""
    module, model = exports("grouped")
    context = model.config.max_position_embeddings
    script = """
    const model = buddy.load();
    const same = (a, b) => a.logits.every((score, id) => score === b.logits[id]);
    for (const prompt of ["Once", "The dog ran. ".repeat(60)]) {
      const session = model.session(prompt);
      const before = [];
      for (let i = 0; i < 200; i++) {
        before.push([session.start, session.logits.slice()]);
        session.step(3 + ((i * 7) % 60));
      }
      while (before.length) {
        const [start, logits] = before.pop();
        session.back();
        if (start !== session.start || !same(session, { logits })) throw new Error("it differs");
      }
      const first = model.session();
      while (session.ids.length > 1) session.back();
      if (!same(session, first) || session.start !== 0) throw new Error("another beginning");
    }
    const session = model.session("Once upon a time");
    const drawn = new buddy.PCG32(7);
    const ids = [];
    for (let i = 0; i < 20; i++) {
      ids.push(buddy.draw(session.probabilities(), drawn));
      session.step(ids.at(-1));
    }
    const story = "Once upon a time" + model.tokenizer.decode(ids);
    answer = { story, start: model.session("a ".repeat(asked)).start };
    """
    found = js(module, script, context)
    assert found["story"] == model.generate("Once upon a time", seed=7, max_new_tokens=20)
    length = 1 + len(model.tokenizer.encode("a " * context))
    assert found["start"] == length - context // 2


def test_bad_input_is_said(js: Js, exports: Exports):
    script = """
    const model = buddy.load();
    const damaged = asked.map((at) => {
      const bytes = new Uint8Array(200).fill(7);
      bytes.set([66, 85, 68, 68, 89, 10, 1, 8]);
      return bytes.slice(0, at);
    });
    const tries = [
      () => model.generate("Once", { temprature: 1 }),
      () => model.generate("Once", { temperature: 101 }),
      () => model.generate("Once", { temperature: "hot" }),
      () => model.stream("Once", { topK: 1.5 }),
      () => model.stream("Once", { seed: -1 }),
      () => model.stream("Once", { stop: [1] }),
      () => model.generate("half \\ud83d"),
      () => model.generate(7),
      () => model.session().step(-1),
      () => model.session().step(1e6),
      () => model.session().back(),
      () => model.session().inspect(1),
      () => buddy.load(new TextEncoder().encode("not a model")),
      ...damaged.map((bytes) => () => buddy.load(bytes)),
    ];
    answer = tries.map((run) => {
      try {
        run();
      } catch (error) {
        return `${error.name}: ${error.message}`;
      }
    });
    """
    said = js(exports(NAME)[0], script, [8, 104, 200])
    assert said[0].startswith("TypeError: There is no setting temprature, but repetitionPenalty, ")
    assert said[1] == "RangeError: temperature must be a number from 0 to 100, not 101."
    assert said[3] == "RangeError: topK must be a whole number, 0 or more, not 1.5."
    assert said[6].startswith("RangeError: The text holds half a character")
    assert said[10] == "RangeError: There is nothing before <bos>."
    assert said[-1] == "Error: This .buddy file has an impossible shape, or is too large."
    assert all(said)


def test_it_opens_any_compact_file(js: Js, exports: Exports, tmp_path: Path):
    module = exports(NAME)[0]
    model = exports("grouped")[1]
    files = open_model(model.path or "")
    assert isinstance(files, ModelFiles)
    write_compact(tmp_path / "other.buddy", files, 8)
    script = """
    const other = buddy.load(readFileSync(asked.path));
    const damaged = readFileSync(asked.path);
    let refused = 0;
    for (let at = 104; at < damaged.length; at += 997) {
      const bytes = damaged.slice();
      bytes[at] ^= 0x55;
      try {
        buddy.load(bytes).generate("", { maxNewTokens: 3 });
      } catch {
        refused++;
      }
    }
    answer = { story: other.generate("One day", { seed: 3, maxNewTokens: 30 }), refused };
    """
    found = js(module, script, {"path": str(tmp_path / "other.buddy")})
    assert found["story"] == model.generate("One day", seed=3, max_new_tokens=30)
    assert found["refused"] > 0


def test_whatever_zlib_packs_is_unpacked(js: Js, exports: Exports, tmp_path: Path):
    """Stored, fixed and dynamic blocks, long matches; and what is cut off ends in an error."""
    shutil.copy(HERE / "inflate.js", tmp_path / "inflate.mjs")
    noise = np.random.default_rng(0)
    texts = [
        b"",
        b"a" * 100_000,
        noise.bytes(70_000),
        b"".join(generate_tale(index).text.encode() for index in range(200)),
        bytes(noise.binomial(40, 0.5, 50_000).astype(np.uint8)),
    ]
    strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)
    cases = []
    for text in texts:
        for level, strategy in [(0, 0), (1, 0), *((9, strategy) for strategy in strategies)]:
            packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
            packed = packer.compress(text) + packer.flush()
            cases.append((packed.hex(), len(text), hashlib.sha256(text).hexdigest()))
    script = """
    const { createHash } = await import("node:crypto");
    const { inflate } = await import(asked.inflate);
    const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
    let cut = 0;
    answer = asked.cases.map(([packed, size]) => {
      const bytes = Buffer.from(packed, "hex");
      try {
        inflate(bytes.subarray(0, bytes.length - 1), size);
      } catch {
        cut++;
      }
      return sha256(inflate(bytes, size));
    });
    answer.push(cut);
    """
    asked = {"inflate": (tmp_path / "inflate.mjs").as_uri(), "cases": cases}
    *found, cut = js(exports(NAME)[0], script, asked)
    assert found == [digest for _, _, digest in cases]
    assert cut == len(cases)


def test_another_tokenizer_is_refused(tmp_path: Path):
    files = read_model(find_directory(NAME))
    other = LoadedModel(files.config, files.weights, files.tokenizer, files.sample)
    with pytest.raises(TinybuddyError, match=r"is llama2\.c's, which the format cannot hold"):
        write(other, tmp_path / "out", "int8")


def test_a_story_lets_others_go_on(js: Js, exports: Exports):
    """It would never end if `stream` kept timers from running; and it ends where one breaks off."""
    script = """
    const model = buddy.load();
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const settings = { maxNewTokens: 1e9, onNote() {}, temperature: 9 };
    for await (const piece of model.stream("", settings)) {
      if (ticks === 5) break;
    }
    clearInterval(timer);
    answer = ticks;
    """
    assert js(exports("grouped")[0], script) == 5


def test_a_single_file_is_the_same_module(exports: Exports, cli: Cli, tmp_path: Path):
    module = exports(NAME)[0]
    for name in ("buddy.js", "buddy.mjs"):
        done = cli("export", "js", NAME, "-o", name, "--json")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name).read_bytes() == (module / "buddy.js").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["buddy.js", "buddy.mjs"]


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        (
            "const half = headDim / 2;\n    for (let h",
            "const half = 1;\n    for (let h",
            "continues",
        ),
        ("bos = 1;", "bos = 0;", "reads"),
        ("<= target", "< target / 2", "draws another story"),
        ("export function load", "function load", "does not run"),
    ],
)
def test_a_module_that_does_otherwise_is_not_kept(
    was: str, becomes: str, says: str, exports: Exports, js: Js, tmp_path: Path
):
    """A wrong pairing of the rotary positions among them."""
    text = (exports(NAME)[0] / "buddy.js").read_text("utf-8")
    assert was in text
    (tmp_path / "buddy.js").write_text(text.replace(was, becomes), encoding="utf-8")
    with pytest.raises(TinybuddyError, match=f"{says}.*not kept"):
        check(read_model(find_directory(NAME)), tmp_path, "int8")


USAGE = """
import { draw, load, PCG32, type Inspection, type Settings } from "./buddy.js";
const model = load();
const settings: Settings = { seed: 1n, topK: 20, stop: ["."], onNote: (note) => note.length };
async function tell(): Promise<string> {
  let story = "";
  for await (const piece of model.stream("Once upon a time", settings)) story += piece;
  return story + model.generate("One day", { temperature: 0 });
}
const session = model.session("Once");
session.step(draw(session.probabilities({ topP: 0.9 }), new PCG32(1)));
const inside: Inspection = session.inspect();
const attention: Float32Array = inside.layers[0].attention[0];
const id: number = session.back();
tell();
export { attention, id };
"""


@pytest.mark.slow
def test_the_types_hold(exports: Exports, tmp_path: Path):
    tsc = shutil.which("tsc")
    if not tsc:
        pytest.skip("needs TypeScript: apt-get install node-typescript")
    shutil.copytree(exports(NAME)[0], tmp_path, dirs_exist_ok=True)
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "usage.ts"]

    def said(code: str) -> str:
        (tmp_path / "usage.ts").write_text(code, encoding="utf-8")
        done = subprocess.run([tsc, *options], cwd=tmp_path, capture_output=True, text=True)
        return done.stdout

    assert said(USAGE) == ""
    for was, becomes in (("topK: 20", "topK: '20'"), ("stop:", "halt:"), ("session.back()", "''")):
        assert "error TS" in said(USAGE.replace(was, becomes))


WORKER = """
import { answer } from "./check.mjs";
import { load } from "./buddy.js";
const model = load();
let stopped = false;
onmessage = async ({ data }) => {
  if (data === "stop") stopped = true;
  else if (data !== "start") postMessage(answer(model, data));
  else {
    let tokens = 0;
    const settings = { seed: null, onNote() {} };
    while (!stopped) for await (const piece of model.stream("", settings)) tokens++;
    postMessage(tokens);
  }
};
"""

PAGE = """
<!doctype html>
<script type="module">
import { answer } from "./check.mjs";
import { load } from "./buddy.js";

const send = (body) => fetch("/found", { method: "POST", body: JSON.stringify(body) });
const frame = () => new Promise(requestAnimationFrame);
addEventListener("error", (event) => send({ error: event.message }));
addEventListener("unhandledrejection", (event) => send({ error: String(event.reason) }));

const asked = await (await fetch("./asked.json")).json();
const worker = new Worker("./worker.js", { type: "module" });
worker.onerror = (event) => send({ error: event.message });
const from = (message) =>
  new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.postMessage(message);
  });

const inWorker = await from(asked);
const going = from("start"); // it generates until it is told to stop
for (let i = 0; i < 30; i++) await frame();
worker.postMessage("stop");
const tokens = await going;

// On the page itself, stream lets frames be drawn.
const model = load();
let frames = 0;
const count = () => {
  frames++;
  requestAnimationFrame(count);
};
requestAnimationFrame(count);
while (frames < 5) {
  for await (const piece of model.stream("", { onNote() {} })) if (frames >= 5) break;
}

await send({ page: answer(model, asked), inWorker, tokens, frames });
</script>
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_chromium_generates_the_golden_texts(
    name: str, reference: Callable[[str], str], exports: Exports, tmp_path: Path
):
    """In a page, and in a worker that does not keep the page from drawing 30 frames meanwhile."""
    module, model = exports(name)
    files = open_model(reference(name))
    rounded = replace(files, weights=quantized(files.weights, 8))
    shutil.copy(module / "buddy.js", tmp_path)
    shutil.copy(CHECK, tmp_path)
    (tmp_path / "worker.js").write_text(WORKER, encoding="utf-8")
    (tmp_path / "index.html").write_text(PAGE, encoding="utf-8")
    stories = [["Once upon a time", {"seed": seed}] for seed in range(3)]
    asked = {"prompts": PROMPTS, "tokens": TOKENS, "stories": stories}
    (tmp_path / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    found = open_page(tmp_path, "index.html")
    assert "error" not in found, found
    for where in ("page", "inWorker"):
        for case, theirs in zip(golden(rounded), found[where]["golden"], strict=True):
            compare(case, theirs["ids"], theirs["new"], module, "Chromium")
        assert found[where]["stories"] == [
            model.generate(prompt, **settings) for prompt, settings in stories
        ]
    assert found["tokens"] > 0
    assert found["frames"] >= 5
