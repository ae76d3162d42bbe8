"""What computes: the engine wherever PyTorch is not asked for, and the same stories from both."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tomli_w

import tinybuddy
from tests.conftest import SMALL, Cli, set_options
from tinybuddy.backends.engine import library
from tinybuddy.cli import main
from tinybuddy.config import SampleConfig, TrainConfig
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.evaluation import scorecard
from tinybuddy.evaluation.adapters import open_evaluated
from tinybuddy.formats.hub import read_model, write_model
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.formats.references import find_directory
from tinybuddy.recipes import parse_recipe
from tinybuddy.training.provenance import provenance
from tinybuddy.training.session import plan, train

CARD = "tinybuddy-80k-card"

WITHOUT_TORCH = """
import json, sys
from tinybuddy.cli import main

sys.modules["torch"] = None  # as if it were not installed
code, *runs = json.loads(sys.argv[1])
for arguments in runs:
    assert main(arguments) == code, arguments
"""


def _without_torch(folder: Path, code: int, *runs: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, json.dumps([code, *runs])],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
    )


def test_everything_but_pytorch_works_without_it(story_file: Path, tmp_path: Path):
    train_it = ["train", "--data", str(story_file), "--out", "run", *set_options(SMALL)]
    more = ["resume", "run"], ["generate", "A", "--model", "run", "--n", "2"]
    done = _without_torch(tmp_path, 0, train_it, *more, ["evaluate", "run", "--json"])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["provenance"]["engine"]
    assert "torch" not in found["provenance"]["versions"]


def test_asking_for_a_pytorch_that_is_missing_is_one_sentence(tmp_path: Path):
    runs = [[verb, *more, "--backend", "torch"] for verb, *more in (["train"], ["generate", "A"])]
    done = _without_torch(tmp_path, 1, *runs)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("This needs PyTorch: pip install 'tinybuddy[torch]'.") == 2


def test_telling_a_story_imports_nothing_heavy():
    code = f"""
import sys
from tinybuddy.cli import main
assert main(["generate", "Once upon a time", "--max-new-tokens", "200", "--model", {CARD!r}]) == 0
print(*sorted({{name.partition(".")[0] for name in sys.modules}}), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.startswith("Once upon a time")
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "tokenizers" in loaded
    assert not loaded & {"numpy", "torch", "rich", "huggingface_hub", "logging", "tomllib"}


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_both_back_ends_tell_the_same_stories(temperature: float):
    """Past the context too, one by one and side by side, with prompts of several lengths."""
    prompts = ["", "Once upon a time", "Tom saw a dog. " * 30, "café 日本 😀"]
    engine, torch = (tinybuddy.load(CARD, backend=name) for name in ("engine", "torch"))
    for seed, prompt in enumerate(prompts):
        told = [
            model.generate(prompt, seed=seed, max_new_tokens=150, temperature=temperature)
            for model in (engine, torch)
        ]
        assert told[0] == told[1]
    how = SampleConfig(temperature=temperature)
    one, other = (
        open_evaluated(model).generate(prompts * 20, range(80), 300, how)
        for model in (engine, torch)
    )
    assert one == other
    assert all(len(text) <= 300 for text in one)
    assert one[1] == engine.generate(prompts[1], seed=1, temperature=temperature)[16:316]


def test_both_back_ends_score_alike():
    stories = ["Once there was a cat. " * 20, "é😀", "The fox ran."]
    engine, torch = (tinybuddy.load(CARD, backend=name) for name in ("engine", "torch"))
    assert engine.score(stories).bits == pytest.approx(torch.score(stories).bits, rel=1e-5)


def test_both_back_ends_train_a_run(
    story_file: Path,
    tmp_path: Path,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    settings = ["--data", story_file, *set_options(SMALL)]
    done = cli("train", "--out", "run", "--backend", "torch", *settings)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert "torch" in record["versions"]
    monkeypatch.setattr(scorecard, "SEEDS", 1)  # stories of a prompt, of 10
    assert main(["evaluate", str(tmp_path / "run"), "--backend", "torch", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "torch" in found["provenance"]["versions"]


def test_a_device_other_than_the_processor_takes_pytorch():
    assert not TrainConfig().uses_torch
    assert TrainConfig.from_mapping({"device": "cuda"}).uses_torch
    assert plan("card", {"device": "mps", "data": "tales"}).train.uses_torch
    assert not plan("card", {"device": "cpu", "data": "tales"}).train.uses_torch
    with pytest.raises(UsageError, match="use `backend` torch for cuda"):
        train(data="tales", device="cuda", backend="engine")


@pytest.mark.parametrize(
    ("file", "settings", "torch"),
    [
        ('device = "cuda"', {}, True),
        ('device = "cuda"', {"device": "cpu"}, False),
        ('device = "cuda"', {"device": "cpu", "backend": "torch"}, True),
        ('backend = "torch"', {"device": "cpu"}, True),
        ('backend = "torch"', {"backend": "engine"}, False),
        ("", {"device": "cuda"}, True),
    ],
)
def test_file_and_command_line_choose_the_back_end_together(
    tmp_path: Path, file: str, settings: dict[str, str], torch: bool
):
    path = tmp_path / "mine.toml"
    path.write_text(f"[train]\n{file}\n", "utf-8")
    recipe = plan(path, {"data": "tales", **settings})
    assert recipe.train.uses_torch is torch
    assert parse_recipe(tomli_w.dumps(recipe.to_mapping()), "again") == recipe


def test_an_engine_that_a_file_names_is_refused_on_another_device(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('[train]\nbackend = "engine"\n', "utf-8")
    with pytest.raises(UsageError, match="use `backend` torch for cuda"):
        train(path, data="tales", device="cuda", out=tmp_path / "run")


def test_a_model_that_is_broken_is_named(tmp_path: Path):
    files = read_model(find_directory(CARD))
    huge = np.full_like(files.weights["model.norm.weight"], 3e38)
    weights = {**files.weights, "model.norm.weight": huge}
    write_model(
        tmp_path / "broken", ModelFiles(files.config, weights, files.tokenizer, files.sample)
    )
    for backend in ("engine", "torch"):
        subject = open_evaluated(tinybuddy.load(tmp_path / "broken", backend=backend))
        sentence = f"^{re.escape(subject.name)}: The model's numbers are not finite"
        with pytest.raises(TinybuddyError, match=sentence):
            subject.generate(["A"], [0], 10, SampleConfig())
        with pytest.raises(TinybuddyError, match=sentence):
            subject.log_likelihoods(["A dog."])


def test_an_unknown_back_end_is_wrong_usage():
    with pytest.raises(UsageError, match="backend must be engine or torch, not 'jax'"):
        tinybuddy.load(CARD, backend="jax")


def test_an_engine_that_was_not_built_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    library.load.cache_clear()
    try:
        with pytest.raises(TinybuddyError, match=r"was not built: .* or use `backend` torch"):
            tinybuddy.load(CARD)
        assert provenance()["engine"] is None
        assert tinybuddy.load(CARD, backend="torch").generate("A", max_new_tokens=3)
    finally:
        monkeypatch.undo()
        library.load.cache_clear()
