"""The made-up landscape as scenes on disk: an image and its mask, with a CRS, of any size."""

from __future__ import annotations

import warnings
from pathlib import Path

import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

from geosynth.legend import UNKNOWN, load_legend
from geosynth.world.landscape import Landscape

ORIGIN = (450_000.0, 5_300_000.0)
"""Easting and northing (UTM 33N, metres) of the landscape's row 0, column 0. One pixel is one metre."""

_STRIP = 256


def write_scene(landscape: Landscape, folder: Path, name: str, row: int, col: int, height: int, width: int) -> Path:
    """Write ``name.tif`` (uint8 RGB) and ``name_mask.tif`` (class ids, palette) into ``folder``; returns the first.

    The window (row, col, height, width) is in the landscape's absolute pixels, and so is the place: scenes of one
    landscape fit together. Written in strips, so that memory does not grow with the scene.
    """
    folder.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "crs": CRS.from_epsg(32633),
        "transform": Affine(1, 0, ORIGIN[0] + col, 0, -1, ORIGIN[1] - row),
        "dtype": "uint8",
        "tiled": True,
        "blockxsize": _STRIP,
        "blockysize": _STRIP,
        "compress": "deflate",
    }
    image_path, mask_path = folder / f"{name}.tif", folder / f"{name}_mask.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with (
            rasterio.open(image_path, "w", **profile, count=3, photometric="rgb") as image,
            rasterio.open(mask_path, "w", **profile, count=1, nodata=UNKNOWN, photometric="palette") as mask,
        ):
            image.descriptions = ("red", "green", "blue")
            mask.write_colormap(1, load_legend("world").colormap())
            for start in range(0, height, _STRIP):
                rows = min(_STRIP, height - start)
                pixels, classes = landscape.render(row + start, col, rows, width)
                window = rasterio.windows.Window(0, start, width, rows)
                image.write(pixels, window=window)
                mask.write(classes, 1, window=window)
    return image_path
