"""All images or masks of a tileset as one picture to look at: a GDAL virtual mosaic (VRT), and a QGIS style for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from geosynth.legend import UNKNOWN
from geosynth.rasters import Band
from geosynth.tileset import BandStatistics, Tile, TileSpec

_GDAL_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32",
    "float32": "Float32", "float64": "Float64",
}  # fmt: skip


def image_mosaic(spec: TileSpec, tiles: Sequence[Tile]) -> str:
    """The mosaic of the images. Where no tile lies, nothing is there: nodata, or hidden by a mask band."""
    names = [tile.image for tile in tiles]
    rectangles = _rectangles(spec, tiles)
    masked = _needs_mask(spec.bands)
    lines = []
    for number, band in enumerate(spec.bands, 1):
        lines += [
            f'  <VRTRasterBand dataType="{_GDAL_TYPES[band.dtype]}" band="{number}">',
            f"    <Description>{escape(band.name)}</Description>",
        ]
        if band.nodata is not None and not masked:
            lines.append(f"    <NoDataValue>{band.nodata!r}</NoDataValue>")
        if len(spec.bands) in (3, 4) and number <= 3 and band.dtype == "uint8":
            lines.append(f"    <ColorInterp>{('Red', 'Green', 'Blue')[number - 1]}</ColorInterp>")
        lines += [*_sources(names, rectangles, str(number), band.nodata), "  </VRTRasterBand>"]
    if masked:
        lines += ['  <MaskBand><VRTRasterBand dataType="Byte">']
        # Each adds what its band says is there: with a nodata of 0 that is a pixel with any band above it.
        for number in range(1, len(spec.bands) + 1 if spec.bands[0].nodata == 0 else 2):
            lines += _sources(names, rectangles, f"mask,{number}", 0)
        lines += ["  </VRTRasterBand></MaskBand>"]
    return _dataset(spec, tiles, lines)


def mask_mosaic(spec: TileSpec, tiles: Sequence[Tile]) -> str:
    """The mosaic of the masks, with the legend's colours; unknown where no tile lies."""
    colors = spec.legend.color_table()
    sources = _sources([tile.mask for tile in tiles], _rectangles(spec, tiles), "1", UNKNOWN)
    lines = [
        '  <VRTRasterBand dataType="Byte" band="1">',
        f"    <NoDataValue>{UNKNOWN}</NoDataValue>",
        "    <ColorInterp>Palette</ColorInterp>\n    <ColorTable>",
        *(f'      <Entry c1="{r}" c2="{g}" c3="{b}" c4="255"/>' for r, g, b in colors.tolist()),
        "    </ColorTable>",
        *sources,
        "  </VRTRasterBand>",
    ]
    return _dataset(spec, tiles, lines)


def image_style(spec: TileSpec, statistics: Sequence[BandStatistics]) -> str | None:
    """A QGIS style (.qml) for the mosaic of the images: from black to white over two standard deviations each way.

    None for bytes in three bands or more, which are drawn as they are, and where nothing is known of the values. QGIS
    itself would count the gaps as black, and take the mask of a two-band image for its blue.
    """
    bands = spec.bands
    if (bands[0].dtype == "uint8" and len(bands) >= 3) or not any(entry.std for entry in statistics):
        return None
    alpha = len(bands) + 1 if _needs_mask(bands) else -1
    if len(bands) < 3:
        renderer, colors = 'type="singlebandgray" grayBand="1" gradient="BlackToWhite"', ["contrast"]
    else:
        renderer = 'type="multibandcolor" redBand="1" greenBand="2" blueBand="3"'
        colors = ["redContrast", "greenContrast", "blueContrast"]
    stretches = "\n".join(
        f"      <{color}Enhancement><minValue>{low!r}</minValue><maxValue>{high!r}</maxValue>"
        f"<algorithm>StretchToMinimumMaximum</algorithm></{color}Enhancement>"
        for color, (low, high) in zip(colors, map(_stretch, statistics), strict=False)
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology">
  <pipe>
    <rasterrenderer {renderer} opacity="1" alphaBand="{alpha}" nodataColor="">
      <minMaxOrigin><limits>None</limits></minMaxOrigin>
{stretches}
    </rasterrenderer>
  </pipe>
</qgis>
"""


def _stretch(band: BandStatistics) -> tuple[float, float]:
    low, high = max(band.min, band.mean - 2 * band.std), min(band.max, band.mean + 2 * band.std)
    return (low, high) if high > low else (low, low + 1)


def _needs_mask(bands: Sequence[Band]) -> bool:
    """Whether no value of a band says by itself that nothing is there: 0 does only where all bands have it."""
    return bands[0].nodata is None or (bands[0].nodata == 0 and len(bands) > 1)


def _sources(names: Sequence[str], rectangles: Sequence[str], band: str, nodata: float | None) -> Iterator[str]:
    """A band of every tile, in its place; pixels that hold ``nodata`` leave what lies below."""
    kind, hidden = ("SimpleSource", "") if nodata is None else ("ComplexSource", f"<NODATA>{nodata!r}</NODATA>")
    for name, rectangle in zip(names, rectangles, strict=True):
        yield (
            f'    <{kind}><SourceFilename relativeToVRT="1">{escape(name)}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>{rectangle}{hidden}</{kind}>"
        )


def _rectangles(spec: TileSpec, tiles: Sequence[Tile]) -> list[str]:
    """Where each tile lies in the mosaic."""
    size = f'xSize="{spec.tile_size}" ySize="{spec.tile_size}"'
    return [
        f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{col}" yOff="{row}" {size}/>'
        for col, row in _places(spec, tiles)
    ]


def _places(spec: TileSpec, tiles: Sequence[Tile]) -> list[tuple[int, int]]:
    """(column, row) of each tile's corner in the mosaic, the nearest: scenes may lie part of a pixel apart.

    GDAL itself would go down to the whole pixel. Rounded to millionths first, so that a scene's tiles go the same way.
    """
    left, top = _corner(tiles)
    x, y = spec.pixel_size
    corners = (tile.geometry.bounds for tile in tiles)
    return [(_nearest((bounds[0] - left) / x), _nearest((top - bounds[3]) / y)) for bounds in corners]


def _nearest(value: float) -> int:
    return math.floor(round(value, 6) + 0.5)


def _corner(tiles: Sequence[Tile]) -> tuple[float, float]:
    """Left and top of all tiles."""
    bounds = [tile.geometry.bounds for tile in tiles]
    return min((b[0] for b in bounds), default=0.0), max((b[3] for b in bounds), default=0.0)


def _dataset(spec: TileSpec, tiles: Sequence[Tile], bands: Sequence[str]) -> str:
    left, top = _corner(tiles)
    x, y = spec.pixel_size
    places = _places(spec, tiles)
    width, height = (max((place[axis] for place in places), default=0) + spec.tile_size for axis in (0, 1))
    return "\n".join(
        [
            f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">',
            f"  <SRS>{escape(spec.crs.to_wkt())}</SRS>",
            f"  <GeoTransform>{left!r}, {x!r}, 0.0, {top!r}, 0.0, {-y!r}</GeoTransform>",
            *bands,
            "</VRTDataset>",
            "",
        ]
    )
