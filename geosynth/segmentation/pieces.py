"""Scenes in pieces: each is predicted by itself, here or elsewhere, and all of them become one raster.

A piece is eight rows of windows of a strip of columns. It is done when its files are there, so that a run goes on where
it stopped. Pieces that follow each other are done in one go: then no window is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from uuid import uuid4

import numpy as np

from geosynth.folders import OutputFolder
from geosynth.rasters import gdal_session
from geosynth.scenes.cog import Part, PartWriter, publish
from geosynth.scenes.source import open_scene
from geosynth.segmentation.blending import Area, blend
from geosynth.segmentation.layers import Layer, contents, file_name, layer_values
from geosynth.segmentation.scenefit import FittedScene
from geosynth.segmentation.segmenter import Segmenter, SegmenterSpec, cached_segmenter
from geosynth.segmentation.windows import Windows

ROWS = 8
"""Rows of windows a piece."""
_STRIP_BYTES = 64 << 20
"""What a row of windows may take, pixels and logits; scenes too wide for it are predicted in strips of columns."""


@dataclass(frozen=True)
class Settings:
    """How scenes are predicted.

    Attributes:
        window: side of the windows, pixels.
        overlap: pixels two neighbouring windows share, at least.
        layers: what is written; "classes" is the last, because it says that the others are there.
        flips: a key of ``flips.FLIPS``.
        precision: "32" or "bf16".
        batch: windows a forward pass.
        device: cpu, cuda or mps.
        threads: windows computed side by side; changes no byte.
    """

    window: int
    overlap: int
    layers: tuple[Layer, ...]
    flips: int
    precision: str
    batch: int
    device: str
    threads: int


@dataclass(frozen=True)
class ScenePlan:
    """A scene to predict, for any process that sees the folders.

    Attributes:
        scene: the scene on its pixels.
        segmenter, segmenter_hash: folder, and its content.
        folder: where to write.
        spec: the segmenter's.
        settings: how.
    """

    scene: FittedScene
    segmenter: str
    segmenter_hash: str
    folder: str
    spec: SegmenterSpec
    settings: Settings

    @property
    def name(self) -> str:
        return self.scene.info.name

    @cached_property
    def rows(self) -> Windows:
        return Windows.over(self.scene.grid.height, self.settings.window, self.settings.overlap)

    @cached_property
    def cols(self) -> Windows:
        return Windows.over(self.scene.grid.width, self.settings.window, self.settings.overlap)

    @property
    def windows(self) -> int:
        """How many there are."""
        return len(self.rows.starts) * len(self.cols.starts)

    @property
    def output(self) -> OutputFolder:
        return OutputFolder(Path(self.folder), complete=False)

    @property
    def parts(self) -> Path:
        """Where pieces wait for the others."""
        return self.output.state / "pieces" / self.name

    def file(self, layer: Layer) -> Path:
        """The raster of a layer."""
        return self.output.path / file_name(layer, self.name)

    def part(self, piece: Area, layer: Layer) -> Part:
        """The file of a piece."""
        top, bottom = self.rows.span(piece.rows)
        left, right = self.cols.span(piece.cols)
        return Part(self.parts / f"{layer}-{top}-{left}.tif", top, left, bottom - top, right - left)

    def pieces(self) -> Iterator[list[Area]]:
        """All pieces, strip by strip from the left, each from the top."""
        numbers = range(len(self.rows.starts))
        for cols in self._strips():
            yield [Area(numbers[first : first + ROWS], cols) for first in numbers[::ROWS]]

    def missing(self, most: int | None = None) -> Iterator[Run]:
        """What is left to do: runs of pieces that follow each other, at most ``most`` each."""
        for strip in self.pieces():
            run: list[Area] = []
            for piece in strip:
                here = self.part(piece, "classes").path.is_file()
                if run and (here or len(run) == most):
                    yield Run(self, tuple(run))
                    run = []
                if not here:
                    run.append(piece)
            if run:
                yield Run(self, tuple(run))

    def _strips(self) -> Iterator[range]:
        """Columns of windows, as even as can be."""
        bands = self.spec.bands
        # The sums; pixels and their validity for the row before, this one and the next.
        pixel = 4 * len(self.spec.legend) + 3 * (np.dtype(bands[0].dtype).itemsize * len(bands) + 1)
        step, numbers = self.cols.size - self.settings.overlap, range(len(self.cols.starts))
        most = max(4, _STRIP_BYTES // (self.rows.size * pixel * step))
        strips = -(-len(numbers) // most)
        for strip in range(strips):
            yield numbers[strip * len(numbers) // strips : (strip + 1) * len(numbers) // strips]


@dataclass(frozen=True)
class Run:
    """Pieces of a scene that are predicted in one go: they follow each other from the top."""

    plan: ScenePlan
    pieces: tuple[Area, ...]

    @property
    def windows(self) -> int:
        """Windows that belong to its pieces."""
        return sum(len(piece.rows) * len(piece.cols) for piece in self.pieces)

    def predict(self, model: Segmenter, check: Callable[[], None] = lambda: None) -> Iterator[int]:
        """Write the files of the pieces; yields how many windows of theirs are done after every row of windows."""
        plan, settings = self.plan, self.plan.settings
        done = 0
        with (
            open_scene(plan.scene.info, plan.scene.grid) as reader,
            closing(
                blend(
                    partial(model.logits, flips=settings.flips, precision=settings.precision),
                    reader,
                    plan.rows,
                    plan.cols,
                    Area(range(self.pieces[0].rows.start, self.pieces[-1].rows.stop), self.pieces[0].cols),
                    classes=len(plan.spec.legend),
                    device=settings.device,
                    batch=settings.batch,
                    threads=settings.threads,
                    check=check,
                )
            ) as blended,
        ):
            for piece in self.pieces:
                with _written(plan, piece) as writers:
                    for lines in islice(blended, len(piece.rows)):
                        if lines.valid.any():
                            for layer, writer in writers.items():
                                values = layer_values(layer, lines.logits, lines.valid, plan.spec.legend)
                                writer.write(lines.row, lines.col, values)
                        done += len(piece.cols)
                        yield done


@contextmanager
def _written(plan: ScenePlan, piece: Area) -> Iterator[dict[Layer, PartWriter]]:
    """Writers of the files of a piece; the files appear at the end, when nothing went wrong."""
    parts = {layer: plan.part(piece, layer) for layer in plan.settings.layers}
    writers: dict[Layer, PartWriter] = {}
    try:
        for layer, part in parts.items():
            # A piece may be done twice at a time, on different hosts: a cluster begins the tasks of a lost worker anew.
            scratch = plan.output.temporary / f"{plan.name}-{part.path.name}.{uuid4().hex}"
            writers[layer] = PartWriter(replace(part, path=scratch), contents(layer, plan.spec.legend))
        yield writers
        for writer in writers.values():
            writer.close()
        plan.parts.mkdir(parents=True, exist_ok=True)
        for layer, writer in writers.items():
            writer.part.path.replace(parts[layer].path)
    finally:
        for writer in writers.values():
            writer.discard()


def publish_scene(plan: ScenePlan, threads: int = 1) -> None:
    """Make the rasters of a scene of its pieces, which all are there."""
    tags = {"GEOSYNTH_SEGMENTER": plan.segmenter_hash, "GEOSYNTH_SOURCE": plan.name}
    pieces = [piece for strip in plan.pieces() for piece in strip]
    for layer in plan.settings.layers:
        publish(
            [plan.part(piece, layer) for piece in pieces],
            contents(layer, plan.spec.legend),
            plan.file(layer),
            plan.output.temporary,
            plan.scene.grid,
            tags,
            threads,
        )


def predict_run(run: Run) -> tuple[str, bool]:
    """A task: predict the pieces of a run, and when they are all of their scene, make its rasters.

    Returns:
        The scene's name, and whether its rasters are there.
    """
    plan = run.plan
    with gdal_session():
        for _ in run.predict(cached_segmenter(plan.segmenter, plan.segmenter_hash, plan.settings.device)):
            pass
        alone = sum(len(strip) for strip in plan.pieces()) == len(run.pieces)
        if alone:
            publish_scene(plan, plan.settings.threads)
    return plan.name, alone


def run_length(plans: Sequence[ScenePlan], workers: int) -> int:
    """Pieces a run, so that every worker has something to do and few windows are computed twice."""
    pieces = sum(len(strip) for plan in plans for strip in plan.pieces())
    return max(1, min(4, -(-pieces // workers)))
