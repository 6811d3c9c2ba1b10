"""What the ablations learn from: two small tilesets with labels, and a segmenter trained on each as a yardstick."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from geosynth.events import Events
from geosynth.legend import load_legend
from geosynth.segmentation.training import SegmenterPlan, train_segmenter
from geosynth.tiling import TilingPlan, tile_scenes
from geosynth.world import Landscape
from geosynth.world.scene import write_scene

SIDE = 32
SHRINK = 4
"""Dubai's scenes are learnt this much coarser: tiles of 32 px then show streets and blocks."""
DUBAI = {"tile4": "train", "tile7": "train", "tile8": "train", "tile1": "val", "tile3": "val"}
"""Scenes that show the same ground are in one split; tile6 is nobody's, so that nothing is ever tuned on it."""
GROUPS = (("tile4", "tile7", "tile8"), ("tile1", "tile3"), ("tile6",))
"""Scenes that show the same ground."""


def splits_to_test(scene: str) -> dict[str, str]:
    """The split of every scene where the ground of ``scene`` is what is tested on: of the other groups the larger is
    learnt, the smaller is val. Without a CRS nothing else would notice ground that is in two splits."""
    if not any(scene in group for group in GROUPS):
        raise SystemExit(f"{scene} is no scene of Dubai that can be tested on: give one of {sum(GROUPS, ())}")
    tested = next(group for group in GROUPS if scene in group)
    learnt, held_out = (group for group in GROUPS if group != tested)
    return {name: split for group, split in ((learnt, "train"), (held_out, "val"), (tested, "test")) for name in group}


def world_tiles(work: Path, events: Events) -> Path:
    """The made-up world at 2 m: 2304 tiles to train on and 1024, of another place, to compare with."""
    landscape = Landscape(11, "temperate")
    scenes = [
        write_scene(landscape, work / "scenes", name, 0, col, side, side)
        for name, col, side in (("known", 0, 3072), ("other", 8192, 2048))
    ]
    plan = TilingPlan(
        scenes=tuple(scenes),
        labels=tuple(path.with_name(f"{path.stem}_mask.tif") for path in scenes),
        size=SIDE,
        gsd=2.0,
        legend=load_legend("world"),
        assign=(("known", "train"), ("other", "val")),
    )
    tile_scenes(plan, work / "tiles", events, rerun="resume")
    return work / "tiles"


def dubai_tiles(data: Path, work: Path, events: Events, splits: Mapping[str, str] = DUBAI) -> Path:
    """Dubai at a quarter of its resolution, about 4200 tiles to train on and 500 to compare with."""
    folder = work / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    for name in splits:
        with rasterio.open(data / "landcover_dubai" / f"{name}.tif") as source:
            _write(folder / f"{name}.tif", _mean(source.read()))
        with rasterio.open(data / "landcover_dubai" / f"{name}_mask.tif") as source:
            _write(folder / f"{name}_mask.tif", _majority(source.read(1))[None])
    plan = TilingPlan(
        scenes=tuple(folder / f"{name}.tif" for name in splits),
        labels=tuple(folder / f"{name}_mask.tif" for name in splits),
        size=SIDE,
        legend=load_legend("dubai"),
        ignore=(0,),
        assign=tuple(splits.items()),
    )
    tile_scenes(plan, work / "tiles", events, rerun="resume")
    return work / "tiles"


def yardstick_segmenter(tiles: Path, work: Path, events: Events) -> Path:
    """A U-Net trained on the real training tiles, now or earlier: its features and answers measure what is made."""
    out = work / "segmenter"
    if not (out / "segmenter.json").is_file():
        train_segmenter(tiles, [], SegmenterPlan(steps=1500), out, events, rerun="resume")
    return out


def _mean(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    parts = _blocks(image)
    return np.rint(parts.mean(axis=(2, 4))).astype(np.uint8)


def _majority(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    parts = _blocks(mask[None])[0].transpose(0, 2, 1, 3)
    votes = np.stack([(parts == value).sum(axis=(2, 3)) for value in range(int(mask.max()) + 1)])
    return votes.argmax(axis=0).astype(np.uint8)


def _blocks(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, height, width = (len(array), *(side // SHRINK for side in array.shape[1:]))
    return array[:, : height * SHRINK, : width * SHRINK].reshape(count, height, SHRINK, width, SHRINK)


def _write(path: Path, bands: NDArray[np.uint8]) -> None:
    profile = {"driver": "GTiff", "dtype": "uint8", "count": len(bands), "compress": "deflate"}
    with rasterio.open(path, "w", height=bands.shape[1], width=bands.shape[2], **profile) as target:
        target.write(bands)
