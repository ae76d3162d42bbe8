"""Compile the engine: every C file of this folder into a shared library beside them.

    python src/tinybuddy/backends/engine/build.py

There is one library a kind of processor, each compiled wholly with its flags, so that no function
needs to know which processor it runs on; `library.py` opens the right one. The compiler is the one
that ``CC`` names, else the first of cc, gcc and clang that is there, else zig, which the wheel
``ziglang`` holds; ``CFLAGS`` adds to what it is told. It imports nothing of the package, because
the package's build runs it too, and little before it compiles: `library.py` takes names of it.
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
X86 = {
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"],
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
ZIG = [sys.executable, "-m", "ziglang", "cc"]


def build(
    folder: Path = FOLDER, flags: list[str] | None = None, platform: str | None = None
) -> list[Path]:
    """Compile and link; a library that is there is replaced at once, never seen half written.

    Args:
        folder: where to write.
        flags: compiler flags beside the usual ones.
        platform: one of `PLATFORMS`, which zig compiles for; by default this machine.

    Returns:
        The libraries, one a kind of processor that the platform may have.

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


def _target(platform: str | None) -> tuple[list[str], str, bool, list[str]]:
    """Compiler, ending of a library, whether for x86-64, and flags of the linker."""
    import platform as this

    if platform is None:
        system = exports() if sys.platform == "win32" else ["-lm", "-pthread"]
        return find_compiler(), SUFFIX, this.machine().lower() in ("x86_64", "amd64"), system
    if platform not in PLATFORMS:
        raise RuntimeError(f"There is no platform {platform}, only {', '.join(PLATFORMS)}.")
    triple = PLATFORMS[platform]
    if "windows" in triple:
        suffix, system = ".dll", ["-Wl,--export-all-symbols"]
    else:
        suffix = ".dylib" if "macos" in triple else ".so"
        system = ["-lm", "-pthread"]
    # -s: zig keeps what debuggers need, which is 20 times as large as the code.
    return [*ZIG, "-target", triple], suffix, triple.startswith("x86_64"), ["-s", *system]


def exports() -> list[str]:
    """Name to the linker of Windows what a library is for; elsewhere all functions are.

    They are the functions of these headers, whose declarations begin a line.
    """
    import re

    headers = ("decode.h", "sample.h", "train.h", "kernels.h", "dispatch.h", "abi.h")
    text = "\n".join((FOLDER / name).read_text("utf-8") for name in headers)
    names = re.findall(r"^(?!static)\w[\w *]*?\b(tb_\w+)\(", text, re.MULTILINE)
    return [f"-Wl,-export:{name}" for name in names]


def find_compiler() -> list[str]:
    """Return the command of a C compiler.

    Raises:
        RuntimeError: if there is none.
    """
    import shlex
    import shutil
    from importlib.util import find_spec

    if named := os.environ.get("CC"):
        return shlex.split(named)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if find_spec("ziglang"):
        return [*ZIG, "-mcpu=baseline"]  # it would compile for this very processor
    raise RuntimeError("There is no C compiler: install gcc or clang, or name one in CC.")


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
