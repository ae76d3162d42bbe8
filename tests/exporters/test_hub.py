from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

import tinybuddy
from tests.conftest import Cli
from tests.exporters.hub_server import serving
from tinybuddy.config import ModelConfig, SampleConfig
from tinybuddy.corpus.tales import generate_tale
from tinybuddy.defaults import DEFAULT_MODEL, DEFAULT_RECIPE
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.exporters.hub import EXTRA_CARD_FILES, check
from tinybuddy.exporters.model_card import model_card
from tinybuddy.exporters.session import export
from tinybuddy.formats.hub import read_model, write_model
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.formats.references import (
    RELEASED,
    Kind,
    find,
    find_directory,
    open_model,
    released_names,
)
from tinybuddy.recipes import load_recipe
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.training.run import Run
from tinybuddy.weights import random_weights

NAME = "tinybuddy-80k-card"
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "greedy.json").read_text("utf-8"))

# Word for word the usage of the model card that this model was published with.
CARD_USAGE = """
import torch
from model import create_model
import json
with open("config.json") as f:
    config = json.load(f)
model = create_model(config)
model.load_state_dict(torch.load("output/model.pt", map_location="cpu"))
model.eval()
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file("data/tokenizer.json")
prompt = "Once upon a time,"
encoded = tokenizer.encode(prompt)
ids = [1] + encoded.ids  # Add BOS
input_ids = torch.tensor([ids], dtype=torch.long)
output_ids = model.generate(input_ids, max_new_tokens=60, temperature=0.8, top_k=40)
print(tokenizer.decode(output_ids[0].tolist(), skip_special_tokens=True))
"""

TRANSFORMERS_CHECK = """
import json, sys
import torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
folder, golden = sys.argv[1], json.load(open(sys.argv[2], encoding="utf-8"))
transformers.set_seed(0)
model, tokenizer = (kind.from_pretrained(folder) for kind in (AutoModelForCausalLM, AutoTokenizer))
tell = pipeline("text-generation", model=model, tokenizer=tokenizer)
told = tell("Once upon a time, a cat", max_new_tokens=30, return_full_text=True)
greedy = []
for case in golden["cases"]:
    ids = tokenizer(case["prompt"], return_tensors="pt").input_ids
    new = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                         max_new_tokens=len(case["ids"]))
    greedy.append(new[0, ids.shape[1]:].tolist())
with torch.no_grad():
    logits = model(ids).logits[0, -1].tolist()
print(json.dumps({
    "version": transformers.__version__, "parameters": sum(p.numel() for p in model.parameters()),
    "told": told[0]["generated_text"], "greedy": greedy, "ids": ids[0].tolist(), "logits": logits,
}))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export("hub", NAME, tmp_path_factory.mktemp("export") / "model").path


# The recipe of each; most have the model's name.
RECIPES = {"tinybuddy-80k-card": "card"} | {
    name: name for name in (f"tinybuddy-{size}k" for size in (5, 10, 20, 40, 48, 60, 80, 160, 320))
}


SMALL_FILES = {"tinybuddy-80k-int4": "tinybuddy-80k", "tinybuddy-60k-int4": "tinybuddy-60k"}


def test_there_is_no_other_release():
    assert released_names() == sorted([*RECIPES, *SMALL_FILES])
    assert DEFAULT_MODEL in RECIPES


@pytest.mark.parametrize(("name", "origin"), SMALL_FILES.items())
def test_some_releases_are_a_file_of_less_than_50_kilobytes(name: str, origin: str):
    kind, path = find(name)
    assert kind is Kind.COMPACT
    assert path.stat().st_size <= 50_000
    small, large = open_model(name), open_model(origin)
    assert small.config == large.config
    text = "Once upon a time, a fox found a drum."
    assert small.tokenizer.encode(text) == large.tokenizer.encode(text)
    assert all(np.unique(row).size <= 15 for row in small.weights["model.embed_tokens.weight"])


@pytest.mark.parametrize("name", RECIPES)
def test_a_release_is_what_its_name_says(name: str):
    folder = RELEASED / name
    files, recipe = read_model(folder), load_recipe(RECIPES[name])
    assert files.config == recipe.model
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    assert sum(w.size for w in weights.values()) == recipe.model.parameters <= 320_000
    assert (folder / "model.safetensors").stat().st_size < 1_300_000
    training = json.loads((folder / "training.json").read_text("utf-8"))
    assert (training["recipe"]["name"], training["run"]["seed"]) == (recipe.name, 0)
    assert training["run"]["data"]["source"].startswith("tinystories")
    assert training["run"]["data"]["stories"] == (5000 if recipe.name == "card" else 19_390)
    card = (folder / "README.md").read_text("utf-8")
    assert card == model_card(files, training)
    assert f"{training['result']['bits_per_byte']:.3f} bits per byte" in card
    assert f"tinybuddy train --recipe {recipe.name}" in card
    for text in (card, json.dumps(training)):
        assert not re.search(r'[\s"`](/|[A-Z]:\\)\w', text), "a path of one machine"


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["prompt"])
def test_ours_says_the_golden_text(case):
    count = len(case["ids"])
    for backend in ("engine", "torch"):
        model = tinybuddy.load(NAME, backend=backend)
        story = model.generate(case["prompt"], temperature=0, max_new_tokens=count)
        assert story == case["prompt"] + model.tokenizer.decode(case["ids"])
    prompt = torch.tensor([[1, *model.tokenizer.encode(case["prompt"])]])
    told = model.backend.model.generate(prompt, max_new_tokens=count, temperature=0)
    assert told[0, prompt.shape[1] :].tolist() == case["ids"]


def _check_transformers(exported: Path, **environment: str) -> dict[str, object]:
    golden = Path(__file__).parents[1] / "golden" / "greedy.json"
    command = [sys.executable, "-c", TRANSFORMERS_CHECK, str(exported), str(golden)]
    done = subprocess.run(
        command, capture_output=True, check=False, encoding="utf-8", env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["parameters"] == 83_856
    assert facts["told"].startswith("Once upon a time, a cat")
    assert facts["told"][23] in " .,"
    assert "  " not in facts["told"]
    assert facts["greedy"] == [case["ids"] for case in GOLDEN["cases"]]
    ours = tinybuddy.load(NAME).backend.stream().feed(np.array([facts["ids"]]))[0]
    np.testing.assert_allclose(facts["logits"], ours, atol=1e-5)
    return facts


def test_transformers_5_opens_it(exported: Path):
    assert str(_check_transformers(exported)["version"]).startswith("5.")


@pytest.mark.slow
def test_transformers_4_opens_it(exported: Path):
    old = Path(sys.prefix) / "transformers4"
    if not old.is_dir():
        pytest.skip("needs transformers 4 beside: make test installs it")
    version = _check_transformers(exported, PYTHONPATH=str(old))["version"]
    assert str(version).startswith("4.57")


def test_text_round_trips_in_transformers(exported: Path):
    tokenizer = AutoTokenizer.from_pretrained(exported)
    for text in ("A dog . It 's , don 't !", " two  spaces ", "café 日本 😀\n\n"):
        ids = tokenizer(text).input_ids
        assert ids == [1, *tinybuddy.load(NAME).tokenizer.encode(text)]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_an_alphabet_of_what_was_seen_is_transformers_too(kind: str, tmp_path: Path):
    stories = [generate_tale(index).text for index in range(60)]
    tokenizer = train_tokenizer(stories, 300, kind, "seen", 5)
    config = ModelConfig(300, 8, 8, 1, 2, 1, 16)
    weights = random_weights(config, 0, 0.1)
    write_model(tmp_path / "m", ModelFiles(config, weights, tokenizer, SampleConfig()))
    exported = export("hub", tmp_path / "m", tmp_path / "out").path
    theirs = AutoTokenizer.from_pretrained(exported)
    for text in (
        stories[0],
        "A dog . It 's , don 't !",
        " two  spaces ",
        "caf\u00e9 3 the\n\n",
    ):
        ids = theirs(text).input_ids
        assert ids == [1, *tokenizer.encode(text)]
        assert theirs.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids)
    assert tokenizer.decode(tokenizer.encode("caf\u00e9 3")) == "caf "
    card = (exported / "README.md").read_text("utf-8")
    assert "and skips all others (no digits, no other alphabets)." in card
    model = AutoModelForCausalLM.from_pretrained(exported)
    with torch.inference_mode():
        logits = model(torch.tensor([[1, 5, 9]])).logits[0, -1].numpy()
    ours = tinybuddy.load(exported).backend.stream().feed(np.array([[1, 5, 9]]))[0]
    np.testing.assert_allclose(logits, ours, atol=1e-5)


def test_the_usage_of_the_card_runs_as_it_stands(exported: Path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CARD_USAGE],
        cwd=exported,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.startswith("Once upon a time,")
    assert len(done.stdout) > 50


def test_the_code_in_the_card_runs(exported: Path):
    card = (exported / "README.md").read_text("utf-8")
    code = card.split("```python\n")[2].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=exported, capture_output=True, encoding="utf-8"
    )
    assert done.stdout.startswith("Once upon a time,"), done.stderr


def test_export_of_an_export_is_the_same(exported: Path, tmp_path: Path):
    again = export("hub", exported, tmp_path / "again").path
    for path in exported.glob("**/*.*"):
        if path.suffix != ".pt":
            assert (again / path.relative_to(exported)).read_bytes() == path.read_bytes(), path


def test_a_run_is_exported_with_what_is_known_of_it(small_run: Run, tmp_path: Path):
    out = export("hub", small_run.path, tmp_path / "out").path
    card = (out / "README.md").read_text("utf-8")
    assert f"{small_run.result['bits_per_byte']:.3f} bits per byte" in card
    assert f"# {DEFAULT_RECIPE}, changed" in card
    assert "tinybuddy train --recipe" not in card  # it is not what that recipe makes
    assert "license: mit" not in card
    assert "choose a licence" in card
    assert (out / "facts.npz").is_file()
    assert str(small_run.path) not in (out / "training.json").read_text("utf-8")
    assert all((out / name).is_file() for name in EXTRA_CARD_FILES)
    model = pipeline(
        "text-generation",
        model=AutoModelForCausalLM.from_pretrained(out),
        tokenizer=AutoTokenizer.from_pretrained(out),
    )
    assert model("The", max_new_tokens=4)[0]["generated_text"].startswith("The")


def test_what_is_there_stays_unless_forced(exported: Path, small_run: Run, tmp_path: Path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    with pytest.raises(TinybuddyError, match="is there already"):
        export("hub", small_run.path, taken)
    assert (taken / "mine.txt").exists()
    export("hub", small_run.model, taken, force=True)
    assert not (taken / "mine.txt").exists()
    with pytest.raises(TinybuddyError, match="holds the model itself"):
        export("hub", taken, taken, force=True)
    with pytest.raises(TinybuddyError, match="holds the model itself"):
        export("hub", small_run.path, small_run.path, force=True)
    with pytest.raises(UsageError, match="did you mean 'hub'"):
        export("hubb", small_run.path, tmp_path / "x")


def test_an_export_that_computes_otherwise_is_not_kept(small_run: Run, tmp_path: Path):
    files = read_model(find_directory(small_run.path))
    out = export("hub", small_run.path, tmp_path / "out").path
    weights = {n: w + 0.01 if w.ndim == 2 else w for n, w in files.weights.items()}
    write_model(out, type(files)(files.config, weights, files.tokenizer, files.sample))
    with pytest.raises(TinybuddyError, match="computes other logits"):
        check(files, out, "float32")


def test_push_uploads_all_of_it(cli: Cli, tmp_path: Path):
    with serving() as hub:
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret"}
        arguments = ("export", "hub", NAME, "-o", "out", "--json", "--force", "--push", "me/tiny")
        done = cli(*arguments, env=environment)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["url"].startswith(hub.url)
        out = tmp_path / "out"
        written = {str(p.relative_to(out)): p.read_bytes() for p in out.glob("**/*") if p.is_file()}
        assert hub.files == written
        assert hub.names == ["tiny"]
        assert hub.tokens == {"Bearer hf_secret"}
        hub.refuse = 403
        refused = cli(*arguments, env=environment)
    gone = cli(*arguments, env=environment)
    for failed in (refused, gone):
        assert failed.returncode == 1
        assert "The hub did not take me/tiny" in failed.stderr
        assert "Traceback" not in failed.stderr


def test_push_needs_a_name_and_the_format(cli: Cli):
    assert "is no name on the hub" in cli("export", "hub", NAME, "-o", "x", "--push", "a b").stderr
    wrong = cli("export", "gguf", NAME, "-o", "y", "--push", "a/b")
    assert (wrong.returncode, "--push goes with" in wrong.stderr) == (2, True)
