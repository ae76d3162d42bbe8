"""Installation where no C compiler is, and where none can be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tinybuddy.backends.engine import build

ROOT = Path(__file__).parents[1]
FILES = ("hatch_build.py", "pyproject.toml", "README.md", "LICENSE", "constraints.txt", "Makefile")
needs_hatchling = pytest.mark.skipif(
    not find_spec("hatchling"), reason="needs pip install hatchling"
)


def sources(folder: Path) -> None:
    """Copy what a newcomer's clone has, without what was compiled here."""
    ignored = shutil.ignore_patterns("_engine_*", "__pycache__")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder)


def without_compiler(folder: Path) -> dict[str, str]:
    """Make an environment with the programs that the Makefile calls: none is a compiler."""
    folder.mkdir()
    for name in ("make", "touch"):
        found = shutil.which(name)
        if not found:
            pytest.skip(f"needs {name}")
        (folder / name).symlink_to(found)
    dropped = ("CC", "PYTHONPATH")
    return {k: v for k, v in os.environ.items() if k not in dropped} | {"PATH": str(folder)}


@pytest.mark.slow
@pytest.mark.skipif(build.this_platform() is None, reason="zig compiles nothing for this machine")
def test_it_installs_and_generates_where_no_compiler_is(tmp_path: Path):
    """``make story`` does this first: an editable install, which fetches zig to compile."""
    environment = without_compiler(tmp_path / "bin")
    clone = tmp_path / "clone"
    sources(clone)
    done = subprocess.run(
        ["make", f"PYTHON={sys.executable}", ".venv/story"],
        env=environment,
        cwd=clone,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    libraries = list((clone / "src" / "tinybuddy" / "backends" / "engine").glob("_engine_*"))
    assert libraries
    for library in libraries:
        assert b"clang" in library.read_bytes() and b"GCC:" not in library.read_bytes()
    told = subprocess.run(
        [str(clone / ".venv" / "bin" / "tinybuddy"), "generate", "Once upon a time"],
        env=environment,
        cwd=tmp_path,
        input="",
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("Once upon a time")


@pytest.mark.slow
@needs_hatchling
def test_a_wheel_without_an_engine_is_made_only_when_asked_for(tmp_path: Path):
    command = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "-w", str(tmp_path / "dist"), str(ROOT)]
    environment = os.environ | {"CC": "no-such-compiler"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "The engine was not built. no-such-compiler cannot be run" in said
    assert "Install gcc or clang" in said and "TINYBUDDY_WITHOUT_ENGINE=1" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "dist").glob("*.whl"))
    environment["TINYBUDDY_WITHOUT_ENGINE"] = "1"
    subprocess.run(command, env=environment, check=True, capture_output=True)
    (path,) = (tmp_path / "dist").glob("*-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(path).namelist() if "_engine_" in name]


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a shell script")
def test_a_compiler_that_does_not_work_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As on a Mac without the command line tools, whose cc only says where they are."""
    for name in ("cc", "gcc"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for platform in build.PLATFORMS:
        monkeypatch.setattr(build, "this_platform", lambda platform=platform: platform)
        assert build.needs_zig()
        assert build.find_compiler() == [*build.ZIG, "-target", build.PLATFORMS[platform]]
    monkeypatch.setattr(build, "this_platform", lambda: None)
    assert not build.needs_zig()
    with pytest.raises(RuntimeError, match="no C compiler that works"):
        build.find_compiler()
