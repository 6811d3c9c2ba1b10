"""A test of the method itself: does the experiment tell a good generator from a bad one where the answer is known?

On the made-up world the perfect generator is the world itself, elsewhere; a bad one makes the same images and calls
every class by the name of the next. With few labels the first must come out as helpful, the second as harmful.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.errors import GeosynthError
from geosynth.evaluation.arms import REAL, Arm
from geosynth.evaluation.experiment import ExperimentPlan
from geosynth.evaluation.statistics import Difference, is_beyond_noise, paired_difference, signed
from geosynth.evaluation.study import evaluate, read_results
from geosynth.events import Events
from geosynth.folders import Rerun, claim
from geosynth.grid import Grid, fictitious_grid
from geosynth.legend import load_legend
from geosynth.lineage import Lineage
from geosynth.rasters import Band
from geosynth.tileset import Split, Tileset, TileSpec
from geosynth.tilesetwriter import EncodedTile, compact, encode_tile, synthetic_tags, write_tiles
from geosynth.world import Landscape
from geosynth.world.scene import ORIGIN

GOOD, BAD = "the world itself", "wrong classes"

_SPREAD = 5
"""Tiles lie this many sides apart: neighbours would say the same."""
_ACROSS = 8
"""Tiles in a row of such places."""
_ELSEWHERE = 20_000
"""Pixels between the real place and where the perfect generator looks."""


@dataclass(frozen=True)
class SelfTestSize:
    """How large the test is: pixels a side, labelled, val and test tiles, synthetic pairs; and its training."""

    side: int = 32
    train: int = 6
    val: int = 4
    test: int = 48
    synthetic: int = 48
    seeds: int = 3
    steps: int = 60
    batch: int = 16
    architecture: str = "fpn"
    encoder: str = "tu-test_resnet"
    learning_rate: float = 3e-3


@dataclass(frozen=True)
class SelfTest:
    """What came out: mean IoU minus that of real tiles alone, with either generator."""

    good: Difference | None
    bad: Difference | None

    @property
    def passed(self) -> bool:
        """Whether the good generator came out as helpful and the bad one as harmful, both beyond noise."""
        if self.good is None or self.bad is None:
            return False
        return is_beyond_noise(self.good) and is_beyond_noise(self.bad) and self.good.mean > 0 > self.bad.mean

    def in_words(self) -> str:
        """The outcome in two lines."""
        lines = [
            f"{name}: {signed(found.mean)} ± {found.standard_error or 0:.3f} mean IoU, expected to {what}"
            for name, found, what in ((GOOD, self.good, "help"), (BAD, self.bad, "harm"))
            if found is not None
        ]
        return "\n".join([*lines, "the method tells them apart" if self.passed else "the method fails"])


def self_test(
    out: str | PathLike[str],
    events: Events,
    *,
    size: SelfTestSize | None = None,
    seed: int = 0,
    rerun: Rerun = "refuse",
    **where: Any,
) -> SelfTest:
    """Run the experiment with a perfect and with a bad generator.

    Args:
        out: folder for three tilesets and the ``report``.
        events: progress, cancellation.
        size: how much work to do.
        seed: of the world.
        rerun: rules for an existing output.
        where: ``threads``, ``device``, ``workers``, ``scheduler`` of ``evaluate``.

    Raises:
        OutputError: the rerun rules refuse.
        Cancelled: stopped by the user; go on with ``rerun="resume"``.
        GeosynthError: the test failed.
    """
    size, folder = size or SelfTestSize(), Path(out)
    with events.task("tiles"):
        real = _write_real(folder / "real", size, seed, rerun)
        behind = Lineage.of(real.select("train"), real.spec.crs_name)
        for name, shift in (("perfect", 0), ("bad", 1)):
            _write_synthetic(folder / name, size, seed, behind, shift, rerun)
    plan = ExperimentPlan(
        arms=(
            Arm(REAL, word="real"),
            Arm(f"real + {GOOD}", (folder / "perfect",), source="synthetic", label=GOOD),
            Arm(f"real + {BAD}", (folder / "bad",), source="synthetic", label=BAD),
        ),
        seeds=tuple(range(size.seeds)),
        steps=size.steps,
        architecture=size.architecture,
        encoder=size.encoder,
        batch=size.batch,
        learning_rate=size.learning_rate,
    )
    with events.task("evaluate"):
        evaluate(real.path, plan, folder / "report", events, rerun=rerun, **where)
    found = {
        arm.name: {run.seed: run.mean_iou for run in read_results(folder / "report") if run.arm == arm.name}
        for arm in plan.arms
    }
    good, bad = (paired_difference(found[arm.name], found[REAL]) for arm in plan.arms[1:])
    outcome = SelfTest(good, bad)
    if not outcome.passed:
        raise GeosynthError(
            f"the experiment does not tell a good generator from a bad one: {outcome.in_words()}",
            where=folder,
            remedy="do not trust its reports; look at this one and report it",
        )
    return outcome


def _spec(name: str, side: int) -> TileSpec:
    bands = tuple(Band(colour, "uint8") for colour in ("red", "green", "blue"))
    return TileSpec(name, bands, load_legend("world"), CRS.from_epsg(32633), (1.0, 1.0), 1.0, side)


def _windows(seed: int, count: int, side: int, top: int) -> Iterator[tuple[int, int, NDArray[Any], NDArray[np.uint8]]]:
    """Row, column, image and mask of ``count`` windows of the world, apart from each other."""
    landscape = Landscape(seed)
    for number in range(count):
        row, col = top + number // _ACROSS * _SPREAD * side, number % _ACROSS * _SPREAD * side
        yield row, col, *landscape.render(row, col, side, side)


def _write_real(path: Path, size: SelfTestSize, seed: int, rerun: Rerun) -> Tileset:
    counts: tuple[tuple[Split, int], ...] = (("train", size.train), ("val", size.val), ("test", size.test))
    splits = [split for split, count in counts for _ in range(count)]
    spec = _spec("selftest-real", size.side)

    def tiles() -> Iterator[EncodedTile]:
        windows = _windows(seed, len(splits), size.side, 0)
        for number, (split, (row, col, image, mask)) in enumerate(zip(splits, windows, strict=True)):
            place = Affine(1, 0, ORIGIN[0] + col, 0, -1, ORIGIN[1] - row)
            yield encode_tile(
                spec,
                f"t{number:04}",
                Grid(spec.crs, place, size.side, size.side),
                image,
                np.ones(mask.shape, bool),
                mask,
                {"GEOSYNTH_SYNTHETIC": "none"},
                split=split,
                scene="world",
                row=row,
                col=col,
                image_origin="real",
                mask_origin="human",
                placement="real",
            )

    return _write(path, spec, tiles(), None, {"seed": seed, "splits": splits}, rerun)


def _write_synthetic(path: Path, size: SelfTestSize, seed: int, behind: Lineage, shift: int, rerun: Rerun) -> Tileset:
    """The world elsewhere; ``shift`` is how far each class is moved on along the legend."""
    spec = _spec(f"selftest-{path.name}", size.side)

    def tiles() -> Iterator[EncodedTile]:
        ids = np.array(spec.legend.ids, np.uint8)
        windows = _windows(seed, size.synthetic, size.side, _ELSEWHERE)
        for number, (_, _, image, mask) in enumerate(windows):
            yield encode_tile(
                spec,
                f"s{number:04}",
                fictitious_grid(spec.crs, spec.pixel_size, size.side, number, spec.id),
                image,
                np.ones((size.side, size.side), bool),
                np.roll(ids, -shift)[spec.legend.to_index(mask)],
                synthetic_tags("both", "world", seed, number, "fictitious", {}),
                split="train",
                scene="",
                row=0,
                col=0,
                image_origin="generated",
                mask_origin="generated",
                placement="fictitious",
                generator="world",
                seed=seed,
                sample_index=number,
            )

    return _write(path, spec, tiles(), behind, {"seed": seed, "count": size.synthetic, "shift": shift}, rerun)


def _write(
    path: Path, spec: TileSpec, tiles: Iterator[EncodedTile], lineage: Lineage | None, asked: Any, rerun: Rerun
) -> Tileset:
    with claim(path, {"command": "self-test", "spec": spec.to_json(), **asked}, rerun) as out:
        if not out.complete:
            out.record("tiles", {"tiles": write_tiles(out.path, tiles)})
            compact(out, spec, lineage)
    return Tileset(path)
