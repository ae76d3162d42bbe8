"""The scorecard as users meet it: the function and the verb."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import tinybuddy
from tests.conftest import SMALL, Cli
from tinybuddy.cli import main
from tinybuddy.config import SampleConfig
from tinybuddy.corpus.tales import generate_tale
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.errors import TinybuddyError
from tinybuddy.evaluation import scorecard
from tinybuddy.evaluation.adapters import open_evaluated
from tinybuddy.evaluation.comparison import compare
from tinybuddy.evaluation.report.table import tables
from tinybuddy.evaluation.scorecard import Standard, score_text
from tinybuddy.formats.hub import read_model, write_model
from tinybuddy.formats.loaded import ModelFiles
from tinybuddy.formats.references import find_directory
from tinybuddy.progress import Hooks
from tinybuddy.training.run import Run

NAME = "tinybuddy-80k-card"


@pytest.fixture(autouse=True)
def _fewer_stories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of each prompt instead of five, where the verb does not run in a process of its own."""
    monkeypatch.setattr(scorecard, "SEEDS", 2)


@pytest.fixture(scope="module")
def story_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    for split, numbers in (("train", range(200)), ("validation", range(200, 260))):
        text = "\n<|endoftext|>\n".join(generate_tale(n).text for n in numbers)
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
    return folder


def test_the_verb(capsys: pytest.CaptureFixture[str], small_run: Run, story_folder: Path):
    models = [str(small_run.path), NAME]
    options = ["--data", str(story_folder), "--json"]
    assert main(["evaluate", *models, *options]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["speaks_english"] is False
    assert found["parameters"] == small_run.model.config.parameters
    assert found["seconds"] > 0
    assert found["tokens_per_second"] > 0
    stories = [generate_tale(n).text for n in range(200, 260)]
    assert found["bits_per_byte"] == pytest.approx(
        small_run.model.score(stories).bits_per_byte, rel=1e-9
    )
    assert set(found["gauges"]) == {
        "bits_per_byte",
        "words",
        "grammar",
        "coherence",
        "repetition",
        "variety",
        "originality",
        "sentences",
        "tell_apart",
    }
    measured = found["gauges"]["words"]["figures"]["english"]
    assert measured["low"] <= measured["value"] <= measured["high"]
    assert found["others"][0]["name"] == NAME
    assert {it["name"] for it in found["differences"][NAME]} >= {"grammar.pairs"}
    assert found["provenance"]["versions"]["tinybuddy"] == tinybuddy.__version__


def test_without_data_it_says_what_it_needs(cli: Cli):
    done = cli("evaluate")
    assert done.returncode == 0, done.stderr
    assert f"{DEFAULT_MODEL} (83,616 parameters) speaks English: OPEN" in done.stdout
    assert "bits_per_byte was not run: it needs" in done.stdout
    assert "right sentence preferred" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_the_same_model_measured_twice_differs_in_nothing(small_run: Run, story_folder: Path):
    found = tinybuddy.evaluate(small_run.path, small_run.model, data=story_folder)
    assert [it for it in compare(*found.scorecards) if it.value or it.real] == []
    first, second = (card.stories for card in found.scorecards)
    assert first == second


def test_a_difference_that_is_real_is_called_so(standard: Standard):
    evidence = standard.evidence
    human = score_text("human", evidence.human, standard)
    broken = score_text(
        "broken", [s._replace(text="Zork bling.") for s in evidence.human], standard
    )
    words = next(it for it in compare(human, broken) if it.name == "words.english")
    assert words.real
    assert words.value > 0.9


def test_told_side_by_side_is_what_generate_tells():
    evaluated, model = open_evaluated(NAME), tinybuddy.load(NAME)
    begun, seeds = ["Café", "Once upon a time", "", "Once upon a time"], [3, 4, 5, 6]
    texts = evaluated.generate(begun, seeds, 200, SampleConfig())
    for prompt, seed, text in zip(begun, seeds, texts, strict=True):
        assert 0 < len(text) <= 200
        assert prompt + text == model.generate(prompt, seed=seed)[: len(prompt + text)]


def test_bits_per_byte_are_those_of_transformers(tmp_path: Path):
    """The definition, written out anew over another library's model and tokenizer."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tinybuddy.export("hub", NAME, tmp_path / "model").path
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stories = [generate_tale(n).text for n in range(8)]
    bits, size, context = 0.0, 0, model.config.max_position_embeddings
    for story in stories:
        ids = torch.tensor([[*tokenizer(story).input_ids, tokenizer.eos_token_id]])
        length, p = ids.shape[1] - 1, 0
        size += len(story.encode()) + 1
        while p < length:
            a = 0 if p == 0 else max(0, min(p - context // 2, length - context))
            e = min(a + context, length)
            with torch.no_grad():
                log_p = model(ids[:, a:e]).logits[0].double().log_softmax(-1)
            chosen = log_p.gather(1, ids[0, a + 1 : e + 1, None])
            bits -= chosen[p - a :].sum().item() / math.log(2)
            p = e
    assert tinybuddy.load(NAME).score(stories).bits_per_byte == pytest.approx(bits / size, abs=1e-5)


def test_overlap_is_said_loudly(small_run: Run, tmp_path: Path, stories: list[str]):
    """The run was trained on nearly all of what is its validation text here."""
    for split, part in (("train", range(100, 160)), ("validation", range(60))):
        text = "\n<|endoftext|>\n".join(generate_tale(n).text for n in part)
        (tmp_path / f"{split}.txt").write_text(text, encoding="utf-8")
    found = tinybuddy.evaluate(small_run.path, data=tmp_path)
    warning, judge, *_ = found.scorecards[0].warnings
    assert "The judge learned 60 stories alone" in judge
    assert "of the 60 validation stories nearly all 4-grams are in the training text" in warning
    console = Console(width=200, file=io.StringIO())
    for part in tables(found):
        console.print(part)
    assert f"WARNING: {warning}" in console.file.getvalue()


# ---------------------------------------------------------------- bad input


def _overflowing(folder: Path, small_run: Run) -> None:
    """Write a model whose weights are finite and whose logits are not."""
    files = read_model(find_directory(small_run.path))
    huge = np.full_like(files.weights["model.norm.weight"], 3e38)
    weights = {**files.weights, "model.norm.weight": huge}
    write_model(folder, ModelFiles(files.config, weights, files.tokenizer, files.sample))


def test_logits_that_are_not_finite(cli: Cli, tmp_path: Path, small_run: Run, story_folder: Path):
    _overflowing(tmp_path / "broken", small_run)
    for data in ([], ["--data", story_folder]):
        done = cli("evaluate", "broken", *data)
        assert done.returncode == 1
        assert "not finite" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_model_without_tokenizer(cli: Cli, tmp_path: Path, small_run: Run):
    shutil.copytree(find_directory(small_run.path), tmp_path / "mute")
    (tmp_path / "mute" / "tokenizer.json").unlink()
    done = cli("evaluate", "mute")
    assert done.returncode == 1
    assert "tokenizer.json" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("validation", "says"),
    [
        ("", "0 to score"),
        ("One story.\n<|endoftext|>\nAnother one.", "gives 2 validation stories"),
    ],
)
def test_validation_stories_that_cannot_be_used(
    cli: Cli, tmp_path: Path, validation: str, says: str
):
    (tmp_path / "train.txt").write_text(
        "\n<|endoftext|>\n".join(generate_tale(n).text for n in range(30)), encoding="utf-8"
    )
    (tmp_path / "validation.txt").write_text(validation, encoding="utf-8")
    done = cli("evaluate", NAME, "--data", tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_story_longer_than_memory(cli: Cli, tmp_path: Path):
    rows = [
        json.dumps({"text": text}) for text in [*(f"Tale {n}." for n in range(30)), "a " * 10**6]
    ]
    (tmp_path / "validation.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "train.jsonl").write_text(json.dumps({"text": "A cat ran."}), encoding="utf-8")
    done = cli("evaluate", NAME, "--data", tmp_path)
    assert done.returncode == 1
    assert "at most 1,000,000 can be scored at once" in done.stderr


def test_very_short_human_stories_leave_what_they_cannot_tell_open(tmp_path: Path):
    rows = "\n".join(json.dumps({"text": f"Tale {n} is short."}) for n in range(400))
    (tmp_path / "stories.jsonl").write_text(rows, encoding="utf-8")
    card = tinybuddy.evaluate(NAME, data=tmp_path / "stories.jsonl").scorecards[0]
    assert "sentences" in card.metrics["coherence"].lacks
    assert card.values()["variety.distinct_words"].passed is None


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["no-such-model"], 1, "There is no model 'no-such-model'"),
        (["no-such.bin"], 1, "no-such.bin"),
        (["--controls"], 2, "--data"),
        (["--report", "page.pdf"], 2, ".html"),
        (["--blimp", "nowhere"], 1, "nowhere"),
        (["--threads", "0"], 2, "--threads"),
        (["--stories", "-1"], 2, "--stories"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_measured(
    cli: Cli, options: list[str], code: int, says: str
):
    done = cli("evaluate", *options)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_evaluate_wants_a_model():
    with pytest.raises(TinybuddyError, match="needs a model"):
        tinybuddy.evaluate()


def test_models_of_one_name_and_of_odd_names_are_told_apart(
    small_run: Run, story_folder: Path, tmp_path: Path
):
    odd = tmp_path / "x[" / "foo]y"
    shutil.copytree(find_directory(small_run.path), odd)
    found = tinybuddy.evaluate(odd, odd, small_run.path, odd, data=story_folder)
    names = [card.name for card in found.scorecards]
    assert names == [str(odd), f"{odd} (2)", str(small_run.path), f"{odd} (3)"]
    assert list(found.differences) == names[1:]
    console = Console(width=300, file=io.StringIO())
    for part in tables(found):
        console.print(part)
    texts = "".join(console.file.getvalue().split())  # a long title is wrapped
    assert f"{odd}minus{odd}(2)" in texts


def test_a_source_that_says_next_to_nothing_does_not_pass(standard: Standard):
    human = list(standard.evidence.human)
    quiet = [story._replace(text=".") for story in human[: len(human) * 2 // 3]]
    card = score_text("quiet", [*quiet, *human[len(quiet) :]], standard)
    assert card.is_silent
    assert card.speaks_english is False
    assert not score_text("human", human, standard).is_silent


def test_a_run_is_measured_on_its_own_stories(tmp_path: Path):
    """And says so, unless they are too few or have changed."""
    stories = [generate_tale(n).text for n in range(500)]
    text = tmp_path / "stories.txt"
    text.write_text("\n<|endoftext|>\n".join(stories), "utf-8")
    run = tinybuddy.train(data=text, out=tmp_path / "run", hooks=Hooks(), **SMALL)
    own = tinybuddy.evaluate(run.path)
    assert own.notes == [f"Measured on its own data, {text}."]
    assert own.evidence.sha256 == json.loads((run.path / "run.json").read_text())["data"]["sha256"]
    assert "bits_per_byte" in own.scorecards[0].metrics
    assert own.command == "tinybuddy evaluate run" or own.command.endswith("/run")
    given = tinybuddy.evaluate(run.path, data=stories)
    assert given.evidence.sha256 == own.evidence.sha256
    assert given.command.endswith("--data -")
    text.write_text("\n<|endoftext|>\n".join(stories[1:]), "utf-8")
    changed = tinybuddy.evaluate(run.path)
    assert changed.notes == [f"{text} has changed since it was trained on."]
    assert not changed.evidence.train
    text.unlink()
    assert tinybuddy.evaluate(run.path).notes == []
