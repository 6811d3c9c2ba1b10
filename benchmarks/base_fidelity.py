"""How near the pairs of generators of the made-up world come to it, over all of its looks.

    python benchmarks/base_fidelity.py base [MODEL …] --work DIR [--count 400] [--sheet sheet.png]

The reference are tiles of 64 px of scenes the base has not seen, all looks alike; features and agreement are those of a
U-Net trained on them. Rows: real tiles of another place, then each generator. ``--work`` keeps what is done.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from fidelity import table
from sheet import Block, page_of

from geosynth.diffusion.generate import GenerateRequest, generate
from geosynth.evaluation.contact import png, stretch_of
from geosynth.evaluation.yardstick import SampleSizes, Yardstick
from geosynth.events import Events
from geosynth.legend import load_legend
from geosynth.segmentation.segmenter import load_segmenter
from geosynth.segmentation.training import SegmenterPlan, train_segmenter
from geosynth.tileset import Split, Tileset
from geosynth.tiling import TilingPlan, tile_scenes
from geosynth.world import LOOKS, Landscape
from geosynth.world.scene import write_scene

SIDE, SIZE = 64, 1024
SEED = 5000
"""Of the landscapes; the base learnt those from 1000 on, and 9000 on are its held-out ones."""


def world(work: Path) -> Path:
    """A scene to compare with and one, far from it, for the floor, of every look."""
    scenes: list[Path] = []
    assign: list[tuple[str, Split]] = []
    splits: tuple[Split, ...] = ("train", "val")
    for position, look in enumerate(LOOKS):
        landscape = Landscape(SEED + position, look)
        for number, split in enumerate(splits):
            # Each look has ground of its own: tiles in two splits must not lie on each other.
            name, row, col = f"{look}-{split}", position * 2 * SIZE, number * 8 * SIZE
            scenes.append(write_scene(landscape, work / "scenes", name, row, col, SIZE, SIZE))
            assign.append((name, split))
    plan = TilingPlan(
        scenes=tuple(scenes),
        labels=tuple(path.with_name(f"{path.stem}_mask.tif") for path in scenes),
        size=SIDE,
        legend=load_legend("world"),
        assign=tuple(assign),
    )
    tile_scenes(plan, work / "tiles", Events(), rerun="resume")
    return work / "tiles"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="generator folders, or base")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=400, help="pairs of each kind")
    parser.add_argument("--sheet", type=Path, help="PNG to write: real pairs beside those of the first generator")
    given = parser.parse_args()
    torch.set_num_threads(1)
    events, tiles = Events(), world(given.work)
    real = Tileset(tiles)
    train_segmenter(tiles, [], SegmenterPlan(steps=1000), given.work / "segmenter", events, rerun="resume", threads=1)
    segmenter = load_segmenter(given.work / "segmenter", "cpu")
    yardstick = Yardstick(real, segmenter, None, SampleSizes(given.count, given.count), events)
    floor = replace(yardstick.floor, copy_ratio=None)
    rows, blocks = {"real, of another place": floor}, list[Block]()
    for model in given.models:
        name = Path(model).name
        for title, masks in ((name, ()), (f"{name}, images for real masks", (str(tiles),))):
            out = given.work / "made" / title.replace(", ", "-").replace(" ", "-")
            request = GenerateRequest(given.count, seed=1, block=16, masks_from=masks)
            generate(model, request, out, events, rerun="overwrite", device="cpu")
            # What the base learnt is not among these tiles, so how near it comes to them says nothing of copies.
            rows[title] = replace(yardstick.measure(Tileset(out), events), copy_ratio=None, share_nearer=None)
            blocks.append((title, Tileset(out), stretch_of(real)))
    print(table(rows))
    if given.sheet:
        shown: list[Block] = [("the made-up world", real, stretch_of(real)), *blocks[:2]]
        given.sheet.write_bytes(png(page_of(shown, across=3, count=16, cell=64)))


if __name__ == "__main__":
    main()
