"""Tilesets of given pairs: what fidelity is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from evaluation_tiles import RGB
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.folders import claim
from geosynth.grid import Grid, fictitious_grid
from geosynth.legend import load_legend
from geosynth.tileset import Split, Tileset, TileSpec
from geosynth.tilesetwriter import compact, encode_tile, write_tiles
from geosynth.world import Landscape

SIDE = 32
PairOfArrays = tuple[np.ndarray, np.ndarray]


def world_pairs(count: int, seed: int = 0, far: int = 0) -> list[PairOfArrays]:
    """Images (3, 32, 32) and masks from all over a landscape, ``far`` pixels down."""
    world = Landscape(seed)
    return [world.render(far + i // 8 * 5 * SIDE, i % 8 * 5 * SIDE, SIDE, SIDE) for i in range(count)]


def write_pairs(
    path: Path, pairs: Sequence[PairOfArrays], *, held_out: int = 0, split: Split = "val", generated: bool = True
) -> Tileset:
    """A tileset of these pairs; the last ``held_out`` are of ``split``, the others of train."""
    spec = TileSpec(path.name, RGB, load_legend("world"), CRS.from_epsg(32633), (1.0, 1.0), 1.0, SIDE)
    origins = {"image_origin": "generated", "mask_origin": "generated", "placement": "fictitious"}
    if not generated:
        origins = {"image_origin": "real", "mask_origin": "human", "placement": "real"}
    with claim(path, {"judged": path.name}) as out:
        rows = []
        for number, (image, mask) in enumerate(pairs):
            grid = fictitious_grid(spec.crs, spec.pixel_size, SIDE, number, spec.id)
            if not generated:
                grid = Grid(spec.crs, Affine(1, 0, 500_000 + number * SIDE, 0, -1, 5_000_000), SIDE, SIDE)
            rows.append(
                encode_tile(
                    spec, f"t_{number:03}", grid, np.ascontiguousarray(image), np.ones((SIDE, SIDE), bool),
                    np.ascontiguousarray(mask), {}, split=split if number >= len(pairs) - held_out else "train",
                    scene="" if generated else "world", row=0, col=number * SIDE, **origins,
                )
            )  # fmt: skip
        out.record("tiles", {"tiles": write_tiles(out.path, rows)})
        compact(out, spec)
    return Tileset(path)
