from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SMALL, Cli, set_options
from tinybuddy.cli import VERBS, build_parser
from tinybuddy.cli.wrapping import wrapped
from tinybuddy.defaults import DEFAULT_MODEL
from tinybuddy.formats.references import open_model, released_names
from tinybuddy.training.run import Run


def _last_json(text: str) -> dict[str, object]:
    value = json.loads(text.splitlines()[-1])
    assert isinstance(value, dict)
    return value


def test_help_names_every_verb(cli: Cli):
    done = cli("--help")
    assert done.returncode == 0
    assert all(
        f"    {v} " in done.stdout for v in ("train", "resume", "generate", "info", "corpus")
    )
    assert cli().stdout == done.stdout
    assert cli("--version").stdout.startswith("tinybuddy ")


def test_help_names_the_defaults_of_sampling(cli: Cli):
    shown = " ".join(cli("generate", "--help").stdout.partition("examples:")[0].split())
    for name in released_names():
        sample = open_model(name).sample
        for key, value in asdict(sample).items():
            option = shown.split(f" --{key.replace('_', '-')} ")[-1]
            assert f"default: the model's, {value:g} if released" in option.split(" --")[0]


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_has_examples_that_parse(cli: Cli, verb: str):
    shown = cli("help", verb).stdout
    assert shown == cli(verb, "--help").stdout
    examples = re.findall(rf"^  tinybuddy ({verb}.*)$", shown, re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(re.split(r" [<>] ", example)[0])
        assert build_parser(verb).parse_args(words).verb == verb


def test_short_options_are_those_that_people_know(cli: Cli):
    assert cli("-V").stdout == cli("--version").stdout
    long = cli("generate", "Hi", "--model", "tinybuddy-80k-card", "--n", "2", "--seed", "3")
    assert (
        cli("generate", "Hi", "-m", "tinybuddy-80k-card", "-n", "2", "-s", "3").stdout
        == long.stdout
    )


def test_a_random_seed_is_said_and_tells_the_story_again(cli: Cli):
    done = cli("generate", "Hi", "-s", "random")
    match = re.fullmatch(r"\(seed (\d+)\)", done.stderr.splitlines()[0])
    assert match
    assert cli("generate", "Hi", "-s", match[1]).stdout == done.stdout


def test_ctrl_c_is_quiet_while_it_is_still_importing():
    code = (
        "import sys; from tinybuddy.__main__ import run\n"
        "class Stop:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'tinybuddy.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop()); sys.exit(run())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "tinybuddy: stopped.\n")


def test_models_are_listed_with_their_verdicts(cli: Cli):
    found = _last_json(cli("models", "--json").stdout)["models"]
    assert isinstance(found, list)
    assert sorted(model["name"] for model in found) == released_names()
    assert [m["parameters"] for m in found] == sorted(m["parameters"] for m in found)
    small = [m for m in found if m["verdict"] == "YES" and m["parameters"] <= 83_856]
    best = min(small, key=lambda m: m["bits_per_byte"])
    assert [m["name"] for m in found if m["default"]] == [best["name"]] == [DEFAULT_MODEL]
    shown = cli("models").stdout
    assert all(f"{m['parameters']:,}" in shown and m["verdict"] in shown for m in found)


def test_shells_can_complete(cli: Cli):
    script = cli("completion", "bash").stdout
    assert "--max-new-tokens" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@given(st.lists(st.text("ab é日\n", max_size=9), max_size=20), st.integers(4, 30))
def test_a_story_is_wrapped_at_words_alone(pieces: list[str], width: int):
    text = "".join(pieces)
    shown = "".join(wrapped(pieces, width))
    assert shown.split() == text.split()
    assert "".join(wrapped(pieces, 0)) == text
    for line in shown.split("\n"):
        cells = sum(2 if c == "日" else 1 for c in line)
        assert cells <= width or len(line.split()) == 1, "a word that is longer than a line"


@pytest.mark.parametrize("code", ["import tinybuddy", "import tinybuddy.cli"])
def test_importing_is_light(code: str):
    heavy = "{'torch', 'numpy', 'rich', 'tokenizers', 'safetensors', 'huggingface_hub'}"
    check = f"{code}; import sys; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


@pytest.mark.parametrize(
    "code",
    [
        "import tinybuddy; tinybuddy.Run",
        "import tinybuddy.training.session",
        "import tinybuddy.evaluation.metrics, tinybuddy.exporters",
        "from tinybuddy import *; assert callable(train)",
    ],
)
def test_a_verb_is_a_function_whatever_was_imported(code: str):
    verbs = ("train", "resume", "evaluate", "export")
    check = (
        f"{code}; import tinybuddy; assert all(callable(getattr(tinybuddy, v)) for v in {verbs})"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_wrong_settings_are_said_before_anything_heavy_is_imported():
    check = (
        "import sys; from tinybuddy.cli import main; "
        "print(main(['generate', '--model', 'x', '--temperature', '-1']), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, check=True)
    assert done.stdout.strip() == b"2 False"


def test_train_prints_one_object(cli: Cli, story_file: Path, tmp_path: Path):
    done = cli("train", "--data", story_file, "--out", "run", "--json", *set_options(SMALL))
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    result = _last_json(done.stdout)
    assert {"bits_per_byte", "parameters", "seconds", "tokens_per_second"} <= result.keys()
    lines = done.stderr.splitlines()
    steps = [line.split()[1] for line in lines if line.startswith("step ")]
    assert steps == ["4/12", "8/12", "12/12"]
    assert _last_json(cli("resume", "run", "--json").stdout) == result


def test_train_writes_the_page_of_its_model_and_ends_by_naming_it(
    cli: Cli, story_file: Path, tmp_path: Path
):
    done = cli("train", "--data", story_file, "--out", "run", *set_options(SMALL))
    page = tmp_path / done.stdout.splitlines()[-1].rpartition(": ")[2]
    assert page == tmp_path / "run" / "story.html"
    text = page.read_text("utf-8")
    assert "<b>run</b>" in text
    page.unlink()
    page.mkdir()  # where it cannot be written, the run is whole all the same
    done = cli("resume", "run")
    assert done.returncode == 0
    assert "story.html" not in done.stdout
    page.rmdir()
    again = _last_json(cli("resume", "run", "--json").stdout)
    assert (tmp_path / again["page"]).read_text("utf-8") == text
    assert f"<b>{again['parameters']:,}</b>" in text


def test_no_page_is_written_for_a_large_model(cli: Cli, story_file: Path, tmp_path: Path):
    large = SMALL | {"hidden_size": 256, "steps": 1}
    result = _last_json(
        cli("train", "--data", story_file, "--out", "run", "--json", *set_options(large)).stdout
    )
    assert result["parameters"] > 200_000
    assert "page" not in result
    assert not (tmp_path / "run" / "story.html").exists()


def test_train_reads_standard_input(cli: Cli, story_file: Path, tmp_path: Path):
    text = story_file.read_text("utf-8")
    done = cli("train", "--data", "-", "--out", "run", *set_options(SMALL), input=text)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "input.txt").read_text("utf-8") == text
    assert "bits per byte" in done.stdout


@pytest.mark.parametrize("text", ["", " \n"])
def test_standard_input_without_text_is_named_as_such(cli: Cli, tmp_path: Path, text: str):
    for verb in (["train", "--data", "-", "--out", "run"], ["corpus", "-"]):
        done = cli(*verb, input=text)
        assert done.returncode == 1
        assert done.stderr == "tinybuddy: Standard input holds no text: give it some stories.\n"
    assert not (tmp_path / "run" / "recipe.toml").exists()  # the command may be given again


def test_generate_tells_a_story(cli: Cli, small_run: Run):
    model = ["--model", small_run.path, "--max-new-tokens", "15"]
    told = cli("generate", "Café 日本", *model, "--seed", "4")
    assert told.returncode == 0
    assert told.stdout.startswith("Café 日本")
    assert told.stdout.endswith("\n")
    assert cli("generate", *model, "--seed", "4", input="Café 日本\n").stdout == told.stdout
    assert cli("generate", "-", *model, "--seed", "4", input="Café 日本").stdout == told.stdout
    several = cli("generate", "Café 日本", *model, "--seed", "3", "--n", "2", "--json")
    stories = _last_json(several.stdout)["stories"]
    assert [s["seed"] for s in stories] == [3, 4]  # type: ignore[attr-defined]
    assert stories[1]["text"] + "\n" == told.stdout  # type: ignore[index]
    plain = cli("generate", "Café 日本", *model, "--seed", "3", "--n", "2").stdout
    assert plain.count("-" * 20) == 1
    assert plain.endswith(told.stdout)


INTERRUPTED = """
import signal, sys
from tinybuddy.cli import main
from tinybuddy.generation.model import Model

stream, calls = Model.stream, []

def interrupted(*arguments, **options):
    calls.append(1)
    if len(calls) == 3:
        signal.raise_signal(signal.SIGINT)
    return stream(*arguments, **options)

Model.stream = interrupted
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_keeps_the_stories_that_are_told(small_run: Run):
    arguments = ["generate", "The fox", "--model", str(small_run.path), "--n", "9", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments], capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 130
    assert done.stderr == "tinybuddy: stopped.\n"
    stories = _last_json(done.stdout)["stories"]
    assert [s["seed"] for s in stories] == [0, 1]  # type: ignore[attr-defined]


def test_it_says_once_and_afterwards_that_it_slid(cli: Cli, small_run: Run):
    prompt = "The fox ran. " * 20
    told = cli("generate", prompt, "--model", small_run.path, "--n", "2", "--max-new-tokens", "3")
    assert told.stderr == (
        "(the story is longer than the 32 tokens that the model sees at a time, its context: it "
        "went on from the last 16)\n"
    )


def test_an_empty_prompt_begins_a_story(cli: Cli, small_run: Run):
    told = cli("generate", "--model", small_run.path, "--max-new-tokens", "8", "--seed", "1")
    assert told.returncode == 0
    assert len(told.stdout) > 1


def test_text_comes_out_whole_in_any_locale(cli: Cli, small_run: Run):
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    told = cli(
        *("generate", "-", "--model", small_run.path, "--max-new-tokens", "2"),
        input="Café 😀",
        env=environment,
    )
    assert told.returncode == 0
    assert told.stdout.startswith("Café 😀")


def test_info_counts(cli: Cli, small_run: Run, tmp_path: Path):
    card = _last_json(cli("info", "card", "--json").stdout)
    assert card["parameters"] == 83_856
    assert sum(card["breakdown"].values()) == 83_856  # type: ignore[attr-defined]
    shown = cli("info").stdout
    assert "tinybuddy-80k: 83,616 parameters, 334,464 bytes" in shown
    size = small_run.result["parameters"]
    config = next(small_run.path.glob("checkpoints/*/config.json"))
    for subject in (small_run.path, config, config.parent):
        assert _last_json(cli("info", subject, "--json").stdout)["parameters"] == size


def test_corpus_tells_what_it_understood(cli: Cli, story_file: Path, tmp_path: Path):
    facts = _last_json(cli("corpus", story_file, "--json").stdout)
    assert facts["stories"] + facts["validation_stories"] == 60  # type: ignore[operator]
    shown = cli("corpus", story_file, "-o", "out.jsonl")
    assert "stories" in shown.stdout
    assert len((tmp_path / "out.jsonl").read_text("utf-8").splitlines()) == 60


def test_corpus_tells_what_to_know_before_training(cli: Cli, tmp_path: Path):
    (tmp_path / "few.txt").write_text("One.\n\n\nTwo.\n\n\nThree.", "utf-8")
    assert "1 story to score" in cli("corpus", "few.txt").stderr
    tales = cli("corpus", "tales", "--stories", 300)
    assert re.search(r"entropy of the grammar 0\.14\d\d bits per byte", tales.stdout)
    assert tales.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("trane", 2, "no verb 'trane': did you mean 'train'?"),
        ("train --stpes 3", 2, "did you mean --steps?"),
        ("generate --modle x", 2, "did you mean --model?"),
        ("generate --model tinybuddy-80", 1, "did you mean 'tinybuddy-80k'?"),
        ("generate --seed rand", 2, "invalid whole number value: 'rand'"),
        ("corpus README.md --split blnk", 1, "no file or folder README.md"),
        ("completion fish", 2, "invalid choice: 'fish'"),
        ("train --stepz 3", 2, "unrecognized arguments: --stepz"),
        ("generate Once upon a time", 2, "upon a time; put the prompt in quotes, or see"),
        ("train --steps x", 2, "invalid int value"),
        ("train --steps 0", 2, "steps must lie between 1"),
        ("train --set stpes=3", 2, "did you mean 'steps'"),
        ("train --set steps", 2, "key=value"),
        ("train --recipe crad", 2, "did you mean 'card'"),
        ("train --seed -1", 2, "seed must lie between"),
        ("train --data none.txt --out run", 1, "no file or folder none.txt"),
        ("train --from nowhere", 1, "no model 'nowhere'"),
        ("train --data tales --device cuda --out run", 1, "There is no cuda device here"),
        ("export hub tinybuddy-80k-card", 2, "required: -o"),
        ("generate --model nowhere", 1, "no model 'nowhere'"),
        ("generate --model nowhere --temperature -1", 2, "temperature must lie between"),
        ("generate --model nowhere --n 0", 2, "--n must be 1 or more"),
        (f"generate --model nowhere --n {2**63 + 1}", 2, "--n must be 2^63 or less"),
        ("generate --model nowhere --seed 9223372036854775807 --n 2", 2, "--seed must lie"),
        ("corpus tales --stories -5", 2, "stories must be 0"),
        (f"train --set steps={'9' * 5000}", 2, "steps must be a whole number"),
        (f"train --stories {'9' * 400}", 2, "stories must lie between"),
        (f"train --set learning_rate={'9' * 400}", 2, "learning_rate must be a number"),
        ("resume nowhere", 1, "no run in nowhere"),
        ("info nowhere", 2, "no recipe or model 'nowhere': known are card, "),
        ("info tinybuddy-80k-crad", 2, "did you mean 'tinybuddy-80k-card'"),
        ("info none.toml", 1, "Cannot read none.toml"),
        ("info none.bin", 1, "Cannot read none.bin"),
        ("info none.json", 1, "Cannot read none.json"),
        ("corpus none.txt", 1, "no file or folder"),
    ],
)
def test_a_mistake_is_one_sentence(cli: Cli, arguments: str, code: int, says: str):
    done = cli(*arguments.split())
    assert done.returncode == code
    lines = [line for line in done.stderr.splitlines() if line.startswith("tinybuddy: ")]
    assert says in lines[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("prompt", [b"caf\xe9", b"\xff\xfe"])
def test_a_prompt_that_is_no_text_is_one_sentence(small_run: Run, prompt: bytes):
    command = [sys.executable, "-m", "tinybuddy", "generate", "--model", str(small_run.path)]
    for arguments, options in (([], {"input": prompt}), ([prompt], {"stdin": subprocess.DEVNULL})):
        done = subprocess.run(
            [*command, *arguments],
            capture_output=True,
            check=False,
            **options,  # type: ignore[call-overload]
        )
        assert done.returncode == 2
        assert b"UTF-8" in done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="limits")
def test_too_little_memory_is_one_sentence(cli: Cli, story_file: Path):
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    options = set_options(SMALL | {"batch_size": 65_536, "max_position_embeddings": 8192})
    done = cli("train", "--data", story_file, "--out", "run", *options, preexec_fn=limit)
    assert done.returncode == 1
    assert "not enough memory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="closed streams")
@pytest.mark.parametrize("arguments", ["generate - --model M <&-", "info >&-", "info 2>&-"])
def test_closed_streams_are_no_error(small_run: Run, arguments: str):
    command = f"exec {sys.executable} -m tinybuddy {arguments.replace('M', str(small_run.path))}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert b"Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(small_run: Run):
    command = [sys.executable, "-m", "tinybuddy", "generate", "--model", str(small_run.path)]
    process = subprocess.Popen(
        [*command, "--n", "50"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()
