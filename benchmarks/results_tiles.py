"""The real tilesets of results.sh: WORK/dubai/tiles and WORK/buildings/tiles.

    python benchmarks/results_tiles.py DATA WORK [SCENE]

Dubai is learnt at a quarter of its resolution, test by scene: tile6, or SCENE and those that show the same ground. The
buildings are cut from five scenes of four countries at 0.6 m, test by block, with a tile between the splits.
"""

from __future__ import annotations

import sys
from pathlib import Path

import geopandas
from ablation_data import SIDE, dubai_tiles, splits_to_test

from geosynth.events import Events
from geosynth.tiling import TilingPlan, tile_scenes

BUILDINGS = ("banepa_a", "banepa_drone_a", "kampala_a", "philippines_a", "zanzibar_a")


def main() -> None:
    data, work = map(Path, sys.argv[1:3])
    test = sys.argv[3] if len(sys.argv) > 3 else "tile6"
    dubai_tiles(data, work / "dubai", Events(), splits_to_test(test))
    folder = data / "buildings_oam"
    (work / "buildings").mkdir(parents=True, exist_ok=True)
    labels = [_buildings(next(folder.glob(f"{name}_buildings.*")), work / "buildings") for name in BUILDINGS]
    plan = TilingPlan(
        scenes=tuple(folder / f"{name}.tif" for name in BUILDINGS),
        labels=tuple(labels),
        class_field=("class",),
        size=SIDE,
        gsd=0.6,
        outside="background",
        val=0.15,
        test=0.25,
        buffer=SIDE,
    )
    tile_scenes(plan, work / "buildings" / "tiles", Events(), rerun="resume")


def _buildings(source: Path, folder: Path) -> Path:
    """The polygons of a file, all of one class: not every file names it."""
    out = folder / f"{source.stem}.gpkg"
    if not out.exists():
        geopandas.read_file(source)[["geometry"]].assign(**{"class": "building"}).to_file(out)
    return out


if __name__ == "__main__":
    main()
