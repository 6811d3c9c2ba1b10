"""Scenes larger than a tile: where the windows of a noise level lie, the noise under them, and the canvas on the disk.

At every noise level the network sees windows of the canvas, and where windows share pixels their answers are averaged
with smooth weights (MultiDiffusion, Bar-Tal et al. 2023). From level to level the windows move, so that no border stays
where it was and each level needs little overlap (as in SpotDiffusion, Frolov et al. 2024, whose windows share nothing).
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.errors import OutputError
from geosynth.noise import generator_for

NOISE_BLOCK = 64
"""Noise is drawn in squares of this many pixels, each from a generator of its own."""

_STORED = np.dtype(np.float16)
"""A state is a few standard deviations large: what is rounded away is far less than a step of an 8-bit band."""
_PLASTIC = (0.7548776662466927, 0.5698402909980532)
"""Steps of the R2 sequence (Roberts 2018): few points or many, they are spread evenly over a square."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of ``size`` pixels along a line: where each starts, and its weights float32 (size,).

    Over every pixel the weights of the windows that cover it add up to one. They rise and fall along half a Hann window
    over what two neighbours share.
    """

    length: int
    size: int
    starts: tuple[int, ...]
    weights: tuple[NDArray[np.float32], ...]

    @classmethod
    def along(cls, length: int, size: int, overlap: int, shift: int) -> Windows:
        """Windows that start every ``size - overlap`` pixels from ``shift`` on; one more at each end covers the rest.

        Args:
            length: pixels, ``size`` or more.
            size: side of a window.
            overlap: pixels neighbours share, at least; smaller than ``size``.
            shift: 0 .. ``size - overlap`` - 1.
        """
        last = length - size
        starts = sorted({0, last, *range(shift, last, size - overlap)})
        shared = [0, *(one + size - other for one, other in pairwise(starts)), 0]
        pixel = np.arange(size) + 0.5
        ramps = [_ramp(pixel, before) * _ramp(size - pixel, after) for before, after in pairwise(shared)]
        total = np.zeros(length)
        for start, ramp in zip(starts, ramps, strict=True):
            total[start : start + size] += ramp
        weights = [
            (ramp / total[start : start + size]).astype(np.float32) for start, ramp in zip(starts, ramps, strict=True)
        ]
        return cls(length, size, tuple(starts), tuple(weights))

    def band(self, number: int) -> tuple[int, int]:
        """The pixels of window ``number`` that the next one does not reach: all bands together are the line."""
        return self.starts[number], self.starts[number + 1] if number + 1 < len(self.starts) else self.length

    def touching(self, begin: int, end: int) -> range:
        """Numbers of the windows that cover any pixel of ``begin`` .. ``end`` (exclusive)."""
        hits = [number for number, start in enumerate(self.starts) if start < end and start + self.size > begin]
        return range(hits[0], hits[-1] + 1)


def _ramp(distance: NDArray[Any], shared: int) -> NDArray[Any]:
    """From near 0 to 1 over the ``shared`` pixels at the end that ``distance`` is measured from."""
    if not shared:
        return np.ones_like(distance)
    rising: NDArray[Any] = np.sin(np.pi / 2 * np.minimum(1, distance / shared)) ** 2
    return rising


def shift_at(level: int, stride: int, multiple: int) -> tuple[int, int]:
    """How far (down, right) the windows of noise level ``level`` are moved: multiples of ``multiple`` below ``stride``.

    Borders of levels that follow each other lie far apart.
    """
    places = stride // multiple
    down, right = (int((level + 1) * step % 1 * places) * multiple for step in _PLASTIC)
    return down, right


def canvas_noise(seed: int, channels: int, row: int, col: int, height: int, width: int) -> Tensor:
    """Starting noise under a window: standard normal float32 (channels, height, width), a function of seed and pixel.

    ``row`` and ``col`` are 0 or more.
    """
    noise = torch.empty(channels, height, width)
    for i in range(row // NOISE_BLOCK, (row + height - 1) // NOISE_BLOCK + 1):
        for j in range(col // NOISE_BLOCK, (col + width - 1) // NOISE_BLOCK + 1):
            top, left = i * NOISE_BLOCK - row, j * NOISE_BLOCK - col
            y0, y1 = max(top, 0), min(top + NOISE_BLOCK, height)
            x0, x1 = max(left, 0), min(left + NOISE_BLOCK, width)
            block = _noise_block(seed, channels, i, j)
            noise[:, y0:y1, x0:x1] = block[:, y0 - top : y1 - top, x0 - left : x1 - left]
    return noise


@lru_cache(maxsize=256)
def _noise_block(seed: int, channels: int, i: int, j: int) -> Tensor:
    return torch.randn(channels, NOISE_BLOCK, NOISE_BLOCK, generator=generator_for("canvas", seed, i, j))


@dataclass(frozen=True)
class Canvas:
    """The states of a scene while it is made, as files of a folder that several processes may share.

    A state never changes while it is read: the one before ``level`` and the one after it are different files, used in
    turns. So what a stopped process had half written is simply written again.

    Attributes:
        folder: where the files are.
        channels, height, width: of a state, float16.
        remembers: keep the state and the answer of the level before, too, for a sampler that looks back.
        levels: noise levels.
    """

    folder: Path
    channels: int
    height: int
    width: int
    remembers: bool
    levels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    @property
    def _files(self) -> dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]]:
        states = 3 if self.remembers else 2
        files: dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]] = {
            f"state-{number}": (self.shape, _STORED) for number in range(states)
        }
        if self.remembers:
            files |= {f"answer-{number}": (self.shape, _STORED) for number in range(2)}
        files["given"] = ((self.height, self.width), np.dtype(np.uint8))
        files["done"] = ((self.levels, self.height), np.dtype(np.uint8))
        return files

    @property
    def bytes(self) -> int:
        """What the files take on the disk."""
        return sum(math.prod(shape) * kind.itemsize for shape, kind in self._files.values())

    def make(self) -> None:
        """Allocate the files that are not there yet; what there is stays.

        Raises:
            OutputError: the disk cannot hold them.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, (shape, kind) in self._files.items():
                path, size = self.folder / name, math.prod(shape) * kind.itemsize
                if path.is_file() and path.stat().st_size == size:
                    continue
                with path.open("wb") as stream:
                    stream.truncate(size)
                    if hasattr(os, "posix_fallocate"):  # a disk that fills up under a mapped file kills the process
                        os.posix_fallocate(stream.fileno(), 0, size)
        except OSError as error:
            raise OutputError(
                f"cannot hold {self.bytes / 1e9:.1f} GB of intermediate values ({error.strerror})",
                where=self.folder,
                remedy="free space on the disk, or ask for a smaller scene",
            ) from None

    def state(self, level: int) -> NDArray[np.float16]:
        """The state that level ``level`` starts from (1 .. levels), mapped; that of level 0 is ``canvas_noise``."""
        return self._open(f"state-{level % (3 if self.remembers else 2)}")

    def answer(self, level: int) -> NDArray[np.float16]:
        """What the network said at a level, mapped; kept for the next level only, and only where it ``remembers``."""
        return self._open(f"answer-{level % 2}")

    @property
    def given(self) -> NDArray[np.uint8]:
        """The given mask (H, W), mapped: positions in the legend, 255 unknown."""
        return self._open("given")

    @property
    def done(self) -> NDArray[np.uint8]:
        """Which rows of windows (levels, rows) are done, mapped: 1 where they are. There are never more than H rows."""
        return self._open("done")

    def discard(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self, name: str) -> NDArray[Any]:
        shape, kind = self._files[name]
        return np.memmap(self.folder / name, kind, "r+", shape=shape)


def padded(pixels: int, size: int, multiple: int) -> int:
    """The canvas side for ``pixels``: a window at least, divisible by what the network needs."""
    return max(size, math.ceil(pixels / multiple) * multiple)


def runs(rows: list[int], most: int) -> Iterator[tuple[int, int]]:
    """Sorted row numbers as (first, stop) of rows that follow each other, at most ``most`` each."""
    begin = previous = None
    for row in rows:
        if begin is None or previous is None or row != previous + 1 or row - begin == most:
            if begin is not None and previous is not None:
                yield begin, previous + 1
            begin = row
        previous = row
    if begin is not None and previous is not None:
        yield begin, previous + 1
