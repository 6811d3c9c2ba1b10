"""Landscape: windows assembled from chunks, and how one chunk is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from geosynth.world.ground import FAR, FARMED, INDUSTRY, LOT, SETTLED, WILD, Ground, districts_near, ground_at
from geosynth.world.hashing import F32, F64, U8, Bool, mix, salt_of, unit, value_noise
from geosynth.world.looks import FIELD, GRASS, LOOKS, ROAD, STYLES, TREE, WATER, Style
from geosynth.world.things import Canvas, build_houses, plant_trees

CHUNK = 192  # side of the squares the plane is drawn in, px
MARGIN = 6  # drawn around a chunk and cut off again: shadows (4 px) and blur (1 px) reach in from outside


@dataclass(frozen=True)
class Landscape:
    """One endless landscape: `seed` chooses the layout, `look` the colours and field patterns."""

    seed: int = 0
    look: str = "temperate"

    def __post_init__(self) -> None:
        if self.look not in STYLES:
            raise ValueError(f"unknown look {self.look!r}; choose one of: {', '.join(LOOKS)}")

    def render(self, row: int, col: int, height: int, width: int) -> tuple[U8, U8]:
        """Image uint8 (3, height, width), RGB, and mask uint8 (height, width), class ids 1..6, for any row and col."""
        if height < 1 or width < 1:
            raise ValueError(f"a window needs at least one pixel, got {height} x {width}")
        image = np.empty((3, height, width), np.uint8)
        mask = np.empty((height, width), np.uint8)
        for i in range(row // CHUNK, (row + height - 1) // CHUNK + 1):
            for j in range(col // CHUNK, (col + width - 1) // CHUNK + 1):
                top, left = i * CHUNK - row, j * CHUNK - col  # of the chunk in the window
                y0, y1, x0, x1 = max(top, 0), min(top + CHUNK, height), max(left, 0), min(left + CHUNK, width)
                part, labels = _chunk(self.seed, self.look, i, j, CHUNK)
                image[:, y0:y1, x0:x1] = part[:, y0 - top : y1 - top, x0 - left : x1 - left]
                mask[y0:y1, x0:x1] = labels[y0 - top : y1 - top, x0 - left : x1 - left]
        return image, mask


@lru_cache(maxsize=64)
def _chunk(seed: int, look: str, i: int, j: int, size: int) -> tuple[U8, U8]:
    """Image (3, size, size) and mask (size, size) of the chunk in row i, column j of the plane; read only."""
    style, n = STYLES[look], size + 2 * MARGIN
    x0, y0 = j * size - MARGIN, i * size - MARGIN
    cols, rows = np.arange(x0, x0 + n, dtype=np.int64), np.arange(y0, y0 + n, dtype=np.int64)
    x, y = np.broadcast_arrays((cols + 0.5)[None], (rows + 0.5)[:, None])
    d = districts_near(seed, style, x0 - 12, y0 - 12, x0 + n + 12, y0 + n + 12)
    g = ground_at(seed, style, d, x, y)
    canvas = _paint(seed, style, g, x, y, x0, y0)
    plant_trees(seed, style, d, canvas)
    build_houses(seed, style, d, canvas)
    tone = canvas.tone
    tone *= np.where(_shadow(canvas.height), np.float32(0.58), np.float32(1))
    # Illumination and tint drift slowly; a coat of mottle and sensor noise lies over everything.
    tone *= 0.97 + 0.14 * value_noise(x, y, 330.0, salt_of(seed, "light"))
    mottle = value_noise(x, y, 5.0, salt_of(seed, "mottle")) + value_noise(x, y, 2.3, salt_of(seed, "grain")) - 1
    calm = np.array((0, 0.04, 0.035, 0.03, 0.1, 0.06, 0.095), np.float32)
    tone *= 1 + calm[canvas.mask] * mottle
    hue = value_noise(x, y, 140.0, salt_of(seed, "hue")) - 0.5
    image = canvas.colour * tone
    image *= 1 + np.array((0.09, 0.02, -0.07), np.float32)[:, None, None] * hue
    image = _blur(image)
    noise = mix(salt_of(seed, "sensor"), rows[:, None], cols[None])
    for band in range(3):
        image[band] += (noise >> np.uint32(8 * band) & np.uint32(255)).astype(np.float32) * (7 / 255) - 3.5
    inner = slice(MARGIN, MARGIN + size)
    pixels = np.clip(np.rint(image[:, inner, inner]), 0, 255).astype(np.uint8)
    return pixels, np.ascontiguousarray(canvas.mask[inner, inner])


def _paint(seed: int, style: Style, g: Ground, x: F64, y: F64, x0: int, y0: int) -> Canvas:
    """Class, colour and brightness of the bare ground."""
    dice, variety = unit(g.parcel), unit(g.parcel, 1)
    crop = (g.kind == FARMED) & (dice < 0.88) | (g.kind == WILD) & (dice < 0.15)
    fine = unit(g.parcel >> np.uint32(5))
    round_ = fine > 0.4 if style.pivots else np.zeros(fine.shape, np.bool_)
    crop &= np.where(round_, g.radius < 0.485 * min(style.parcel), g.edge > 1.3)  # grass in corners and margins
    road = (g.through < 0) | (g.street < 0) & (g.water < -2)
    mask = np.where(g.wood, TREE, np.where(crop, FIELD, GRASS)).astype(np.uint8)
    mask[g.water > 0] = WATER
    lot = g.u / np.array((*LOT, FAR, FAR), np.float32)[g.kind]
    lot_dice = unit(mix(salt_of(seed, "garden"), np.floor(lot).astype(np.int64), g.parcel))
    road |= (g.kind == INDUSTRY) & (g.street < 7) & (g.through > 0) & (lot_dice < 0.6) & (g.water < -4)  # paved yards
    mask[road] = ROAD

    palette = np.array(
        (*style.grass, *style.fields, style.understory, style.water, style.shore, style.asphalt, style.dirt), np.float32
    )
    ng, nf = len(style.grass), len(style.fields)
    index = (variety * ng).astype(np.intp)
    index = np.where(mask == FIELD, ng + (variety * nf).astype(np.intp), index)
    index = np.where(mask == TREE, ng + nf, index)
    shore = (g.water > -2.5) & (mask == GRASS)
    index = np.where(mask == WATER, ng + nf + 1, np.where(shore, ng + nf + 2, index))
    index = np.where(mask == ROAD, np.where(g.paved, ng + nf + 3, ng + nf + 4), index)

    # Crop rows, with tramlines; round fields have round rows.
    lane = np.where(round_, g.radius, np.where(variety * 7 % 1 < 0.7, g.v, g.u))
    period = 3.2 + 2.8 * fine
    strength = (0.02 + 0.05 * variety) * np.where(round_, 0.55, 1)
    rows = strength * np.sin(lane * (2 * np.pi / period)) - 0.07 * ((lane / 21) % 1 < 0.07)
    patches = value_noise(x, y, 28.0, salt_of(seed, "patches")) - 0.5
    tone = 1 + 0.14 * patches * ((mask == FIELD) | (mask == GRASS))
    tone += np.where(mask == FIELD, rows + 0.1 * (dice - 0.4), 0)
    # Gardens differ from lot to lot, with a line of hedge between them.
    garden = 0.16 * (lot_dice - 0.5) - 0.1 * (np.abs(lot - np.round(lot)) < 0.04)
    tone += np.where((mask == GRASS) & (g.kind == SETTLED), garden, 0)
    # Roads: pale edges, a faint centre line on the wide ones.
    edge = np.minimum(g.through, g.street)
    tone += np.where(road, 0.07 * (edge > -1) + 0.16 * ((g.through_half > 4) & (np.abs(g.through + 4.5) < 0.55)), 0)
    tone -= np.where(mask == WATER, 0.012 * np.clip(g.water, 0, 14) - 0.04 * patches, 0)
    return Canvas(x0, y0, palette.T[:, index], tone.astype(np.float32), mask, np.zeros(mask.shape, np.int8))


def _shadow(height: NDArray[np.int8]) -> Bool:
    """Where shadow falls, (h, w): up-left of anything taller, as far as its height in diagonal steps."""
    shadow = np.zeros(height.shape, np.bool_)
    for k in range(1, 4):
        shadow[:-k, :-k] |= (height[k:, k:] >= k) & (height[:-k, :-k] + k <= height[k:, k:])
    return shadow


def _blur(image: F32) -> F32:
    """Optical blur of about 0.6 px; wrong in the outermost pixel, which is cut off with the margin."""
    side = np.float32(0.166)
    for axis in (1, 2):
        near = np.roll(image, 1, axis) + np.roll(image, -1, axis)
        image = image * (1 - 2 * side) + near * side
    return image
