"""What hatchling runs to build a wheel or an editable install: it compiles the engine."""

from __future__ import annotations

import platform
import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENGINE = Path("src") / "tinybuddy" / "backends" / "engine"


class EngineHook(BuildHookInterface[Any]):
    """Compiles the engine and makes the wheel one of this platform, for any Python 3."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; without a compiler the package is installed all the same, to use PyTorch."""
        engine = runpy.run_path(str(Path(self.root) / ENGINE / "build.py"))
        try:
            libraries = engine["build"]()
        except RuntimeError as error:
            self.app.display_warning(f"The engine was not built, PyTorch will be needed: {error}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"
        build_data["artifacts"] += [(ENGINE / library.name).as_posix() for library in libraries]


def _platform() -> str:
    """Name the platform as wheels do; macOS's own Python claims both of its processors."""
    name = sysconfig.get_platform().replace("universal2", platform.machine())
    return name.replace("-", "_").replace(".", "_")
