"""Tables of polygons written to GeoPackage, GeoParquet, GeoJSON or Shapefile, batch after batch, as they come."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyproj
from rasterio.crs import CRS

from geosynth.errors import OutputError
from geosynth.grid import is_engineering
from geosynth.legend import Legend, polygon_style

if TYPE_CHECKING:
    import pyarrow as pa

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile", ".parquet": "Parquet"}
"""Suffixes and their formats."""
SHORT = {".shp": 254}
"""Bytes a text may take in a format."""
_SHAPEFILE = (".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx", ".qpj", ".shp.xml")
LAYER = "polygons"
_EPOCH = "1970-01-01T00:00:00.000Z"  # files of equal content are equal
_ROW_GROUP = 1 << 26
"""Bytes that are collected for a row group of a Parquet file."""


def written_crs(suffix: str, crs: CRS) -> CRS:
    """The CRS a format holds polygons in: GeoJSON degrees, if they are on Earth; the others their own."""
    return CRS.from_epsg(4326) if suffix == ".geojson" and not is_engineering(crs) else crs


def companions(path: Path) -> list[Path]:
    """The files that lie beside a vector file and are read with it: logs of a GeoPackage, parts of a Shapefile."""
    beside: list[Path] = []
    if path.suffix.lower() == ".gpkg":
        beside = [path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal")]
    elif path.suffix.lower() == ".shp":
        beside = [path.with_suffix(ending) for ending in _SHAPEFILE]
    return [file for file in beside if file.is_file()]


def write_polygons(
    path: Path,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    crs: CRS,
    bounds: Callable[[], tuple[float, float, float, float] | None],
) -> None:
    """Write a file in the format of its suffix, in bounded memory.

    Args:
        path: the file; other files that belong to it come to lie beside it.
        schema: of the table, with polygons as WKB in ``geometry``.
        batches: its rows.
        crs: of the coordinates.
        bounds: asked when all batches are written.

    Raises:
        OutputError: the file cannot be written. What ``batches`` raises comes through.
    """
    if path.suffix == ".parquet":
        _write_parquet(path, schema, batches, crs, bounds)
    else:
        _write_with_gdal(path, schema, batches, crs)


def add_style(path: Path, legend: Legend, sidecar: bool = True) -> None:
    """Let QGIS show polygons in the legend's colours: inside a GeoPackage, else as a file beside it if wanted."""
    style = polygon_style(legend)
    if path.suffix == ".gpkg":
        _embed_style(path, style)
    elif sidecar:
        path.with_suffix(".qml").write_text(style, encoding="utf-8")


def _write_with_gdal(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], crs: CRS) -> None:
    import pyarrow as pa
    import pyogrio

    failure: list[BaseException] = []

    def caught() -> Iterator[pa.RecordBatch]:
        # Through GDAL only an error's text would come out.
        try:
            yield from batches
        except BaseException as error:
            failure.append(error)
            raise

    options: dict[str, Any] = {"layer": LAYER}
    local = is_engineering(crs)
    if path.suffix == ".geojson":
        options = {"COORDINATE_PRECISION": 9} | ({} if local else {"RFC7946": "YES"})
    elif path.suffix == ".gpkg":
        options["VERSION"] = "1.2"  # newer ones are unknown to the QGIS of many
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _EPOCH})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # GeoJSON of a local plane has no CRS, on purpose
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(schema, caught()),
                path,
                driver=DRIVERS[path.suffix],
                geometry_name="geometry",
                geometry_type="Polygon",
                crs=None if local and path.suffix == ".geojson" else crs.to_wkt(),
                **options,
            )
    except Exception as error:
        if failure:
            raise failure[0] from None
        raise OutputError(
            f"cannot be written ({error})", where=path.name, remedy="check the free space on the disk, or the format"
        ) from None


def _write_parquet(
    path: Path,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    crs: CRS,
    bounds: Callable[[], tuple[float, float, float, float] | None],
) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    with ParquetWriter(path, schema, compression="zstd") as writer:
        held: list[pa.RecordBatch] = []
        for batch in batches:
            held.append(batch)
            if sum(entry.nbytes for entry in held) >= _ROW_GROUP:
                writer.write_table(pa.Table.from_batches(held, schema))
                held = []
        writer.write_table(pa.Table.from_batches(held, schema))
        column: dict[str, Any] = {
            "encoding": "WKB",
            "crs": pyproj.CRS.from_wkt(crs.to_wkt()).to_json_dict(),
            "geometry_types": ["Polygon"],
        }
        box = bounds()
        if box is not None:
            column["bbox"] = list(box)
        content = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": column}}
        writer.add_key_value_metadata({"geo": json.dumps(content)})


def _embed_style(path: Path, style: str) -> None:
    """Put a style into a GeoPackage as QGIS does: its default for the layer, wherever the file goes."""
    with closing(sqlite3.connect(path)) as database:
        # The file has no name yet, so it need not survive a failure here.
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA journal_mode = MEMORY")
        database.execute(
            "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),"
            " f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30),"
            " styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),"
            " update_time DATETIME)"
        )
        (column,) = database.execute("SELECT column_name FROM gpkg_geometry_columns").fetchone()
        database.execute(
            "INSERT INTO layer_styles VALUES (1, '', '', ?, ?, 'classes', ?, '', 1, 'geosynth classes', '', NULL, ?)",
            (LAYER, column, style, _EPOCH),
        )
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change)"
            " VALUES ('layer_styles', 'attributes', 'layer_styles', '', ?)",
            (_EPOCH,),
        )
        database.commit()
