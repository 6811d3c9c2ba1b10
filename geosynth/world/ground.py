"""The bare ground at any set of points: districts, roads, parcels, water, woods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geosynth.world.hashing import F32, F64, I64, U32, Bool, mix, salt_of, unit, value_noise
from geosynth.world.looks import Style

DISTRICT = 250.0  # spacing of the district lattice, px
JITTER = 0.3  # how far a district centre strays from its lattice point, in spacings
WARP = 22.0  # amplitude of the bends of through roads and parcels, px
FAR = 1e4  # "nothing near", px

SETTLED, INDUSTRY, FARMED, WILD = range(4)  # kinds of district, and index into the tables below
SHARES = (0.4, 0.475, 0.835)  # cumulative shares of the first three kinds
LOT = (18.0, 46.0)  # lot width along the street, px, for SETTLED, INDUSTRY
STREET = (2.6, 3.4, 2.0, 2.0)  # half width of streets (tracks in the country), px
STREET_SHARE = (1.0, 1.0, 0.45, 0.3)  # share of the brick rows that have a street


@dataclass(frozen=True)
class Districts:
    """The districts that matter to one box, as arrays of length k."""

    x: F64
    y: F64
    key: U32
    kind: I64
    cos: F32
    sin: F32
    lake: F32  # radius of the lake at the centre, px; negative for none
    along: F32  # brick size along the rows, px
    across: F32


def districts_near(seed: int, style: Style, x0: float, y0: float, x1: float, y1: float) -> Districts:
    """All districts that can own, or border on, a point of the box (px)."""
    reach = 1.3 * DISTRICT + 2 * WARP
    i = np.arange(int((x0 - reach) // DISTRICT) - 1, int((x1 + reach) // DISTRICT) + 2, dtype=np.int64)
    j = np.arange(int((y0 - reach) // DISTRICT) - 1, int((y1 + reach) // DISTRICT) + 2, dtype=np.int64)
    i, j = (a.ravel() for a in np.meshgrid(i, j))
    key, extra = mix(salt_of(seed, "district"), i, j), mix(salt_of(seed, "extra"), i, j)
    x = (i + 0.5 + JITTER * (2.0 * unit(key) - 1)) * DISTRICT
    y = (j + 0.5 + JITTER * (2.0 * unit(key, 1) - 1)) * DISTRICT
    # Kinds and lakes follow a low-discrepancy pattern (the plastic number), so that every square kilometre has its mix.
    start = salt_of(seed, "kind") * 2.0**-32
    kind = np.searchsorted(SHARES, (i * 0.7548776662 + j * 0.5698402910 + start) % 1.0, side="right")
    lake = np.where((i * 0.3247179572 + j * 0.8191725134 + start) % 1.0 < 0.34, 38 + 32 * unit(extra), -FAR)
    angle = 0.35 + 0.5 * (unit(extra, 1) - 0.5)
    along = np.choose(kind, [112.0, 150.0, style.parcel[0], 1.2 * style.parcel[0]])
    across = np.choose(kind, [51.0, 88.0, style.parcel[1], 1.2 * style.parcel[1]])
    keep = (x > x0 - reach) & (x < x1 + reach) & (y > y0 - reach) & (y < y1 + reach)
    f = [a[keep].astype(np.float32) for a in (np.cos(angle), np.sin(angle), lake, along, across)]
    return Districts(x[keep], y[keep], key[keep], kind[keep], *f)


@dataclass(frozen=True)
class Ground:
    """What lies at each of a set of points (arrays of their shape)."""

    district: I64  # index into Districts
    kind: I64
    u: F32  # along the rows of the district, px from its centre
    v: F32
    through: F32  # signed distance to the edge of the nearest through road, px, negative on it
    through_half: F32  # half width of that road, px
    street: F32  # the same for streets and tracks
    paved: Bool  # asphalt rather than dirt, for the nearer of the two
    water: F32  # roughly the distance into the water, px, negative on land
    parcel: U32  # hash of the parcel (block)
    edge: F32  # distance to the parcel border, px
    border: U32  # hash of that border
    radius: F32  # distance from the parcel centre, px (for looks with pivots)
    wood: Bool


def ground_at(seed: int, style: Style, d: Districts, x: F64, y: F64) -> Ground:
    """The ground at points x, y (px, float64, any shape)."""
    bend_x = (value_noise(x, y, 170.0, salt_of(seed, "bend x")) - 0.5) * (2 * WARP)
    bend_y = (value_noise(x, y, 170.0, salt_of(seed, "bend y")) - 0.5) * (2 * WARP)
    ox, oy = float(d.x[0]), float(d.y[0])  # a near origin keeps float32 exact enough
    rx, ry = (x - ox).astype(np.float32), (y - oy).astype(np.float32)
    sx, sy = (d.x - ox).astype(np.float32), (d.y - oy).astype(np.float32)

    # Voronoi: nearest centre, then the nearest road edge over all its borders (bisectors).
    px, py = rx + bend_x, ry + bend_y
    dist = [(px - a) ** 2 + (py - b) ** 2 for a, b in zip(sx, sy, strict=True)]
    near, best = np.zeros(x.shape, np.intp), dist[0]
    for k in range(1, len(dist)):
        near = np.where(dist[k] < best, k, near)
        best = np.minimum(dist[k], best)
    gap = np.hypot(sx[:, None] - sx, sy[:, None] - sy) + np.float32(1e-9)
    pair = unit(mix(salt_of(seed, "pair"), d.key[:, None] ^ d.key))  # symmetric, so both sides agree
    urban = (d.kind < FARMED)[:, None] | (d.kind < FARMED)
    half = np.where(pair < np.where(urban, 0.65, 0.4), 4.5, 2.6).astype(np.float32)
    np.fill_diagonal(half, -FAR)
    through = np.full(x.shape, FAR, np.float32)
    other = np.zeros(x.shape, np.intp)
    for k in range(len(dist)):
        edge = (dist[k] - best) * (0.5 / gap[k])[near] - half[k][near]
        closer = edge < through
        other = np.where(closer, k, other)
        through = np.where(closer, edge, through)
    through_half = half[other, near]

    # Brick pattern in the district's own frame; only the country follows the bends, houses want straight streets.
    kind, key = d.kind[near], d.key[near]
    cos, sin, along, across = (a[near] for a in (d.cos, d.sin, d.along, d.across))
    town = kind < FARMED
    qx, qy = np.where(town, rx, px) - sx[near], np.where(town, ry, py) - sy[near]
    u, v = cos * qx + sin * qy, cos * qy - sin * qx
    loose = np.float32(0.0 if style.pivots else 0.5) * ~town
    tv = v / across
    row, (j, dv) = np.floor(tv), _cut(tv, loose, key, salt_of(seed, "rows"))
    tu = u / along + np.where(town | (loose > 0), unit(mix(salt_of(seed, "shift"), j, key)), 0)
    line, loose_u = np.floor(tu), np.where(town, np.float32(0.5), loose)
    i, du = _cut(tu, loose_u, key + j.astype(np.uint32), salt_of(seed, "cuts"))
    du, dv = du * along, dv * across
    half_v = np.array(STREET, np.float32)[kind]
    row_hash = mix(salt_of(seed, "track"), row.astype(np.int64), key)
    street = np.where(unit(row_hash) < np.array(STREET_SHARE, np.float32)[kind], dv - half_v, FAR).astype(np.float32)
    street = np.where(town, np.minimum(street, du - half_v), street)
    border = np.where(dv < du, row_hash, mix(salt_of(seed, "line"), line.astype(np.int64), j, key))
    radius = np.hypot(u - np.round(u / along) * along, v - np.round(v / across) * across)

    # Water: lakes around some centres, and a river along the level line of a slow noise.
    ripple = value_noise(x, y, 48.0, salt_of(seed, "shore"))
    slow = 0.75 * value_noise(x + bend_x, y + bend_y, 620.0, salt_of(seed, "river"))
    slow += 0.25 * value_noise(x, y, 210.0, salt_of(seed, "bank"))
    river = 11 - np.abs(slow - 0.5) * 1250 + 4 * (ripple - 0.5)
    copse = value_noise(x, y, 33.0, salt_of(seed, "copse"))
    lake = d.lake[near] - np.sqrt(best) + 44 * (ripple - 0.5) + 16 * (copse - 0.5)
    wood = 0.6 * value_noise(x, y, 90.0, salt_of(seed, "wood")) + 0.4 * copse
    return Ground(
        district=near,
        kind=kind,
        u=u,
        v=v,
        through=through,
        through_half=through_half,
        street=street,
        paved=np.where(through < street, (through_half > 4) | town, town),
        water=np.maximum(river, lake),
        parcel=mix(salt_of(seed, "parcel"), i, j, key),
        edge=np.minimum(du, dv),
        border=border,
        radius=radius,
        wood=wood > np.array((0.74, 0.8, 0.72, 0.5), np.float32)[kind],
    )


def _cut(t: NDArray[np.floating], loose: NDArray[np.floating], key: U32, salt: int) -> tuple[I64, NDArray[np.floating]]:
    """Cut a line into pieces, one cut per unit at 0.5 +- loose/2: piece index, and distance to the cut in this unit."""
    whole = np.floor(t)
    offset = t - whole - (0.5 + loose * (unit(mix(salt, whole.astype(np.int64), key)) - 0.5))
    return whole.astype(np.int64) + (offset >= 0), np.abs(offset)
