"""What hatchling runs to build a wheel or an editable install: it compiles the engine.

``TINYBUDDY_PLATFORM`` names another platform to compile for (see ``PLATFORMS`` in the engine's
``build.py``). ``TINYBUDDY_WITHOUT_ENGINE=1`` builds a package that needs PyTorch to compute.
"""

from __future__ import annotations

import os
import platform
import runpy
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENGINE = Path("src") / "tinybuddy" / "backends" / "engine"
ZIG = "ziglang~=0.17.1"  # a wheel that holds clang and the C libraries of every system

TARGET = os.environ.get("TINYBUDDY_PLATFORM") or None
WITHOUT = bool(os.environ.get("TINYBUDDY_WITHOUT_ENGINE"))


class EngineHook(BuildHookInterface[Any]):
    """Compiles the engine and makes the wheel one of its platform, for any Python 3."""

    def dependencies(self) -> list[str]:
        """Ask for zig where no C compiler works, and to compile for elsewhere."""
        return [ZIG] if not WITHOUT and self._engine()["needs_zig"](TARGET) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; the build fails where that fails, since nobody would see a warning."""
        if WITHOUT:
            return
        # A wheel takes none of what this folder has, which is of this machine; an editable install
        # is this folder.
        self._scratch = tempfile.TemporaryDirectory()
        editable = version == "editable" and not TARGET
        folder = Path(self.root) / ENGINE if editable else Path(self._scratch.name)
        try:
            libraries = self._engine()["build"](folder, platform=TARGET)
        except RuntimeError as error:
            raise SystemExit(
                f"The engine was not built. {error}\nInstall gcc or clang, or name a compiler in "
                "CC; or set TINYBUDDY_WITHOUT_ENGINE=1, and PyTorch will compute instead."
            ) from None
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{TARGET or _platform()}"
        if not editable:
            place = ENGINE.relative_to("src").as_posix()
            files = {str(library): f"{place}/{library.name}" for library in libraries}
            build_data["force_include"].update(files)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled."""
        if not WITHOUT:
            self._scratch.cleanup()

    def _engine(self) -> dict[str, Any]:
        return runpy.run_path(str(Path(self.root) / ENGINE / "build.py"))


def _platform() -> str:
    """Name the platform as wheels do; macOS's own Python claims both of its processors."""
    name = sysconfig.get_platform().replace("universal2", platform.machine())
    return name.replace("-", "_").replace(".", "_")
