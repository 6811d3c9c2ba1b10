"""The report as plain text: Markdown without the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(content: Mapping[str, Any]) -> str:
    """The report without its pictures."""
    lines = [f"# {content['title']}", "", content["lead"], "", *(f"- {line}" for line in content["headline"]), ""]
    lines += [f"> {line}\n" for line in content["warnings"]]
    if content["arms"]:
        lines += ["## Scores on the real test tiles", "", content["method"], ""]
        columns = ("name", "real", "synthetic", "runs", "iou", "f1", "difference", "interval")
        titles = (
            "Learns from",
            "Real pairs",
            "Synthetic pairs",
            "Runs",
            "Mean IoU",
            "Mean F1",
            "Difference",
            "95 % interval",
        )
        lines += [
            *_table(titles, [[arm[key] for key in columns] for arm in content["arms"]]),
            "",
            "## Scores by class",
            "",
        ]
        rows = [[row["name"], row["share"], *row["iou"]] for row in content["classes"]]
        lines += [*_table(("Class", "Test pixels", *(arm["name"] for arm in content["arms"])), rows), ""]
    for entry in content["synthetic"]:
        rows = [[row[key] for key in ("name", "real", "made", "real_tiles", "made_tiles")] for row in entry["shares"]]
        lines += [f"## Real and “{entry['name']}”", "", entry["shares_words"], ""]
        heads = (
            "Class",
            "Pixels, real",
            f"Pixels, {entry['name']}",
            "Tiles with it, real",
            f"Tiles with it, {entry['name']}",
        )
        lines += [*_table(heads, rows), "", entry["copy_words"], ""]
    lines += ["## What this does not show", "", *(f"- {line}" for line in content["limits"]), ""]
    lines += ["## How to reproduce it", "", f"    {content['command']}", ""]
    return "\n".join([*lines, *(f"- {name}: {value}" for name, value in content["provenance"]), ""])


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in cells]
