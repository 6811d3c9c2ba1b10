"""Whole scenes: do borders of windows show, and what does a pixel cost?

    python benchmarks/seams.py [--model base] [--side 512] [--seeds 1] [--ways N …] [--sizes 1024 2048] [--out FOLDER]

Every way of making a scene is run with the same noise: windows that share nothing and stay where they are (tiles put
side by side), windows that stay and share some pixels (MultiDiffusion), windows that move from level to level. A border
is where a window begins or ends. What is compared there with everywhere else is the step of the image from pixel to
pixel and the share of pixels whose class changes, at the borders of every noise level: 1 is no border; the worst level
counts, because what shows is the worst. The made-up world at the same places says how far from 1 chance alone gets.
The last way paints that world's mask, so that only the image can show borders.
"coherence" is how often two pixels 24 px apart on both sides of a border are of one class, over how often any are.
CPU seconds and peak memory are those of a process of its own that makes the scene and its files. ``--sizes`` measures
memory and time for larger scenes at a few levels only. ``--ways`` takes some of the ways by number, ``--out`` keeps
pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geosynth.diffusion import scenelevels
from geosynth.diffusion.canvas import Windows, shift_at
from geosynth.diffusion.generator import describe, resolve
from geosynth.diffusion.wholescene import SceneRequest, generate_scene
from geosynth.events import Events
from geosynth.world import Landscape

REACH = 24
"""Pixels between two whose classes are compared."""

PLACE = 5000
"""First row and column of what is taken of the made-up world."""


@dataclass(frozen=True)
class Way:
    """How a scene is made: whether windows move, the pixels they share, sampler, steps, whether a map is given."""

    name: str
    moving: bool
    overlap: int
    sampler: str
    steps: int
    painted: bool = False


def ways(tile: int) -> list[Way]:
    return [
        Way("tiles side by side", False, 0, "euler", 30),
        Way("fixed windows, 1/8 shared", False, tile // 8, "euler", 30),
        Way("fixed windows, 1/4 shared", False, tile // 4, "euler", 30),
        Way("fixed windows, 1/2 shared", False, tile // 2, "euler", 30),
        Way("moving windows, nothing shared", True, 0, "euler", 30),
        Way("moving windows, 1/8 shared", True, tile // 8, "euler", 30),
        Way("moving windows, 1/4 shared", True, tile // 4, "euler", 30),
        Way("moving windows, 1/8 shared", True, tile // 8, "dpm", 20),
        Way("tiles side by side", False, 0, "dpm", 10),
        Way("moving windows, 1/8 shared", True, tile // 8, "dpm", 10),
        Way("a map painted, moving windows, 1/8 shared", True, tile // 8, "dpm", 10, True),
    ]


def make(model: str, side: int, seed: int, way: Way, out: str) -> None:
    """Make one scene in this process; prints seconds, CPU seconds and the peak memory in MB."""
    if not way.moving:
        scenelevels.shift_at = lambda *_: (0, 0)
    given: tuple[str, ...] = ()
    if way.painted:
        given = (str(world_map(side, seed, Path(f"{out}_map.tif"))),)
    # What the libraries and the network take is not the scene's.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter(), time.process_time()
    request = SceneRequest(
        None if given else side,
        None if given else side,
        seed=seed,
        steps=way.steps,
        sampler=way.sampler,
        overlap=way.overlap,
        masks_from=given,
    )
    generate_scene(model, request, out, Events(), device="cpu")
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak, "before": before}))


def world_map(side: int, seed: int, target: Path) -> Path:
    """The mask of the made-up world as a raster of class ids."""
    mask = Landscape(seed).render(PLACE, PLACE, side, side)[1]
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(1, 0, 500_000, 0, -1, 5_000_000)}
    with rasterio.open(target, "w", "GTiff", side, side, 1, dtype="uint8", **place) as dataset:
        dataset.write(mask, 1)
    return target


def made(model: str, side: int, seed: int, way: Way, out: Path) -> dict[str, float]:
    """The same in a process of its own."""
    settings = [model, side, seed, json.dumps(asdict(way)), out]
    command = [sys.executable, __file__, "--make", *map(str, settings)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def borders(side: int, tile: int, multiple: int, way: Way) -> list[tuple[list[int], list[int]]]:
    """Of every level the rows and the columns that windows begin or end at."""
    lines = []
    for level in range(way.steps):
        both = [Windows.along(side, tile, way.overlap, shift) for shift in shifts_at(way, level, tile, multiple)]
        rows, cols = (
            sorted({end for start in line.starts for end in (start, start + tile)} - {0, side}) for line in both
        )
        lines.append((rows, cols))
    return lines


def shifts_at(way: Way, level: int, tile: int, multiple: int) -> tuple[int, int]:
    return shift_at(level, tile - way.overlap, multiple) if way.moving else (0, 0)


def contrast(steps: tuple[NDArray[Any], NDArray[Any]], lines: list[tuple[list[int], list[int]]]) -> float:
    """Steps across borders over steps elsewhere, at the worst level.

    ``steps``: mean step from row r - 1 to row r at position r, and the same of columns.
    """
    worst = 0.0
    for at in lines:
        on = [np.isin(np.arange(len(line)), where) for line, where in zip(steps, at, strict=True)]
        here = np.concatenate([line[hit] for line, hit in zip(steps, on, strict=True)]).mean()
        elsewhere = np.concatenate([line[1:][~hit[1:]] for line, hit in zip(steps, on, strict=True)]).mean()
        worst = max(worst, float(here / elsewhere))
    return worst


def image_steps(image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    pixels = image.astype(np.float32)
    down = np.abs(np.diff(pixels, axis=1)).mean(axis=(0, 2))
    right = np.abs(np.diff(pixels, axis=2)).mean(axis=(0, 1))
    return np.insert(down, 0, 0), np.insert(right, 0, 0)


def class_steps(mask: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    down, right = (mask[1:] != mask[:-1]).mean(axis=1), (mask[:, 1:] != mask[:, :-1]).mean(axis=0)
    return np.insert(down, 0, 0), np.insert(right, 0, 0)


def coherence(mask: NDArray[Any], lines: list[tuple[list[int], list[int]]]) -> float:
    """How often pixels ``REACH`` apart across a border are of one class, over how often any are; the worst level."""
    down, right = (mask[REACH:] == mask[:-REACH]).mean(axis=1), (mask[:, REACH:] == mask[:, :-REACH]).mean(axis=0)
    everywhere = np.concatenate([down, right]).mean()
    lowest = np.inf
    for rows, cols in lines:
        at = [np.array(where) - REACH // 2 for where in (rows, cols)]
        hits = [line[where[(where >= 0) & (where < len(line))]] for line, where in zip((down, right), at, strict=True)]
        lowest = min(lowest, float(np.concatenate(hits).mean() / everywhere))
    return lowest


def read(folder: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    with rasterio.open(folder / "image.tif") as image, rasterio.open(folder / "mask.tif") as mask:
        return image.read(), mask.read(1)


def picture(folder: Path, target: Path) -> None:
    """Image and mask side by side."""
    from PIL import Image

    image, mask = read(folder)
    with rasterio.open(folder / "mask.tif") as dataset:
        colours = np.array([dataset.colormap(1)[number][:3] for number in range(256)], np.uint8)
    Image.fromarray(np.concatenate([np.moveaxis(image[:3], 0, -1), colours[mask]], axis=1)).save(target)


def compare(model: str, side: int, seeds: int, numbers: list[int], scratch: Path, keep: Path | None) -> None:
    meta = describe(resolve(model))
    tile = meta["spec"]["tile_size"]
    config = json.loads((resolve(model) / "denoiser" / "config.json").read_text())
    multiple = config["patch"] * 2 ** (len(config["widths"]) - 1)
    floors = [Landscape(seed).render(PLACE, PLACE, side, side) for seed in range(seeds)]
    print(
        "| way | sampler, steps | network evaluations a pixel | steps of the image | by chance | changes of class"
        " | by chance | coherence | by chance | CPU s/Mpx |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for way in [way for number, way in enumerate(ways(tile)) if not numbers or number in numbers]:
        lines = borders(side, tile, multiple, way)
        scenes, cpu = [], []
        for seed in range(seeds):
            out = scratch / f"{way.name}-{way.sampler}-{way.steps}-{seed}".replace(" ", "_").replace("/", "-").replace(
                ",", ""
            )
            cpu.append(made(model, side, seed, way, out)["cpu"])
            scenes.append(read(out))
            if keep and seed == 0:
                picture(out, keep / f"{out.name}.png")
        evaluations = 0.0
        for level in range(way.steps):
            shifts = shifts_at(way, level, tile, multiple)
            down, right = (len(Windows.along(side, tile, way.overlap, shift).starts) for shift in shifts)
            evaluations += down * right * tile * tile / side**2
        values = []
        for of in (scenes, floors):
            means = [
                tuple(np.mean([line(part)[axis] for part in parts], axis=0) for axis in (0, 1))
                for line, parts in ((image_steps, [s[0] for s in of]), (class_steps, [s[1] for s in of]))
            ]
            near = float(np.mean([coherence(mask, lines) for _, mask in of]))
            values.append((contrast(means[0], lines), contrast(means[1], lines), near))
        ours, floor = values
        cells = " | ".join(f"{own:.2f} | {chance:.2f}" for own, chance in zip(ours, floor, strict=True))
        cost = min(cpu) / (side**2 / 1e6)
        print(f"| {way.name} | {way.sampler}, {way.steps} | {evaluations:.0f} | {cells} | {cost:.0f} |", flush=True)


def grow(model: str, sizes: list[int], scratch: Path) -> None:
    tile = describe(resolve(model))["spec"]["tile_size"]
    print("\n| side, px | levels | CPU s | CPU s/Mpx a level | MB at start | peak MB |\n|---|---|---|---|---|---|")
    for side in sizes:
        way = Way("", True, tile // 8, "euler", 4)
        found = made(model, side, 0, way, scratch / str(side))
        cost = found["cpu"] / (side**2 / 1e6) / 4
        print(
            f"| {side} | 4 | {found['cpu']:.0f} | {cost:.1f} | {found['before']:.0f} | {found['peak']:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="base")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--ways", type=int, nargs="*", default=[])
    parser.add_argument("--sizes", type=int, nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--make", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        model, side, seed, way, out = given.make
        make(model, int(side), int(seed), Way(**json.loads(way)), out)
        return
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        if given.side:
            compare(given.model, given.side, given.seeds, given.ways, Path(scratch), given.out)
        if given.sizes:
            grow(given.model, given.sizes, Path(scratch))


if __name__ == "__main__":
    main()
