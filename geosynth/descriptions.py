"""What a folder says of itself: its kind, by the file that describes it, and the hash such a description carries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geosynth.folders import STATE, canonical_json

DESCRIPTIONS = {
    "tileset": "tileset.json",
    "generator": "geosynth.json",
    "segmenter": "segmenter.json",
    "report": "report.html",
    "whole scene": "scene.json",
}
"""The file of each kind of folder. It is written last, so where it is the rest is there."""

UNFINISHED = "unfinished"
"""The first word of what ``kind_of`` says of a folder whose run was interrupted."""

STABLE_DIFFUSION = "stable-diffusion"
"""The route of a generator that draws with a pretrained model, as its description names it; others name none."""

_PLAIN = {"predict": "class rasters", "scene": "scenes"}
"""What some commands make that has no description."""
_MADE_BY = {
    "tileset": ("tile", "generate"),
    "generator": ("train",),
    "segmenter": ("segment",),
    "report": ("evaluate",),
    "whole scene": ("generate",),
}


def kind_of(folder: Path) -> str | None:
    """What a folder is: "tileset", "generator", "segmenter", "report", "whole scene", "class rasters", "scenes" or
    "unfinished …".

    The last is followed by the command that began it ("run" where that cannot be read). None for anything else.
    """
    for kind, name in DESCRIPTIONS.items():
        if (folder / name).is_file():
            return kind
    state = folder / STATE
    if not state.is_dir():
        return None
    command = _command(state / "request.json")
    return _PLAIN.get(command) if (state / "complete").is_file() else f"{UNFINISHED} {command}"


def misfit(folder: Path, wanted: str) -> tuple[str, str]:
    """What is wrong with a folder that is no ``wanted`` (a key of ``DESCRIPTIONS``), and the remedy, for people."""
    kind = kind_of(folder)
    make = f"make one with: geosynth {_MADE_BY[wanted][0]}"
    if not folder.is_dir():
        return ("is a file, not a folder" if folder.exists() else "no such folder"), make
    if kind is None or kind == wanted:
        return f"not a {wanted} (it has no {DESCRIPTIONS[wanted]})", make
    if not kind.startswith(UNFINISHED):
        return f"is {kind if kind in _PLAIN.values() else f'a {kind}'}, not a {wanted}", make
    command = kind.removeprefix(f"{UNFINISHED} ")
    if command in (*_MADE_BY[wanted], "run"):
        return f"an unfinished run, not yet a {wanted}", f"finish it with --resume, or {make}"
    return f"an unfinished run of {command}, not a {wanted}", make


def is_stable_diffusion(folder: Path) -> bool:
    """Whether a folder is a generator of the Stable Diffusion route; no more is looked at than its description says."""
    try:
        content = json.loads((folder / DESCRIPTIONS["generator"]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("route") == STABLE_DIFFUSION


def description_hash(content: Mapping[str, Any]) -> str:
    """sha256 of a description's JSON values, less the entry ``hash`` that holds it."""
    body = {key: value for key, value in content.items() if key != "hash"}
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()


def _command(request: Path) -> str:
    try:
        return str(json.loads(request.read_text(encoding="utf-8"))["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return "run"
