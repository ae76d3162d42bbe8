"""Compile the engine: every C file of this folder into a shared library beside them.

    python src/tinybuddy/backends/engine/build.py

There is one library a kind of processor, each compiled wholly with its flags, so that no function
needs to know which processor it runs on; `library.py` opens the right one. The compiler is the one
that ``CC`` names, else the first of cc, gcc and clang that is there; ``CFLAGS`` adds to what it is
told. It imports nothing of the package, because the package's build runs it too.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parent
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")

# -ffp-contract=fast lets a * b + c be one instruction. NaN and infinity keep their meaning:
# -ffast-math would not let them.
FLAGS = ["-std=c11", "-O3", "-ffp-contract=fast", "-fno-math-errno"]
WARNINGS = ["-Wall", "-Wextra"]

# Kinds of processors and the flags that use all of them.
BASELINE: dict[str, list[str]] = {"baseline": []}
X86 = {
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"],
}


def build(folder: Path = FOLDER, flags: list[str] | None = None) -> list[Path]:
    """Compile and link; a library that is there is replaced at once, never seen half written.

    Args:
        folder: where to write.
        flags: compiler flags beside the usual ones.

    Returns:
        The libraries, one a kind of processor that this machine's system may meet.

    Raises:
        RuntimeError: if there is no compiler, or it fails; the text is its own.
    """
    compiler = find_compiler()
    more = [*shlex.split(os.environ.get("CFLAGS", "")), *(flags or [])]
    windows = sys.platform == "win32"
    common = [*FLAGS, *WARNINGS, *([] if windows else ["-fPIC"])]
    system = exports() if windows else ["-lm", "-pthread"]
    kinds = BASELINE | (X86 if platform.machine().lower() in ("x86_64", "amd64") else {})
    sources, libraries = sorted(FOLDER.glob("*.c")), []
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:

        def compile_one(source: Path, kind: str) -> str:
            target = str(Path(scratch) / f"{source.stem}-{kind}.o")
            _run([*compiler, *common, *kinds[kind], *more, "-c", str(source), "-o", target])
            return target

        objects = {k: [pool.submit(compile_one, source, k) for source in sources] for k in kinds}
        for kind, made in objects.items():
            library = folder / f"_engine_{kind}{SUFFIX}"
            linked = str(Path(scratch) / library.name)
            parts = [part.result() for part in made]
            _run([*compiler, "-shared", *more, *parts, "-o", linked, *system])
            beside = library.with_name(f".{library.name}.{os.getpid()}")
            shutil.copyfile(linked, beside)
            beside.replace(library)
            libraries.append(library)
    return libraries


def exports() -> list[str]:
    """Name to the linker of Windows what a library is for; elsewhere all functions are.

    They are the functions of these headers, whose declarations begin a line.
    """
    headers = ("decode.h", "sample.h", "train.h", "kernels.h", "dispatch.h")
    text = "\n".join((FOLDER / name).read_text("utf-8") for name in headers)
    names = re.findall(r"^(?!static)\w[\w *]*?\b(tb_\w+)\(", text, re.MULTILINE)
    return [f"-Wl,-export:{name}" for name in names]


def find_compiler() -> list[str]:
    """Return the command of a C compiler.

    Raises:
        RuntimeError: if there is none.
    """
    if named := os.environ.get("CC"):
        return shlex.split(named)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise RuntimeError("There is no C compiler: install gcc or clang, or name one in CC.")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise RuntimeError(f"{command[0]} cannot be run: {error.strerror}.") from None
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")
    if done.stderr:
        print(done.stderr, file=sys.stderr)


if __name__ == "__main__":
    print(*build(), sep="\n")
