"""Contact sheets: many small pairs on one page, so that a person sees at a glance what a tileset holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from geosynth.colourbands import colour_bands
from geosynth.errors import TilesetError
from geosynth.legend import UNKNOWN, Legend
from geosynth.tileset import Tile, Tileset

Style = Literal["pair", "overlay", "image", "mask"]
"""What is shown of a pair: image beside mask, classes laid over the image, or one of the two."""

PAPER, INK, PALE = (255, 255, 255), (31, 41, 51), (97, 110, 124)
GUTTER = 2
"""Pixels between an image and its mask; three times as many between pairs."""


@dataclass(frozen=True)
class Stretch:
    """Raster values drawn black and white, one pair a drawn band (three, or one for grey), 0-based ``bands``."""

    bands: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def stretch_of(tileset: Tileset, tiles: Sequence[Tile] | None = None, sample: int = 48) -> Stretch:
    """The 2nd and 98th percentile of each drawn band over up to ``sample`` tiles, evenly spread over the index.

    8-bit colour gets one common range, which keeps its hues; sensor counts get a range a band.
    """
    tiles = tileset.select() if tiles is None else tiles
    bands = colour_bands([band.name for band in tileset.spec.bands])
    values = []
    for tile in tiles[:: max(1, -(-len(tiles) // sample))]:
        image, valid, _ = tileset.read(tile)
        values.append(image[list(bands)][:, valid][:, ::7].astype(np.float64))
    pooled = np.concatenate(values, axis=1) if values else np.zeros((len(bands), 0))
    if not pooled.size:
        return Stretch(bands, (0.0,) * len(bands), (1.0,) * len(bands))
    common = tileset.spec.bands[0].dtype == "uint8"
    low, high = (np.broadcast_to(ends, len(bands)) for ends in np.percentile(pooled, (2, 98), None if common else 1))
    return Stretch(bands, tuple(low.tolist()), tuple(high.tolist()))


def picture(image: NDArray[Any], valid: NDArray[np.bool_], stretch: Stretch) -> NDArray[np.uint8]:
    """Raster values (C, H, W) as RGB uint8 (H, W, 3); pixels without data are white."""
    low, high = (np.array(ends)[:, None, None] for ends in (stretch.low, stretch.high))
    values = np.where(valid, image[list(stretch.bands)].astype(np.float64), low)
    scaled = np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1)
    rgb = np.rint(np.where(valid, scaled, 1.0) * 255).astype(np.uint8)
    return np.broadcast_to(rgb, (3, *rgb.shape[1:])).transpose(1, 2, 0)


def coloured(mask: NDArray[np.uint8], legend: Legend) -> NDArray[np.uint8]:
    """Class ids (H, W) in the legend's colours, RGB uint8 (H, W, 3); unknown is hatched in light grey."""
    colours = legend.color_table()[mask]
    rows, cols = np.indices(mask.shape)
    hatch = np.where((rows + cols) % 6 < 2, 205, 238).astype(np.uint8)[..., None]
    drawn: NDArray[np.uint8] = np.where(np.equal(mask, UNKNOWN)[..., None], hatch, colours)
    return drawn


def overlaid(
    rgb: NDArray[np.uint8], mask: NDArray[np.uint8], legend: Legend, opacity: float = 0.45
) -> NDArray[np.uint8]:
    """Classes laid over an image, their outlines in full colour; RGB uint8 (H, W, 3)."""
    colours = legend.color_table()[mask].astype(np.float64)
    edge = np.zeros(mask.shape, bool)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    weight = (np.where(edge, 1.0, opacity) * (mask != UNKNOWN))[..., None]
    mixed = rgb * (1 - weight) + colours * weight
    result: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return result


def choose(tiles: Sequence[Tile], count: int, seed: int) -> list[Tile]:
    """``count`` tiles drawn without favour, the same ones for the same seed, in the order of the index."""
    drawn = np.random.default_rng(seed).permutation(len(tiles))[:count]
    return [tiles[i] for i in sorted(drawn.tolist())]


def mosaic(
    tileset: Tileset, tiles: Sequence[Tile], stretch: Stretch, *, columns: int, cell: int = 128, style: Style = "pair"
) -> Image.Image:
    """The tiles as a bare grid with thin gutters; ``cell`` is the side of one drawn tile in pixels."""
    return in_columns([panels(tileset, tile, stretch, cell, style) for tile in tiles], cell, columns=columns)


def in_columns(shown: Sequence[Sequence[Image.Image]], cell: int, *, columns: int) -> Image.Image:
    """Groups of equally many pictures of ``cell`` × ``cell`` pixels as a grid, thin gutters in and between them."""
    wide = len(shown[0]) * (cell + GUTTER) - GUTTER
    step_x, step_y = wide + 3 * GUTTER, cell + 3 * GUTTER
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * step_x - 3 * GUTTER, rows * step_y - 3 * GUTTER), PAPER)
    for position, pair in enumerate(shown):
        row, col = divmod(position, columns)
        for part, image in enumerate(pair):
            sheet.paste(image, (col * step_x + part * (cell + GUTTER), row * step_y))
    return sheet


def panels(tileset: Tileset, tile: Tile, stretch: Stretch, cell: int, style: Style) -> list[Image.Image]:
    """What is drawn of one tile, each ``cell`` × ``cell`` pixels."""
    image, valid, mask = tileset.read(tile)
    rgb = picture(image, valid, stretch)
    drawn = {
        "pair": lambda: [_fit(rgb, cell, smooth=True), _fit(coloured(mask, tileset.spec.legend), cell, smooth=False)],
        "overlay": lambda: [_fit(overlaid(rgb, mask, tileset.spec.legend), cell, smooth=True)],
        "image": lambda: [_fit(rgb, cell, smooth=True)],
        "mask": lambda: [_fit(coloured(mask, tileset.spec.legend), cell, smooth=False)],
    }
    return drawn[style]()


def contact_sheet(
    tileset: Tileset,
    count: int = 24,
    seed: int = 0,
    *,
    style: Style = "pair",
    title: str | None = None,
    columns: int | None = None,
    cell: int = 128,
    stretch: Stretch | None = None,
    tiles: Sequence[Tile] | None = None,
) -> bytes:
    """A titled page of pairs with the legend as a key, PNG.

    Args:
        tileset: what to show.
        count: how many pairs, at most.
        seed: which ones.
        style: image beside mask, or laid over each other.
        title: the heading; by default says real or synthetic.
        columns: pairs a row; by default about as wide as high.
        cell: side of a drawn tile in pixels.
        stretch: brightness range; by default the tileset's own 2nd to 98th percentile.
        tiles: choose among these; by default all that are not rejected, labelled ones where there are any.

    Raises:
        TilesetError: there is no tile to show.
    """
    tiles = (tileset.select(labelled=True) or tileset.select()) if tiles is None else tiles
    shown = choose(tiles, count, seed)
    if not shown:
        raise TilesetError("has no tiles to show", where=tileset.path, remedy="make the tileset again")
    wide = 2 if style == "pair" else 1
    columns = columns or max(1, min(len(shown), round((len(shown) * 1.5 / wide) ** 0.5)))
    grid = mosaic(tileset, shown, stretch or stretch_of(tileset), columns=columns, cell=cell, style=style)
    made = sum(tile.image_origin == "generated" for tile in shown)
    name = {0: "Real tiles", len(shown): "Synthetic tiles"}.get(made, "Real and synthetic tiles")
    size = tileset.spec.tile_size
    scale = "" if tileset.spec.gsd_m is None else f" · {tileset.spec.gsd_m:.3g} m per pixel"
    note = f"{len(shown)} of {len(tiles)} · {size} × {size} px{scale}"
    return png(_page(grid, title or name, note, tileset.spec.legend, key=style != "image"))


def _page(grid: Image.Image, title: str, note: str, legend: Legend, *, key: bool) -> Image.Image:
    """Title and note above the grid, the legend below, a margin around."""
    margin, space = 32, 18
    heading, small = font(22, bold=True), font(14)
    inner = max(grid.width, 320)
    lines = _key_lines(legend, small, inner) if key else []
    top = margin + 34 + 24 + space
    height = top + grid.height + (space + 26 * len(lines) - 8 if lines else 0) + margin
    page = Image.new("RGB", (inner + 2 * margin, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((margin, margin), title, INK, heading)
    draw.text((margin, margin + 34), note, PALE, small)
    page.paste(grid, (margin, top))
    y = top + grid.height + space
    for line in lines:
        x = margin
        for name, colour, width in line:
            draw.rectangle((x, y, x + 17, y + 17), colour, (120, 130, 140))
            draw.text((x + 26, y + 9), name, INK, small, anchor="lm")
            x += width
        y += 26
    return page


def _key_lines(legend: Legend, face: Any, wide: int) -> list[list[tuple[str, tuple[int, int, int], int]]]:
    """Legend entries (name, colour, width in pixels) broken into lines that fit."""
    lines: list[list[tuple[str, tuple[int, int, int], int]]] = [[]]
    for entry in legend.classes:
        width = int(face.getlength(entry.name)) + 26 + 22
        if lines[-1] and sum(item[2] for item in lines[-1]) + width > wide:
            lines.append([])
        lines[-1].append((entry.name, entry.rgb, width))
    return lines


def _fit(rgb: NDArray[np.uint8], cell: int, *, smooth: bool) -> Image.Image:
    """Scaled to ``cell`` × ``cell``. Enlarged pixels stay visible pixels; masks never get mixed colours."""
    image = Image.fromarray(np.ascontiguousarray(rgb))
    shrinks = max(image.size) > cell
    return image.resize((cell, cell), Image.Resampling.BOX if smooth and shrinks else Image.Resampling.NEAREST)


@lru_cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: the same letters on every machine."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def png(image: Image.Image) -> bytes:
    """An image as PNG bytes, without a time stamp."""
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
