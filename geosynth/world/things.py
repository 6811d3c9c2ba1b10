"""What stands on the ground: tree crowns, houses and sheds, drawn onto a canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosynth.world.ground import FARMED, INDUSTRY, LOT, SETTLED, STREET, Districts, ground_at
from geosynth.world.hashing import F32, U8, mix, salt_of, unit, value_noise
from geosynth.world.looks import BUILDING, TREE, Style

CROWN = 6  # spacing of the tree lattice, px
SUN = (0.8, 0.6)  # direction (x, y) towards the light, down-right; shadows fall up-left


@dataclass
class Canvas:
    """One chunk being drawn: absolute position of its first pixel and its layers, each (h, w), colour (3, h, w)."""

    x0: int
    y0: int
    colour: F32
    tone: F32
    mask: U8
    height: NDArray[np.int8]  # length of the shadow, in diagonal steps


def plant_trees(seed: int, style: Style, d: Districts, canvas: Canvas) -> None:
    """Draw every tree crown that reaches the canvas."""
    h, w = canvas.mask.shape
    j = np.arange(canvas.y0 // CROWN - 1, (canvas.y0 + h) // CROWN + 2, dtype=np.int64)
    i = np.arange(canvas.x0 // CROWN - 1, (canvas.x0 + w) // CROWN + 2, dtype=np.int64)
    i, j = (a.ravel() for a in np.meshgrid(i, j))
    place, kind = mix(salt_of(seed, "crown"), i, j), mix(salt_of(seed, "species"), i, j)
    x, y = CROWN * (i + 0.2 + 0.6 * unit(place)), CROWN * (j + 0.2 + 0.6 * unit(place, 1))
    g = ground_at(seed, style, d, x, y)
    clump = value_noise(x, y, 40.0, salt_of(seed, "clump"))
    hedge = (g.edge < 3.5) & (unit(g.border, 1) < style.hedges)
    chance = np.array((0.34, 0.08, 0.0, 0.16), np.float32)[g.kind] * (clump > 0.45)
    chance = np.where((g.kind >= FARMED) & hedge, 0.85, chance)
    chance = np.where((g.water > -9) & (clump > 0.4), np.maximum(chance, 0.5), chance)  # trees line the banks
    chance = np.where(g.wood, 0.97, chance)
    size = unit(kind, 1)
    r = np.where(g.wood, 2.9 + 1.2 * size, 2.0 + 1.8 * size)
    road = np.minimum(g.through, g.street)
    keep = (unit(kind) < chance) & (road > r - 1) & (g.water < -r)
    order = np.argsort(place[keep], kind="stable")  # who overlaps whom: any fixed order
    x, y, r, kind = (a[keep][order] for a in (x, y, r, kind))
    # One stamp of pixels around every trunk; where crowns overlap the last one written stays.
    reach = np.arange(-5, 6)
    col = np.floor(x).astype(np.int64)[:, None] + np.tile(reach, reach.size)
    row = np.floor(y).astype(np.int64)[:, None] + np.repeat(reach, reach.size)
    dx, dy = (col + 0.5 - x[:, None]).astype(np.float32), (row + 0.5 - y[:, None]).astype(np.float32)
    col, row = col - canvas.x0, row - canvas.y0
    ragged = 1.15 * unit(mix(salt_of(seed, "leaf"), col + canvas.x0, row + canvas.y0))  # uneven outline
    inside = (np.hypot(dx, dy) < r[:, None] + 0.6 - ragged) & (col >= 0) & (col < w) & (row >= 0) & (row < h)
    n, _ = np.nonzero(inside)
    at = (row[inside], col[inside])
    sx, sy = dx[inside] / r[n], dy[inside] / r[n]
    canvas.mask[at] = TREE
    canvas.colour[:, *at] = np.array(style.crowns, np.float32).T[:, (kind >> np.uint32(8))[n] % len(style.crowns)]
    canvas.tone[at] = 0.94 + 0.2 * unit(kind, 1)[n] + 0.24 * (sx * SUN[0] + sy * SUN[1]) - 0.18 * (sx * sx + sy * sy)
    canvas.height[at] = np.where(r > 2.8, 2, 1)[n]


@dataclass(frozen=True)
class House:
    """One house or shed."""

    x: float  # centre, px
    y: float
    cos: float  # direction of its street
    sin: float
    a: float  # half length along the street, px
    b: float  # half depth, px
    back: int  # side of the street, +-1, where a wing goes
    kind: int  # SETTLED or INDUSTRY
    dice: int  # the bits choose its looks


def build_houses(seed: int, style: Style, d: Districts, canvas: Canvas) -> None:
    """Draw every house and shed that reaches the canvas."""
    h, w = canvas.mask.shape
    reach = 0.5 * float(np.hypot(h, w)) + 30
    mid_x, mid_y = canvas.x0 + w / 2, canvas.y0 + h / 2
    for k in np.flatnonzero(d.kind < FARMED):
        cos, sin, kind = float(d.cos[k]), float(d.sin[k]), int(d.kind[k])
        lot, across = LOT[kind], float(d.across[k])
        uc = cos * (mid_x - d.x[k]) + sin * (mid_y - d.y[k])
        vc = cos * (mid_y - d.y[k]) - sin * (mid_x - d.x[k])
        i = np.arange(int((uc - reach) // lot), int((uc + reach) // lot) + 1, dtype=np.int64)
        j = np.arange(int((vc - reach) // across) - 1, int((vc + reach) // across) + 1, dtype=np.int64)
        i, j, side = (a.ravel() for a in np.meshgrid(i, j, np.array((-1, 1))))
        key, more = (mix(salt_of(seed, name), i, j, side, d.key[k : k + 1]) for name in ("house", "roof"))
        low, high = ((5.0, 4.3), (8.2, 6.3)) if kind == SETTLED else ((13.0, 10.0), (20.0, 15.5))
        a = low[0] + (high[0] - low[0]) * unit(key)
        b = low[1] + (high[1] - low[1]) * unit(key, 1)
        u = (i + 0.5) * lot + (unit(more) - 0.5)
        v = (j + 0.5) * across + side * (STREET[kind] + (4.6 if kind == SETTLED else 7.5) + b)
        x, y = d.x[k] + cos * u - sin * v, d.y[k] + sin * u + cos * v
        near = (np.abs(x - mid_x) < w / 2 + 34) & (np.abs(y - mid_y) < h / 2 + 34)
        if not near.any():
            continue
        a, b, x, y, side, key, more = (q[near] for q in (a, b, x, y, side, key, more))
        ends = np.array((-1.0, 0.0, 1.0))[:, None] * a  # the middle and both ends must stand on free, dry ground
        g = ground_at(seed, style, d, x + cos * ends, y + sin * ends)
        free = (g.district == k) & (g.street > 3) & (g.through > b + 3) & (g.water < -b - 4) & ~g.wood
        keep = free.all(0) & (unit(more, 1) < 0.95)
        for n in np.flatnonzero(keep):
            dice = int(key[n]) ^ int(more[n]) >> 3
            house = House(x[n], y[n], cos, sin, float(a[n]), float(b[n]), int(side[n]), kind, dice)
            _draw_house(style, canvas, house)


def _draw_house(style: Style, canvas: Canvas, house: House) -> None:
    """Draw one house: mask, roof and height."""
    h, w = canvas.mask.shape
    x, y, cos, sin, a, b = house.x, house.y, house.cos, house.sin, house.a, house.b
    back, kind, dice = house.back, house.kind, house.dice
    reach = int(a + b) + 4
    c0, r0 = max(int(x) - reach - canvas.x0, 0), max(int(y) - reach - canvas.y0, 0)
    c1, r1 = min(int(x) + reach - canvas.x0, w), min(int(y) + reach - canvas.y0, h)
    if c0 >= c1 or r0 >= r1:
        return
    dx = (np.arange(c0, c1) + (canvas.x0 + 0.5 - x)).astype(np.float32)[None]
    dy = (np.arange(r0, r1) + (canvas.y0 + 0.5 - y)).astype(np.float32)[:, None]
    u, v = cos * dx + sin * dy, (cos * dy - sin * dx) * back
    flat = dice % 4 == 0 if kind == SETTLED else dice % 4 < 3
    inset = np.minimum(a - np.abs(u), b - np.abs(v))  # distance to the eaves
    lit_v, lit_u = (SUN[1] * cos - SUN[0] * sin) * back, SUN[0] * cos + SUN[1] * sin  # light on the slopes
    slope = np.where(v > 0, lit_v, -lit_v)
    if kind == SETTLED and dice // 4 % 3 == 0:  # L-shape: a wing at one end of the back
        half = 0.42 * a
        wing = np.minimum(half - np.abs(u - (a - half)), b + 4 - np.abs(v - 2))
        slope = np.where((wing > inset) & (v > 0.3 * b), np.where(u > a - half, lit_u, -lit_u), slope)
        inset = np.maximum(inset, wing)
    tone = 0.93 + 0.14 * ((dice // 16 % 64) / 64)
    if flat:
        shade = np.where(inset < 1.0, 1.12, 1.0 + 0.02 * np.sin(u * 1.6))
    else:
        shade = 1.0 + 0.2 * slope + 0.1 * (np.abs(v) < 0.6)
    inside = inset >= 0
    view = (slice(r0, r1), slice(c0, c1))
    roofs = style.roofs
    roof = np.array(roofs[dice // 1024 % len(roofs)], np.float32)
    if kind == INDUSTRY:
        roof = 0.35 * roof + 0.65 * np.array((176, 178, 180), np.float32)
    canvas.mask[view][inside] = BUILDING
    canvas.tone[view][inside] = (tone * shade)[inside]
    canvas.height[view][inside] = 2 if kind == SETTLED else 3
    canvas.colour[:, *view][:, inside] = roof[:, None]
