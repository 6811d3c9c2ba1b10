"""Vector files: their layers and their features. GeoParquet goes by itself: the GDAL in most wheels cannot read it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geosynth.errors import LabelError


@dataclass(frozen=True)
class VectorLayer:
    """A layer with geometry: ``kind`` of geometry as OGR calls it, ``crs`` as WKT or None, attribute ``fields``."""

    name: str
    kind: str
    crs: str | None
    fields: tuple[str, ...]


def split_layer(source: str) -> tuple[str, str | None]:
    """``FILE|layername=NAME``, as QGIS writes one layer of a file, as (FILE, NAME); NAME is None for all layers.

    Raises:
        LabelError: something else is behind the bar.
    """
    if "|" not in source or Path(source).exists():
        return source, None
    path, _, option = source.partition("|")
    key, _, name = option.partition("=")
    if key.casefold() != "layername" or not name or "|" in name:
        raise LabelError(
            f"'|{option}' is not understood", where=path, remedy="name a layer of a file with FILE|layername=NAME"
        )
    return path, name


def vector_layers(path: str) -> tuple[VectorLayer, ...]:
    """The layers with geometry of a vector file; none when it is no vector file."""
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    if _is_parquet(path):
        frame = _read_parquet(path, None)
        fields = tuple(str(name) for name in frame.columns if name != frame.geometry.name)
        kinds = sorted(set(frame.geom_type.dropna()))
        return (VectorLayer("", kinds[0] if len(kinds) == 1 else "Unknown", _wkt(frame.crs), fields),)
    try:
        found = [(str(name), str(kind)) for name, kind in pyogrio.list_layers(path) if kind is not None]
        infos = [pyogrio.read_info(path, layer=name) for name, _ in found]
    except (DataSourceError, DataLayerError):
        return ()
    return tuple(
        VectorLayer(name, kind, _wkt(info["crs"]), tuple(str(field) for field in info["fields"]))
        for (name, kind), info in zip(found, infos, strict=True)
    )


def read_layer(path: str, layer: str, field: str | None, *, geometry: bool = True) -> Any:
    """A layer as a GeoDataFrame with one attribute, or none; as a DataFrame without ``geometry``.

    Raises:
        LabelError: it cannot be read.
    """
    import pyogrio

    if _is_parquet(path):
        return _read_parquet(path, field)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # repeated feature ids are no concern here
            return pyogrio.read_dataframe(path, layer=layer, columns=[field] if field else [], read_geometry=geometry)
    except (OSError, ValueError, RuntimeError) as error:
        raise LabelError(
            f"cannot be read ({' '.join(str(error).split())[:120]})",
            where=path,
            remedy="check that it is complete: ogrinfo",
        ) from None


def _is_parquet(path: str) -> bool:
    return Path(path).suffix.lower() in (".parquet", ".geoparquet")


def _read_parquet(path: str, field: str | None) -> Any:
    import geopandas

    try:
        frame = geopandas.read_parquet(path)
    except (OSError, ValueError) as error:
        raise LabelError(
            f"is no GeoParquet ({' '.join(str(error).split())[:120]})",
            where=path,
            remedy="write it again as GeoParquet",
        ) from None
    return frame if field is None else frame[[field, frame.geometry.name]]


def _wkt(crs: Any) -> str | None:
    import pyproj

    return None if crs is None else str(pyproj.CRS.from_user_input(crs).to_wkt())
