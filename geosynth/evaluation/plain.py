"""The report as plain text: Markdown without the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = ("name", "real", "synthetic", "runs", "iou", "f1", "difference", "interval", "places")
_TITLES = (
    "Learns from",
    "Real pairs",
    "Synthetic pairs",
    "Runs",
    "Mean IoU",
    "Mean F1",
    "Difference",
    "95 % interval over seeds",
    "95 % interval over places",
)


def markdown(content: Mapping[str, Any]) -> str:
    """The report without its pictures."""
    lines = [f"# {content['title']}", "", content["lead"], "", *(f"- {line}" for line in content["headline"]), ""]
    lines += [f"> {line}\n" for line in content["warnings"]]
    if content["arms"]:
        lines += ["## Scores on the real test tiles", "", content["method"], ""]
        lines += [*_table(_TITLES, [[arm[key] for key in _COLUMNS] for arm in content["arms"]]), ""]
        lines += [
            *([content["rows_words"], ""] if content["rows_words"] else []),
            content["places_words"],
            "",
            *([content["val_words"], ""] if content["val_words"] else []),
            *(f"- {line}" for line in content["verdicts"]),
            "",
        ]
        lines += _classes(content)
        lines += _confusions(content)
        lines += _spread(content)
    lines += ["## How real do the synthetic tiles look to a network?", "", *content["fidelity"].words, ""]
    if content["fidelity"].rows:
        lines += [*_table(("Tiles of", *content["fidelity_heads"]), content["fidelity"].rows), ""]
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
    if content["left_out"]:
        lines += ["## What was left out", "", *(f"- {line}" for line in content["left_out"]), ""]
    lines += ["## What this does not show", "", *(f"- {line}" for line in content["limits"]), ""]
    lines += ["## How to reproduce it", "", f"    {content['command']}", ""]
    return "\n".join([*lines, *(f"- {name}: {value}" for name, value in content["provenance"]), ""])


def _classes(content: Mapping[str, Any]) -> list[str]:
    lines = []
    for table in content["class_tables"]:
        heads = ("Class", "Training pixels", "Test pixels", *(f"{short} ({name})" for short, name in table["heads"]))
        rows = [
            [row["name"], row["train"], row["test"], *map(_bold, row["cells"]), row["gain"]] for row in table["rows"]
        ]
        rows.append(["Mean", "", "", *map(_bold, table["means"]), table["gain"]])
        lines += [f"## Which classes does “{table['label']}” help?", ""]
        lines += [*_table((*heads, "Gain"), rows), "", "IoU ± standard error over seeds; bold: the highest mean.", ""]
    if content["classes"]:
        rows = [[row["name"], *map(_with_error, row["cells"])] for row in content["classes"]]
        lines += ["## Scores by class, all arms", "", *_table(("Learns from", *content["class_names"]), rows), ""]
    return lines


def _bold(cell: Mapping[str, Any]) -> str:
    return f"**{cell['text']}**" if cell["best"] else str(cell["text"])


def _with_error(cell: Mapping[str, Any]) -> str:
    return _bold({"text": f"{cell['mean']} {cell['error']}".strip(), "best": cell["best"]})


def _confusions(content: Mapping[str, Any]) -> list[str]:
    lines = ["## What is taken for what", "", "Percent of the true pixels; rows truth, columns prediction.", ""]
    for matrix in content["confusions"]:
        rows = [[row["name"], *(cell["text"] for cell in row["cells"])] for row in matrix["rows"]]
        lines += [f"### {matrix['name']}", "", *_table(("Truth", *content["class_names"]), rows), ""]
    return lines


def _spread(content: Mapping[str, Any]) -> list[str]:
    spread = content["spread"]
    if not spread.rows:
        return []
    heads = ("Source", "Standard deviation of the gain", "Degrees of freedom")
    return ["## Where the spread comes from", "", *spread.words, "", *_table(heads, spread.rows), ""]


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in cells]
