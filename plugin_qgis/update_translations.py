"""Writes geosynth_qgis/i18n/geosynth.ts: every text of the plugin, for translators.

    python plugin_qgis/update_translations.py

A translation is a copy called geosynth_de.ts with its texts translated; ``lrelease`` makes the .qm that QGIS loads.
"""

from __future__ import annotations

import ast
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

PLUGIN = Path(__file__).parent / "geosynth_qgis"
TARGET = PLUGIN / "i18n" / "geosynth.ts"
CONTEXT = "geosynth"  # of plugin.py


def texts() -> list[str]:
    """All texts in a fixed order: literals given to ``tr``, then the command table's."""
    found: dict[str, None] = {}
    for path in sorted(PLUGIN.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tr" and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found[first.value] = None
    return [*found, *(text for text in _table() if text not in found)]


def _table() -> dict[str, None]:
    sys.path.insert(0, str(PLUGIN.parent))
    from geosynth_qgis.core.command_table import COMMANDS, GROUPS
    from geosynth_qgis.core.creation import ACCELERATORS

    listed = [*GROUPS.values(), *ACCELERATORS.values()]
    for command in COMMANDS.values():
        listed += [command.title, command.summary, *(output.label for output in command.outputs)]
        listed += [text for option in command.options for text in (option.label, option.help)]
    return dict.fromkeys(text for text in listed if text)


def document() -> str:
    """The file's text."""
    root = ET.Element("TS", version="2.1", sourcelanguage="en")
    context = ET.SubElement(root, "context")
    ET.SubElement(context, "name").text = CONTEXT
    for text in texts():
        message = ET.SubElement(context, "message")
        ET.SubElement(message, "source").text = text
        ET.SubElement(message, "translation", type="unfinished")
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n' + ET.tostring(root, encoding="unicode") + "\n"


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8", newline="\n")
