"""Made-up scenes to tile, and the plan to tile them by."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import rasterio
from rasterio import Affine

from geosynth.legend import load_legend
from geosynth.tiling import TilingPlan
from geosynth.world import Landscape

WORLD = load_legend("world")


def scene(folder: Path, name: str, row: int = 0, col: int = 0, side: int = 200, **profile: Any) -> tuple[Path, Path]:
    """A made-up scene and its mask, 1 m pixels, at its place in the world."""
    image, mask = Landscape(0).render(row, col, side, side)
    place = {"crs": "EPSG:32633", "transform": Affine(1, 0, 500_000 + col, 0, -1, 5_000_000 - row)}
    paths = folder / f"{name}.tif", folder / f"{name}_mask.tif"
    for path, bands in zip(paths, (image, mask[None]), strict=True):
        extra = profile if path == paths[0] else {}
        with rasterio.open(
            path, "w", driver="GTiff", height=side, width=side, count=len(bands), dtype="uint8", **place | extra
        ) as dataset:
            dataset.write(bands)
    return paths


def plan(paths: tuple[Path, Path], **changes: Any) -> TilingPlan:
    return replace(TilingPlan((paths[0],), (paths[1],), size=32, legend=WORLD), **changes)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".geosynth" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
