"""The format onnx: proved by ONNX Runtime, and by transformers.js under Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from benchmarks.peers.onnx_runtime import Scorer, open_graph, run
from onnx.numpy_helper import from_array, to_array
from transformers import AutoTokenizer

from tests.conftest import HANG
from tests.exporters.conftest import MODELS
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.corpus import open_corpus
from tinybuddy.corpus.tales import generate_tale
from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters.golden import PROMPTS, golden
from tinybuddy.exporters.onnx import FILES, check
from tinybuddy.exporters.session import Exported, export
from tinybuddy.formats.hub import write_model
from tinybuddy.formats.loaded import LoadedModel, ModelFiles
from tinybuddy.formats.references import open_model
from tinybuddy.quantization import quantized
from tinybuddy.scoring import score
from tinybuddy.tokenizer.layout import EOS
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.training.run import Run
from tinybuddy.weights import random_weights

NODE = Path(__file__).parent / "node"
TEXTS = [
    "",
    " ",
    "\n\n",
    "A dog . It 's , don't ! 'TIS they'LL",
    '  two  spaces,\ta tab, \r\n "quotes" “curly” — and… ',
    "The café 日本 😀, naïve 👩‍👩‍👧 e\u0301 ½ 12 ٣ \u00a0",
    "[x] ^ \\ - & && ~ # $ . * + ? ( ) { } | / <b> [:alpha:]",
    "a" * 200,
    *(generate_tale(index).text for index in range(100, 110)),
]

# After one of which the story of each released model ends within the golden tokens.
LAST_LINES = ("The end.", "And they lived happily ever after.")

Export = Callable[[str, str], Exported]


@pytest.fixture(scope="module")
def exported(reference: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Export:
    @cache
    def run(name: str, weights: str) -> Exported:
        out = tmp_path_factory.mktemp("onnx") / "model"
        return export("onnx", reference(name), out, weights=weights)

    return run


def as_weighed(model: LoadedModel, weights: str) -> LoadedModel:
    """The model that an export must do as, with weights of a type."""
    if weights == "float32":
        return model
    return replace(model, weights=quantized(model.weights, 8))


def transformers_js(folder: Path, texts: list[str], prompts: list[tuple[str, int]]) -> Any:
    """What transformers.js makes of a directory; `node/transformers.mjs` says what comes back."""
    node = shutil.which("node")
    if not node or not (NODE / "node_modules").is_dir():
        pytest.skip("needs Node.js with npm, and transformers.js: make test-all installs it")
    done = subprocess.run(
        [node, NODE / "transformers.mjs", folder],
        input=json.dumps({"texts": texts, "prompts": prompts}),
        capture_output=True,
        encoding="utf-8",
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("weights", FILES)
@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_generates_the_golden_texts(name: str, weights: str, exported: Export):
    done = exported(name, weights)
    assert done.checked.startswith("ONNX Runtime 1.")
    path = done.path / "onnx" / FILES[weights][1]
    config = open_model(done.path).config
    stored = config.parameters * {"float32": 4, "int8": 1}[weights]
    assert stored < path.stat().st_size < stored + 10_000 + 10_000 * config.num_hidden_layers
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    assert not any(node.doc_string or node.metadata_props for node in graph.graph.node)


@pytest.mark.slow
@pytest.mark.parametrize("weights", FILES)
@pytest.mark.parametrize("name", MODELS)
def test_transformers_js_generates_the_golden_texts(name: str, weights: str, exported: Export):
    folder = exported(name, weights).path
    model = as_weighed(open_model(folder), weights)
    cases = golden(model, [*PROMPTS, *LAST_LINES])
    # Where the golden text ends with the story, another one would follow if this did not stop.
    wanted = [(c.prompt, len(c.new) + 20 * (c.new[-1:] == [EOS])) for c in cases]
    found = transformers_js(folder, TEXTS, wanted)
    assert found["version"].startswith("4.")
    assert found["new"] == [case.new for case in cases]
    assert found["ids"] == [[1, *model.tokenizer.encode(text)] for text in TEXTS]
    decoded = [model.tokenizer.decode(model.tokenizer.encode(text)) for text in TEXTS]
    assert found["decoded"] == decoded
    # The pipeline begins with <bos>, and goes on past the context; its batches are padded.
    for case, text in [(cases[0], found["pipeline"]), *zip(cases, found["batch"], strict=True)]:
        assert text.startswith(model.tokenizer.decode([*case.ids, *case.new[:10]])), text
    assert name == "grouped" or any(case.new[-1:] == [EOS] for case in cases)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bpe", "unigram", "characters"])
def test_transformers_js_reads_texts_alike(kind: str, tmp_path: Path):
    odd = '[x] ^ \\ - & ~ # $ . * + ? ( ) { } | / " \t é \u00a0 日 😀 :'
    stories = [*(generate_tale(index).text for index in range(60)), *[odd] * 9]
    alphabet = "bytes" if kind == "bpe" else "seen"
    tokenizer = train_tokenizer(stories, 420, kind, alphabet)
    config = ModelConfig(tokenizer.vocab_size, 8, 8, 1, 2, 1, 16)
    weights = random_weights(config, 0, 0.1)
    write_model(tmp_path / "m", ModelFiles(config, weights, tokenizer, SampleConfig()))
    texts = [*TEXTS, odd]
    found = transformers_js(tmp_path / "m", texts, [])
    ids = [tokenizer.encode(text) for text in texts]
    assert found["ids"] == [[1, *text] for text in ids]
    assert found["decoded"] == [tokenizer.decode(text) for text in ids]


@pytest.mark.slow
def test_wrong_positions_are_not_kept(exported: Export, tmp_path: Path):
    source = exported(MODELS[0], "float32").path
    folder = shutil.copytree(source, tmp_path / "copy")
    path, model = folder / "onnx" / "model.onnx", open_model(source)
    check(model, folder, "float32")
    graph = onnx.load(path)
    (turn,) = (tensor for tensor in graph.graph.initializer if tensor.name == "frequencies")
    turn.CopyFrom(from_array(to_array(turn)[::-1].copy(), turn.name))
    onnx.save(graph, path)
    with pytest.raises(TinybuddyError, match=r"ONNX Runtime .* continues .* otherwise"):
        check(model, folder, "float32")


@pytest.mark.slow
def test_texts_side_by_side_are_those_alone(exported: Export):
    session = open_graph(exported("grouped", "float32").path / "onnx" / "model.onnx")
    long, short = np.arange(3, 20), np.arange(30, 37)
    ids = np.stack([long, np.pad(short, (len(long) - len(short), 0))])
    mask = np.stack([np.ones_like(long), np.arange(len(long)) >= len(long) - len(short)])
    positions = np.where(mask, mask.cumsum(1) - 1, 1)  # as transformers.js counts them
    logits = run(session, ids, mask.astype(np.int64), positions)
    for row, alone in zip(logits, (long, short), strict=True):
        ones = np.ones((1, len(alone)), np.int64)
        expected = run(session, alone[None], ones, ones.cumsum(1) - 1)[0]
        np.testing.assert_allclose(row[-len(alone) :], expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS[:2])
def test_8_bits_cost_almost_nothing(name: str, exported: Export, tinystories: Path):
    stories = open_corpus(str(tinystories)).validation()[:200]
    model = open_model(name)
    found = {}
    for weights, (_, file) in FILES.items():
        scorer = Scorer(open_graph(exported(name, weights).path / "onnx" / file))
        context = model.config.max_position_embeddings
        found[weights] = score(scorer, model.tokenizer, context, stories).bits_per_byte
    assert found["int8"] - found["float32"] <= 0.002


def test_transformers_reads_texts_alike_too(
    small_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The pipeline of transformers.js needs add_bos_token, which adds no second <bos> here."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = export("onnx", small_run.path, tmp_path / "out")
    needs = "This needs ONNX Runtime: pip install 'tinybuddy[onnx]'."
    assert done.checked == f"not checked: {needs}"
    theirs, ours = AutoTokenizer.from_pretrained(done.path), open_model(done.path).tokenizer
    for text in TEXTS:
        assert theirs(text).input_ids == [1, *ours.encode(text)]


def test_what_transformers_js_would_read_otherwise_is_refused(tmp_path: Path):
    tokenizer = train_tokenizer([generate_tale(0).text], 90, "bpe", "seen", 1)
    config = ModelConfig(tokenizer.vocab_size, 8, 8, 1, 2, 1, 16)
    weights = random_weights(config, 0, 0.1)
    write_model(tmp_path / "m", ModelFiles(config, weights, tokenizer, SampleConfig()))
    with pytest.raises(TinybuddyError, match=r"transformers\.js would split a word"):
        export("onnx", tmp_path / "m", tmp_path / "out")
    assert not (tmp_path / "out").exists()
