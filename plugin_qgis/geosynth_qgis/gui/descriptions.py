"""What a generator or tileset says of itself in its JSON file: classes, tile side, pixel size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

_FILES = ("geosynth.json", "tileset.json", "segmenter.json")


@dataclass(frozen=True)
class ClassEntry:
    """A class of a legend; ``color`` is ``#rrggbb``."""

    id: int
    name: str
    color: str


@dataclass(frozen=True)
class Description:
    """What the panel needs to know of a folder. ``pixel`` is in CRS units, ``ground`` in metres or None."""

    classes: tuple[ClassEntry, ...]
    side: int
    pixel: float
    ground: float | None
    crs: str


def describe(folder: Path) -> Description | None:
    """The description of a generator, tileset or segmenter; None where there is none, or a damaged one."""
    for name in _FILES:
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            spec = content.get("spec", content)
            ground = spec.get("gsd_m")
            return Description(
                tuple(ClassEntry(int(c["id"]), str(c["name"]), str(c["color"])) for c in spec["legend"]),
                int(spec["tile_size"]),
                float(spec["pixel_size"][0]),
                None if ground is None else float(ground),
                str(spec["crs"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            continue
    return None
