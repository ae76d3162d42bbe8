"""The engine under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import HANG
from tinybuddy.backends.engine import build

SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g"]
HERE = Path(__file__).parent


def runtimes() -> list[str]:
    """Where the compiler keeps what must be loaded before Python; empty where it has none."""
    names = ("libasan.so", "libubsan.so")
    command = [*build.find_compiler(), "-print-file-name="]
    found = [
        subprocess.check_output([*command[:-1], command[-1] + name], text=True).strip()
        for name in names
    ]
    return found if all(Path(path).is_absolute() for path in found) else []


@pytest.mark.slow
def test_sanitizers_find_nothing_in_the_engines_tests(tmp_path: Path):
    if sys.platform != "linux" or not (preloaded := runtimes()):
        pytest.skip("this compiler has no sanitizers that Python can load")
    build.build(tmp_path, SANITIZED)
    environment = os.environ | {
        "LD_PRELOAD": " ".join(preloaded),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python itself leaves memory to the system
        "TINYBUDDY_SANITIZED": str(tmp_path),
    }
    tests = [str(HERE / name) for name in ("test_decode.py", "test_train.py")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.backends.engine.sanitized",
        *tests,
    ]
    done = subprocess.run(
        [*command, "-k", "not sanitizers"],
        env=environment,
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_the_thread_sanitizer_finds_no_race(tmp_path: Path):
    """Steps that another thread stops, and texts that several threads generate with one model."""
    program, flags = tmp_path / "threads", ["-fsanitize=thread", "-std=c11", "-O1", "-g"]
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }")
    compiler = build.find_compiler()
    probe = [*compiler, *flags, str(tmp_path / "empty.c"), "-o", str(program)]
    if subprocess.run(probe).returncode or subprocess.run([program]).returncode:
        pytest.skip(f"{compiler[0]} has no ThreadSanitizer here")
    sources = [str(path) for path in sorted(build.FOLDER.glob("*.c"))]
    main = str(HERE / "threads_main.c")
    command = [*compiler, *flags, "-march=native", f"-I{build.FOLDER}", main, *sources]
    subprocess.run([*command, "-o", str(program), "-lm", "-pthread"], check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "ThreadSanitizer" not in done.stderr
