"""The format compact: one small file, proved by reading it again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli
from tinybuddy.errors import TinybuddyError
from tinybuddy.exporters.compact import check, write
from tinybuddy.exporters.session import export
from tinybuddy.formats.compact import write_compact
from tinybuddy.formats.hub import read_model, write_model
from tinybuddy.formats.references import find_directory
from tinybuddy.generation.model import load
from tinybuddy.quantization import quantized
from tinybuddy.tokenizer.training import train_tokenizer
from tinybuddy.training.run import Run

NAME = "tinybuddy-80k-card"


@pytest.mark.parametrize("bits", [4, 8])
def test_it_does_what_the_quantized_model_does(tmp_path: Path, bits: int):
    files = read_model(find_directory(NAME))
    out = export("compact", NAME, tmp_path / "story.buddy", weights=f"int{bits}").path
    assert out.stat().st_size < {4: 49_000, 8: 91_000}[bits]
    rounded = type(files)(
        files.config, quantized(files.weights, bits), files.tokenizer, files.sample
    )
    write_model(tmp_path / "model", rounded)
    compact, whole = load(out), load(tmp_path / "model")
    story = compact.generate("One day", seed=3)
    assert story == whole.generate("One day", seed=3)
    assert compact.score(story).bits == whole.score(story).bits
    assert (compact.sample_config, compact.config) == (whole.sample_config, whole.config)
    compact.save(tmp_path / "saved")
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        saved = (tmp_path / "saved" / name).read_bytes()
        assert saved == (tmp_path / "model" / name).read_bytes()


def test_the_same_model_gives_the_same_bytes(tmp_path: Path):
    one, two = (export("compact", NAME, tmp_path / name).path.read_bytes() for name in ("a", "b"))
    assert one == two


def test_what_is_not_the_model_is_refused(small_run: Run, stories: list[str], tmp_path: Path):
    files = read_model(find_directory(small_run.path))
    write(files, tmp_path / "a", "int8")
    check(files, tmp_path / "a", "int8")
    with pytest.raises(TinybuddyError, match="is another: not kept"):
        check(files, tmp_path / "a", "int4")
    other = train_tokenizer(stories[:9], files.config.vocab_size)
    write_compact(tmp_path / "b", type(files)(files.config, files.weights, other, files.sample), 8)
    with pytest.raises(TinybuddyError, match="is another: not kept"):
        check(files, tmp_path / "b", "int8")


def test_every_verb_takes_it(small_run: Run, cli: Cli, tmp_path: Path):
    command = ("export", "compact", small_run.path, "--weights", "int4", "-o", "story.buddy")
    assert json.loads(cli(*command, "--json").stdout) == {
        "format": "compact",
        "out": "story.buddy",
        "checked": "read again, it is the same model",
    }
    again = cli(*command)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    told = cli("generate", "One day", "--model", "story.buddy")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("One day")
    facts = json.loads(cli("info", "story.buddy", "--json").stdout)
    assert facts["parameters"] == load(small_run.path).parameters
    judged = cli("evaluate", "story.buddy", "--json")
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout.splitlines()[-1])["parameters"] == facts["parameters"]
    same = cli("export", "compact", "story.buddy", "--weights", "int4", "-o", "b.buddy")
    assert same.returncode == 0, same.stderr
    assert (tmp_path / "b.buddy").read_bytes() == (tmp_path / "story.buddy").read_bytes()
    wrong = cli("export", "compact", "story.buddy", "--weights", "int2", "-o", "c.buddy")
    assert wrong.returncode == 2
    assert "Weights of compact are int8 or int4, not 'int2'." in wrong.stderr


def test_generating_from_it_needs_no_numpy(small_run: Run, tmp_path: Path):
    out = export("compact", small_run.path, tmp_path / "story.buddy").path
    code = (
        "import sys; sys.modules['numpy'] = None; import tinybuddy; "
        f"print(tinybuddy.load({str(out)!r}).generate('One day', max_new_tokens=5))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("One day")
