"""Scenes to class rasters, in overlapping windows and bounded memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import batched
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.devices import kept_machine
from geosynth.errors import SceneError
from geosynth.events import Events
from geosynth.folders import OutputFolder, Rerun, claim
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN
from geosynth.rasters import Band
from geosynth.scenes.cog import ClassRasterWriter, RasterWriter
from geosynth.scenes.identity import scene_identity
from geosynth.scenes.source import SceneInfo, SceneReader, inspect_scene, open_scene, target_grid
from geosynth.segmentation.segmenter import Segmenter, SegmenterSpec, load_segmenter
from geosynth.segmentation.windows import Windows

PIXEL_SIZE_TOLERANCE = 0.05
"""Relative difference of pixel sizes up to which a scene fits a segmenter."""

CONFIDENCE = Band("confidence", "uint8", 255.0)
"""Confidence rasters: probability of the chosen class in percent, 255 where there is no class."""

_NUMBERED = re.compile(r"band[ _-]*\d+", re.IGNORECASE)
_STRIP_BYTES = 256 << 20
_ACCELERATOR_BATCH = 16


def predict_scenes(
    segmenter: str | PathLike[str],
    scenes: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    events: Events,
    *,
    window: int = 256,
    overlap: int = 64,
    confidence: bool = False,
    rerun: Rerun = "refuse",
    resample: bool = False,
    device: str = "auto",
) -> list[Path]:
    """Write ``<scene name>.tif`` (class ids, 255 where the scene has no data) for every scene.

    Logits of overlapping windows are blended with smooth weights, so there is no seam where a window ends.

    Args:
        segmenter: segmenter folder.
        scenes: rasters with the segmenter's bands.
        out: folder to write.
        events: progress in windows, cancellation.
        window: side of the windows, pixels.
        overlap: pixels two neighbouring windows share, at least.
        confidence: write ``confidence/<scene name>.tif``, too (see ``CONFIDENCE``).
        rerun: rules for an existing output; finished scenes are not done again.
        resample: warp scenes whose pixels are of another size to the segmenter's ground size; the class raster has
            those pixels, too.
        device: auto, cpu, cuda or mps.

    Returns:
        The class rasters, in the order of ``scenes``.

    Raises:
        ModelError: not a segmenter.
        SceneError: a scene cannot be read or does not fit; nothing is written then.
        OutputError: the rerun rules refuse, or the disk does.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
    """
    model = load_segmenter(segmenter, device)
    jobs = [_job(info, model.spec, resample) for info in map(inspect_scene, scenes)]
    _refuse_twins([job.info for job in jobs])
    layouts = [
        (Windows.over(j.grid.height, window, overlap), Windows.over(j.grid.width, window, overlap)) for j in jobs
    ]
    request = {
        "command": "predict",
        "segmenter": model.hash,
        "scenes": [scene_identity(job.info) for job in jobs],
        "window": window,
        "overlap": overlap,
        "confidence": confidence,
        "resample": resample,
    }
    threads = torch.get_num_threads()
    try:
        with claim(out, request, rerun) as folder:
            if folder.complete:
                events.log(f"nothing to do: {folder.path} is complete")
            else:
                asked = {"device": model.device, "threads": threads}
                torch.set_num_threads(kept_machine(folder, asked, events)["threads"])
                _run(model, jobs, layouts, folder, confidence, events)
            return [folder.path / job.file for job in jobs]
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Job:
    """A scene and the pixels it is predicted on."""

    info: SceneInfo
    grid: Grid

    @property
    def file(self) -> str:
        return f"{self.info.name}.tif"


def _job(info: SceneInfo, spec: SegmenterSpec, resample: bool) -> _Job:
    """The pixels to predict a scene on; refuses one that does not fit the segmenter."""
    wanted = f"{len(spec.bands)} bands of {spec.bands[0].dtype} ({', '.join(band.name for band in spec.bands)})"
    if len(info.bands) != len(spec.bands) or info.bands[0].dtype != spec.bands[0].dtype:
        raise SceneError(
            f"has {len(info.bands)} bands of {info.bands[0].dtype}, the segmenter takes {wanted}",
            where=info.path,
            remedy="pick and convert its bands: gdal_translate -b … -ot …",
        )
    own_order, order = _meanings(info.bands), _meanings(spec.bands)
    if own_order != order and set(own_order) == set(order):
        raise SceneError(
            f"its bands are in another order ({', '.join(band.name for band in info.bands)}), the segmenter takes"
            f" {wanted}",
            where=info.path,
            remedy="put them in order: gdal_translate -b …",
        )
    ground = info.grid.gsd_m
    metres = ground is not None and spec.gsd_m is not None
    own = (ground,) if metres else info.grid.pixel_size
    asked = (spec.gsd_m,) if metres else spec.pixel_size
    if all(abs(a - b) <= PIXEL_SIZE_TOLERANCE * b for a, b in zip(own, asked, strict=True)):  # type: ignore[operator]
        return _Job(info, info.grid)
    if resample and metres:
        return _Job(info, target_grid(info, gsd=spec.gsd_m))
    unit = "m on the ground" if metres else "CRS units"
    raise SceneError(
        f"its pixels measure {_sizes(own)} {unit}, the segmenter was trained on {_sizes(asked)}",
        where=info.path,
        remedy="give --resample to warp it to the segmenter's pixel size"
        if metres
        else "warp it to the segmenter's pixel size: gdalwarp -tr",
    )


def _run(
    model: Segmenter,
    jobs: Sequence[_Job],
    layouts: Sequence[tuple[Windows, Windows]],
    folder: OutputFolder,
    confidence: bool,
    events: Events,
) -> None:
    total = sum(len(rows.starts) * len(cols.starts) for rows, cols in layouts)
    done, finished = 0, folder.records()
    for job, (rows, cols) in zip(jobs, layouts, strict=True):
        if job.info.name not in finished:
            for count in _predict(model, job, rows, cols, folder, confidence, events):
                events.progress(min(done + count, total), total, "windows")
            folder.record(job.info.name, {})
            events.artifact(folder.path / job.file, "classes")
        done += len(rows.starts) * len(cols.starts)
        events.progress(done, total, "windows")
    folder.finish()


def _meanings(bands: Sequence[Band]) -> list[str]:
    """What every band says it is; nothing for one that is only numbered."""
    return ["" if _NUMBERED.fullmatch(band.name) else band.name.casefold() for band in bands]


def _sizes(values: Sequence[float | None]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _refuse_twins(infos: Sequence[SceneInfo]) -> None:
    """Two scenes of one name would become one file; some file systems do not tell upper from lower case."""
    counts = Counter(info.name.lower() for info in infos)
    for info in infos:
        if counts[info.name.lower()] > 1:
            raise SceneError(f"two scenes are called '{info.name}'", where=info.path, remedy="rename one of them")


def _predict(
    model: Segmenter,
    job: _Job,
    rows: Windows,
    cols: Windows,
    folder: OutputFolder,
    confidence: bool,
    events: Events,
) -> Iterator[int]:
    """Predict one scene; yields the number of windows done so far."""
    tags = {"GEOSYNTH_SEGMENTER": model.hash, "GEOSYNTH_SOURCE": job.info.name}
    legend = model.spec.legend
    with ExitStack() as stack:
        reader = stack.enter_context(open_scene(job.info, job.grid))
        sure = None
        if confidence:
            target, scratch = (place / "confidence" for place in (folder.path, folder.temporary))
            sure = stack.enter_context(RasterWriter(target / job.file, scratch, job.grid, (CONFIDENCE,), tags))
        classes = stack.enter_context(
            ClassRasterWriter(folder.path / job.file, folder.temporary, job.grid, legend, tags)
        )
        for row, col, logits, valid, count in _blended(model, reader, rows, cols, events):
            # .max(0) gives values and places at once; argmax is ten times slower on a CPU.
            index = logits.max(0).indices.to(torch.uint8).cpu().numpy()
            classes.write(row, col, np.where(valid, legend.to_id(index), np.uint8(UNKNOWN)))
            if sure is not None:
                percent = (logits.softmax(0).max(0).values * 100).round().to(torch.uint8).cpu().numpy()
                sure.write(row, col, np.where(valid, percent, np.uint8(255)))
            yield count


def _blended(
    model: Segmenter, reader: SceneReader, rows: Windows, cols: Windows, events: Events
) -> Iterator[tuple[int, int, Tensor, NDArray[np.bool_], int]]:
    """Blended logits of a scene, piece by piece: (row, col, logits (K, h, w), valid (h, w), windows done).

    A row of windows is added into an accumulator as high as one window; the rows no later window reaches are given out
    and the rest moves up. Very wide scenes are done in strips of columns, so that the accumulator stays bounded.
    """
    classes, device, done = len(model.spec.legend), model.device, 0
    for begin, end in _strips(model.spec, rows.size, cols.length):
        numbers = cols.touching(begin, end)
        left, right = cols.starts[numbers[0]], cols.starts[numbers[-1]] + cols.size
        sums = torch.zeros(classes, rows.size, right - left, device=device)
        for number, top in enumerate(rows.starts):
            bottom = rows.starts[number + 1] if number + 1 < len(rows.starts) else rows.length
            image, valid = reader.read(top, left, rows.size, right - left)
            places = {n: slice(cols.starts[n] - left, cols.starts[n] - left + cols.size) for n in numbers}
            # A window without data covers no pixel that gets a class.
            wanted = [n for n in numbers if valid[:, places[n]].any()]
            for group in batched(wanted, 1 if device == "cpu" else _ACCELERATOR_BATCH):  # one stays in a CPU's cache
                events.check()
                logits = model.logits(
                    np.stack([image[:, :, places[n]] for n in group]), np.stack([valid[:, places[n]] for n in group])
                )
                for n, part in zip(group, logits, strict=True):
                    weight = torch.from_numpy(np.outer(rows.weights[number], cols.weights[n])).to(device)
                    sums[:, :, places[n]].addcmul_(part, weight)
            done += len(numbers)
            height, inside = bottom - top, slice(begin - left, end - left)
            yield top, begin, sums[:, :height, inside], valid[:height, inside], done
            kept = sums[:, height:].clone()
            sums.zero_()
            sums[:, : kept.shape[1]] = kept


def _strips(spec: SegmenterSpec, window: int, width: int) -> Iterator[tuple[int, int]]:
    """Ranges of columns, each so wide that a row of windows over it (pixels and logits) takes about 256 MiB."""
    column = window * (4 * len(spec.legend) + (np.dtype(spec.bands[0].dtype).itemsize + 4) * len(spec.bands))
    strip = max(4 * window, _STRIP_BYTES // column)
    for begin in range(0, width, strip):
        yield begin, min(begin + strip, width)
