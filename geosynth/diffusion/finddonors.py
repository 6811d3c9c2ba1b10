"""What is given to a generator: a tileset, mask rasters, polygons or scenes, found, checked and made to fit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import shapely
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.descriptions import kind_of
from geosynth.diffusion.bandorder import band_order, listed
from geosynth.diffusion.donorlabels import absolute, codes_for, find_labels
from geosynth.diffusion.donors import SAME_SIZE, Donors, Side, TileDonors
from geosynth.diffusion.donorwindows import (
    Canvas,
    MaskCanvas,
    SceneCanvas,
    Window,
    WindowDonors,
    known_windows,
    padded,
)
from geosynth.diffusion.request import GenerateRequest, Reading
from geosynth.errors import GeosynthError, LabelError, ModelError, SceneError
from geosynth.events import Events
from geosynth.grid import Grid, is_engineering
from geosynth.lineage import Lineage
from geosynth.scenes.burning import label_bounds, load_polygons
from geosynth.scenes.finding import find_files, name_apart
from geosynth.scenes.identity import label_identity, scene_identity
from geosynth.scenes.labels import Labels, MaskLabels, PolygonLabels
from geosynth.scenes.layout import is_whole, refuse_mixed_nodata, shared_bands, shared_grids
from geosynth.scenes.origins import (
    SYNTHETIC,
    image_origin,
    kept_tags,
    lineage_behind,
    lineage_identity,
    mask_origin,
)
from geosynth.scenes.source import SceneInfo, inspect_scene, select_bands
from geosynth.scenes.targets import covering, refuse_finer, same_crs
from geosynth.tileset import TileSpec

_FILES = (None, "class rasters", "scenes")
"""What a folder can be whose rasters are meant, and not the folder as a whole."""
_MOST = 1_000_000
"""Windows, at most: so many fit into memory, and nobody means more."""


@dataclass(frozen=True)
class Maps:
    """Canvases of masks, with what a request says of their files and what the makers of synthetic ones saw."""

    canvases: tuple[MaskCanvas, ...]
    inputs: Mapping[str, Any]
    behind: Lineage


def find_donors(request: GenerateRequest, generator: TileSpec, events: Events) -> Donors | None:
    """What is given; None for new pairs. Every file is looked at, so that nothing is wrong with it later.

    Args:
        request: what is asked for.
        generator: the tiles of the generator.
        events: told what was done to make files fit, asked whether to stop.

    Raises:
        ModelError, TilesetError: a tileset does not fit the generator.
        SceneError, LabelError: a file cannot be read, does not fit the generator or the others, or holds nothing known.
        Cancelled: the user stopped it.
    """
    sources = request.masks_from or request.images_from
    if request.masks_from and request.images_from:
        raise ModelError("both the masks and the images are given", remedy="give --masks-from or --images-from")
    if not sources:
        return None
    side: Side = "mask" if request.masks_from else "image"
    for source in sources:
        if _is_described(source, side):
            if len(sources) > 1:
                raise ModelError("is given among others", where=source, remedy="give one tileset, or files")
            if request.reading != Reading():
                raise ModelError(
                    "is a tileset, which says itself what its bands and classes are",
                    where=source,
                    remedy="leave out the options about classes, polygons and bands",
                )
            return TileDonors.of(str(Path(source).resolve()), side, generator)
    if side == "mask":
        maps = find_maps(sources, request.reading, generator, events)
        paths = [canvas.labels[0].path for canvas in maps.canvases]
        windows = _windows(maps.canvases, paths, generator.tile_size, LabelError, events)
        return WindowDonors(windows, placed(generator, maps.canvases[0].grid), maps.inputs, maps.behind)
    return _images(sources, request.reading, generator, events)


def _is_described(source: str, side: Side) -> bool:
    """Whether a folder is meant as a whole, and not the rasters in it."""
    kind = kind_of(Path(source)) if Path(source).is_dir() else None
    if kind == "whole scene":
        raise ModelError(
            "is the folder of a whole scene",
            where=source,
            remedy=f"give the file in it: {Path(source) / f'{side}.tif'}",
        )
    return kind not in _FILES


def _windows(
    canvases: Sequence[Canvas], paths: Sequence[str], side: int, problem: type[GeosynthError], events: Events
) -> tuple[Window, ...]:
    """All windows that hold something known; raises ``problem`` with one of ``paths`` for none, or too many."""
    found = chain.from_iterable(known_windows(canvas, side, events) for canvas in canvases)
    windows = tuple(islice(found, _MOST + 1))
    if not windows:
        nothing = "no pixel of a known class" if problem is LabelError else "no pixel with data"
        raise problem(f"holds {nothing}", where=paths[0], remedy="give other files")
    if len(windows) > _MOST:
        grid, path = max(
            zip((canvas.grid for canvas in canvases), paths, strict=True),
            key=lambda pair: pair[0].height * pair[0].width,
        )
        raise problem(
            f"more than {_MOST} tiles of {side} px are to be made, and it alone reaches over {grid.width} x"
            f" {grid.height} pixels (a stray polygon?)",
            where=path,
            remedy="give less, or one map for a --whole scene",
        )
    return windows


# Masks and maps


def find_maps(sources: Sequence[str], reading: Reading, generator: TileSpec, events: Events) -> Maps:
    """Mask rasters, or maps of polygons, that are given to a generator. Nobody has looked yet for what they hold.

    Raises:
        ModelError: a folder that is no folder of rasters.
        SceneError, LabelError: as ``find_donors``.
    """
    for source in sources:
        if _is_described(source, "mask"):
            raise ModelError("is a tileset, not one map", where=source, remedy="give a mask raster or polygons")
    labels = find_labels(sources, reading)
    codes = codes_for(labels, reading, generator.legend)
    masks = [entry for entry in labels if isinstance(entry, MaskLabels)]
    layers = [entry for entry in labels if isinstance(entry, PolygonLabels)]
    infos, owned = _maps(layers, generator, events) if layers else _rasters(masks)
    grids = _fitting_grids(infos, generator, events)
    origins = ["human" if layers else mask_origin(info.path) for info in infos]
    tags = [{SYNTHETIC: "none"} if layers else kept_tags(info.path) for info in infos]
    canvases = tuple(
        MaskCanvas(info.name, grid, own, codes, bool(layers), origin, said)
        for info, own, grid, origin, said in zip(infos, owned, grids, origins, tags, strict=True)
    )
    behind = lineage_behind([entry.path for entry in masks], events)
    inputs = {
        "labels": [label_identity(entry) for entry in labels],
        "class_field": list(reading.class_field),
        "outside": reading.outside,
        "ignore": [str(value) for value in reading.ignore],
        "legend": None if reading.legend is None else reading.legend.to_json(),
    }
    return Maps(canvases, inputs | lineage_identity(behind), behind)


def _rasters(masks: Sequence[MaskLabels]) -> tuple[list[SceneInfo], list[tuple[Labels, ...]]]:
    """Every mask raster is a canvas of its own."""
    return name_apart([entry.scene for entry in masks]), [(entry,) for entry in masks]


def _maps(
    layers: Sequence[PolygonLabels], generator: TileSpec, events: Events
) -> tuple[list[SceneInfo], list[tuple[Labels, ...]]]:
    """Layers whose extents meet are one canvas, on which later ones lie over earlier ones.

    A canvas is described as a scene with pixels of about the generator's size, in the CRS of the first layer.
    """
    first = layers[0]
    if first.crs is None or is_engineering(CRS.from_wkt(first.crs)) or generator.gsd_m is None:
        raise LabelError(
            "its polygons have no coordinate system that says their size on the ground"
            if generator.gsd_m is not None
            else "polygons have no pixels, and the generator's are of no known size on the ground",
            where=first.path,
            remedy="give a mask raster with the generator's pixels: gdal_rasterize",
        )
    crs = CRS.from_wkt(first.crs)
    loaded = [load_polygons(entry, crs) for entry in layers]
    for what, number in (
        ("repaired because they were invalid", sum(layer.repaired for layer in loaded)),
        ("left out because they have no area", sum(layer.dropped for layer in loaded)),
    ):
        if number:
            events.warn(f"polygons {what}: {number}")
    extents = [label_bounds(entry, crs) for entry in layers]
    held = [(entry, shapely.box(*box)) for entry, box in zip(layers, extents, strict=True) if box is not None]
    if not held:
        raise LabelError("holds no polygon with an area", where=first.path, remedy="give other polygons")
    unit = generator.gsd_m / (111_320 if crs.is_geographic else crs.linear_units_factor[1])
    canvases: list[tuple[int, SceneInfo, tuple[Labels, ...]]] = []
    for ground in shapely.get_parts(shapely.union_all([box for _, box in held])):
        own = tuple(entry for entry, box in held if box.intersects(ground))
        left, bottom, right, top = ground.bounds
        extent = Grid(crs, Affine(right - left, 0, left, 0, bottom - top, top), 1, 1)
        grid = covering(extent, crs, (unit, unit), first.path)
        info = SceneInfo(own[0].path, own[0].name, grid, generator.bands, "none")
        canvases.append((layers.index(own[0]), info, own))
    canvases.sort(key=lambda canvas: canvas[0])
    return name_apart([info for _, info, _ in canvases]), [own for _, _, own in canvases]


# Scenes


def _images(sources: Sequence[str], reading: Reading, generator: TileSpec, events: Events) -> WindowDonors:
    found = [inspect_scene(absolute(path)) for path in find_files(sources)[0]]
    infos = [_with_bands(info, reading.bands, generator) for info in name_apart(found)]
    grids = _fitting_grids(infos, generator, events)
    for info, grid in zip(infos, grids, strict=True):
        refuse_mixed_nodata(info, grid)
    side = generator.tile_size
    # What lies beyond a scene in its last tiles is no data, so there must be a value for it.
    covers = [replace(grid, height=padded(grid.height, side), width=padded(grid.width, side)) for grid in grids]
    bands = shared_bands(infos, covers)
    canvases = [
        SceneCanvas(info, grid, is_whole(info, grid), bands, image_origin(info.path), kept_tags(info.path))
        for info, grid in zip(infos, grids, strict=True)
    ]
    windows = _windows(canvases, [info.path for info in infos], side, SceneError, events)
    behind = lineage_behind([info.path for info in infos], events)
    inputs = {
        "scenes": [scene_identity(info) for info in infos],
        "bands": list(reading.bands),
        **lineage_identity(behind),
    }
    return WindowDonors(windows, replace(placed(generator, grids[0]), bands=bands), inputs, behind)


def _with_bands(info: SceneInfo, wanted: Sequence[str], generator: TileSpec) -> SceneInfo:
    """A scene with the generator's bands: those asked for, or those of the same names, or all in their order.

    Raises:
        SceneError: it has not these bands, or they are of another type.
    """
    if wanted:
        info = select_bands(info, wanted)
        fits = (len(info.bands), info.bands[0].dtype) == (len(generator.bands), generator.bands[0].dtype)
    else:
        order = band_order(info.bands, generator.bands)
        fits = order is not None
        if order is not None and order != tuple(range(len(info.bands))):
            info = select_bands(info, [info.bands[position].name for position in order])
    if not fits:
        raise SceneError(
            f"its bands ({listed(info.bands)}) are not the generator's ({listed(generator.bands)})",
            where=info.path,
            remedy="pick them with --bands in the generator's order, or convert them: gdal_translate -ot …",
        )
    bands = tuple(replace(band, name=own.name) for band, own in zip(info.bands, generator.bands, strict=True))
    return replace(info, bands=bands)


# Places


def _fitting_grids(infos: Sequence[SceneInfo], generator: TileSpec, events: Events) -> list[Grid]:
    """The pixels everything is read on: its own where they are of the generator's size, else of that size.

    Where one of both has no place on Earth a pixel is a pixel.
    """
    lead = infos[0].grid
    degrees = lead.crs.is_geographic and not generator.crs.is_geographic
    sizes = [info.grid.gsd_m for info in infos]
    for info, size in zip(infos, sizes, strict=True):
        if size is None and generator.gsd_m is not None:
            events.warn(f"{info.name} has no coordinate system: its pixels are taken for {generator.gsd_m:g} m")
        elif size is not None and generator.gsd_m is None:
            events.warn(f"{info.name}: its pixels are taken as they are, the generator's have no size on the ground")
    if generator.gsd_m is None or any(size is None for size in sizes):
        return shared_grids(infos, None, None, events)
    for info in infos:
        try:
            refuse_finer(info.grid, generator.gsd_m, info.path)
        except SceneError as error:
            remedy = "give finer pixels, or take a generator of coarser ones"
            raise SceneError(error.what, where=info.path, remedy=remedy) from None
    fits = all(size is not None and abs(size / generator.gsd_m - 1) <= SAME_SIZE for size in sizes)
    if fits and not degrees and all(same_crs(info.grid.crs, lead.crs) for info in infos):
        return shared_grids(infos, None, None, events)
    return shared_grids(infos, generator.gsd_m, None, events)


def placed(generator: TileSpec, grid: Grid) -> TileSpec:
    size = grid.gsd_m
    # The last digits of a measured size depend on the machine.
    gsd_m = None if size is None else float(f"{size:.6g}")
    return replace(generator, crs=grid.crs, pixel_size=grid.pixel_size, gsd_m=gsd_m)
