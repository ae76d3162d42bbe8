"""The format gguf, in llama.cpp."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exporters.conftest import MODELS, ending
from tests.formats.llama2c_files import (
    LETTERS,
    SHAPE,
    WORDS,
    model_bytes,
    tokenizer_bytes,
    vocabulary,
)
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.corpus.tales import generate_tale
from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters.charsmap import dropping_all_but
from tinybuddy.exporters.gguf import TYPES, check, write
from tinybuddy.exporters.golden import golden
from tinybuddy.exporters.session import export
from tinybuddy.formats.loaded import LoadedModel, ModelFiles
from tinybuddy.formats.references import open_model
from tinybuddy.tokenizer import Tokenizer
from tinybuddy.tokenizer.assembly import unigram
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.weights import random_weights

CARD, DEFAULT, GROUPED = MODELS
TALES = [generate_tale(index).text for index in range(100)]
OTHERS = ["日本 Ünïcödé Привет мир 😀 λόγος “Hi”"] * 20  # often enough to be known


@pytest.fixture(scope="module")
def llama_cpp() -> Any:
    return pytest.importorskip("llama_cpp", reason="needs pip install 'tinybuddy[llama-cpp]'")


def _open(llama_cpp: Any, path: Path, **options: object) -> Any:
    return llama_cpp.Llama(str(path), n_threads=1, verbose=False, **options)


def _holding(tokenizer: Tokenizer, vocab_size: int | None = None) -> ModelFiles:
    """A random model with a tokenizer."""
    config = ModelConfig(vocab_size or tokenizer.vocab_size, 32, 32, 1, 2, 1, 64)
    return ModelFiles(config, random_weights(config, 0, 0.1), tokenizer, SampleConfig())


@pytest.mark.slow
@pytest.mark.usefixtures("llama_cpp")
@pytest.mark.parametrize("weights", ["float32", "float16"])
@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_generates_the_golden_texts(
    name: str, weights: str, reference: Callable[[str], str], tmp_path: Path
):
    done = export("gguf", reference(name), tmp_path / "tiny.gguf", weights=weights)
    assert done.checked.startswith("llama.cpp (llama-cpp-python ")
    assert done.checked.endswith(") generates the golden texts")
    assert done.path.is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("llama_cpp")
@pytest.mark.parametrize("weights", ["q8_0", "q4_0"])
def test_weights_in_blocks(weights: str, reference: Callable[[str], str], tmp_path: Path):
    model = open_model(reference(GROUPED))
    out = tmp_path / "tiny.gguf"
    write(model, out, weights)
    assert check(model, out, weights).endswith(" generates the golden texts")
    compared = sum(len(case.new) for case in golden(model, lead=TYPES[weights].lead))
    assert compared >= 10  # so that the check could have failed
    types = {tensor.tensor_type.name for tensor in gguf.GGUFReader(out).tensors}
    assert types == {"F32", weights.upper()}  # norms, and all matrices
    bits = 8.5 if weights == "q8_0" else 4.5
    assert out.stat().st_size < model.config.parameters * bits / 8 + 40_000


def test_rows_that_make_no_blocks_are_refused(tmp_path: Path):
    for name, says in (
        (CARD, "embed_tokens.weight have 48"),
        (DEFAULT, f"down_proj.weight have {open_model(DEFAULT).config.intermediate_size} "),
    ):
        with pytest.raises(TinybuddyError, match=says):
            export("gguf", name, tmp_path / "tiny.gguf", weights="q8_0")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_it_stops_at_the_end_of_the_story(
    name: str, reference: Callable[[str], str], llama_cpp: Any, tmp_path: Path
):
    model, end = ending(open_model(reference(name)))
    write(model, tmp_path / "tiny.gguf", "float32")
    llama = _open(llama_cpp, tmp_path / "tiny.gguf", n_ctx=0)
    (choice,) = llama(end.prompt, temperature=0, max_tokens=80)["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["text"] == model.tokenizer.decode(end.new)


@pytest.mark.slow
@pytest.mark.usefixtures("llama_cpp")
@pytest.mark.parametrize("name", MODELS)
def test_other_rotary_pairs_are_not_kept(
    name: str, reference: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tinybuddy.exporters.gguf.adjacent_pairs", lambda matrix, _: matrix)
    with pytest.raises(TinybuddyError, match=r"llama\.cpp .* continues '.*' otherwise"):
        export("gguf", reference(name), tmp_path / "tiny.gguf")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("llama_cpp")
def test_what_is_no_model_is_not_kept(tmp_path: Path):
    model = open_model(CARD)
    write(model, tmp_path / "tiny.gguf", "float32")
    data = (tmp_path / "tiny.gguf").read_bytes()
    (tmp_path / "tiny.gguf").write_bytes(data[: len(data) // 2])
    with pytest.raises(TinybuddyError, match="does not open"):
        check(model, tmp_path / "tiny.gguf", "float32")


def _texts() -> list[str]:
    """Stories, and random texts of ever more characters."""
    draw = random.Random(0)
    kinds = (
        " \n\t'sdtremv.,!a1é",
        "abc  '\u2019“”—…é\u3000\xa0😀日本",
        " \r\n\x0b\x0c\x85\u2028\u200b aB9'",
        [chr(code) for code in range(1, 0x3000) if code != 0x2581],
        [
            chr(code)
            for code in range(1, 0x110000)
            if not 0xD800 <= code < 0xE000 and code != 0x2581
        ],
    )
    return TALES + ["".join(draw.choices(draw.choice(kinds), k=30)) for _ in range(2000)]


def _others(
    llama_cpp: Any, model: LoadedModel, path: Path, texts: Iterable[str]
) -> list[tuple[list[int], list[int]]]:
    """Ids of texts by ours and by llama.cpp, where they differ."""
    write(model, path, "float32")
    llama = _open(llama_cpp, path, vocab_only=True)
    pairs = []
    for text in texts:
        ours = [model.tokenizer.bos, *model.tokenizer.encode(text)]
        theirs = llama.tokenize(text.encode("utf-8"), add_bos=True, special=False)
        if ours != theirs:
            pairs.append((ours, theirs))
    return pairs


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bpe", "characters", "llama2c", "unused"])
def test_it_reads_any_text_as_we_do(kind: str, llama_cpp: Any, tmp_path: Path):
    match kind:
        case "bpe":
            model = open_model(CARD)
        case "unused":
            model = _holding(train_tokenizer(TALES, 400), vocab_size=410)
        case "characters":
            model = _holding(train_tokenizer(TALES + OTHERS, 300, kind, "seen", 5))
        case _:
            (tmp_path / "small.bin").write_bytes(model_bytes(SHAPE))
            words = [" t", "he", " the", "nd", " a", " and", "“", *" .ethand"]
            pieces = vocabulary([word.encode() for word in words])
            (tmp_path / "tok280.bin").write_bytes(tokenizer_bytes(*pieces))
            model = open_model(tmp_path / "small.bin")
    assert not _others(llama_cpp, model, tmp_path / "tiny.gguf", [*_texts(), "", " ", "\n"])


@pytest.mark.slow
def test_it_reads_unigram_as_we_do_but_for_ties(llama_cpp: Any, tmp_path: Path):
    tokenizer = train_tokenizer(TALES + OTHERS, 500, "unigram", "seen", 5)
    model, path, texts = _holding(tokenizer), tmp_path / "tiny.gguf", [*_texts(), "\u2581a", " \n"]
    pairs = _others(llama_cpp, model, path, texts)
    assert len(pairs) < len(texts) / 100
    scores = [score for _, score in _vocabulary(tokenizer)]
    for ours, theirs in pairs:
        assert tokenizer.decode(ours) == tokenizer.decode(theirs)
        assert sum(scores[id] for id in ours) == pytest.approx(sum(scores[id] for id in theirs))
    assert _others(llama_cpp, model, path, ["a\0b"]) == [
        ([1, *tokenizer.encode("ab")], [1, *tokenizer.encode("a"), 0, *tokenizer.encode("b")])
    ]


def _vocabulary(tokenizer: Tokenizer) -> list[tuple[str, float]]:
    return json.loads(tokenizer.to_json())["model"]["vocab"]


def _mapped(charsmap: bytes, text: bytes) -> bytes:
    """What sentencepiece's map makes of a text: at each place the longest match is replaced."""
    (size,) = struct.unpack_from("<I", charsmap)
    units = struct.unpack_from(f"<{size // 4}I", charsmap, 4)
    replacements, mapped, begin = charsmap[4 + size :], b"", 0
    while begin < len(text):
        unit, found = units[0] >> 10, None
        for end, byte in enumerate(text[begin:], start=begin + 1):
            unit ^= byte
            if byte == 0 or units[unit] & (1 << 31 | 255) != byte:
                break
            child = unit ^ units[unit] >> 10
            if units[unit] & 256:
                found = end, units[child] & ~(1 << 31)
            unit = child
        if found:
            begin, at = found
            mapped += replacements[at : replacements.index(0, at)]
        else:
            mapped += text[begin : begin + 1]
            begin += 1
    return mapped


@given(st.text(max_size=30), st.sets(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_the_map_drops_all_other_characters(text: str, known: set[str]):
    text += "".join(known)
    charsmap = dropping_all_but(known - {"\0"})
    kept = "".join(character for character in text if character in known | {"\0"})
    assert _mapped(charsmap, text.encode()) == kept.encode()


def test_the_map_of_many_characters():
    known = [chr(code) for code in range(0x100, 0x10000) if not 0xD800 <= code < 0xE000]
    assert (
        _mapped(dropping_all_but(known), "Ünïcödé λόγος 日本 😀".encode()) == "λόγος日本".encode()
    )
    scattered = [chr(code) for code in range(0x100, 0x110000, 32) if not 0xD800 <= code < 0xE000]
    with pytest.raises(TinybuddyError, match="too many different characters"):
        dropping_all_but(scattered)


def test_it_holds_each_weight_once(tmp_path: Path):
    card = open_model(CARD)
    write(card, tmp_path / "tiny.gguf", "float32")
    reader = gguf.GGUFReader(tmp_path / "tiny.gguf")
    assert sum(tensor.n_elements for tensor in reader.tensors) == card.config.parameters
    settings = {name: field.contents() for name, field in reader.fields.items()}
    assert settings["general.architecture"] == "llama"
    assert settings["tokenizer.ggml.pre"] == "gpt-2"
    assert settings["llama.context_length"] == card.config.max_position_embeddings
    assert settings["llama.rope.freq_base"] == card.config.rope_theta
    ids = [settings[f"tokenizer.ggml.{name}_token_id"] for name in ("padding", "bos", "eos")]
    assert ids == [0, 1, 2]
    assert settings["tokenizer.ggml.add_bos_token"] is True
    assert settings["tokenizer.ggml.tokens"][:3] == ["<pad>", "<bos>", "<eos>"]


def test_a_directory_is_for_ollama(tmp_path: Path):
    out = export("gguf", CARD, tmp_path / "tiny").path
    assert sorted(path.name for path in out.iterdir()) == ["Modelfile", "model.gguf"]
    lines = (out / "Modelfile").read_text("utf-8").splitlines()
    assert lines[:2] == ["FROM ./model.gguf", "TEMPLATE {{ .Prompt }}"]
    assert {"PARAMETER num_ctx 128", "PARAMETER temperature 0.8", "PARAMETER top_k 40"} < {*lines}


def test_tokenizers_that_llama_cpp_has_not_are_refused(tmp_path: Path):
    (tmp_path / "small.bin").write_bytes(model_bytes(SHAPE))
    (tmp_path / "tok280.bin").write_bytes(tokenizer_bytes(*vocabulary(WORDS + LETTERS)))
    refused = {
        "has no BPE over characters": _holding(train_tokenizer(TALES, 200, "bpe", "seen", 5)),
        "knows the character \u2581": _holding(Tokenizer(unigram([("a", -1.0), ("\u2581", -1.0)]))),
        "or one twice": open_model(tmp_path / "small.bin"),
        "for llama2.c alone": open_model(
            export("llama2c", CARD, tmp_path / "out").path / "model.bin"
        ),
    }
    for says, model in refused.items():
        with pytest.raises(TinybuddyError, match=says) as raised:
            write(model, tmp_path / "tiny.gguf", "float32")
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "tiny.gguf").exists()
