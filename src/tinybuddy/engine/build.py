"""Compile the engine: every C file of this folder into one shared library beside them.

    python src/tinybuddy/engine/build.py

The compiler is the one that ``CC`` names, else the first of cc, gcc and clang that is there;
``CFLAGS`` adds to what it is told. It imports nothing of the package, because the package's build
runs it too.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parent
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
LIBRARY = FOLDER / f"_engine{SUFFIX}"

# -ffp-contract=fast lets a * b + c be one instruction. NaN and infinity keep their meaning:
# -ffast-math would not let them.
FLAGS = ["-std=c11", "-O3", "-ffp-contract=fast", "-fno-math-errno"]
WARNINGS = ["-Wall", "-Wextra"]

# Files that are compiled anew for each kind of x86-64 processor, with what names their result.
VARIED = {"kernels.c": "TB_KERNELS=tb_math_{}"}
VARIANTS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"],
}


def build(library: Path = LIBRARY, flags: list[str] | None = None) -> Path:
    """Compile and link; a library that is there is replaced at once, never seen half written.

    Args:
        library: what to write.
        flags: compiler flags beside the usual ones, such as sanitizers.

    Raises:
        RuntimeError: if there is no compiler, or it fails; the text is its own.
    """
    compiler = find_compiler()
    more = [*shlex.split(os.environ.get("CFLAGS", "")), *(flags or [])]
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    common = [*FLAGS, *WARNINGS, *([] if sys.platform == "win32" else ["-fPIC"])]
    common += ["-DTB_X86_VARIANTS"] if x86 else []
    with tempfile.TemporaryDirectory() as scratch:
        commands, objects = [], []
        for source in sorted(FOLDER.glob("*.c")):
            for variant, machine in VARIANTS.items():
                varied = source.name in VARIED
                if variant != "baseline" and not (varied and x86):
                    continue
                target = str(Path(scratch) / f"{source.stem}-{variant}.o")
                names = [f"-D{VARIED[source.name].format(variant)}"] if varied else []
                names += [f'-DTB_NAME="{variant}"'] if varied else []
                commands.append(
                    [*compiler, *common, *machine, *more, *names, "-c", str(source), "-o", target]
                )
                objects.append(target)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        made = Path(scratch) / library.name
        libraries = [] if sys.platform == "win32" else ["-lm", "-pthread"]
        _run([*compiler, "-shared", *more, *objects, "-o", str(made), *libraries])
        beside = library.with_name(f".{library.name}.{os.getpid()}")
        shutil.copyfile(made, beside)
        beside.replace(library)
    return library


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
    print(build())
