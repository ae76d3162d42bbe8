"""A short run of what `python -m tests.fuzz_models` does at length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tinybuddy.modelfile import find_model
from tinybuddy.train import Run


def test_damaged_directories_are_a_model_or_one_sentence(small_run: Run):
    """In a process of its own, so that its memory is its own."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "tests.fuzz_models", str(find_model(small_run.path)), "3000"]
    done = subprocess.run(command, cwd=root, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "'one sentence': " in done.stdout
    assert "'a model': " in done.stdout
