"""What is given to a generator: a tileset, mask rasters, polygons or scenes, found, checked and made to fit it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import shapely
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.descriptions import kind_of
from geosynth.diffusion.donorlabels import codes_for, find_labels
from geosynth.diffusion.donors import SAME_SIZE, Donors, TileDonors
from geosynth.diffusion.donorwindows import MaskCanvas, SceneCanvas, WindowDonors, known_windows, padded
from geosynth.diffusion.request import GenerateRequest, Reading
from geosynth.errors import LabelError, ModelError, SceneError
from geosynth.events import Events
from geosynth.grid import Grid, is_engineering
from geosynth.scenes.burning import label_bounds, load_polygons
from geosynth.scenes.finding import find_files, name_apart
from geosynth.scenes.identity import label_identity, scene_identity
from geosynth.scenes.labels import Labels, MaskLabels, PolygonLabels
from geosynth.scenes.layout import is_whole, refuse_mixed_nodata, shared_bands, shared_grids
from geosynth.scenes.origins import image_origin, mask_origin
from geosynth.scenes.source import SceneInfo, inspect_scene, select_bands
from geosynth.scenes.targets import covering, same_crs
from geosynth.tileset import TileSpec

_FILES = (None, "class rasters", "scenes")
"""What a folder can be whose rasters are meant, and not the folder as a whole."""
_NUMBERED = re.compile(r"band[ _-]*\d+", re.IGNORECASE)


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
    for source in sources:
        if Path(source).is_dir() and kind_of(Path(source)) not in _FILES:
            if len(sources) > 1:
                raise ModelError("is given among others", where=source, remedy="give one tileset, or files")
            return TileDonors.of(str(Path(source).resolve()), "mask" if request.masks_from else "image", generator)
    if request.masks_from:
        return _masks(sources, request.reading, generator, events)
    return _images(sources, request.reading, generator, events)


# Masks and maps


def _masks(sources: Sequence[str], reading: Reading, generator: TileSpec, events: Events) -> WindowDonors:
    labels = find_labels(sources, reading)
    codes = codes_for(labels, reading, generator.legend)
    masks = [entry for entry in labels if isinstance(entry, MaskLabels)]
    layers = [entry for entry in labels if isinstance(entry, PolygonLabels)]
    infos, owned = _maps(layers, generator, events) if layers else _rasters(masks)
    grids = _fitting_grids(infos, generator, events)
    canvases = [
        MaskCanvas(info.name, grid, own, codes, bool(layers), "human" if layers else mask_origin(info.path))
        for info, own, grid in zip(infos, owned, grids, strict=True)
    ]
    windows = tuple(window for canvas in canvases for window in known_windows(canvas, generator.tile_size, events))
    if not windows:
        raise LabelError("holds no pixel of a known class", where=labels[0].path, remedy="give other masks")
    inputs = {
        "labels": [label_identity(entry) for entry in labels],
        "class_field": list(reading.class_field),
        "outside": reading.outside,
        "ignore": [str(value) for value in reading.ignore],
        "legend": None if reading.legend is None else reading.legend.to_json(),
    }
    return WindowDonors(windows, _placed(generator, grids[0]), inputs)


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
    found = [inspect_scene(_absolute(path)) for path in find_files(sources)[0]]
    infos = [_with_bands(info, reading.bands, generator) for info in name_apart(found)]
    grids = _fitting_grids(infos, generator, events)
    for info, grid in zip(infos, grids, strict=True):
        refuse_mixed_nodata(info, grid)
    side = generator.tile_size
    # What lies beyond a scene in its last tiles is no data, so there must be a value for it.
    covers = [replace(grid, height=padded(grid.height, side), width=padded(grid.width, side)) for grid in grids]
    bands = shared_bands(infos, covers)
    canvases = [
        SceneCanvas(info, grid, is_whole(info, grid), bands, image_origin(info.path))
        for info, grid in zip(infos, grids, strict=True)
    ]
    windows = tuple(window for canvas in canvases for window in known_windows(canvas, side, events))
    if not windows:
        raise SceneError("holds no pixel with data", where=infos[0].path, remedy="give other scenes")
    inputs = {"scenes": [scene_identity(info) for info in infos], "bands": list(reading.bands)}
    return WindowDonors(windows, replace(_placed(generator, grids[0]), bands=bands), inputs)


def _with_bands(info: SceneInfo, wanted: Sequence[str], generator: TileSpec) -> SceneInfo:
    """A scene with the generator's bands: those asked for, or those of the same names, or all in their order.

    Raises:
        SceneError: it has not these bands, or they are of another type.
    """
    names = [band.name for band in generator.bands]
    own = {band.name.casefold() for band in info.bands}
    speaking = [name for name in names if not _NUMBERED.fullmatch(name)]
    if wanted:
        info = select_bands(info, wanted)
    elif len(speaking) == len(names) and own >= {name.casefold() for name in names}:
        info = select_bands(info, names)
    dtype = generator.bands[0].dtype
    strange = not wanted and [
        name
        for name, band in zip(names, info.bands, strict=False)
        if name.casefold() in own and name in speaking and band.name.casefold() != name.casefold()
    ]
    if len(info.bands) != len(names) or info.bands[0].dtype != dtype or strange:
        raise SceneError(
            f"its bands ({len(info.bands)} of {info.bands[0].dtype}: {', '.join(b.name for b in info.bands[:6])}) are"
            f" not the generator's ({len(names)} of {dtype}: {', '.join(names[:6])})",
            where=info.path,
            remedy="pick them with --bands in the generator's order, or convert them: gdal_translate -ot …",
        )
    bands = tuple(replace(band, name=name) for band, name in zip(info.bands, names, strict=True))
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
    fits = all(size is not None and abs(size / generator.gsd_m - 1) <= SAME_SIZE for size in sizes)
    if fits and not degrees and all(same_crs(info.grid.crs, lead.crs) for info in infos):
        return shared_grids(infos, None, None, events)
    return shared_grids(infos, generator.gsd_m, None, events)


def _placed(generator: TileSpec, grid: Grid) -> TileSpec:
    size = grid.gsd_m
    # The last digits of a measured size depend on the machine.
    gsd_m = None if size is None else float(f"{size:.6g}")
    return replace(generator, crs=grid.crs, pixel_size=grid.pixel_size, gsd_m=gsd_m)


def _absolute(path: str) -> str:
    """Workers may run elsewhere: a plain file gets its whole path."""
    return str(Path(path).absolute()) if Path(path).exists() else path
