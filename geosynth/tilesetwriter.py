"""Writing a tileset: tiles as they come, in any order and by any process; the index, sorted, at the end."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import from_wkt

from geosynth.descriptions import DESCRIPTIONS
from geosynth.folders import STATE, OutputFolder, write_together, write_whole
from geosynth.grid import Grid
from geosynth.legend import raster_style
from geosynth.lineage import FILE as LINEAGE
from geosynth.lineage import Lineage
from geosynth.rasters import image_bytes, mask_bytes
from geosynth.tileset import FORMAT, INDEX, BandStatistics, Tile, Tileset, TileSpec, class_fractions, to_frame
from geosynth.tilesetmosaic import image_mosaic, image_style, mask_mosaic

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC digital source type of media made by a trained model."""


def synthetic_tags(
    what: str, generator: str, seed: int, sample_index: int, placement: str, settings: Mapping[str, str]
) -> dict[str, str]:
    """The tags every generated file carries; ``what`` is image, mask or both."""
    return {
        "GEOSYNTH_SYNTHETIC": what,
        "GEOSYNTH_GENERATOR": generator,
        "GEOSYNTH_SEED": str(seed),
        "GEOSYNTH_SAMPLE_INDEX": str(sample_index),
        "GEOSYNTH_PLACEMENT": placement,
        **{f"GEOSYNTH_{key.upper()}": value for key, value in sorted(settings.items())},
        "DIGITAL_SOURCE_TYPE": SOURCE_TYPE,
    }


@dataclass(frozen=True)
class EncodedTile:
    """A pair ready to be written: its journal record, and its files by relative path."""

    record: dict[str, Any]
    files: tuple[tuple[str, bytes], ...]


def encode_tile(
    spec: TileSpec,
    tile_id: str,
    grid: Grid,
    image: NDArray[Any],
    valid: NDArray[np.bool_],
    mask: NDArray[np.uint8],
    image_tags: Mapping[str, str],
    mask_tags: Mapping[str, str] | None = None,
    **columns: Any,
) -> EncodedTile:
    """A pair's two files and its journal record.

    Args:
        spec: of the tileset.
        tile_id: name of the pair, unique in the tileset.
        grid: its place.
        image: (C, H, W) in the tileset's dtype, nodata pixels holding nodata.
        valid: bool (H, W).
        mask: class ids uint8 (H, W), 255 unknown.
        image_tags: GeoTIFF tags of the image.
        mask_tags: those of the mask; None: the same.
        columns: the columns of ``Tile`` that cannot be computed here.

    Returns:
        the record holds JSON values: the row, its geometry as WKT, and the sums the band statistics are made of.
    """
    names = {"image": f"images/{tile_id}.tif", "mask": f"masks/{tile_id}.tif"}
    image_file = image_bytes(grid, image, spec.bands, image_tags)
    mask_file = mask_bytes(grid, mask, spec.legend, image_tags if mask_tags is None else mask_tags)
    shares, unknown = class_fractions(mask, spec.legend)
    defaults = {"generator": "", "seed": -1, "sample_index": -1, "parent_id": "", "review": "unseen", "filter": ""}
    record = {
        **defaults,
        "id": tile_id,
        "geometry": grid.footprint.wkt,
        **names,
        "valid_fraction": float(valid.mean()),
        "unknown_fraction": unknown,
        "class_fractions": list(shares),
        "image_sha256": hashlib.sha256(image_file).hexdigest(),
        "mask_sha256": hashlib.sha256(mask_file).hexdigest(),
        **columns,
        "sums": _sums(image, valid),
    }
    return EncodedTile(record, ((names["image"], image_file), (names["mask"], mask_file)))


def write_tiles(folder: Path, tiles: Iterable[EncodedTile]) -> list[dict[str, Any]]:
    """Write pairs into a tileset folder (claimed by this run), all at once; returns their journal records.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    records: list[dict[str, Any]] = []

    def files() -> Iterator[tuple[Path, bytes]]:
        for tile in tiles:
            records.append(tile.record)
            yield from ((folder / name, content) for name, content in tile.files)

    write_together(files(), folder / STATE / "tmp")
    return records


def _sums(image: NDArray[Any], valid: NDArray[np.bool_]) -> dict[str, Any]:
    """Count, sums, sums of squares, least and greatest values of the valid pixels, by band; whole numbers exactly."""
    values = image.reshape(len(image), -1) if valid.all() else image[:, valid]
    count = values.shape[1]
    if not count:
        zero = [0.0] * len(image)
        return {"count": 0, "sum": zero, "square": zero, "min": None, "max": None}
    exact = np.int64 if image.dtype.kind in "iu" and image.dtype.itemsize <= 2 else np.float64
    wide = values.astype(exact)
    return {
        "count": count,
        "sum": [float(band.sum()) for band in wide],
        "square": [float(np.square(band).sum()) for band in wide],  # not a dot product: its rounding depends on threads
        "min": [float(band.min()) for band in values],
        "max": [float(band.max()) for band in values],
    }


def compact(out: OutputFolder, spec: TileSpec, lineage: Lineage | None = None) -> tuple[Tile, ...]:
    """Turn the journal into the index and everything beside it, and mark the tileset complete.

    Args:
        out: the claimed folder, all tasks recorded; a record holds ``tiles``, a list of what ``write_tiles`` returned.
        spec: what the tiles have in common.
        lineage: for generated tiles, what their generator saw.

    Returns:
        The rows, sorted by id.
    """
    records = [row for record in out.records().values() for row in record["tiles"]]
    records.sort(key=lambda row: row["id"])
    statistics = _statistics([row["sums"] for row in records if row["split"] == "train"], len(spec.bands))
    verdicts = _verdicts(out.path)
    tiles = tuple(_judged(_row(record), verdicts) for record in records)
    if lineage is not None:  # before the index, which makes the folder a tileset: none without its lineage
        out.write(LINEAGE, json.dumps(lineage.to_json()) + "\n")
    write_index(out.path, out.temporary, spec, tiles, statistics)
    out.finish()
    return tiles


def write_index(
    folder: Path, temporary: Path, spec: TileSpec, tiles: Sequence[Tile], statistics: Sequence[BandStatistics]
) -> None:
    """Write index, GeoPackage view, style and mosaics; ``tileset.json`` last, because it makes the folder a tileset."""
    for name, content in _views(spec, tiles, temporary):
        write_whole(folder / name, content, temporary)
    write_whole(folder / "legend.qml", raster_style(spec.legend), temporary)
    write_whole(folder / "masks.qml", raster_style(spec.legend), temporary)  # QGIS finds it beside masks.vrt
    write_whole(folder / "images.vrt", image_mosaic(spec, tiles), temporary)
    style = image_style(spec, statistics)
    if style is not None:
        write_whole(folder / "images.qml", style, temporary)
    meta = {"format": FORMAT, **spec.to_json(), "statistics": [asdict(entry) for entry in statistics]}
    write_whole(folder / "tileset.json", json.dumps(meta, indent=1, ensure_ascii=False) + "\n", temporary)


def rewrite_index(tileset: Tileset, temporary: Path, tiles: Sequence[Tile]) -> None:
    """Replace the rows of a complete tileset, whose images stay as they are; the index last, because it is what counts.

    Args:
        tileset: taken with ``revision.revise``.
        temporary: scratch space on the same file system.
        tiles: all rows, sorted by id.
    """
    views = _views(tileset.spec, tiles, temporary)
    write_together(((tileset.path / name, content) for name, content in views), temporary)


def _views(spec: TileSpec, tiles: Sequence[Tile], temporary: Path) -> list[tuple[str, bytes]]:
    """What depends on verdicts and masks."""
    frame = to_frame(tiles, spec.crs)
    buffer = BytesIO()
    frame.to_parquet(buffer, compression="zstd", index=False)
    return [
        ("index.gpkg", _geopackage(frame, temporary)),
        ("masks.vrt", mask_mosaic(spec, tiles).encode()),
        (INDEX, buffer.getvalue()),
    ]


def _verdicts(folder: Path) -> dict[str, Tile]:
    """Rows of the tileset that is already there (tiles are added to it) with something a person or a filter said."""
    if not (folder / DESCRIPTIONS["tileset"]).is_file():
        return {}
    return {tile.id: tile for tile in Tileset(folder).tiles if tile.review != "unseen" or tile.filter}


def _judged(tile: Tile, verdicts: Mapping[str, Tile]) -> Tile:
    """A row as its journal says it, with the verdicts on it."""
    earlier = verdicts.get(tile.id)
    same = earlier is not None and (earlier.image_sha256, earlier.original_mask_sha256) == (
        tile.image_sha256,
        tile.mask_sha256,
    )
    return earlier if earlier is not None and same else tile


def _row(record: dict[str, Any]) -> Tile:
    columns = {key: value for key, value in record.items() if key != "sums"}
    columns["geometry"] = from_wkt(columns["geometry"])
    columns["class_fractions"] = tuple(columns["class_fractions"])
    return Tile(**columns)


def _statistics(sums: Sequence[dict[str, Any]], bands: int) -> list[BandStatistics]:
    """Pooled statistics; summed in index order, so that the order of work does not change the last digit."""
    filled = [entry for entry in sums if entry["count"]]
    if not filled:
        return [BandStatistics(0.0, 0.0, 0.0, 0.0)] * bands
    count = sum(entry["count"] for entry in filled)
    result = []
    for band in range(bands):
        mean = math.fsum(entry["sum"][band] for entry in filled) / count
        square = math.fsum(entry["square"][band] for entry in filled) / count
        low = min(entry["min"][band] for entry in filled)
        high = max(entry["max"][band] for entry in filled)
        result.append(BandStatistics(mean, math.sqrt(max(0.0, square - mean * mean)), low, high))
    return result


def _geopackage(frame: Any, temporary: Path) -> bytes:
    """The index as GeoPackage bytes, without the time it was written."""
    import pyogrio

    view = frame.assign(class_fractions=[json.dumps(list(shares)) for shares in frame["class_fractions"]])
    with tempfile.TemporaryDirectory(dir=temporary) as scratch:
        path = Path(scratch) / "index.gpkg"
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z"})
        pyogrio.write_dataframe(
            view, path, driver="GPKG", layer="tiles", geometry_type="Polygon", VERSION="1.2"
        )  # newer versions are unknown to the QGIS of many
        with sqlite3.connect(path) as database:
            database.execute("VACUUM")
        database.close()
        return path.read_bytes()
