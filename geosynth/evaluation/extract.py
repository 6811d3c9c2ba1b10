"""Some pairs of a synthetic tileset as a tileset of their own: a run changes its copy, never what it was given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geosynth.events import Events
from geosynth.folders import canonical_json, claim, write_together
from geosynth.lineage import FILE as LINEAGE
from geosynth.lineage import read_lineage
from geosynth.tileset import Tile, Tileset
from geosynth.tilesetwriter import write_index

_TOGETHER = 64
"""Pairs that are written at a time."""


def extract(tileset: Tileset, tiles: Sequence[Tile], out: Path, events: Events) -> None:
    """Write ``tiles`` of a tileset, their masks as training would see them, as a tileset that nobody has filtered.

    Args:
        tileset: where they are; its lineage comes along.
        tiles: rows of its index.
        out: folder to write; a complete one is left as it is.
        events: asked whether to stop.
    """
    ordered = sorted(tiles, key=lambda tile: tile.id)
    request = {"command": "extract", "tiles": tileset.identity(), "ids": [tile.id for tile in ordered]}
    with claim(out, request, "resume") as folder:
        if folder.complete:
            return
        rows = [replace(tile, mask=f"masks/{tile.id}.tif", unfiltered_sha256="", filter="") for tile in ordered]
        names = [
            (tileset.path / source, folder.path / target)
            for old, new in zip(ordered, rows, strict=True)
            for source, target in ((old.image, new.image), (old.mask, new.mask))
        ]
        for start in range(0, len(names), 2 * _TOGETHER):
            events.check()
            part = names[start : start + 2 * _TOGETHER]
            write_together(((target, source.read_bytes()) for source, target in part), folder.temporary)
        folder.write(LINEAGE, json.dumps(read_lineage(tileset.path).to_json()) + "\n")
        spec = replace(tileset.spec, id=hashlib.sha256(canonical_json(request).encode()).hexdigest()[:16])
        write_index(folder.path, folder.temporary, spec, rows, tileset.statistics)
        folder.finish()
