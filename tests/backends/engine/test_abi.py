"""What Python believes of the engine is what the engine says of itself."""

from __future__ import annotations

import ctypes
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tinybuddy.backends.engine import build
from tinybuddy.backends.engine.abi import SIGNATURES, Config, check, declare, expected
from tinybuddy.backends.engine.library import load
from tinybuddy.backends.interface import Stopped
from tinybuddy.config import ModelConfig
from tinybuddy.errors import TinybuddyError

HEADERS = sorted(build.FOLDER.glob("*.h"))


def test_all_headers_may_be_included_together(tmp_path: Path):
    """In both orders, each twice."""
    for number, headers in enumerate((HEADERS, HEADERS[::-1])):
        lines = [f'#include "{header.name}"' for header in headers]
        source = tmp_path / f"all-{number}.c"
        source.write_text("\n".join([*lines, *lines, "int main(void) { return 0; }"]), "utf-8")
        flags = ["-std=c11", "-Wall", "-Wextra", "-Wno-unused-function", "-Werror"]
        command = [*build.find_compiler(), *flags, f"-I{build.FOLDER}", "-c", str(source)]
        subprocess.run([*command, "-o", str(tmp_path / "all.o")], check=True)


def test_no_name_of_a_header_lacks_the_prefix():
    text = "\n".join(re.sub(r"/\*.*?\*/", "", h.read_text("utf-8"), flags=re.S) for h in HEADERS)
    defined = re.findall(r"^#define (\w+)", text, re.MULTILINE)
    functions = re.findall(
        r"^(?:TB_INLINE |static )?(?!typedef)\w[\w \*]*?[ \*](\w+)\(", text, re.M
    )
    types = re.findall(r"^\} (\w+);", text, re.MULTILINE)
    names = {*defined, *functions, *types}
    assert len(names) > 80
    assert [name for name in sorted(names) if not name.lower().startswith("tb_")] == []


def test_a_library_of_other_sources_is_refused(tmp_path: Path):
    for path in [*HEADERS, *build.FOLDER.glob("*.c")]:
        text = path.read_text("utf-8")
        changed = text.replace("    float rope_theta,", "    float more, rope_theta,")
        (tmp_path / path.name).write_text(changed, "utf-8")
    command = [*build.find_compiler(), "-std=c11", "-O0", "-fPIC", "-shared"]
    sources = map(str, sorted(tmp_path.glob("*.c")))
    library = tmp_path / "engine.so"
    subprocess.run([*command, *sources, "-o", str(library), "-lm", "-pthread"], check=True)
    with pytest.raises(TinybuddyError, match=r"built of other sources .*install tinybuddy again"):
        declare(ctypes.CDLL(str(library)))


def test_every_value_is_looked_at(monkeypatch: pytest.MonkeyPatch):
    """Each that is another one is named."""
    library = load()
    for name, value in expected().items():
        wrong = expected() | {name: value + 1}
        monkeypatch.setattr("tinybuddy.backends.engine.abi.expected", lambda wrong=wrong: wrong)
        with pytest.raises(
            TinybuddyError, match=re.escape(f"({name} is {value}, not {value + 1})")
        ):
            declare(library)


def test_kernels_have_the_same_names_in_c():
    names = re.findall(r'#define TB_\w+ +"(\w+)"', (build.FOLDER / "dispatch.h").read_text("utf-8"))
    assert sorted(names) == sorted(build.KERNELS)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="reads what Linux says of it"
)
def test_the_processor_is_what_the_system_says():
    flags = set(Path("/proc/cpuinfo").read_text("utf-8").split())
    needed = {"baseline": set(), "avx2": {"avx2", "fma"}}
    needed["avx512"] = needed["avx2"] | {"avx512f", "avx512dq", "avx512bw", "avx512vl"}
    needed["avx512_bf16"] = needed["avx512"] | {"avx512_bf16"}
    best = [name for name in build.KERNELS if needed[name] <= flags][-1]
    assert load("baseline").tb_processor().decode() == best


def test_every_function_that_is_exported_is_declared():
    text = "\n".join(h.read_text("utf-8") for h in HEADERS)
    for name in SIGNATURES:
        assert re.search(rf"\b{name}\(", text)


@pytest.mark.parametrize("field", Config._fields_, ids=lambda f: f[0])
def test_a_shape_that_is_none_is_refused_before_memory_is_taken(field: tuple[str, type]):
    config = Config.of(ModelConfig())
    setattr(config, field[0], 10**9)
    handle = ctypes.c_void_p()
    result = load().tb_trainer_new(ctypes.byref(config), 1, 0, ctypes.byref(handle))
    if field[0] == "rope_theta":  # the one that may be so large
        assert result == 0
        load().tb_trainer_free(handle)
        return
    assert not handle
    with pytest.raises(TinybuddyError, match="does not compute a model of this shape"):
        check(result)
    assert load().tb_model_bytes(ctypes.byref(config)) == 0


def test_codes_are_errors():
    for code, error in ((-7, MemoryError), (-8, Stopped), (-99, TinybuddyError)):
        with pytest.raises(error):
            check(code)
    check(0)
    check(-5, "TB_NOT_FINITE")
