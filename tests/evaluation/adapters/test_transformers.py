from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

import tinybuddy
from tinybuddy.config import SampleConfig
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.evaluation.adapters import transformers as foreign
from tinybuddy.evaluation.adapters.transformers import open_transformers
from tinybuddy.evaluation.evaluated import EvaluatedModel
from tinybuddy.scoring import log_likelihoods, score

NAME = "tinybuddy-80k-card"
TEXTS = [
    "The fox found a red leaf. It was glad.",
    "One day, Ben saw a bird. \u201cHello!\u201d said Ben.\nThe bird sang \U0001f426.",
]
END = "<|endoftext|>"


def byte_level(prefix_space: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def metaspace() -> Tokenizer:
    """As Llama's: a space before every text, which decoding takes off."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>", END], show_progress=False),
    )
    return tokenizer


def lower_case_words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.train_from_iterator(
        ["the fox found a red leaf. it was glad."] * 3,
        trainers.WordPieceTrainer(
            vocab_size=200, special_tokens=["[UNK]", END], show_progress=False
        ),
    )
    return tokenizer


def gpt2(vocab_size: int = 300) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocab_size,
            n_positions=32,
            n_embd=16,
            n_layer=2,
            n_head=2,
            initializer_range=0.5,
        )
    )


def save(
    folder: Path,
    model: PreTrainedModel | None = None,
    tokenizer: Tokenizer | None = None,
    **names: str,
) -> Path:
    (model or gpt2()).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer or byte_level(), **({"eos_token": END} | names)
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("foreign") / "tiny")


@pytest.fixture(scope="module")
def tiny(saved: Path) -> EvaluatedModel:
    return open_transformers(saved)


def test_our_own_model_is_the_same_through_transformers(tmp_path: Path, stories: list[str]):
    own = tinybuddy.load(NAME)
    evaluated = open_transformers(tinybuddy.export("hub", NAME, tmp_path / "model").path)
    assert evaluated.name == "model"
    assert evaluated.parameters == own.config.parameters == 83_856
    assert evaluated.context == own.config.max_position_embeddings
    codec = evaluated.tokenizer
    assert (codec.bos, codec.eos, codec.vocab_size) == (1, 2, own.tokenizer.vocab_size)
    texts = [*stories[:10], *TEXTS, "A <bos> and an <eos>."]
    assert [codec.encode(text) for text in texts] == [own.tokenizer.encode(text) for text in texts]
    found = score(evaluated.backend, codec, evaluated.context, texts)
    expected = own.score(texts)
    assert found.story_bits == pytest.approx(expected.story_bits, abs=1e-2)
    assert found.bits_per_byte == pytest.approx(expected.bits_per_byte, abs=1e-5)
    config = SampleConfig()
    texts = evaluated.generate(["Once upon a time"] * 3, [0, 1, 2], 200, config)
    assert texts == EvaluatedModel(
        "own", own.backend, own.tokenizer, evaluated.context, evaluated.parameters
    ).generate(["Once upon a time"] * 3, [0, 1, 2], 200, config)


def test_parameters_are_counted_once(tiny: EvaluatedModel):
    weights = gpt2().state_dict()
    weights.pop("lm_head.weight")  # the embedding again
    assert tiny.parameters == sum(w.numel() for w in weights.values())
    assert tiny.context == 32


def test_logarithms_are_those_of_transformers(tiny: EvaluatedModel):
    ids = np.random.default_rng(0).integers(0, 270, (3, 20))
    with torch.inference_mode():
        logits = gpt2().eval()(torch.from_numpy(ids)).logits.log_softmax(-1)[:, :-1]
    expected = logits.gather(-1, torch.from_numpy(ids[:, 1:, None]))[..., 0].numpy()
    found = tiny.backend.log_likelihoods(ids[:, :-1], ids[:, 1:])
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-4)


def test_large_vocabularies_are_computed_by_parts(
    tiny: EvaluatedModel, monkeypatch: pytest.MonkeyPatch
):
    ids = np.random.default_rng(0).integers(0, 270, (5, 20))
    whole = tiny.backend.log_likelihoods(ids[:, :-1], ids[:, 1:])
    for most in (1, 2 * 19 * 300):
        monkeypatch.setattr(foreign, "MAX_LOGITS", most)
        assert tiny.backend.log_likelihoods(ids[:, :-1], ids[:, 1:]) == pytest.approx(
            whole, abs=1e-5
        )


def mamba() -> MambaForCausalLM:
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=2, state_size=4)
    return MambaForCausalLM(config)


@pytest.mark.parametrize("make", [gpt2, mamba])
def test_streams_side_by_side_are_streams_alone(
    make: Callable[[], PreTrainedModel], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder = save(tmp_path / "model", make())
    capfd.readouterr()
    evaluated = open_transformers(folder)
    ids = np.random.default_rng(0).integers(0, 270, (3, 12))
    together = evaluated.backend.stream(3)
    alone = [evaluated.backend.stream() for _ in ids]
    for start, end in ((0, 6), (6, 7), (7, 8), (8, 11)):
        logits = together.feed(ids[:, start:end])
        assert logits.shape == (3, 300)
        assert logits.dtype == np.float32
        single = [s.feed(row[None, start:end])[0] for s, row in zip(alone, ids, strict=True)]
        assert logits == pytest.approx(np.array(single), abs=1e-4)
        log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        whole = evaluated.backend.log_likelihoods(ids[:, :end], ids[:, 1 : end + 1])[:, -1]
        assert log_p[range(3), ids[:, end]] == pytest.approx(whole, abs=1e-4)
    assert capfd.readouterr() == ("", "")


def test_any_text_goes_through_bytes(tiny: EvaluatedModel):
    codec = tiny.tokenizer
    assert codec.bos == codec.eos == 0  # GPT-2's config names 50256, which is none of it
    for text in [*TEXTS, "", f"a {END} b", " begins with a space", "e\u0301 \U0001f600\n\n "]:
        ids = codec.encode(text)
        assert 0 not in ids
        assert codec.decode(ids) == codec.decode([0, *ids, 0]) == text
        pieces = list(codec.decode_stream(ids))
        assert "".join(pieces) == text
        assert len(pieces) == len(ids)
        assert "\ufffd" not in "".join(pieces)
        assert codec.lost_bytes(text, ids) == codec.lost_bytes(text, [0, *ids, 0]) == 0
    half = codec.encode("\U0001f600")[:-1]
    assert half
    assert "".join(codec.decode_stream(half)) == codec.decode(half) == "\ufffd"
    with pytest.raises(UsageError, match="not valid Unicode"):
        codec.encode("\ud800")


@pytest.mark.parametrize("tokenizer", [lambda: byte_level(prefix_space=True), metaspace])
def test_a_space_before_a_text_is_no_part_of_it(tokenizer: Callable[[], Tokenizer], tmp_path: Path):
    codec = open_transformers(save(tmp_path / "m", tokenizer=tokenizer())).tokenizer
    text = "The fox was glad."
    ids = codec.encode(text)
    assert codec.decode([codec.bos, *ids]) == text
    assert codec.lost_bytes(text, ids) == 0
    # As a continuation the space is that between two words.
    assert codec.decode(ids) == " " + text
    assert "".join(codec.decode_stream(ids)) == " " + text
    assert "".join(codec.decode_stream([codec.bos, *ids])) == text


def test_bytes_that_a_tokenizer_cannot_represent_are_counted(tmp_path: Path):
    words = open_transformers(save(tmp_path / "words", tokenizer=lower_case_words())).tokenizer
    text = "the fox was glad."
    assert words.lost_bytes(text, words.encode(text)) == 0
    text = "The Fox was glad."  # two capitals
    assert words.lost_bytes(text, words.encode(text)) == 2
    text = "the fox was zzz. NUK"  # two unknown words, of the letters of [UNK], and a space
    assert words.lost_bytes(text, words.encode(text)) == 7
    text = "the fox\nwas glad."  # white space becomes a space
    assert words.lost_bytes(text, words.encode(text)) == 1
    spaced = open_transformers(save(tmp_path / "spaced", tokenizer=metaspace())).tokenizer
    text = "The fox \u00e9 was"
    assert spaced.lost_bytes(text, spaced.encode(text)) == 2


def test_lost_bytes_are_paid_for(tmp_path: Path):
    evaluated = open_transformers(save(tmp_path / "words", tokenizer=lower_case_words()))
    capital, small = (
        score(evaluated.backend, evaluated.tokenizer, 32, [f"{the} fox."]).bits
        for the in ("The", "the")
    )
    assert capital == pytest.approx(small + 8, abs=1e-4)


def test_a_tokenizer_names_beginning_and_end(tmp_path: Path):
    tokenizer = byte_level()
    tokenizer.add_special_tokens(["<start>"])
    folder = save(tmp_path / "a", gpt2(301), tokenizer, bos_token="<start>")
    codec = open_transformers(folder).tokenizer
    assert (codec.bos, codec.eos) == (tokenizer.token_to_id("<start>"), 0)
    folder = save(tmp_path / "b", gpt2(301), tokenizer)
    change_config(bos_token_id=codec.bos)(folder)
    assert open_transformers(folder).tokenizer.bos == codec.bos


def test_nan_is_found_by_scoring(tmp_path: Path):
    model = gpt2()
    model.transformer.wte.weight.data[5, 0] = float("nan")
    evaluated = open_transformers(save(tmp_path / "m", model))
    with pytest.raises(TinybuddyError, match="not finite"):
        log_likelihoods(evaluated.backend, evaluated.context, [[0, 1, 2]])


def change_config(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), encoding="utf-8")

    return change


def change_weights(folder: Path, name: str, weight: torch.Tensor | None) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights[name]
    if weight is not None:
        weights[name] = weight
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def drop_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def empty_tokenizer(folder: Path) -> None:
    Tokenizer(models.BPE()).save(str(folder / "tokenizer.json"))


BIAS = "transformer.h.0.attn.c_attn.bias"
CODE = {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (shutil.rmtree, "There is no model in"),
        (lambda folder: (folder / "config.json").write_text("{"), "not a valid JSON"),
        (lambda folder: (folder / "config.json").write_text("{}"), "no causal language model"),
        (change_config(model_type="unheard"), "no causal language model of its model_type"),
        (change_config(model_type="t5"), "no causal language model of its model_type"),
        (change_config(model_type="unheard", auto_map=CODE), "needs code of its authors"),
        (drop_tokenizer, "There is no tokenizer in"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot be opened"),
        (empty_tokenizer, "has no tokens"),
        (cut_weights, "cannot be opened: .*incomplete metadata"),
        (lambda folder: change_weights(folder, BIAS, None), f"lack {BIAS}"),
        (lambda folder: change_weights(folder, BIAS, torch.zeros(3)), f"lack .*{BIAS}.* shape"),
        (pickle_weights, r"holds no \.safetensors file"),
    ],
)
def test_what_cannot_be_opened_is_said_in_a_sentence(
    saved: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    said: str,
):
    folder = tmp_path / "damaged"
    shutil.copytree(saved, folder)
    (folder / "code.py").write_text("raise SystemExit('executed')", encoding="utf-8")
    damage(folder)
    with pytest.raises(TinybuddyError, match=said) as raised:
        open_transformers(folder)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(".")
    assert capfd.readouterr() == ("", "")


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
    )
    with pytest.raises(TinybuddyError, match="is not a causal language model"):
        open_transformers(save(tmp_path / "m", BertLMHeadModel(config)))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path):
    with pytest.raises(TinybuddyError, match="they do not belong together"):
        open_transformers(save(tmp_path / "m", gpt2(vocab_size=100)))


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path):
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="b"))
    folder = save(tmp_path / "m", tokenizer=tokenizer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    with pytest.raises(TinybuddyError, match="no token for the beginning or the end"):
        open_transformers(folder)


def test_transformers_is_asked_for(saved: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(TinybuddyError, match=r"pip install 'tinybuddy\[transformers\]'"):
        open_transformers(saved)
