"""Which tiles hold data is known before they are made, however a file says it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.events import Events
from geosynth.scenes.blocks import Lattice
from geosynth.scenes.coverage import keeps_any, kept_tiles
from geosynth.scenes.source import inspect_scene, open_scene, target_grid

UTM = CRS.from_epsg(32633)
PLACE = Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000)
SIDE, STRIDE = 40, 32


def scene(path: Path, kind: str, **profile: Any) -> Path:
    """300 x 260 pixels with data in an ellipse."""
    rows, cols = np.mgrid[:300, :260]
    shown = ((rows - 150) / 140) ** 2 + ((cols - 130) / 120) ** 2 < 1
    image = np.random.default_rng(0).integers(1, 255, (3, 300, 260), dtype=np.uint8)
    settings = {"driver": "GTiff", "crs": UTM, "transform": PLACE, "height": 300, "width": 260, "dtype": "uint8"}
    settings |= {"count": 3, "nodata": 0 if kind == "value" else None} | profile
    if kind == "nan":
        settings["dtype"] = "float32"
        image = np.where(shown, image.astype(np.float32), np.float32(np.nan))
    if kind == "value":
        image = np.where(shown, image, np.uint8(0))
    with rasterio.open(path, "w", **settings) as dataset:
        dataset.write(image)
        if kind == "mask":
            dataset.write_mask(shown)
    return path


@pytest.mark.parametrize("kind", ["value", "nan", "mask", "none"])
@pytest.mark.parametrize("change", ["", "gsd", "bare", "up"])
def test_it_is_what_reading_every_pixel_says(tmp_path: Path, kind: str, change: str) -> None:
    profile = {
        "bare": {"crs": None, "transform": Affine.identity()},
        "up": {"transform": Affine(2.0, 0, 500_000, 0, 2.0, 5_000_000)},
    }.get(change, {})
    info = inspect_scene(scene(tmp_path / "a.tif", kind, **profile))
    grid = target_grid(info, gsd=3.0) if change == "gsd" else info.grid
    rows, cols = -(-grid.height // STRIDE), -(-grid.width // STRIDE)
    lattice = Lattice(grid, rows, cols, SIDE, STRIDE, 2)
    valid = np.zeros((rows * STRIDE + SIDE, cols * STRIDE + SIDE))
    with open_scene(info, grid) as reader:
        valid[: grid.height, : grid.width] = reader.read(0, 0, grid.height, grid.width)[1]
    share = np.array(
        [[valid[r * STRIDE :, c * STRIDE :][:SIDE, :SIDE].mean() for c in range(cols)] for r in range(rows)]
    )
    kept = kept_tiles(info, lattice, 0.5, Events())
    clear = np.abs(share - 0.5) > 0.1
    assert (kept == (share >= 0.5))[clear].all()
    assert kept.any()
    assert not kept.all()
    assert keeps_any(info, lattice, 0.5, Events())
    assert not keeps_any(info, lattice, 1.0, Events()) or share.max() == 1
