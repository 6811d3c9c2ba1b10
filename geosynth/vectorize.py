"""Class rasters into polygons for a GIS: GeoPackage, GeoParquet, GeoJSON or Shapefile, in the legend's colours."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Container, Iterable, Sequence
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS

from geosynth.errors import LabelError, OutputError
from geosynth.events import Events
from geosynth.grid import Grid, is_engineering
from geosynth.legend import UNKNOWN, Legend, polygon_style
from geosynth.scenes.labels import Codes, MaskLabels, infer_legend, inspect_labels, make_codes
from geosynth.scenes.polygons import class_polygons, noded
from geosynth.scenes.source import open_scene

FORMATS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile", ".parquet": "Parquet"}
_LAYER = "polygons"
_MANY = 32
"""More values than this without a name or a colour are measurements."""
_EPOCH = "1970-01-01T00:00:00.000Z"  # files of equal content are equal


def vectorize(
    masks: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    events: Events,
    *,
    legend: Legend | None = None,
    min_area: float = 0.0,
    simplify: float = 0.0,
    drop: Iterable[str] = (),
    ignore: Iterable[int | str] = (),
    overwrite: bool = False,
) -> int:
    """Write one polygon for every region of one class; unknown (255, nodata) becomes none.

    Columns: ``class_id``, ``class_name``, ``area_m2`` (on the ellipsoid; ``area`` in CRS units where the raster has no
    place on Earth), ``source`` (the raster's name). The CRS is the first raster's; GeoJSON is in degrees.

    Args:
        masks: class rasters, such as ``geosynth predict`` writes.
        out: the file; its suffix (.gpkg, .parquet, .geojson, .shp) decides the format.
        events: told the progress.
        legend: classes; None takes names and colours from the rasters.
        min_area: smaller polygons are left out: square metres, or CRS units without a place on Earth.
        simplify: tolerance in CRS units; neighbours keep their common borders.
        drop: names of classes to leave out.
        ignore: values that mean unknown, such as a legend file's ``ignore_index``.
        overwrite: replace an existing file.

    Returns:
        The number of polygons.

    Raises:
        LabelError: a raster is no class raster, or holds a value that is no class.
        LegendError: a class to drop is not in the legend.
        OutputError: the file is there already, or cannot be written.
    """
    target = Path(out)
    _check(target, overwrite)
    labels = [_class_raster(path) for path in masks]
    if not labels:
        raise LabelError("no raster is given")
    ignored = {str(value) for value in ignore}
    for mask in labels:
        _refuse_measurements(mask, legend, ignored)
    legend = legend or infer_legend(labels, None, ignored)
    codes = make_codes(labels, legend, None, ignored)
    dropped = [legend.named(name).id for name in drop]
    crs = labels[0].scene.grid.crs
    for mask in labels:
        if is_engineering(mask.scene.grid.crs) != is_engineering(crs):
            raise LabelError("not all rasters have a CRS", where=mask.path, remedy="vectorize them apart")
    parts = [_polygons(mask, codes, legend, crs, min_area, simplify, dropped, events) for mask in labels]
    import pandas

    frame = pandas.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    if frame.empty:
        events.warn("no polygon is left: everything is unknown, dropped or smaller than the smallest area")
    try:
        _write(frame, target, legend)
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror or error})", where=target, remedy="choose another --out"
        ) from None
    events.artifact(target, "polygons")
    return len(frame)


def _check(target: Path, overwrite: bool) -> None:
    if target.suffix.lower() not in FORMATS:
        raise OutputError("is of no known format", where=target, remedy=f"end its name in {', '.join(FORMATS)}")
    if target.is_dir():
        raise OutputError("is a folder", where=target, remedy="give a file name")
    if target.exists() and not overwrite:
        raise OutputError("is there already", where=target, remedy="give --overwrite to replace it")


def _class_raster(path: str | PathLike[str]) -> MaskLabels:
    labels = inspect_labels(path)[0]
    if not isinstance(labels, MaskLabels):
        raise LabelError("holds polygons already", where=path, remedy="give class rasters")
    return labels


def _refuse_measurements(mask: MaskLabels, legend: Legend | None, ignored: Container[str]) -> None:
    """Refuse a raster whose numbers nothing says to be classes: no palette, no names, not those of a legend."""
    if mask.named or mask.colors:
        return
    if legend is None:
        if len(mask.values) > _MANY:
            raise LabelError(
                f"is no class raster: {len(mask.values)} different values, without names or colours",
                where=mask.path,
                remedy="give --legend if they are classes",
            )
        return
    known = (*legend.ids, UNKNOWN, mask.nodata)
    strange = [value for value in mask.values if value not in known and str(value) not in ignored]
    if strange:
        raise LabelError(
            f"is no class raster of this legend: no names, no colours, and its value {strange[0]} is no class of the"
            f" legend ({', '.join(f'{entry.id} {entry.name}' for entry in legend.classes)})",
            where=mask.path,
            remedy="give class rasters, or the legend they were made with",
        )


def _polygons(
    mask: MaskLabels,
    codes: Codes,
    legend: Legend,
    crs: CRS,
    min_area: float,
    simplify: float,
    dropped: Sequence[int],
    events: Events,
) -> Any:
    """The polygons of one raster as a GeoDataFrame in ``crs``."""
    import geopandas

    grid = mask.scene.grid

    def step(done: int, total: int) -> None:
        events.progress(done, total, "blocks")
        events.check()

    with open_scene(mask.scene) as reader:

        def read(row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
            values, valid = reader.read(row, col, height, width)
            return np.where(valid, codes.of_numbers(values[0]), np.uint8(UNKNOWN))

        shapes, classes = class_polygons(read, grid.height, grid.width, step=step)
    shapes = _placed(noded(shapes) if simplify else shapes, grid)
    if simplify:
        shapes = shapely.coverage_simplify(shapes, simplify)
    keep = ~np.isin(classes, dropped) & ~shapely.is_empty(shapes)
    shapes, classes = shapes[keep], classes[keep]
    local = is_engineering(grid.crs)
    areas = shapely.area(shapes) if local else _ground_areas(shapes, grid.crs)
    large = areas >= min_area
    names = dict(zip(legend.ids, legend.names, strict=True))
    frame = geopandas.GeoDataFrame(
        {
            "class_id": classes[large].astype(np.int32),
            "class_name": [names[id_] for id_ in classes[large].tolist()],
            "area" if local else "area_m2": areas[large],
            "source": [mask.name] * int(large.sum()),
        },
        geometry=shapes[large],
        crs=grid.crs.to_wkt(),
    )
    return frame if local or grid.crs == crs else frame.to_crs(crs.to_wkt())


def _placed(polygons: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Pixel coordinates to CRS units."""
    a, _, c, _, e, f = grid.transform[:6]
    placed: NDArray[Any] = shapely.transform(polygons, lambda xy: xy * (a, e) + (c, f))
    return placed


def _ground_areas(polygons: NDArray[Any], crs: CRS) -> NDArray[np.float64]:
    """Square metres on the ellipsoid, float64 (N,)."""
    import pyproj

    own = pyproj.CRS.from_wkt(crs.to_wkt())
    geod = own.get_geod()
    if geod is None or own.geodetic_crs is None:
        return np.asarray(shapely.area(polygons), np.float64)
    to_lonlat = pyproj.Transformer.from_crs(own, own.geodetic_crs, always_xy=True)
    on_earth = shapely.transform(polygons, lambda xy: np.column_stack(to_lonlat.transform(xy[:, 0], xy[:, 1])))
    return np.array([abs(geod.geometry_area_perimeter(polygon)[0]) for polygon in on_earth], np.float64)


def _write(frame: Any, target: Path, legend: Legend) -> None:
    """Write under a temporary name and rename; of a file that is several the main one comes last."""
    import pyogrio

    suffix = target.suffix.lower()
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.stem}.", dir=target.parent))
    try:
        part = scratch / target.name
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _EPOCH})
        if suffix == ".parquet":
            frame.to_parquet(part, compression="zstd", index=False)
        else:
            options: dict[str, Any] = {}
            if suffix == ".geojson":
                local = frame.crs is None or not (frame.crs.is_geographic or frame.crs.is_projected)
                frame = frame.set_crs(None, allow_override=True) if local else frame.to_crs(4326)
                options = {"COORDINATE_PRECISION": 9} | ({} if local else {"RFC7946": "YES"})
            elif suffix == ".gpkg":
                options = {"layer": _LAYER, "VERSION": "1.2"}  # newer ones are unknown to the QGIS of many
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # GeoJSON of a local plane has no CRS, on purpose
                pyogrio.write_dataframe(
                    frame, part, driver=FORMATS[suffix], geometry_type=_geometry_type(frame), **options
                )
        style = polygon_style(legend)
        if suffix == ".gpkg":
            _embed_style(part, style)
        elif not target.with_suffix(".tif").exists():  # whose .qml this would be taken for
            part.with_suffix(".qml").write_text(style, encoding="utf-8")
        for file in sorted(scratch.iterdir(), key=lambda file: file == part):
            file.replace(target.parent / file.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _geometry_type(frame: Any) -> str:
    return "MultiPolygon" if (frame.geom_type == "MultiPolygon").any() else "Polygon"


def _embed_style(path: Path, style: str) -> None:
    """Put a style into a GeoPackage as QGIS does: its default for the layer, wherever the file goes."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),"
            " f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30),"
            " styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),"
            " update_time DATETIME)"
        )
        (column,) = database.execute("SELECT column_name FROM gpkg_geometry_columns").fetchone()
        database.execute(
            "INSERT INTO layer_styles VALUES (1, '', '', ?, ?, 'classes', ?, '', 1, 'geosynth classes', '', NULL, ?)",
            (_LAYER, column, style, _EPOCH),
        )
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change)"
            " VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?)",
            (_EPOCH,),
        )
        database.commit()
        database.execute("VACUUM")
