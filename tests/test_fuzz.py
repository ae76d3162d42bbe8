"""A short run of what `python -m tests.fuzz_models` does at length."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import HANG
from tinybuddy.errors import TinybuddyError
from tinybuddy.formats.hub import read_model
from tinybuddy.formats.references import find_directory
from tinybuddy.training.run import Run

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_directories_are_a_model_or_one_sentence(small_run: Run, count: int):
    """In a process of its own, so that its memory is its own."""
    root = Path(__file__).parents[1]
    model = str(find_directory(small_run.path))
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz_models", model, str(count)],
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "'one sentence': " in done.stdout
    assert "'a model': " in done.stdout


@pytest.fixture
def folder(small_run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(find_directory(small_run.path), tmp_path / "model"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_any_json_is_a_model_or_one_sentence(folder: Path, data: st.DataObject):
    for name in ("config.json", "generation_config.json", "tokenizer.json"):
        whole = (folder / name).read_text("utf-8")
        known = json.loads(whole)
        keys = st.sampled_from(sorted(known))
        changes = data.draw(st.dictionaries(keys, values, max_size=3) | values, label=name)
        changed = known | changes if isinstance(changes, dict) else changes
        (folder / name).write_text(json.dumps(changed), "utf-8")
        try:
            read_model(folder)
        except TinybuddyError as error:
            assert "\n" not in str(error).strip()
        (folder / name).write_text(whole, "utf-8")
    read_model(folder)
