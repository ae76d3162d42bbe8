"""What hatchling runs to build a wheel or an editable install: it compiles the engine.

``TINYBUDDY_PLATFORM`` names another platform to compile for (see ``PLATFORMS`` in the engine's
``build.py``). ``TINYBUDDY_WITHOUT_ENGINE=1`` builds a package that needs PyTorch to compute.
"""

from __future__ import annotations

import os
import platform
import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENGINE = Path("src") / "tinybuddy" / "backends" / "engine"
ZIG = "ziglang>=0.13"  # a wheel that holds clang and the C libraries of every system


class EngineHook(BuildHookInterface[Any]):
    """Compiles the engine and makes the wheel one of its platform, for any Python 3."""

    def dependencies(self) -> list[str]:
        """Ask for zig where no C compiler is found, and to compile for elsewhere."""
        try:
            if "TINYBUDDY_PLATFORM" not in os.environ:
                self._engine()["find_compiler"]()
            return [ZIG] if "TINYBUDDY_PLATFORM" in os.environ else []
        except RuntimeError:
            return [ZIG]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; the build fails where that fails, since nobody would see a warning."""
        if os.environ.get("TINYBUDDY_WITHOUT_ENGINE"):
            return
        target = os.environ.get("TINYBUDDY_PLATFORM")
        try:
            libraries = self._engine()["build"](platform=target)
        except RuntimeError as error:
            raise SystemExit(
                f"The engine was not built. {error}\nInstall gcc or clang, or name a compiler in "
                "CC; or set TINYBUDDY_WITHOUT_ENGINE=1, and PyTorch will compute instead."
            ) from None
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{target or _platform()}"
        build_data["artifacts"] += [(ENGINE / library.name).as_posix() for library in libraries]

    def _engine(self) -> dict[str, Any]:
        return runpy.run_path(str(Path(self.root) / ENGINE / "build.py"))


def _platform() -> str:
    """Name the platform as wheels do; macOS's own Python claims both of its processors."""
    name = sysconfig.get_platform().replace("universal2", platform.machine())
    return name.replace("-", "_").replace(".", "_")
