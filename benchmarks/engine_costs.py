"""What each part of the engine costs on one core, beside what the core can do at most.

    python benchmarks/engine_costs.py

Compiles engine_costs.c with the engine's own files for this processor and runs it pinned to one
core. Seconds are of the processor, the median of 31 runs; a percentage is a share of the
multiply-adds, or of the reading of memory, that the core reaches when it does nothing else.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from tinybuddy.backends.engine.build import BASELINE, FLAGS, FOLDER, X86, find_compiler
from tinybuddy.backends.engine.library import kernels_of, load

MAIN = Path(__file__).with_suffix(".c")  # it includes decode.c


def main() -> None:
    """Compile and run."""
    kernels = kernels_of(load())
    sources = [path for path in sorted(FOLDER.glob("*.c")) if path.name != "decode.c"]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as scratch:
        program = str(Path(scratch) / "costs")
        flags = [*FLAGS, *(BASELINE | X86)[kernels], "-pthread"]
        command = [*find_compiler(), *flags, str(MAIN), *map(str, sources), "-o", program, "-lm"]
        subprocess.run(command, check=True)
        subprocess.run([program], check=True)


if __name__ == "__main__":
    main()
