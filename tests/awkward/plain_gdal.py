"""What a raster holds, told by GDAL's own programs and by counting bytes: nothing of geosynth, nothing of rasterio."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely.geometry
from awkward_files import Tiles
from conftest import required
from numpy.typing import NDArray


def gdal(program: str, *arguments: str | Path | float, given: str = "") -> str:
    """Standard output of one of GDAL's programs.

    They are another build than the one in this Python; its settings would lead them astray.
    """
    found = shutil.which(program)
    required(f"GDAL's {program}", found is not None)
    result = subprocess.run(
        [str(found), *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def all_pixels(path: str | Path, dtype: str, *arguments: str, count: int | None = None) -> NDArray[Any]:
    """Every pixel of a raster, (C, H, W): written out plainly by gdal_translate, and read as bytes."""
    width, height = facts(path)["size"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plain"
        gdal("gdal_translate", "-q", "-of", "ENVI", "-co", "INTERLEAVE=BSQ", *arguments, path, out)
        values = np.fromfile(out, dtype)
    return values.reshape(-1 if count is None else count, height, width)


@lru_cache(maxsize=256)
def facts(path: str | Path) -> dict[str, Any]:
    """What gdalinfo says."""
    said: dict[str, Any] = json.loads(gdal("gdalinfo", "-json", "-nomd", "-norat", "-noct", path))
    return said


def values_at(path: str | Path, points: NDArray[np.float64], *, pixels: bool = False) -> list[NDArray[np.float64]]:
    """A raster's values at points (N, 2), all bands each, looked up by gdallocationinfo.

    The points are x, y in the raster's own coordinates; or column, row with ``pixels``. Outside there are no values.
    """
    lines = "".join(f"{x!r} {y!r}\n" for x, y in points.tolist())
    said = gdal("gdallocationinfo", "-valonly", *([] if pixels else ["-geoloc"]), path, given=lines)
    bands = len(facts(path)["bands"])
    found = [float(line or "nan") for line in said.splitlines()]
    assert len(found) == len(points) * bands, "a point lies outside"
    return list(np.array(found).reshape(len(points), bands))


@dataclass(frozen=True)
class Truth:
    """A whole raster as it is, rows running down from north: ``image`` (C, H, W) without alpha, ``valid`` (H, W).

    ``left``, ``top``, ``x``, ``y``: the outer corner in the upper left, and the size of a pixel, in CRS units.
    ``placed`` is False for a raster without any georeference: a pixel is a unit, and rows are counted down from 0.
    """

    image: NDArray[Any]
    valid: NDArray[np.bool_]
    left: float
    top: float
    x: float
    y: float
    placed: bool
    wkt: str | None


def truth(path: str | Path, entry: Tiles) -> Truth:
    """A raster that must become tiles, as it is."""
    about = facts(path)
    stored = all_pixels(path, entry.dtype, count=len(entry.bands) + (entry.holds == "alpha"))
    image = stored[: len(entry.bands)]
    valid = _valid(path, entry, stored)
    placed = "geoTransform" in about
    left, x, tilt, top, tilt_too, y = about.get("geoTransform", (0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    assert tilt == tilt_too == 0 < x
    if y > 0:
        image, valid, top = image[:, ::-1], valid[::-1], top + y * image.shape[1]
    wkt = about.get("coordinateSystem", {}).get("wkt")
    return Truth(image, valid, left, top, x, abs(y), placed, wkt or None)


def _valid(path: str | Path, entry: Tiles, stored: NDArray[Any]) -> NDArray[np.bool_]:
    if entry.holds == "alpha":
        return np.asarray(stored[-1] > 0)
    if entry.holds == "mask":
        return np.asarray(all_pixels(path, "uint8", "-b", "mask")[0] > 0)
    numbers = np.isfinite(stored).all(axis=0)
    if entry.holds == "zeros":
        return np.asarray(numbers & (stored != 0).any(axis=0))
    if entry.holds == "value":
        return np.asarray(numbers & (stored != np.dtype(entry.dtype).type(entry.nodata)).all(axis=0))
    return np.asarray(numbers)


def features(path: str | Path) -> tuple[NDArray[Any], list[dict[str, Any]]]:
    """The geometries (N,) of a vector file in its own coordinates, and their attributes, in file order."""
    said = gdal("ogr2ogr", "-f", "GeoJSON", "-lco", "COORDINATE_PRECISION=17", "/vsistdout/", path)
    found = json.loads(said)["features"]
    return np.array([shapely.geometry.shape(one["geometry"]) for one in found]), [one["properties"] for one in found]
