"""Compile the engine: every C file of this folder into a shared library beside them.

    python src/tinybuddy/backends/engine/build.py

There is one library a kind of processor, each compiled wholly with its flags, so that no function
needs to know which processor it runs on; `library.py` opens the right one. The compiler is the one
that ``CC`` names, else the first of cc, gcc and clang that works, else zig's clang, which the wheel
``ziglang`` holds; ``CFLAGS`` adds to what it is told. On Windows it is one that exports all
functions of a DLL, as MinGW's gcc and zig do. It imports nothing of the package, because the
package's build runs it too, and little before it compiles: `library.py` takes names of it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")

# -ffp-contract=fast lets a * b + c be one instruction. NaN and infinity keep their meaning:
# -ffast-math would not let them.
FLAGS = ["-std=c11", "-O3", "-ffp-contract=fast", "-fno-math-errno"]
WARNINGS = ["-Wall", "-Wextra"]

# Kinds of processors, slow to fast, and the flags that use all of them. The engine's dispatch.c and
# vector.h have the same names.
BASELINE: dict[str, list[str]] = {"baseline": []}
AVX512 = ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"]
X86 = {
    "avx2": ["-mavx2", "-mfma"],
    "avx512": AVX512,
    "avx512_bf16": [*AVX512, "-mavx512bf16"],
}
KERNELS = (*BASELINE, *X86)

# What zig compiles for elsewhere, by the platform that a wheel names.
PLATFORMS = {
    "manylinux_2_17_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux_2_17_aarch64": "aarch64-linux-gnu.2.17",
    "musllinux_1_2_x86_64": "x86_64-linux-musl",
    "musllinux_1_2_aarch64": "aarch64-linux-musl",
    "macosx_11_0_x86_64": "x86_64-macos.11.0",
    "macosx_11_0_arm64": "aarch64-macos.11.0",
    "win_amd64": "x86_64-windows-gnu",
}
# What GCC has from 10 on, clang from 9, and the assembler too: without it there is no avx512_bf16.
BF16_PROBE = """#include <immintrin.h>
__m512 multiply_add(__m512 sum, __m512bh x) { return _mm512_dpbf16_ps(sum, x, x); }
"""
ZIG = [sys.executable, "-m", "ziglang", "cc"]  # for this very processor unless given a target


def build(
    folder: Path = FOLDER, flags: list[str] | None = None, platform: str | None = None
) -> list[Path]:
    """Compile and link; a library that is there is replaced at once, never seen half written.

    Args:
        folder: where to write.
        flags: compiler flags beside the usual ones.
        platform: one of `PLATFORMS`, which zig compiles for; by default this machine.

    Returns:
        The libraries, one a kind of processor that the platform may have and the compiler knows.

    Raises:
        RuntimeError: if there is no compiler, or it fails; the text is its own.
    """
    import shlex
    import shutil
    import tempfile
    from concurrent.futures import ThreadPoolExecutor

    compiler, suffix, x86, system = _target(platform)
    more = [*shlex.split(os.environ.get("CFLAGS", "")), *(flags or [])]
    common = [*FLAGS, *WARNINGS, *([] if suffix == ".dll" else ["-fPIC"])]
    kinds = BASELINE | (X86 if x86 else {})
    if x86 and not _compiles([*compiler, *X86["avx512_bf16"]], BF16_PROBE):
        del kinds["avx512_bf16"]
    sources, libraries = sorted(FOLDER.glob("*.c")), []
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        # Zig keeps what it compiles of a C library in the home folder, which may not be writable.
        environment = {"ZIG_GLOBAL_CACHE_DIR": str(Path(scratch) / "zig"), **os.environ}

        def compile_one(source: Path, kind: str) -> str:
            target = str(Path(scratch) / f"{source.stem}-{kind}.o")
            command = [*compiler, *common, *kinds[kind], *more, "-c", str(source), "-o", target]
            _run(command, environment)
            return target

        objects = {k: [pool.submit(compile_one, source, k) for source in sources] for k in kinds}
        for kind, made in objects.items():
            library = folder / f"_engine_{kind}{suffix}"
            linked = str(Path(scratch) / library.name)
            parts = [part.result() for part in made]
            _run([*compiler, "-shared", *more, *parts, "-o", linked, *system], environment)
            beside = library.with_name(f".{library.name}.{os.getpid()}")
            shutil.copyfile(linked, beside)
            beside.replace(library)
            libraries.append(library)
    return libraries


def needs_zig(platform: str | None = None) -> bool:
    """Whether `build` is of use only where ``ziglang`` is installed."""
    return platform is not None or (_own_compiler() is None and this_platform() is not None)


def this_platform() -> str | None:
    """Name this machine's platform among `PLATFORMS`; None where it is none of them."""
    import platform
    import sysconfig

    if sys.platform == "win32":
        return "win_amd64" if sysconfig.get_platform() == "win-amd64" else None
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    system = {"darwin": "macosx", "linux": libc}.get(sys.platform)
    machine = platform.machine()
    found = (p for p in PLATFORMS if p.startswith(f"{system}_") and p.endswith(f"_{machine}"))
    return next(found, None)


def find_compiler() -> list[str]:
    """Return the command of a C compiler for this machine.

    Raises:
        RuntimeError: if there is none.
    """
    return _target(None)[0]


def _target(platform: str | None) -> tuple[list[str], str, bool, list[str]]:
    """Compiler, ending of a library, whether for x86-64, and flags of the linker."""
    import platform as this

    if platform is None and (own := _own_compiler()):
        system = [] if sys.platform == "win32" else ["-lm", "-pthread"]
        return own, SUFFIX, this.machine().lower() in ("x86_64", "amd64"), system
    name = platform or this_platform()
    if name is None:
        raise RuntimeError("There is no C compiler that works.")
    if name not in PLATFORMS:
        raise RuntimeError(f"There is no platform {name}, only {', '.join(PLATFORMS)}.")
    suffixes = {"windows": ".dll", "macos": ".dylib", "linux": ".so"}
    suffix = suffixes[PLATFORMS[name].split("-")[1].split(".")[0]]
    # Without -O3 zig links what finds undefined behaviour too, without -s what debuggers need: with
    # both a library of Linux is 110 KB, else 290 KB and 1.4 MB.
    system = ["-O3", "-s"] if suffix == ".dll" else ["-O3", "-s", "-lm", "-pthread"]
    return [*ZIG, "-target", PLATFORMS[name]], suffix, name.endswith(("x86_64", "amd64")), system


def _own_compiler() -> list[str] | None:
    """Return the compiler that ``CC`` names, else the first here that works."""
    import shlex

    if named := os.environ.get("CC"):
        return shlex.split(named)
    names = ("cc", "gcc", "clang") if sys.platform != "win32" else ()
    # macOS has a cc that only says where to get one.
    source = "#include <math.h>\n#include <pthread.h>\n"
    return next(([name] for name in names if _compiles([name, "-fPIC"], source)), None)


def _compiles(compiler: list[str], source: str) -> bool:
    """Whether it makes a library of this."""
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        flags = ["-shared", "-x", "c", "-", "-o", str(Path(scratch) / "probe"), "-lm"]
        environment = {"ZIG_GLOBAL_CACHE_DIR": scratch, **os.environ}
        try:
            done = subprocess.run(
                [*compiler, *flags], input=source, text=True, capture_output=True, env=environment
            )
        except OSError:
            return False
    return done.returncode == 0


def _run(command: list[str], environment: dict[str, str]) -> None:
    import shlex
    import subprocess

    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment
        )
    except OSError as error:
        raise RuntimeError(f"{command[0]} cannot be run: {error.strerror}.") from None
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")
    if done.stderr:
        print(done.stderr, file=sys.stderr)


if __name__ == "__main__":
    print(*build(), sep="\n")
