"""Blended logits of a part of a scene, window by window, in memory that does not grow with the scene.

One thread reads, several compute windows side by side, and the windows are added up in their order. A window is
computed by one thread, so its logits, and with them the sums, do not depend on how many threads there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import batched

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.devices import cpu_threads
from geosynth.scenes.source import SceneReader
from geosynth.segmentation.windows import Windows

Forward = Callable[[NDArray[np.generic], NDArray[np.bool_]], Tensor]
"""Logits float32 (N, K, H, W), on the device, of raster values (N, C, H, W) and valid bool (N, H, W)."""


@dataclass(frozen=True)
class Area:
    """A rectangle of a scene: the pixels that belong (``Windows.span``) to these rows and columns of windows."""

    rows: range
    cols: range


@dataclass(frozen=True, eq=False)
class Blended:
    """Finished logits (K, h, w), on the device, and valid (h, w); the upper left pixel is (row, col) of the scene.

    The logits are only good until the next ones are asked for.
    """

    row: int
    col: int
    logits: Tensor
    valid: NDArray[np.bool_]


def blend(
    forward: Forward,
    reader: SceneReader,
    rows: Windows,
    cols: Windows,
    area: Area,
    *,
    classes: int,
    device: str = "cpu",
    batch: int = 1,
    threads: int = 1,
    check: Callable[[], None] = lambda: None,
) -> Generator[Blended]:
    """The logits of an area from the top, as many times as it has rows of windows.

    Windows outside the area that reach into it are computed too. What comes out does not depend on where areas begin
    and end (with batches: as long as they have the same columns) or on ``threads``.

    Args:
        forward: the network.
        reader: the open scene; it is read in another thread.
        rows, cols: windows over all its lines and columns.
        area: what is asked for.
        classes: number of classes K.
        device: where ``forward`` leaves its logits.
        batch: windows a call of ``forward``.
        threads: calls of ``forward`` side by side.
        check: called between windows; may raise.
    """
    begin, end = cols.span(area.cols)
    columns = cols.touching(begin, end)
    left, right = cols.starts[columns[0]], cols.starts[columns[-1]] + cols.size
    numbers = rows.touching(*rows.span(area.rows))

    def windows(row: _Row) -> Iterator[_Group]:
        # A window without data covers no pixel that gets a class.
        wanted = [n for n in columns if row.valid[:, _span(cols, n, left)].any()]
        groups = list(batched(wanted, batch)) or [()]
        for position, group in enumerate(groups):
            yield _Group(row, group, position == len(groups) - 1)

    def weighted(group: _Group) -> Tensor | None:
        """Logits of a group of windows times their weights."""
        if not group.columns:
            return None
        spans = [_span(cols, n, left) for n in group.columns]
        logits = forward(
            _stacked([group.row.image[:, :, span] for span in spans]),
            _stacked([group.row.valid[:, span] for span in spans]),
        )
        weights = [np.outer(rows.weights[group.row.number], cols.weights[n]) for n in group.columns]
        return logits.mul_(torch.from_numpy(_stacked(weights)).to(device)[:, None])

    with (
        cpu_threads(1),
        ThreadPoolExecutor(1, "read") as reading,
        ThreadPoolExecutor(threads, "forward", initializer=torch.set_num_threads, initargs=(1,)) as computing,
    ):
        read = _Lines(reader, rows, left, right - left)
        sums = torch.zeros(classes, rows.size, right - left, device=device)
        groups = (group for row in _in_order(reading, read, numbers, 1) for group in windows(row))
        for group, logits in _in_order(computing, lambda group: (group, weighted(group)), groups, 2 * threads):
            check()
            if logits is not None:
                # Multiplied there and added here: fused, the rounding would depend on a pixel's place in memory.
                for n, part in zip(group.columns, logits, strict=True):
                    sums[:, :, _span(cols, n, left)].add_(part)
            if not group.last:
                continue
            top, bottom = rows.span(range(group.row.number, group.row.number + 1))
            height, inside = bottom - top, slice(begin - left, end - left)
            if group.row.number in area.rows:
                yield Blended(top, begin, sums[:, :height, inside], group.row.valid[:height, inside])
            kept = max(0, rows.size - height)
            sums[:, :kept] = sums[:, height : height + kept].clone()
            sums[:, kept:].zero_()


@dataclass(frozen=True, eq=False)
class _Row:
    """The pixels under a row of windows: image (C, h, w), valid (h, w)."""

    number: int
    image: NDArray[np.generic]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Group:
    """Windows of a row that are computed together, by their columns' numbers; whether they are the row's last."""

    row: _Row
    columns: tuple[int, ...]
    last: bool


class _Lines:
    """Reads rows of windows, one after the other; lines that two share are read once."""

    def __init__(self, reader: SceneReader, rows: Windows, left: int, width: int) -> None:
        self._reader, self._rows, self._left, self._width = reader, rows, left, width
        self._before: _Row | None = None

    def __call__(self, number: int) -> _Row:
        size, top, before = self._rows.size, self._rows.starts[number], self._before
        shared = 0 if before is None else max(0, self._rows.starts[before.number] + size - top)
        with rasterio.Env():  # errors of GDAL are caught a thread at a time
            image, valid = self._reader.read(top + shared, self._left, size - shared, self._width)
        if before is not None and shared:
            image = np.concatenate([before.image[:, size - shared :], image], axis=1)
            valid = np.concatenate([before.valid[size - shared :], valid])
        self._before = _Row(number, image, valid)
        return self._before


def _stacked[Value: np.generic](arrays: Sequence[NDArray[Value]]) -> NDArray[Value]:
    """Arrays along a new first axis; a single one is not copied."""
    return np.stack(arrays) if len(arrays) > 1 else arrays[0][None]


def _span(cols: Windows, number: int, left: int) -> slice:
    start = cols.starts[number] - left
    return slice(start, start + cols.size)


def _in_order[Item, Result](
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """``function`` of every item, in their order; up to ``ahead`` items are begun before their turn."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
