"""Trains a base generator on real imagery: land cover of Dubai, buildings of Banepa, other scenes as images only.

    python benchmarks/train_base.py --minutes 25 --data DIR --out DIR --work DIR

DIR holds ``landcover_dubai/`` and ``buildings_oam/``. The first hundred steps tell how many fit into the minutes; the
plan and the checkpoint are kept in ``--work``: run the same command again to go on after an interruption. Uses a GPU
when there is one. Held out, and never trained on: scene tile6 of Dubai, whose ground no other scene shows, and the
right sixth of Banepa.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio import Affine
from torch.utils.data import DataLoader

from geosynth.devices import choose_device, has_fast_bfloat16
from geosynth.diffusion.batches import training_batch
from geosynth.diffusion.codes import bit_count
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.generator import save_generator
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.progress import Progress
from geosynth.diffusion.training import DiffusionTask, Plan
from geosynth.events import Events
from geosynth.fitting import fit
from geosynth.folders import claim
from geosynth.grid import Grid, engineering_crs
from geosynth.legend import UNKNOWN, Legend, ignored_values, load_legend
from geosynth.lineage import Lineage, Seen
from geosynth.rasters import Band
from geosynth.scenes.burning import open_labels, placed
from geosynth.scenes.identity import content_hash
from geosynth.scenes.labels import PolygonLabels, inspect_labels, make_codes
from geosynth.scenes.source import SceneInfo, inspect_scene, open_scene, select_bands, target_grid
from geosynth.tileset import TileSpec, crs_name

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
    pixels = np.concatenate([view.image[:, view.valid][:, ::37] for view in views.views], axis=1).astype(np.float64)
    return BandScale(
        mean=tuple(pixels.mean(axis=1).tolist()),
        std=tuple(pixels.std(axis=1).tolist()),
        low=tuple(pixels.min(axis=1).tolist()),
        high=tuple(pixels.max(axis=1).tolist()),
    )


def steps_in(minutes: float, task: DiffusionTask, device: str, precision: str) -> int:
    """How many steps fit into ``minutes``, told by up to a hundred of them on a copy of the network."""
    task.to(device)
    trial = copy.deepcopy(task.denoiser)
    optimizer = torch.optim.AdamW(trial.parameters())
    start, done = time.perf_counter(), 0
    for step in range(110):
        if step == 10 or (done == 0 and time.perf_counter() - start > 20):
            start, done = time.perf_counter(), 0  # the first steps choose algorithms
        batch = training_batch(
            task.train_pairs,
            task.scale,
            task.classes,
            task.recipe,
            size=task.plan.size,
            batch=task.plan.batch,
            seed=1,
            step=step,
        )
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            image, mask = task.loss(trial, batch)
        (image + mask).backward()
        optimizer.step()
        optimizer.zero_grad()
        done += 1
        if time.perf_counter() - start > 30:
            break
    if device == "cuda":
        torch.cuda.synchronize()
    each = (time.perf_counter() - start) / done
    print(f"{each * 1e3:.0f} ms a step of {task.plan.batch} on {device}", flush=True)
    return max(100, int(minutes * 60 * 0.9 / each) // 100 * 100)  # the rest is for held-out losses and checkpoints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True, help="how long to train")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="generator folder to write")
    parser.add_argument("--work", type=Path, required=True, help="folder for plan and checkpoint")
    parser.add_argument("--size", type=int, default=64, help="side of what the generator makes, pixels")
    parser.add_argument("--batch", type=int, help="default: 16 on a CPU, 256 on a GPU")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = choose_device(args.device)
    precision = "bf16" if has_fast_bfloat16(device) else "32"
    train, held_out, lineage = read(args.data)
    print(f"{len(train)} pieces of {CHUNK} px to train on, {len(held_out)} held out", flush=True)
    args.work.mkdir(parents=True, exist_ok=True)
    kept = args.work / "plan.json"
    batch = args.batch or (16 if device == "cpu" else 256)
    plan = Plan(**json.loads(kept.read_text())) if kept.is_file() else Plan(steps=0, batch=batch, size=args.size)
    torch.manual_seed(0)
    network = Denoiser(image_channels=3, mask_channels=bit_count(len(LEGEND)), sample_size=plan.size)
    task = DiffusionTask(network, train, held_out, scale_of(train), len(LEGEND), plan)
    if not plan.steps:
        plan = replace(plan, steps=steps_in(args.minutes, task, device, precision))
        kept.write_text(json.dumps(asdict(plan)))
        task.plan = plan
    print(f"{plan.steps} steps", flush=True)

    def show(record: dict[str, object]) -> None:
        if record["event"] == "metric" and str(record["name"]).startswith("val"):
            print(record["step"], record["name"], f"{record['value']:.4f}", flush=True)

    events = Events([show])
    counter: DataLoader[int] = DataLoader(range(plan.steps), batch_size=None)  # type: ignore[arg-type]
    fit(
        task,
        {"train_dataloaders": counter},
        args.work,
        events,
        [Progress(events)],
        steps=plan.steps,
        device=device,
        precision=precision,
        clip=plan.clip,
    )
    spec = TileSpec(
        id="base",
        bands=tuple(Band(name, "uint8") for name in ("red", "green", "blue")),
        legend=LEGEND,
        crs=engineering_crs(),
        pixel_size=(1.0, 1.0),
        gsd_m=None,
        tile_size=plan.size,
    )
    summary = {
        "recipe": "flow",
        "trained_on": f"{len(train)} pieces: Dubai (CC0), Banepa (CC BY 4.0, ODbL), images of other scenes",
        "made_by": "python benchmarks/train_base.py",
        "steps": plan.steps,
        "batch": plan.batch,
        "learning_rate": plan.learning_rate,
        "seed": plan.seed,
        "precision": precision,
        "device": device,
    }
    losses = task.to(device).held_out_loss()
    if losses is not None:
        summary["val_loss_image"], summary["val_loss_mask"] = losses
        print(f"held-out loss: image {losses[0]:.4f}, mask {losses[1]:.4f}", flush=True)
    with claim(args.out, {"command": "train_base", **asdict(plan)}, "overwrite") as out:
        content_hash = save_generator(
            out, task.average.cpu(), spec, task.scale, summary, lineage, process=task.recipe.process, half=True
        )
        out.finish()
    shutil.rmtree(args.out / ".geosynth")  # what is kept is the model, not the state of its making
    print("saved", content_hash)


if __name__ == "__main__":
    main()
