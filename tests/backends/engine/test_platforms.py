"""The engine on other systems and processors: compiled by zig, run by an emulator.

Linux on arm64 runs under qemu-user, Windows under wine; of macOS it is only seen that it compiles.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tinybuddy.backends.engine import build
from tinybuddy.backends.engine.abi import Config, Sampling
from tinybuddy.config import SampleConfig
from tinybuddy.formats.references import open_model
from tinybuddy.weights import weight_shapes

HERE = Path(__file__).parent
GOLDEN, SEEDED = (
    json.loads((HERE.parents[1] / "golden" / name).read_text("utf-8"))
    for name in ("greedy.json", "seeded.json")
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("ziglang"), reason="needs pip install ziglang"),
]

# What runs a program of a platform, and the flags for which one is compiled.
EMULATORS = {
    "linux-arm64": (["qemu-aarch64"], ["-target", "aarch64-linux-musl"]),
    "windows-x86-64": (["wine"], ["-target", "x86_64-windows-gnu"]),
    "linux-x86-64": ([], ["-target", "x86_64-linux-musl"]),
}


@pytest.fixture(autouse=True, scope="session")
def _zig_keeps_its_libraries(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The C library of a platform takes zig half a minute, once for all tests."""
    shared = tmp_path_factory.getbasetemp().parent / "zig"
    os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", str(shared))


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
    command = _program(platform, "golden_main.c", tmp_path)
    model = open_model("tinybuddy-80k-card")
    cases = GOLDEN["cases"] + SEEDED["cases"]
    shapes = weight_shapes(model.config)
    with (tmp_path / "cases.bin").open("wb") as file:
        file.write(bytes(Config.of(model.config)) + struct.pack("=i", len(shapes)))
        for name in shapes:
            numbers = model.weights[name]
            file.write(struct.pack("=i", numbers.size) + numbers.tobytes())
        file.write(struct.pack("=i", len(cases)))
        for case in cases:
            how = SampleConfig(**case.get("settings", {"temperature": 0}))
            fields = {name: getattr(how, name) for name, _ in Sampling._fields_}
            prompt = [model.tokenizer.bos, *model.tokenizer.encode(case["prompt"])]
            file.write(bytes(Sampling(**fields)))
            numbers = [case.get("seed", 0), len(case["ids"]), len(prompt), *prompt]
            file.write(struct.pack(f"={len(numbers)}i", *numbers))
    lines = _run(command, tmp_path / "cases.bin").splitlines()
    assert [[int(id) for id in line.split()] for line in lines] == [case["ids"] for case in cases]


@pytest.mark.parametrize("platform", EMULATORS)
def test_training_is_that_of_this_machine(platform: str, tmp_path: Path):
    """Loss and norm of two steps with AdamW and with Muon, on one thread and on three."""
    command = _program(platform, "train_main.c", tmp_path)
    here = tmp_path / "here"
    sources = [str(HERE / "train_main.c"), *map(str, sorted(build.FOLDER.glob("*.c")))]
    flags = [*build.FLAGS, f"-I{build.FOLDER}", *sources, "-o", str(here), "-lm", "-pthread"]
    subprocess.run([*build.find_compiler(), *flags], check=True)
    shape = (97, 20, 33, 3, 2, 2, 19, 4)
    if "windows" in platform:  # its C library draws other random weights: only that it runs
        lines = _run(command, *shape).splitlines()
        assert len(lines) == 4
        assert lines[0] == lines[1] and lines[2] == lines[3]
        return
    found, expected = (
        [float(word) for word in text.split() if word[0].isdigit()]
        for text in (_run(command, *shape), _run([str(here)], *shape))
    )
    assert len(found) == 8
    if "musl" in str(EMULATORS[platform]):  # likewise
        assert found[:2] == found[2:4] and found[4:6] == found[6:]
    else:
        assert found == pytest.approx(expected, rel=1e-4)


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


@pytest.mark.parametrize("platform", build.PLATFORMS)
def test_every_platform_compiles(platform: str, tmp_path: Path):
    """Each library is of its system and processor, by the numbers in its header."""
    libraries = build.build(tmp_path, platform=platform)
    x86 = "x86_64" in platform or "amd64" in platform
    assert len(libraries) == (3 if x86 else 1)
    for library in libraries:
        data = library.read_bytes()
        if "linux" in platform:
            machine = int.from_bytes(data[18:20], "little")
            assert data[:4] == b"\x7fELF"
            assert machine == (62 if x86 else 183)
        elif "macos" in platform:
            assert data[:4] == b"\xcf\xfa\xed\xfe"
            assert int.from_bytes(data[4:8], "little") == (0x01000007 if x86 else 0x0100000C)
        else:
            header = int.from_bytes(data[0x3C:0x40], "little")
            assert data[header : header + 6] == b"PE\0\0\x64\x86"
        assert b"tb_abi" in data


def test_libraries_need_no_newer_glibc_than_their_wheels_say(tmp_path: Path):
    for platform in ("manylinux_2_17_x86_64", "manylinux_2_17_aarch64"):
        for library in build.build(tmp_path, platform=platform):
            needed = {part.split(b"\0")[0] for part in library.read_bytes().split(b"GLIBC_")[1:]}
            versions = [tuple(map(int, v.decode().split("."))) for v in needed]
            assert versions
            assert max(versions) <= (2, 17)


def test_this_platforms_library_loads(tmp_path: Path):
    """What zig makes for a wheel of this machine is what Python loads."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("is of Linux on x86-64")
    from tinybuddy.backends.engine.abi import declare

    for library in build.build(tmp_path, platform="manylinux_2_17_x86_64")[:1]:
        declare(ctypes.CDLL(str(library)))
