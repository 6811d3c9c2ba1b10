"""Trains a base generator on real imagery: land cover of Dubai, buildings of Banepa, other scenes as images only.

    python benchmarks/train_base.py --minutes 25 --data DIR --out DIR

DIR holds ``landcover_dubai/`` and ``buildings_oam/``. The first hundred steps tell how many fit into the minutes, and
on a GPU whether compiling pays; the plan and the checkpoint are kept in ``--work`` (OUT.work unless given): run the
same command again to go on after an interruption (asked for another plan, it refuses). Uses a GPU when there is one.
Held out, and never trained on: scene tile6 of Dubai, whose ground no other scene shows, and the right sixth of Banepa.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from basing import means_of, precision_of, train_and_save
from numpy.typing import NDArray
from rasterio import Affine

from geosynth.devices import choose_device
from geosynth.diffusion.batches import Batch
from geosynth.diffusion.codes import bit_count
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.loading import StepBatches, step_loader
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.objective import mean_errors
from geosynth.diffusion.process import RECIPES
from geosynth.diffusion.training import DiffusionTask, Means, Plan
from geosynth.grid import Grid, engineering_crs
from geosynth.legend import UNKNOWN, Legend, ignored_values, load_legend
from geosynth.lineage import Lineage, Seen
from geosynth.scenes.burning import open_labels, placed
from geosynth.scenes.identity import content_hash
from geosynth.scenes.labels import PolygonLabels, inspect_labels, make_codes
from geosynth.scenes.source import SceneInfo, inspect_scene, open_scene, select_bands, target_grid
from geosynth.tileset import crs_name

LEGEND = load_legend("dubai")
CHUNK = 512
"""Pixels a side of the pieces scenes are kept in; training crops them at random."""
SHRINKS = (1, 2, 4)
"""Scenes are learnt at their own resolution and at coarser ones: the same things then come in several sizes."""
HELD_OUT = "tile6"
FINEST = 0.3
"""Ground metres a pixel of the finest view of the aerial scenes, whose own pixels hold less than a roof tile."""


@dataclass(frozen=True, eq=False)
class View:
    """A piece of a scene: image uint8 (3, H, W), valid bool (H, W), class index uint8 (H, W), 255 unknown."""

    image: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    mask: NDArray[np.uint8]


class Views:
    """Pieces of scenes in memory as pairs."""

    def __init__(self, views: list[View]) -> None:
        self.views = views

    def __len__(self) -> int:
        return len(self.views)

    def raw(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint8]]:
        view = self.views[index]
        return view.image, view.valid, view.mask


def pieces_of(info: SceneInfo, labels: Path | None, grid: Grid) -> Iterator[tuple[int, View]]:
    """Pieces of a scene on ``grid``, each with its first column; masks are unknown without ``labels``."""
    entries = () if labels is None else tuple(placed(entry, info) for entry in inspect_labels(labels))
    buildings = any(isinstance(entry, PolygonLabels) for entry in entries)
    legend = Legend((LEGEND.named("building"),)) if buildings else LEGEND
    codes = make_codes(entries, legend, "unknown", ignored_values("dubai"))
    with open_scene(info, grid) as images, open_labels(entries, codes, grid) as masks:
        for row in range(0, grid.height - CHUNK // 2, CHUNK):
            for col in range(0, grid.width - CHUNK // 2, CHUNK):
                place = (min(row, max(0, grid.height - CHUNK)), min(col, max(0, grid.width - CHUNK)), CHUNK, CHUNK)
                image, valid = images.read(*place)
                if valid.mean() > 0.5:
                    index = LEGEND.to_index(masks.read(*place))
                    yield place[1], View(image, valid, np.where(valid, index, np.uint8(UNKNOWN)))


def coarser(grid: Grid, shrink: int) -> Grid:
    return Grid(grid.crs, grid.transform @ Affine.scale(shrink), grid.height // shrink, grid.width // shrink)


def read(data: Path) -> tuple[Views, Views, Lineage]:
    """What is trained on, what is held out, and the ground that is trained on."""
    train: list[View] = []
    held_out: list[View] = []
    seen: list[Seen] = []

    def note(info: SceneInfo, grid: Grid, labelled: bool) -> None:
        seen.append(Seen(content_hash(info.path)[:16], info.name, crs_name(grid.crs), grid.bounds, labelled))

    for path in sorted((data / "landcover_dubai").glob("tile?.tif")):
        info = inspect_scene(path)
        mask = path.with_name(f"{path.stem}_mask.tif")
        for shrink in SHRINKS[:2]:
            views = [view for _, view in pieces_of(info, mask, coarser(info.grid, shrink))]
            (held_out if path.stem == HELD_OUT else train).extend(views)
        if path.stem != HELD_OUT:
            note(info, info.grid, True)
    for path in sorted((data / "buildings_oam").glob("*_a.tif")):
        info = select_bands(inspect_scene(path), ("1", "2", "3"))
        labels = path.with_name(f"{path.stem}_buildings.gpkg") if path.stem == "banepa_a" else None
        finest = target_grid(info, gsd=FINEST)
        for shrink in SHRINKS:
            grid = coarser(finest, shrink)
            border = grid.width if labels is None else grid.width * 5 // 6
            for col, view in pieces_of(info, labels, grid):
                if col + CHUNK <= max(border, CHUNK) and border >= CHUNK:
                    train.append(view)
                elif col >= border:
                    held_out.append(view)
        border = finest.width if labels is None else finest.width * 5 // 6
        note(info, finest.window(0, 0, finest.height, border), labels is not None)
    return Views(train), Views(held_out), Lineage(tuple(sorted(seen)))


def scale_of(views: Views) -> BandScale:
    """Statistics of the bands over all valid pixels."""
    # Of 8 bits, how often each value occurs says it all.
    counts = np.zeros((3, 256), np.int64)
    for view in views.views:
        counts += [np.bincount(band, minlength=256) for band in view.image[:, view.valid]]
    values = np.arange(256)
    mean = counts @ values / counts.sum(axis=1)
    square = counts @ values**2 / counts.sum(axis=1)
    seen = [np.flatnonzero(band) for band in counts]
    return BandScale(
        mean=tuple(mean.tolist()),
        std=tuple(np.sqrt(square - mean**2).tolist()),
        low=tuple(float(band[0]) for band in seen),
        high=tuple(float(band[-1]) for band in seen),
    )


def seconds_a_step(task: DiffusionTask, device: str, *, compiled: bool) -> float:
    """Time of a training step on a copy of the network, with batches made as training makes them."""
    trial = copy.deepcopy(task.denoiser).to(device)
    if compiled:
        trial.compile()
    optimizer = torch.optim.AdamW(trial.parameters(), fused=True)
    batches = iter(step_loader(StepBatches(task.drawing, 0, 1000), torch.device(device), task.means.workers))
    done, first = 0, time.perf_counter()
    for number, batch in enumerate(batches):
        if number in (1, 10):
            _wait(device)
            first, done = time.perf_counter(), 0  # the first steps choose algorithms and compile
        with torch.autocast(device, torch.bfloat16, enabled=precision_of(device) == "bf16"):
            errors = task.errors(trial, Batch(*(part.to(device, non_blocking=True) for part in batch)))
        mean_errors(*errors).sum().backward()
        torch.nn.utils.clip_grad_norm_(trial.parameters(), task.plan.clip)
        optimizer.step()
        optimizer.zero_grad()
        done += 1
        if number >= 110 or (number and time.perf_counter() - first > 30):
            break
    _wait(device)
    return (time.perf_counter() - first) / done


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Setup:
    """What the first start decided."""

    plan: Plan
    dropout: float
    compiled: bool


def kept_setup(kept: Path, args: argparse.Namespace) -> Setup | None:
    """What the first start decided, None at the first; ends the program where the arguments ask for something else."""
    if not kept.is_file():
        return None
    content = json.loads(kept.read_text())
    decided = {**content["plan"], "dropout": content["dropout"]}
    for name in ("size", "batch", "learning_rate", "dropout"):
        asked = getattr(args, name)
        if asked is not None and asked != decided[name]:
            option = "--" + name.replace("_", "-")
            raise SystemExit(
                f"{kept}: was begun with {option} {decided[name]}, not {asked}; leave it out, or give another --work"
            )
    return Setup(Plan(**content["plan"]), content["dropout"], content["compiled"])


def first_setup(
    kept: Path, args: argparse.Namespace, device: str, make: Callable[[Plan, float, Means], DiffusionTask]
) -> Setup:
    """A new plan, kept: as many steps as fit into the minutes, compiled where that is faster."""
    batch, dropout = args.batch or (16 if device == "cpu" else 256), args.dropout or 0.0
    plan = Plan(steps=1, batch=batch, size=args.size or 64, learning_rate=args.learning_rate or Plan.learning_rate)
    task = make(plan, dropout, means_of(device)).to(device)
    times = {False: seconds_a_step(task, device, compiled=False)}
    if device == "cuda":
        try:
            times[True] = seconds_a_step(task, device, compiled=True)
        except Exception as error:  # whatever a compiler says; training goes without it
            print(f"not compiled: {str(error).splitlines()[0]}", flush=True)
    compiled = min(times, key=lambda which: times[which])
    for which, seconds in times.items():
        print(f"{seconds * 1e3:.1f} ms a step of {batch} on {device}{', compiled' if which else ''}", flush=True)
    # The rest is for held-out losses, pictures and checkpoints.
    steps = max(100, int(args.minutes * 60 * 0.9 / times[compiled]) // 100 * 100)
    setup = Setup(replace(plan, steps=steps), dropout, compiled)
    kept.write_text(json.dumps(asdict(setup)))
    return setup


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True, help="how long to train")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="generator folder to write")
    parser.add_argument(
        "--work", type=Path, help="folder for plan, checkpoint, metrics and samples (default: OUT.work)"
    )
    parser.add_argument("--size", type=int, help="side of what the generator makes, pixels (default: 64)")
    parser.add_argument("--batch", type=int, help="default: 16 on a CPU, 256 on a GPU")
    parser.add_argument("--learning-rate", type=float, help=f"default: {Plan.learning_rate:g}")
    parser.add_argument("--dropout", type=float, help="default: 0")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    args.work = args.work or args.out.with_name(f"{args.out.name}.work")
    device = choose_device(args.device)
    setup = kept_setup(args.work / "plan.json", args)
    train, held_out, lineage = read(args.data)
    labelled, held_out_labelled = (
        np.array([bool((view.mask != UNKNOWN).any()) for view in views.views]) for views in (train, held_out)
    )
    print(
        f"{len(train)} pieces of {CHUNK} px to train on, {labelled.sum()} with labels, {len(held_out)} held out",
        flush=True,
    )
    args.work.mkdir(parents=True, exist_ok=True)
    scale = scale_of(train)

    def make(plan: Plan, dropout: float, means: Means) -> DiffusionTask:
        torch.manual_seed(0)
        network = Denoiser(
            image_channels=3,
            mask_channels=bit_count(len(LEGEND)),
            sample_size=plan.size,
            dropout=dropout,
            bit_size=RECIPES[plan.recipe].bit_size,
            shortcut=True,
        )
        return DiffusionTask(network, train, held_out, scale, len(LEGEND), plan, labelled, means, held_out_labelled)

    setup = setup or first_setup(args.work / "plan.json", args, device, make)
    print(f"{setup.plan.steps} steps", flush=True)
    train_and_save(
        make(setup.plan, setup.dropout, means_of(device, compiled=setup.compiled)),
        LEGEND,
        name="base",
        crs=engineering_crs(),
        gsd=None,
        lineage=lineage,
        facts={
            # Of the other scenes the licence of the images is not given where they come from: clear that before
            # anything that saw them is shipped.
            "trained_on": f"{len(train)} pieces: Dubai (CC0), Banepa (CC BY 4.0, ODbL), images of other scenes of"
            " OpenAerialMap (licence not given with them)",
            "made_by": "python benchmarks/train_base.py",
            "dropout": setup.dropout,
        },
        device=device,
        work=args.work,
        out=args.out,
    )


if __name__ == "__main__":
    main()
