"""The wheels of every platform, built on this machine, and what can be run of them here.

macOS is built and not run. The Debian packages qemu-user and wine run the others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

from tests.backends.engine.golden_file import write_cases
from tinybuddy.backends.engine import build
from tinybuddy.backends.engine.abi import SIGNATURES
from tinybuddy.backends.engine.library import used_kernels

ROOT = Path(__file__).parents[1]
ENGINE = "tinybuddy/backends/engine"
SUFFIXES = {"manylinux": ".so", "musllinux": ".so", "macosx": ".dylib", "win": ".dll"}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("_zig_cache"),
    pytest.mark.skipif(
        not (find_spec("ziglang") and find_spec("hatchling")),
        reason="needs pip install ziglang hatchling",
    ),
]
Wheels = Callable[[str], Path]


@pytest.fixture(scope="session")
def wheels(shared_folder: Path) -> Wheels:
    """Build the wheel of a platform, once; as ``make wheels`` does."""
    (shared_folder / "wheels").mkdir(exist_ok=True)

    def wheel(platform: str) -> Path:
        folder = shared_folder / "wheels" / platform
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                pip_wheel(folder, platform)
        (found,) = folder.glob("*.whl")
        return found

    return wheel


def pip_wheel(folder: Path, platform: str) -> None:
    """Build a platform's wheel into a folder."""
    command = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-build-isolation", "-w", str(folder), str(ROOT)],
        env=os.environ | {"TINYBUDDY_PLATFORM": platform},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("platform", build.PLATFORMS)
def test_a_wheel_holds_the_libraries_of_its_platform(platform: str, wheels: Wheels):
    """All of them and no other, by the numbers in their headers, with all of their functions."""
    path = wheels(platform)
    assert path.name.endswith(f"-py3-none-{platform}.whl")
    x86 = platform.endswith(("x86_64", "amd64"))
    with zipfile.ZipFile(path) as wheel:
        (about,) = (name for name in wheel.namelist() if name.endswith(".dist-info/WHEEL"))
        assert f"Tag: py3-none-{platform}\n" in wheel.read(about).decode()
        assert "tinybuddy/exporters/js/decoder.js" in wheel.namelist()
        names = {name for name in wheel.namelist() if "_engine_" in name}
        suffix = SUFFIXES[platform.split("_")[0]]
        kinds = build.KERNELS if x86 else build.BASELINE
        assert names == {f"{ENGINE}/_engine_{kind}{suffix}" for kind in kinds}
        libraries = [wheel.read(name) for name in names]
    for data in libraries:
        if suffix == ".so":
            assert data[:4] == b"\x7fELF"
            assert int.from_bytes(data[18:20], "little") == (62 if x86 else 183)
            needed = {part.split(b"\0")[0] for part in data.split(b"GLIBC_")[1:]}
            versions = [tuple(map(int, version.decode().split("."))) for version in needed]
            assert bool(versions) == ("manylinux" in platform)
            assert max(versions, default=(0,)) <= (2, 17)
        elif suffix == ".dylib":
            assert data[:4] == b"\xcf\xfa\xed\xfe"
            assert int.from_bytes(data[4:8], "little") == (0x01000007 if x86 else 0x0100000C)
        else:
            header = int.from_bytes(data[0x3C:0x40], "little")
            assert data[header : header + 6] == b"PE\0\0\x64\x86"
        assert not [name for name in SIGNATURES if name.encode() not in data]


@pytest.mark.parametrize("kernels", build.KERNELS)
def test_the_libraries_of_windows_give_the_golden_texts(
    kernels: str, wheels: Wheels, tmp_path: Path
):
    """Wine loads the DLLs of the wheel for a program in C; there is no Python for it here."""
    if not shutil.which("wine"):
        pytest.skip("needs wine: apt-get install wine wine64")
    if kernels not in runnable():
        pytest.skip(f"this processor has no {kernels}")
    name = f"_engine_{kernels}.dll"
    with zipfile.ZipFile(wheels("win_amd64")) as wheel:
        (tmp_path / name).write_bytes(wheel.read(f"{ENGINE}/{name}"))
    environment = os.environ | {
        "WINEDEBUG": "-all",
        "DISPLAY": "",
        "WINEPREFIX": str(tmp_path / "wine"),
    }
    main = ROOT / "tests" / "backends" / "engine" / "golden_main.c"
    target = ["-target", build.PLATFORMS["win_amd64"], f"-I{build.FOLDER}"]
    command = [*build.ZIG, *target, str(main), name, "-o", "golden.exe"]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True)
    expected = write_cases(tmp_path / "cases.bin")
    done = subprocess.run(
        ["wine", "golden.exe", "cases.bin"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [[int(id) for id in line.split()] for line in done.stdout.splitlines()] == expected


def runnable() -> tuple[str, ...]:
    """The kernels of this processor."""
    best = used_kernels() or "baseline"
    return build.KERNELS[: build.KERNELS.index(best) + 1]


def test_the_engines_tests_pass_on_arm64(wheels: Wheels, tmp_path: Path):
    """By a Python for arm64 with the wheel, numpy and PyTorch: golden texts, parity, training.

    But not Muon's twenty steps, of which PyTorch's part takes minutes under the emulator, nor the
    sanitizers, whose programs it would run as this machine's.
    """
    tools = ("qemu-aarch64", "apt-get", "dpkg-deb")
    if missing := [name for name in tools if not shutil.which(name)]:
        pytest.skip(f"needs {', '.join(missing)}: Debian, and apt-get install qemu-user")
    wheel = wheels("manylinux_2_17_aarch64")
    made = subprocess.run(
        [str(ROOT / "tests" / "arm64.sh"), str(tmp_path / "arm64"), str(wheel)],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    if made.returncode == 3:
        pytest.skip(f"needs Debian's Python for arm64, which apt-get does not find: {made.stderr}")
    assert made.returncode == 0, made.stderr[-3000:]
    zig = [*build.ZIG, "-target", build.PLATFORMS["manylinux_2_17_aarch64"]]
    environment = os.environ | {"CC": " ".join(["env -u PYTHONHOME -u PYTHONPATH", *zig])}
    folder = ROOT / "tests" / "backends" / "engine"
    tests = [str(folder / f"test_{name}.py") for name in ("abi", "decode", "train")]
    command = [str(tmp_path / "arm64" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-k", "not twenty_steps and not sanitizers", *tests],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    assert " passed" in done.stdout
