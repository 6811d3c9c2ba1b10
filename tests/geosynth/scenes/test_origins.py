from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.events import Events
from geosynth.legend import load_legend
from geosynth.rasters import read_tags
from geosynth.scenes.origins import synthetic_side
from geosynth.tileset import Tileset
from geosynth.tiling import TilingPlan, tile_scenes


def raster(path: Path, values: np.ndarray, **tags: str) -> Path:
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "crs": CRS.from_epsg(32633),
        "transform": Affine(1, 0, 5e5, 0, -1, 5e6),
    }
    with rasterio.open(path, "w", count=len(values), height=32, width=32, **profile) as target:
        target.write(values.astype(np.uint8))
        target.update_tags(**tags)
    return path


@pytest.mark.parametrize(
    ("image_tags", "mask_tags", "expected", "sides"),
    [
        ({}, {}, ("real", "human", "real"), ("none", "none")),
        (
            {"GEOSYNTH_SYNTHETIC": "both", "GEOSYNTH_PLACEMENT": "fictitious"},
            {"GEOSYNTH_SYNTHETIC": "both"},
            ("generated", "generated", "fictitious"),
            ("both", "both"),
        ),
        (
            {"GEOSYNTH_SYNTHETIC": "image", "GEOSYNTH_PLACEMENT": "donor"},
            {},
            ("generated", "human", "donor"),
            ("image", "image"),
        ),
        ({}, {"GEOSYNTH_SEGMENTER": "abc"}, ("real", "predicted", "real"), ("mask", "mask")),
    ],
)
def test_a_synthetic_scene_that_is_tiled_stays_synthetic(
    tmp_path: Path,
    image_tags: dict[str, str],
    mask_tags: dict[str, str],
    expected: tuple[str, str, str],
    sides: tuple[str, str],
) -> None:
    scene = raster(tmp_path / "scene.tif", np.full((3, 32, 32), 90), **image_tags)
    mask = raster(tmp_path / "scene_mask.tif", np.ones((1, 32, 32)), **mask_tags)
    plan = TilingPlan(
        scenes=(scene,), labels=(mask,), size=16, legend=load_legend("world"), assign=(("scene", "train"),)
    )
    tile_scenes(plan, tmp_path / "tiles", Events())
    tileset = Tileset(tmp_path / "tiles")
    for tile in tileset.tiles:
        assert (tile.image_origin, tile.mask_origin, tile.placement) == expected
        found = tuple(read_tags(tileset.path / path)["GEOSYNTH_SYNTHETIC"] for path in (tile.image, tile.mask))
        assert found == sides


def test_sides_that_nobody_saw_or_drew() -> None:
    assert synthetic_side("real", "none") == "none"
    assert synthetic_side("generated", "none") == "image"
    assert synthetic_side("real", "predicted") == "mask"
