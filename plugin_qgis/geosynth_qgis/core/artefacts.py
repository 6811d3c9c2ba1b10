"""What a run has made: found by the plugin's own rules, inside the chosen output folder only."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .command_table import COMMANDS
from .options import Command
from .words import tr

_DESCRIPTIONS = (
    ("tileset.json", "tileset"),
    ("geosynth.json", "generator"),
    ("segmenter.json", "segmenter"),
    ("scene.json", "scene"),
    ("report.html", "report"),
)
_LARGEST_DESCRIPTION = 50_000_000


@dataclass(frozen=True)
class Provenance:
    """Where a tileset or scene comes from.

    Attributes:
        images, masks: whether any of them was generated.
        lines: for people, for the metadata of layers.
    """

    images: bool = False
    masks: bool = False
    lines: tuple[str, ...] = ()

    @property
    def synthetic(self) -> bool:
        return self.images or self.masks


@dataclass(frozen=True)
class Result:
    """A file of a run that a user may look at.

    Attributes:
        key: name of the algorithm's output.
        kind: ``raster``, ``vector`` or ``file``.
        title: for people; begins with SYNTHETIC where it shows no real place.
        lines: provenance, for the layer's metadata.
    """

    path: Path
    key: str
    kind: str
    title: str
    synthetic: bool = False
    lines: tuple[str, ...] = ()


def inside(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path | None:
    """The path, when it is there and lies in the folder once all links are followed; else None."""
    try:
        real, home = Path(path).resolve(strict=True), Path(folder).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
    return real if real != home and home in real.parents else None


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """What geosynth made in a folder: tileset, generator, segmenter, scene, report, unfinished; None: nothing of it."""
    folder = Path(path)
    for name, kind in _DESCRIPTIONS:
        if (folder / name).is_file():
            return kind
    if (folder / ".geosynth" / "request.json").is_file():
        finished = (folder / ".geosynth" / "complete").is_file()
        return "classes" if finished and any(folder.glob("*.tif")) else "unfinished"
    return None


def description(folder: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """A JSON file of a folder; empty when it is not there or no JSON object."""
    path = Path(folder) / name
    try:
        if path.stat().st_size > _LARGEST_DESCRIPTION:
            return {}
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def class_names(folder: str | os.PathLike[str]) -> list[str]:
    """The classes of a tileset, generator, segmenter or scene, in legend order."""
    return [name for name, _ in legend(folder)]


def legend(folder: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Name and colour (``#rrggbb``) of the classes of a tileset, generator, segmenter or scene."""
    for name, _ in _DESCRIPTIONS[:4]:
        facts = description(folder, name)
        found = _legend_in(facts)
        if found:
            return found
    return []


def _legend_in(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    entries = facts.get("legend")
    if not isinstance(entries, list):
        # Models keep the description of their tiles one level down.
        nested = (_legend_in(value) for value in facts.values() if isinstance(value, dict))
        return next((found for found in nested if found), [])
    return [
        (str(entry["name"]), str(entry.get("color", "#808080")))
        for entry in entries
        if isinstance(entry, dict) and "name" in entry
    ]


def provenance(folder: str | os.PathLike[str]) -> Provenance:
    """Whether the tiles or the scene in a folder were generated, by what and how."""
    kind = kind_of(folder)
    request = description(folder, ".geosynth/request.json")
    if kind == "scene":
        scene = description(folder, "scene.json")
        made = scene.get("mask_made")
        return _told(True, not isinstance(made, (int, float)) or made > 0, {str(scene.get("placement"))}, request)
    if kind != "tileset":
        return Provenance()
    rows = _origins(Path(folder) / "index.gpkg")
    if rows is None:  # no index to ask: the request says which command made the folder
        made_here = request.get("command") == "generate"
        return _told(made_here, made_here, set(), request)
    images = any(image == "generated" for image, _, _ in rows)
    masks = any(mask in ("generated", "predicted") for _, mask, _ in rows)
    return _told(images, masks, {place for _, _, place in rows}, request)


def _origins(index: Path) -> list[tuple[str, str, str]] | None:
    if not index.is_file():
        return None
    question = "SELECT DISTINCT image_origin, mask_origin, placement FROM tiles"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(index.resolve().as_uri() + "?mode=ro&immutable=1", uri=True)) as database,
    ):
        return [tuple(map(str, row)) for row in database.execute(question)]  # type: ignore[misc]
    return None


def _told(images: bool, masks: bool, placements: set[str], request: Mapping[str, Any]) -> Provenance:
    if not (images or masks):
        return Provenance()
    what = tr("images and masks") if images and masks else tr("images") if images else tr("masks")
    lines = [tr("SYNTHETIC: the {what} were generated by geosynth and show no real place.").format(what=what)]
    if not images:
        lines = [tr("SYNTHETIC: the masks were made by a geosynth generator for given images.")]
    if "fictitious" in placements:
        lines.append(tr("They lie in a made-up place."))
    if "donor" in placements:
        lines.append(tr("They lie where the masks lie that they were made for."))
    names = {"model": tr("generator"), "seed": tr("seed"), "sampler": tr("sampler"), "steps": tr("steps"),
             "guidance": tr("guidance")}  # fmt: skip
    lines += [f"{label}: {request[name]}" for name, label in names.items() if request.get(name) is not None]
    return Provenance(images, masks, tuple(lines))


def results_of(command: Command, values: Mapping[str, Any]) -> list[Result]:
    """What a finished command has made, in the order of its outputs. Never a file outside its output folder."""
    if command.name == "vectorize":
        path = Path(str(values.get("OUTPUT") or ""))
        return (
            [Result(path, "OUTPUT", "vector", tr("polygons · {name}").format(name=path.stem))] if path.is_file() else []
        )
    given = values.get(command.keeps_in or "OUTPUT")
    if not given:
        return []
    folder = Path(str(given))
    if command.name == "predict":
        return _class_rasters(folder)
    found = []
    for output in command.outputs:
        path = next((real for name in output.files if (real := inside(folder / name, folder))), None)
        if path is not None:
            found.append(_result(output.name, output.kind, tr(output.label), path, folder))
    return found


def results_in(folder: str | os.PathLike[str]) -> list[Result]:
    """What there is to look at in a folder, whichever command made it."""
    home = Path(folder)
    commands = {"tileset": "generate", "scene": "generate", "report": "evaluate", "classes": "predict"}
    command = COMMANDS.get(commands.get(kind_of(home) or "", ""))
    if command is None and (home / "report" / "report.html").is_file() and (home / "classes.gpkg").is_file():
        command = COMMANDS["demo"]
    return [] if command is None else results_of(command, {"OUTPUT": str(home)})


def _class_rasters(folder: Path) -> list[Result]:
    paths = [inside(path, folder) for path in sorted(folder.glob("*.tif"))]
    return [Result(path, "LAYERS", "raster", tr("classes · {name}").format(name=path.stem)) for path in paths if path]


def _result(key: str, kind: str, label: str, path: Path, folder: Path) -> Result:
    # The files of a demo lie in folders of their own, and those say what they are.
    home = path.parent if kind_of(path.parent) else folder
    source = provenance(home)
    synthetic = (
        source.synthetic if key == "INDEX" else source.images if key == "IMAGES" else source.masks and key == "MASKS"
    )
    # Not translated, so that whoever searches for it finds it.
    mark = "SYNTHETIC " if synthetic else ""
    name = folder.name if home == folder else f"{folder.name}/{home.name}"
    return Result(path, key, kind, f"{mark}{label.lower()} · {name}", synthetic, source.lines if synthetic else ())
