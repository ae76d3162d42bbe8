"""The picture of the imports: no circles, no arrow from a lower floor to a higher one."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]


def test_no_file_imports_itself_by_way_of_others():
    """Imports within functions count, those for types alone do not."""
    graph = grimp.build_graph("tinybuddy", exclude_type_checking_imports=True, cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert imports["tinybuddy.disk"] == {"tinybuddy.errors"}
    order = [*TopologicalSorter(imports).static_order()]  # raises CycleError, which names them
    assert len(order) == len(imports) > 80


def test_the_contracts_of_pyproject_are_kept(capsys: pytest.CaptureFixture[str]):
    assert lint_imports(str(ROOT / "pyproject.toml"), no_cache=True) == 0, capsys.readouterr().out
