"""The engine on other systems and processors: compiled by zig, run by an emulator.

Linux on arm64 runs under qemu-user, Windows under wine. `tests/test_wheels.py` has the wheels.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.backends.engine.golden_file import write_cases
from tinybuddy.backends.engine import build
from tinybuddy.backends.engine.library import load

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("_zig_cache"),
    pytest.mark.skipif(not find_spec("ziglang"), reason="needs pip install ziglang"),
]

# What runs a program of a platform, and the flags for which one is compiled.
EMULATORS = {
    "linux-arm64": (["qemu-aarch64"], ["-target", "aarch64-linux-musl"]),
    "windows-x86-64": (["wine"], ["-target", "x86_64-windows-gnu"]),
    "linux-x86-64": ([], ["-target", "x86_64-linux-musl"]),
}


def _program(platform: str, main: str, folder: Path) -> list[str]:
    """Compile a program with all of the engine; return the command that runs it."""
    emulator, target = EMULATORS[platform]
    if emulator and not shutil.which(emulator[0]):
        pytest.skip(f"needs {emulator[0]}: apt-get install qemu-user wine")
    program = folder / f"{Path(main).stem}{'.exe' if 'windows' in platform else ''}"
    sources = [str(HERE / main), *map(str, sorted(build.FOLDER.glob("*.c")))]
    flags = [*build.FLAGS, *target, f"-I{build.FOLDER}", *sources, "-o", str(program), "-lm"]
    subprocess.run([*build.ZIG, *flags], check=True)
    return [*emulator, str(program)]


def _run(command: list[str], *arguments: object) -> str:
    environment = os.environ | {"WINEDEBUG": "-all", "DISPLAY": ""}
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("platform", EMULATORS)
def test_texts_are_golden(platform: str, tmp_path: Path):
    expected = write_cases(tmp_path / "cases.bin")
    lines = _run(_program(platform, "golden_main.c", tmp_path), tmp_path / "cases.bin").splitlines()
    assert [[int(id) for id in line.split()] for line in lines] == expected


@pytest.mark.parametrize("platform", EMULATORS)
def test_training_is_that_of_this_machine(platform: str, tmp_path: Path):
    """Loss and norm of two steps with AdamW and with Muon, on one thread and on three."""
    command = _program(platform, "train_main.c", tmp_path)
    here = tmp_path / "here"
    sources = [str(HERE / "train_main.c"), *map(str, sorted(build.FOLDER.glob("*.c")))]
    flags = [*build.FLAGS, f"-I{build.FOLDER}", *sources, "-o", str(here), "-lm", "-pthread"]
    subprocess.run([*build.find_compiler(), *flags], check=True)
    shape = (97, 20, 33, 3, 2, 2, 19, 4)
    found, expected = (
        [float(word) for word in text.split() if word[0].isdigit()]
        for text in (_run(command, *shape), _run([str(here)], *shape))
    )
    assert len(found) == 8
    assert found[:2] == found[2:4] and found[4:6] == found[6:]
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="of x86-64")
def test_what_zig_compiles_finds_this_processor(tmp_path: Path):
    """As the wheels do; its __builtin_cpu_supports found nothing, so they ran the baseline."""
    name = tmp_path / "dispatch.so"
    target = ["-target", build.PLATFORMS["manylinux_2_17_x86_64"], "-fPIC", "-shared"]
    command = [*build.ZIG, *target, *build.FLAGS, str(build.FOLDER / "dispatch.c"), "-o", str(name)]
    subprocess.run(command, check=True)
    processor = ctypes.CDLL(str(name)).tb_processor
    processor.restype = ctypes.c_char_p
    assert processor() == load("baseline").tb_processor()


# The driver asks for aligned memory as POSIX has it.
@pytest.mark.parametrize("platform", [name for name in EMULATORS if "windows" not in name])
def test_hostile_inputs_end_well(platform: str, tmp_path: Path):
    command = _program(platform, "fuzz_decode.c", tmp_path)
    assert "300 inputs" in _run(command, 300, 1)


def test_the_engines_tests_pass_with_another_compiler(tmp_path: Path, monkeypatch):
    """All of them once more, with zig's clang in place of this machine's compiler."""
    monkeypatch.setenv("CC", f"{sys.executable} -m ziglang cc -mcpu=baseline")
    build.build(tmp_path)
    environment = os.environ | {"TINYBUDDY_SANITIZED": str(tmp_path)}
    plugin = ["-p", "tests.backends.engine.sanitized"]
    tests = [str(HERE / name) for name in ("test_decode.py", "test_train.py", "test_abi.py")]
    command = [sys.executable, "-m", "pytest", "-q", *plugin, *tests, "-k", "not sanitizers"]
    done = subprocess.run(
        command, env=environment, cwd=HERE.parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
