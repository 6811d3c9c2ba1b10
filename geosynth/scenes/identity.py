"""What makes two inputs the same: the bytes of all files they consist of, and how GDAL understands them."""

from __future__ import annotations

import hashlib
import warnings
from glob import escape
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geosynth.folders import file_hash
from geosynth.scenes.codes import Labels
from geosynth.scenes.masks import MaskLabels
from geosynth.scenes.source import SceneInfo
from geosynth.tileset import crs_name

_PARTS = {
    ".shp": (".dbf", ".shx", ".prj", ".cpg"),
    ".tab": (".dat", ".map", ".id", ".ind"),
    ".mif": (".mid",),
}
"""Vector files that consist of several of one name."""
_ABOUT = (".ovr", ".aux.xml")
"""Files beside a raster that QGIS and GDAL make while it is looked at: overviews, statistics. What else an ``.aux.xml``
can say (place, CRS, nodata, names of bands) is in ``scene_identity``."""


def input_files(path: str | PathLike[str]) -> tuple[Path, ...]:
    """The files an input consists of: itself, world files, masks, sources of a VRT (and theirs), parts of a shapefile
    or geodatabase.

    None where GDAL reads no plain file (a remote one, one in an archive).
    """
    text = fspath(path)
    found: dict[str, None] = {}
    _gather(text, found)
    return tuple(Path(name) for name in found)


def content_hash(path: str | PathLike[str]) -> str:
    """sha256, hex, of all ``input_files``; of the path's text where there are none."""
    parts = [file_hash(part) for part in input_files(path)]
    if len(parts) == 1:
        return parts[0]
    return hashlib.sha256(("".join(parts) or fspath(path)).encode()).hexdigest()


def scene_identity(info: SceneInfo) -> dict[str, Any]:
    """A scene in a request, as JSON: its content, and the place, bands and validity that were read out of it."""
    grid = info.grid
    return {
        "name": info.name,
        "file": Path(info.path).name,
        "sha256": content_hash(info.path),
        "crs": crs_name(grid.crs),
        "transform": list(grid.transform[:6]),
        "shape": [grid.height, grid.width],
        "bands": [[band.name, band.dtype, str(band.nodata)] for band in info.bands],
        "validity": info.validity,
    }


def label_identity(labels: Labels) -> dict[str, Any]:
    """Labels in a request, as JSON."""
    if isinstance(labels, MaskLabels):
        return {
            **scene_identity(labels.scene),
            "nodata": labels.nodata,
            "placed": labels.placed,
            "colors": [list(entry) for entry in labels.colors],
            "transparent": sorted(labels.transparent),
        }
    identity = {"file": Path(labels.path).name, "layer": labels.layer, "sha256": content_hash(labels.path)}
    return identity if labels.line_width is None else {**identity, "line_width": labels.line_width}


def _gather(text: str, found: dict[str, None]) -> None:
    """Add an input's files; first itself, then what belongs to it in the order of names."""
    path = Path(text)
    if path.is_file():
        found[text] = None
    elif path.is_dir():  # a file geodatabase
        found.update(dict.fromkeys(str(file) for file in sorted(path.iterdir()) if file.is_file()))
        return
    if parts := _PARTS.get(path.suffix.lower()):
        beside = path.parent.glob(f"{escape(path.stem)}.*")
        found.update(dict.fromkeys(str(file) for file in sorted(beside) if file.suffix.lower() in parts))
        return
    journal = Path(f"{text}-wal")  # edits that QGIS has not yet moved into the GeoPackage itself
    if journal.is_file() and journal.stat().st_size:
        found[str(journal)] = None
    for name in sorted(_files_of(text)):
        if name not in found and Path(name).is_file() and not name.lower().endswith(_ABOUT):
            _gather(name, found)


def _files_of(text: str) -> list[str]:
    """The files GDAL names for a raster; a source of a VRT that is missing is found out by whoever reads it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(text) as dataset:
                return [str(name) for name in dataset.files]
    except RasterioError:
        return []
