"""Let the reference show the settings of a recipe: default and meaning stand in their calls."""

from __future__ import annotations

import ast
from typing import Any

import griffe


class Settings(griffe.Extension):
    """Reads `name: kind = _setting(default, meaning, ...)` as a documented attribute."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Take the default and the meaning of a setting."""
        match attr.value:
            case griffe.ExprCall(function=griffe.ExprName(name="_setting"), arguments=arguments):
                default, meaning, *_ = arguments
                attr.value = default
                attr.docstring = griffe.Docstring(ast.literal_eval(str(meaning)), parent=attr)
