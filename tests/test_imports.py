"""No file imports what imports it; `lint-imports` holds the order of the floors."""

from __future__ import annotations

import graphlib

import grimp


def test_no_imports_go_in_a_circle():
    graph = grimp.build_graph("tinybuddy", exclude_type_checking_imports=True)
    modules = {m: graph.find_modules_directly_imported_by(m) for m in graph.modules}
    assert len(modules) > 80
    graphlib.TopologicalSorter(modules).prepare()  # raises CycleError, which names the circle
