"""Integer hashing and value noise: the only source of variety, the same wherever and whenever it is asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]


def salt_of(seed: int, name: str) -> int:
    """A 32-bit constant for one use of the hash, so that uses are independent; seeds count modulo 2**64."""
    value = seed & 0xFFFFFFFFFFFFFFFF
    for byte in name.encode() + b"!":
        value = ((value ^ byte) * 0x100000001B3 + (value >> 29)) & 0xFFFFFFFFFFFFFFFF
    return (value ^ value >> 32) & 0xFFFFFFFF


def mix(salt: int, *keys: I64 | U32) -> U32:
    """Mix integer arrays (broadcast; wrapped to 32 bit) into well spread uint32."""
    h: U32 = np.asarray(salt, np.uint32)[None]
    for key in keys:
        h = (h ^ key.astype(np.uint32)) * np.uint32(0x9E3779B1)
        h = h ^ (h >> np.uint32(15))
    h = h * np.uint32(0x846CA68B)
    return h ^ (h >> np.uint32(16))


def unit(h: U32, part: int = 0) -> F32:
    """Float32 in [0, 1) from the low (part 0) or high (part 1) 16 bits of a hash."""
    return ((h >> np.uint32(16 * part)) & np.uint32(0xFFFF)).astype(np.float32) * np.float32(2.0**-16)


def value_noise(x: F64, y: F64, period: float, salt: int) -> F32:
    """Smooth value noise in [0, 1) at points x, y (px), one lattice value every `period` px."""
    angle = salt * (2 * np.pi / 2**32)  # every noise has its own lattice direction, or the eye finds the grid
    cos, sin = float(np.cos(angle)) / period, float(np.sin(angle)) / period
    tx, ty = cos * x + sin * y, cos * y - sin * x
    ix, iy = np.floor(tx), np.floor(ty)
    fx, fy = (tx - ix).astype(np.float32), (ty - iy).astype(np.float32)
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    i0, j0 = int(ix.min()), int(iy.min())
    nx, ny = int(ix.max()) - i0 + 2, int(iy.max()) - j0 + 2
    table: F32 = unit(mix(salt, np.arange(j0, j0 + ny)[:, None], np.arange(i0, i0 + nx)[None])).ravel()
    k = ((iy - j0) * nx + (ix - i0)).astype(np.intp)
    a, c = table[k], table[k + nx]
    a += (table[k + 1] - a) * fx
    c += (table[k + nx + 1] - c) * fx
    result: F32 = a + (c - a) * fy
    return result
