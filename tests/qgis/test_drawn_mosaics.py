"""The mosaic of a tileset in a real QGIS: see-through between the tiles, and every pixel where it belongs."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from image_tiles import image_tileset
from numpy.typing import NDArray
from PIL import Image
from test_layers import run_in_qgis

from geosynth.rasters import Band

DRAWER = Path(__file__).parent / "draw_in_qgis.py"
SIDE = 64
PITCH = 2 * SIDE
NODATA = {"uint8": 255.0, "uint16": 65535.0, "int16": -32768.0, "float32": math.nan}
BEHIND = (255, 0, 255)


def drawn(folder: Path, wanted: list[dict[str, Any]]) -> list[NDArray[np.int64]]:
    """The pictures QGIS draws, (height, width, 3)."""
    for number, entry in enumerate(wanted):
        entry["picture"] = str(folder / f"picture{number}.png")
    (folder / "pictures.json").write_text(json.dumps(wanted))
    run_in_qgis(folder, DRAWER, folder / "pictures.json")
    return [np.asarray(Image.open(entry["picture"]).convert("RGB")).astype(np.int64) for entry in wanted]


def extent(west: float, north: float, width: float, height: float) -> list[float]:
    return [500_000 + west, 5_000_000 - north - height, 500_000 + west + width, 5_000_000 - north]


def test_gaps_are_see_through_for_any_bands(tmp_path: Path) -> None:
    cases = list(itertools.product(NODATA, (1, 2, 3, 4), ("none", "zero", "other")))
    wanted = []
    for dtype, bands, nodata in cases:
        value = {"none": None, "zero": 0.0, "other": NODATA[dtype]}[nodata]
        image = np.random.default_rng(0).integers(60, 120, (bands, SIDE, SIDE)).astype(dtype)
        image[:, :, 32:] += 30
        image[0, 8:16, 8:16] = 0 if bands > 1 else 60  # dark in one band is no gap
        if value is not None:
            image[:, 40:56, 40:56] = value
        layout = tuple(Band(f"b{number}", dtype, value) for number in range(bands))
        places = [(row, col, image) for row in (0, PITCH) for col in (0, PITCH)]
        tiles = image_tileset(tmp_path / f"{dtype}-{bands}-{nodata}", layout, places)
        whole = extent(0, 0, PITCH + SIDE, PITCH + SIDE)
        wanted.append({"raster": str(tiles / "images.vrt"), "extent": whole, "size": [PITCH + SIDE] * 2})
    for case, picture in zip(cases, drawn(tmp_path, wanted), strict=True):
        inside = np.zeros(picture.shape[:2], bool)
        for row, col in itertools.product((0, PITCH), (0, PITCH)):
            inside[row : row + SIDE, col : col + SIDE] = True
            if case[2] != "none":
                inside[row + 40 : row + 56, col + 40 : col + 56] = False
        assert np.array_equal((picture != BEHIND).any(-1), inside), case
        assert picture[inside].std() > 5, f"{case}: the tiles are one flat colour"


def one_file(tiles: Path, target: Path) -> Path:
    """The mosaic as a plain GeoTIFF."""
    with rasterio.open(tiles / "images.vrt") as mosaic:
        pixels, mask = mosaic.read(), mosaic.dataset_mask()
        profile = mosaic.profile | {"driver": "GTiff", "photometric": "rgb"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(target, "w", **profile) as flat:
        flat.write(pixels)
        flat.write_mask(mask)
    return target


@pytest.mark.parametrize("offset", [0.0, 0.37])
def test_every_pixel_is_drawn_where_it_belongs_at_any_zoom(tmp_path: Path, offset: float) -> None:
    """The colours say which tile, row and column they are: they lie within a pixel of the screen, which is how near
    QGIS draws any raster, and from the mosaic's own pixels on where a plain GeoTIFF has them."""
    rows, cols = np.mgrid[:SIDE, :SIDE]
    places = [
        (
            tile // 4 * PITCH,
            tile % 4 * PITCH,
            np.stack([4 * rows, 4 * cols, np.full_like(rows, 20 * tile)]).astype("u1"),
        )
        for tile in range(12)
    ]
    tiles = image_tileset(tmp_path / "tiles", tuple(Band(name, "uint8") for name in "rgb"), places)
    files = (tiles / "images.vrt", one_file(tiles, tmp_path / "flat.tif"))
    zooms = (4.0, 3.0, 1.7, 1.0, 0.5, 0.3, 0.1)
    sizes = [(int(min(400, 7 * SIDE * zoom)), int(min(300, 5 * SIDE * zoom))) for zoom in zooms]
    wanted = [
        {"raster": str(file), "extent": extent(offset, offset, width / zoom, height / zoom), "size": [width, height]}
        for file in files
        for zoom, (width, height) in zip(zooms, sizes, strict=True)
    ]
    pictures = drawn(tmp_path, wanted)
    for zoom, picture, plain in zip(zooms, pictures, pictures[len(zooms) :], strict=False):
        pixel = 1 / zoom
        y, x = (offset + (np.indices(picture.shape[:2]) + 0.5) * pixel).reshape(2, -1)  # in the mosaic's pixels
        red, green, blue = picture.reshape(-1, 3).T
        shown = (picture.reshape(-1, 3) != BEHIND).any(-1)
        row, col = np.divmod(blue // 20, 4) * np.array(PITCH) + np.stack([red, green]) / 4 + 0.5
        apart = np.maximum(np.abs(row - y), np.abs(col - x))
        assert apart[shown].max() <= 0.5 + pixel + 1e-6, zoom
        depth = np.minimum(*(np.minimum(at % PITCH, SIDE - at % PITCH) for at in (y, x)))  # below a tile's edge
        assert depth[~shown].max() <= pixel, f"{zoom}: a gap in a tile"
        if zoom >= 1:
            assert np.array_equal(picture, plain), zoom
