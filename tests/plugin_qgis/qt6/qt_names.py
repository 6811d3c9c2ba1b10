"""Finds what Qt 6 does not have, and enums without their class, in modules of the plugin; prints a JSON list.

python qt_names.py FILE…

Names from ``qgis.PyQt`` are looked up in PyQt6. Enums of QGIS are looked up in the bindings of this QGIS: a member that
is reached through the class alone, and not through the enum, is one that QGIS 4 no longer has there.
"""

from __future__ import annotations

import ast
import enum
import importlib
import json
import sys
from pathlib import Path
from typing import Any

MOVED = {("QtWidgets", "QAction"), ("QtWidgets", "QActionGroup"), ("QtWidgets", "QShortcut")}
"""In Qt 5's place, taken from there when Qt 6's import fails."""
GONE = {"exec_", "print_"}


class Names(ast.NodeVisitor):
    def __init__(self, path: Path) -> None:
        self.path, self.found = path, []
        self.qt: dict[str, Any] = {}
        self.qgis: dict[str, Any] = {}
        self.caught = 0

    def complain(self, node: ast.AST, text: str) -> None:
        self.found.append(f"{self.path.name}:{node.lineno}: {text}")

    def visit_Try(self, node: ast.Try) -> None:
        for part in node.body:
            self.visit(part)
        self.caught += 1
        for handler in node.handlers:
            self.visit(handler)
        self.caught -= 1
        for part in (*node.orelse, *node.finalbody):
            self.visit(part)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name.startswith(("PyQt5", "PyQt6")):
                self.complain(node, f"import {alias.name}: use qgis.PyQt")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if module.startswith(("PyQt5", "PyQt6")):
            self.complain(node, f"from {module}: use qgis.PyQt")
        elif module.startswith("qgis.PyQt."):
            self._from_qt(node, module.rpartition(".")[2])
        elif module in ("qgis.core", "qgis.gui", "qgis.utils"):
            home = importlib.import_module(module)
            self.qgis.update({alias.asname or alias.name: getattr(home, alias.name, None) for alias in node.names})

    def _from_qt(self, node: ast.ImportFrom, name: str) -> None:
        home = importlib.import_module(f"PyQt6.{name}")
        for alias in node.names:
            if hasattr(home, alias.name):
                self.qt[alias.asname or alias.name] = getattr(home, alias.name)
            elif not (self.caught and (name, alias.name) in MOVED):
                self.complain(node, f"{name}.{alias.name} is not in Qt 6")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if node.attr in GONE:
            self.complain(node, f"{node.attr} is not in Qt 6")
        if isinstance(inner, ast.Name) and inner.id in self.qt:
            self._in_qt6(node, inner.id, parts)
        elif isinstance(inner, ast.Name) and self.qgis.get(inner.id) is not None:
            self._in_qgis(node, inner.id, parts)
        if isinstance(inner, ast.Name):
            return  # the shorter names in it were looked up with it
        self.generic_visit(node)

    def _in_qt6(self, node: ast.AST, name: str, parts: list[str]) -> None:
        value = self.qt[name]
        for depth, part in enumerate(parts):
            if not isinstance(value, type) or isinstance(value, enum.Enum):
                return  # what a function or a value has is not known here
            if not hasattr(value, part):
                self.complain(node, f"{'.'.join([name, *parts[: depth + 1]])} is not in Qt 6")
                return
            value = getattr(value, part)

    def _in_qgis(self, node: ast.AST, name: str, parts: list[str]) -> None:
        owner = self.qgis[name]
        value = getattr(owner, parts[0], None)
        kind = type(value)
        # A member of an enum of the class, reached without the enum. (Numbers of other kinds are constants.)
        nested = getattr(kind, "__qualname__", "") != "int" and isinstance(value, (int, enum.Enum))
        if nested and not isinstance(value, (bool, type)) and kind not in (int, float):
            self.complain(node, f"{name}.{parts[0]}: write it with its enum, {kind.__name__}")


def main() -> None:
    found: list[str] = []
    for path in map(Path, sys.argv[1:]):
        names = Names(path)
        names.visit(ast.parse(path.read_text(encoding="utf-8")))
        found += names.found
    print(json.dumps(found))


main()
