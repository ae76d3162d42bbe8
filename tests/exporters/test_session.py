"""What holds of every format: an export that fails says why, and leaves what was there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import Cli
from tinybuddy.cli import main
from tinybuddy.errors import NotInstalledError, TinybuddyError
from tinybuddy.exporters import FORMATS
from tinybuddy.exporters.session import export

CARD = "tinybuddy-80k-card"
PAGE = 4096  # bytes that a disk in memory has or has not
ALL = [pytest.param(name, marks=[pytest.mark.slow] * (name == "onnx")) for name in FORMATS]


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[int]]:
    """Bytes of each file of an export of the card."""

    @cache
    def measured(name: str) -> list[int]:
        out = export(name, CARD, tmp_path_factory.mktemp("size") / "out").path
        files = [out] if out.is_file() else [file for file in out.rglob("*") if file.is_file()]
        return [file.stat().st_size for file in files]

    return measured


@contextmanager
def disk_for(share: float, sizes: list[int], folder: Path) -> Iterator[None]:
    """Let a folder lie on a disk that has room for a share of these files.

    Who may not mount one can write at most this share of the largest.
    """
    room = int(share * sum(sizes)) // PAGE + 1
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room * PAGE}", "tmpfs", str(folder)]
    if shutil.which("mount") and subprocess.run(mount, capture_output=True).returncode == 0:
        try:
            yield
        finally:
            subprocess.run(
                ["umount", "-l", folder], check=True
            )  # -l: a failed test may hold a file
        return
    resource = pytest.importorskip("resource", reason="needs a system with limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * max(sizes)), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _sentence(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code, and the sentence that is all that is said."""
    code = main(["export", *map(str, arguments)])
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("tinybuddy: ")
    assert line.endswith(".")
    return code, line


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("name", ALL)
def test_a_disk_that_fills_keeps_what_was_there(
    name: str,
    share: float,
    sizes: Callable[[str], list[int]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    with disk_for(share, sizes(name), tmp_path):
        (tmp_path / "out").write_text("mine", encoding="utf-8")
        capsys.readouterr()
        code, line = _sentence([name, CARD, "-o", tmp_path / "out", "--force"], capsys)
        assert code == 1
        assert line.startswith(f"tinybuddy: Cannot write {tmp_path}")
        assert "make room there or choose another" in line
        assert (tmp_path / "out").read_text("utf-8") == "mine"
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_place_that_cannot_be_is_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for out in (tmp_path / "file" / "out", tmp_path / ("x" * 300)):
        code, line = _sentence([name, CARD, "-o", out], capsys)
        assert (code, line.split(":")[1]) == (1, f" Cannot write {out}")
        with pytest.raises(TinybuddyError, match="Cannot write"):
            export(name, CARD, out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text("utf-8") == "mine"


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_there_stays_unless_forced(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    code, line = _sentence([name, CARD, "-o", tmp_path / "out"], capsys)
    assert (code, "is there already: choose another --out, or --force" in line) == (1, True)
    assert (tmp_path / "out").read_text("utf-8") == "mine"


def test_a_file_and_a_folder_take_each_others_place(tmp_path: Path):
    for name in ("js", "compact", "js"):
        out = export(name, CARD, tmp_path / "out", force=True).path
        assert out.is_file() == (name == "compact")
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("out", [".", "", "/", ".."])
def test_the_folder_that_one_is_in_stays(cli: Cli, tmp_path: Path, out: str):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    done = cli("export", "compact", CARD, "-o", out, "--force")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert " holds the " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_format_names_the_known_ones(capsys: pytest.CaptureFixture[str]):
    code, line = _sentence(["docx", CARD, "-o", "out"], capsys)
    assert code == 2
    assert all(name in line for name in FORMATS)


def test_an_unknown_type_of_weights_names_the_known_ones(capsys: pytest.CaptureFixture[str]):
    for name, row in FORMATS.items():
        code, line = _sentence([name, CARD, "-o", "out", "--weights", "int2"], capsys)
        assert code == 2
        assert all(weights in line for weights in row.weights)


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.extra])
def test_a_library_that_is_missing_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    library, module, extra = FORMATS[name].extra or ("", "", "")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NotInstalledError) as raised:
        export(name, CARD, tmp_path / "out")
    assert str(raised.value) == f"This needs {library}: pip install 'tinybuddy[{extra}]'."
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "module", "says"),
    [
        ("gguf", "llama_cpp", "This needs llama-cpp-python: pip install 'tinybuddy[llama-cpp]'."),
        ("js", None, "Node.js 18 or later is not installed"),
        ("c", None, "a C compiler (cc, gcc or clang) is not installed."),
    ],
)
def test_a_consumer_that_is_missing_is_said(
    name: str, module: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if module:
        monkeypatch.setitem(sys.modules, module, None)
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    done = export(name, CARD, tmp_path / "out")
    assert done.checked == f"not checked: {says}"
    assert done.path.exists()
