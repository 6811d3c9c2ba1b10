"""Trains the small base generator that ships in the package, on the made-up world.

    python benchmarks/make_base.py --out geosynth/base --work /path/to/scratch

The scratch folder holds the checkpoint: run the same command again to go on after an interruption.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from basing import means_of, train_and_save
from numpy.typing import NDArray
from rasterio.crs import CRS

from geosynth.devices import choose_device
from geosynth.diffusion.codes import bit_count
from geosynth.diffusion.denoiser import Denoiser
from geosynth.diffusion.normalise import BandScale
from geosynth.diffusion.process import RECIPES
from geosynth.diffusion.training import DiffusionTask, Plan
from geosynth.legend import load_legend
from geosynth.lineage import Lineage
from geosynth.world import CLASSES, LOOKS, Landscape

SIDE = 768


class Scenes:
    """Whole scenes in memory as pairs; training crops them at random. images (N, 3, H, W), masks (N, H, W), uint8."""

    def __init__(self, images: NDArray[np.uint8], masks: NDArray[np.uint8]) -> None:
        self.images, self.masks = images, masks
        self._valid = np.ones(masks.shape[1:], bool)

    def __len__(self) -> int:
        return len(self.images)

    def raw(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint8]]:
        return self.images[index], self._valid, self.masks[index]


def render(count: int, first_seed: int) -> Scenes:
    """``count`` scenes of SIDE pixels a look of the made-up world."""
    images, masks = [], []
    for look in LOOKS:
        for seed in range(first_seed, first_seed + count):
            image, mask = Landscape(seed, look).render(0, 0, SIDE, SIDE)
            images.append(image)
            masks.append(mask - 1)  # class ids are 1..6, the network's index is the position in the legend
    return Scenes(np.stack(images), np.stack(masks).astype(np.uint8))


def scale_of(tiles: Scenes) -> BandScale:
    """Statistics of the bands over all tiles."""
    axes = (0, 2, 3)
    return BandScale(
        mean=tuple(float(v) for v in tiles.images.mean(axes, dtype=np.float64)),
        std=tuple(float(v) for v in tiles.images.std(axes, dtype=np.float64)),
        low=tuple(float(v) for v in tiles.images.min(axes)),
        high=tuple(float(v) for v in tiles.images.max(axes)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="generator folder to write")
    parser.add_argument("--work", type=Path, required=True, help="scratch folder for the checkpoint")
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--scenes", type=int, default=16, help="scenes a look")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()

    device = choose_device(args.device)
    train, held_out = render(args.scenes, 1000), render(4, 9000)
    print("rendered", train.images.shape, flush=True)
    torch.manual_seed(0)
    plan = Plan(steps=args.steps, batch=args.batch, size=64)
    network = Denoiser(
        image_channels=3,
        mask_channels=bit_count(len(CLASSES)),
        sample_size=plan.size,
        bit_size=RECIPES[plan.recipe].bit_size,
        shortcut=True,
    )
    task = DiffusionTask(network, train, held_out, scale_of(train), len(CLASSES), plan, means=means_of(device))
    train_and_save(
        task,
        load_legend("world"),
        name="world",
        crs=CRS.from_epsg(32633),
        gsd=1.0,
        lineage=Lineage(),
        facts={
            "trained_on": f"{len(train)} scenes of {SIDE} x {SIDE} px of the made-up world, {len(LOOKS)} looks",
            "made_by": "python benchmarks/make_base.py",
        },
        device=device,
        work=args.work,
        out=args.out,
    )


if __name__ == "__main__":
    main()
