"""A library behaves as one: it keeps its state, takes anybody's numbers, and prints nothing."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

import tinybuddy
from tinybuddy import TinybuddyError, TinybuddyWarning, UsageError
from tinybuddy.corpus import open_corpus, survey, verified
from tinybuddy.corpus.cache import cache_folder
from tinybuddy.corpus.kept import is_read_once, keep
from tinybuddy.evaluation.adapters import open_evaluated
from tinybuddy.formats.references import RELEASED
from tinybuddy.progress import Hooks
from tinybuddy.training.run import Run

MODEL = tinybuddy.load("tinybuddy-80k-card")


@pytest.mark.parametrize("copied", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy])
def test_copies_are_the_same(copied):
    for text in ("a <eos> b", "<bos>", "café 日本"):
        assert copied(MODEL.tokenizer).encode(text) == MODEL.tokenizer.encode(text)
    again = copied(MODEL)
    assert again.generate("Once", seed=1) == MODEL.generate("Once", seed=1)
    assert again.score("A cat.").bits == MODEL.score("A cat.").bits
    assert repr(again) == repr(MODEL)


def test_a_model_says_what_it_is(small_run: Run):
    assert repr(MODEL) == "<Model tinybuddy-80k-card: 83,856 parameters, context 128 tokens>"
    assert MODEL.parameters == 83_856
    assert small_run.model.name == small_run.path.name


def test_a_saved_model_is_the_same(tmp_path: Path):
    folder = MODEL.save(tmp_path / "saved")
    for name in ("config.json", "model.safetensors", "tokenizer.json", "generation_config.json"):
        original = RELEASED / "tinybuddy-80k-card" / name
        assert (folder / name).read_bytes() == original.read_bytes(), name
    assert tinybuddy.load(folder).generate(seed=2) == MODEL.generate(seed=2)


def test_numbers_of_numpy_are_numbers():
    assert MODEL.generate(
        "Once", seed=np.int64(3), temperature=np.float32(0.5), top_k=np.uint8(7), max_new_tokens=9
    ) == MODEL.generate("Once", seed=3, temperature=0.5, top_k=7, max_new_tokens=9)
    with pytest.raises(UsageError, match="top_k must be a whole number"):
        MODEL.generate("Once", top_k=7.0)


def test_no_seed_is_a_random_one():
    stories = {MODEL.generate("Once", seed=None, max_new_tokens=20) for _ in range(5)}
    assert len(stories) > 1


def test_several_texts_may_stop_it():
    text = MODEL.generate("Once", seed=1)
    first = min(text.find("."), text.find("was", 4))
    assert MODEL.generate("Once", seed=1, stop=[".", "was"]) == text[:first]


@pytest.mark.parametrize("threads", [0, -1, 2.5, True, 10_000, "2"])
@pytest.mark.parametrize("backend", ["engine", "torch"])
def test_threads_are_checked_alike(threads: object, backend: str):
    with pytest.raises(UsageError, match="threads must"):
        tinybuddy.load("tinybuddy-80k-card", threads=threads, backend=backend)  # type: ignore[arg-type]


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]):
    with pytest.warns(TinybuddyWarning, match="longer than the 128 tokens"):
        for seed in range(5):
            MODEL.generate("Once upon a time", seed=seed, max_new_tokens=300)
    assert capfd.readouterr() == ("", "")


def _saved_again(folder: Path, **options: object) -> Path:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(MODEL.path)
    model.to(options.pop("dtype", torch.float32)).save_pretrained(folder, **options)  # type: ignore[arg-type]
    AutoTokenizer.from_pretrained(MODEL.path).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("options", "exact"),
    [
        ({}, True),
        ({"max_shard_size": "150KB"}, True),
        ({"dtype": torch.bfloat16}, False),
        ({"dtype": torch.float16, "max_shard_size": "100KB"}, False),
    ],
)
def test_our_model_saved_again_by_transformers_is_still_ours(
    tmp_path: Path, options: dict[str, object], exact: bool
):
    again = tinybuddy.load(_saved_again(tmp_path / "again", **options))
    assert again.parameters == MODEL.parameters
    stories = ["Once upon a time, there was a cat.", "A dog ran."]
    ours, theirs = MODEL.score(stories).bits_per_byte, again.score(stories).bits_per_byte
    assert ours == theirs if exact else abs(ours - theirs) < 0.05
    assert open_evaluated(tmp_path / "again").parameters == MODEL.parameters


def test_with_a_token_added_it_is_left_to_transformers(tmp_path: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL.path)
    tokenizer.add_tokens(["<new>"])
    model = AutoModelForCausalLM.from_pretrained(MODEL.path)
    model.resize_token_embeddings(len(tokenizer))
    for it in (model, tokenizer):
        it.save_pretrained(tmp_path / "more")
    assert open_evaluated(tmp_path / "more").parameters == MODEL.parameters + 48


def test_an_index_of_shards_leads_nowhere_else(tmp_path: Path):
    folder = _saved_again(tmp_path / "again", max_shard_size="150KB")
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text("utf-8").replace("model-00001", "../model-00001"), "utf-8")
    with pytest.raises(TinybuddyError, match="names no files of weights"):
        tinybuddy.load(folder)


def test_half_numbers_are_widened_exactly(tmp_path: Path):
    folder = MODEL.save(tmp_path / "half")
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    halves = {name: array.astype(np.float16) for name, array in weights.items()}
    safetensors.numpy.save_file(halves, folder / "model.safetensors")
    read = tinybuddy.load(folder)._files.weights
    assert all((read[name] == half).all() for name, half in halves.items())


# ---------------------------------------------------------------- data


def test_a_list_of_texts_or_of_paths_is_data(tmp_path: Path):
    stories = [f"The fox number {n} ran to the old barn and slept." for n in range(60)]
    for number, part in enumerate((stories[:30], stories[30:])):
        (tmp_path / f"{number}.txt").write_text("\n<|endoftext|>\n".join(part), "utf-8")
    settings = {"steps": 2, "vocab_size": 300, "hooks": Hooks(), "max_position_embeddings": 16}
    texts = tinybuddy.train(data=stories, out=tmp_path / "texts", **settings)
    paths = tinybuddy.train(
        data=[tmp_path / "0.txt", tmp_path / "1.txt"], out=tmp_path / "paths", **settings
    )
    assert texts.result["bits_per_byte"] == paths.result["bits_per_byte"]
    assert texts.result["data"] == "the given text"
    with pytest.raises(UsageError, match="number 2 of the list is none"):
        tinybuddy.train(data=["a", 3], out=tmp_path / "none", **settings)


def test_what_is_read_once_is_kept(tmp_path: Path):
    import os
    import threading

    pipe = tmp_path / "stories.jsonl"
    os.mkfifo(pipe)
    assert is_read_once(str(pipe))
    assert is_read_once("/dev/fd/3")
    assert not is_read_once(str(tmp_path))
    writer = threading.Thread(target=pipe.write_bytes, args=(b'{"text": "A cat."}\n',))
    writer.start()
    kept = keep(str(pipe), tmp_path / "run")
    writer.join()
    assert kept == tmp_path / "run" / "input.jsonl"
    assert kept.read_bytes() == b'{"text": "A cat."}\n'


def test_text_that_changes_while_it_is_read_is_refused(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("\n<|endoftext|>\n".join(f"Story {n}." for n in range(50)), "utf-8")
    corpus, found = survey(open_corpus(str(path)))
    assert len(list(verified(corpus, found))) == 50
    path.write_text("\n<|endoftext|>\n".join(f"Story {n}!" for n in range(50)), "utf-8")
    with pytest.raises(TinybuddyError, match="has changed while it was read"):
        list(verified(corpus, found))
    with pytest.raises(TinybuddyError, match="has changed while it was read"):
        list(verified(survey(open_corpus(str(path)))[0], found))


def test_a_link_keeps_its_ending_and_a_tilde_is_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "blob").write_text(
        "".join(f'{{"text": "The fox number {n} ran home."}}\n' for n in range(60)), "utf-8"
    )
    (tmp_path / "s.jsonl").symlink_to("blob")
    run = tinybuddy.train(
        data="~/s.jsonl",
        out="~/run",
        steps=2,
        vocab_size=300,
        max_position_embeddings=16,
        hooks=Hooks(),
    )
    assert run.path == tmp_path / "run"
    assert tinybuddy.load("~/run").parameters == run.result["parameters"]
    found = survey(open_corpus("~/s.jsonl"))[1]
    assert (found.stories, found.validation_stories) == (50, 10)


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TINYBUDDY_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="cannot be written"):
        folder = cache_folder()
    (folder / "x").touch()
    assert cache_folder() == folder, "said once"


def test_every_place_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert MODEL.save("~/model") == tmp_path / "model"
    assert tinybuddy.info("~/model")["parameters"] == 83_856
    assert tinybuddy.info("~/model/config.json")["parameters"] == 83_856
    facts = tinybuddy.describe_corpus("tales", 30, out="~/tales.txt")
    assert facts["written"] == "~/tales.txt"
    assert open_evaluated("~/model").parameters == 83_856
    exported = tinybuddy.export("hub", "~/model", "~/exported")
    assert exported.path == tmp_path / "exported"
    assert not (Path.cwd() / "~").exists()
