"""Tiling scenes: what is in the tiles is what is in the scene and its labels, at that place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from tiling_world import WORLD, plan, scene

from geosynth.errors import GeosynthError, SceneError
from geosynth.events import Events
from geosynth.legend import UNKNOWN
from geosynth.tileset import Tileset
from geosynth.tiling import TilingPlan, tile_scenes
from geosynth.world import Landscape


def test_tiles_are_the_scene_at_their_place(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a")
    summary = tile_scenes(plan(paths), tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    assert summary.tiles == len(tileset.tiles) == 36
    assert summary.dropped == {"edge": 49 - 36, "nodata": 0, "split": 0, "empty": 0}
    assert summary.labelled == 36
    assert sum(summary.class_shares.values()) == pytest.approx(1)
    image, mask = Landscape(0).render(0, 0, 200, 200)
    for tile in tileset.tiles:
        row, col = tile.row, tile.col
        assert tile.geometry.bounds == (500_000 + col, 5_000_000 - row - 32, 500_000 + col + 32, 5_000_000 - row)
        read, valid, ids = tileset.read(tile)
        assert valid.all()
        assert (read == image[:, row : row + 32, col : col + 32]).all()
        assert (ids == mask[row : row + 32, col : col + 32]).all()
    with rasterio.open(tmp_path / "out" / tileset.tiles[-1].image) as dataset:
        assert dataset.tags()["GEOSYNTH_SCENE"] == "a"
        assert dataset.tags()["GEOSYNTH_WINDOW"] == "160 160 32 32"
        assert dataset.tags()["GEOSYNTH_SYNTHETIC"] == "none"
    assert tileset.spec.gsd_m == pytest.approx(1, rel=1e-3)
    assert {tile.split for tile in tileset.tiles} == {"train", "val", "test"}


def test_nodata_becomes_unknown_and_pads_the_edges(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", nodata=0)
    with rasterio.open(paths[0], "r+") as dataset:
        image = dataset.read()
        image[:, :40, :] = 0
        image[1, 50, 50] = 0
        dataset.write(image)
    summary = tile_scenes(plan(paths, min_valid=0.15), tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    assert tileset.spec.bands[0].nodata == 0
    assert summary.dropped["nodata"] == 7 + 1, "the empty first row, and the corner with 8 x 8 of 32 x 32 pixels"
    kept = {(tile.row, tile.col): tile for tile in tileset.tiles}
    assert (6 * 32, 0) in kept, "an edge tile with a quarter of its pixels"
    _, valid, ids = tileset.read(kept[32, 6 * 32])
    assert valid.sum() == 24 * 8
    assert ((ids == UNKNOWN) == ~valid).all()
    read, valid, _ = tileset.read(kept[32, 32])
    assert valid[50 - 32, 50 - 32]
    assert read[1, 50 - 32, 50 - 32] == 1


def test_scenes_in_another_crs_come_into_the_first_ones(tmp_path: Path) -> None:
    first = scene(tmp_path, "a", side=100)
    other = scene(tmp_path, "b", side=100)
    shifted = Affine(1, 0, 31_000, 0, -1, 5_013_000)  # the neighbouring zone, same pixels
    for path in other:
        with rasterio.open(path, "r+") as dataset:
            dataset.crs, dataset.transform = "EPSG:32634", shifted
    tile_scenes(plan(first, scenes=(first[0], other[0]), labels=(first[1], other[1])), tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    warped = [tile for tile in tileset.tiles if tile.scene == "b"]
    assert warped
    assert tileset.spec.bands[0].nodata == 0, "a warped scene has corners without data"
    assert all(set(np.unique(tileset.read(tile)[2])) <= {*WORLD.ids, UNKNOWN} for tile in warped)
    labelled = [tile.unknown_fraction - (1 - tile.valid_fraction) for tile in warped]
    assert max(labelled) < 0.05, "labels are warped along with their scene"


def test_scenes_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    first = scene(tmp_path, "a", side=100)
    coarse = scene(tmp_path, "coarse", side=100, transform=Affine(2, 0, 500_000, 0, -2, 5_000_000))
    with pytest.raises(SceneError, match=r"coarse\.tif.*2 x 2.*1 x 1.*--gsd"):
        tile_scenes(plan(first, scenes=(first[0], coarse[0])), tmp_path / "out", Events())
    with rasterio.open(tmp_path / "grey.tif", "w", **rasterio.open(first[0]).profile | {"count": 1}) as dataset:
        dataset.write(np.ones((1, 100, 100), np.uint8))
    with pytest.raises(SceneError, match=r"grey\.tif.*1 of uint8.*3 of uint8"):
        tile_scenes(plan(first, scenes=(first[0], tmp_path / "grey.tif")), tmp_path / "out", Events())
    bare = scene(tmp_path, "bare", side=100, crs=None, transform=Affine.identity())
    with pytest.raises(SceneError, match=r"bare\.tif.*no coordinate system"):
        tile_scenes(plan(first, scenes=(first[0], bare[0])), tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()


def test_scenes_without_a_crs(tmp_path: Path) -> None:
    photo = scene(tmp_path, "photo", side=100, crs=None, transform=Affine.identity())
    mask = Landscape(0).render(0, 0, 100, 100)[1]
    label = tmp_path / "photo_label.png"
    with rasterio.open(label, "w", driver="PNG", height=100, width=100, count=1, dtype="uint8") as dataset:
        dataset.write(mask, 1)
    tile_scenes(plan((photo[0], label)), tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    assert tileset.spec.gsd_m is None
    tile = tileset.tiles[-1]
    assert tile.geometry.bounds == (64, -96, 96, -64)
    assert (tileset.read(tile)[2] == mask[64:96, 64:96]).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"overlap": 32},
        {"size": 0},
        {"val": 0.6, "test": 0.5},
        {"gsd": 0.0},
        {"min_valid": 2.0},
        {"split": "x"},
        {"outside": "x"},
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(GeosynthError):
        tile_scenes(plan(scene(tmp_path, "a", side=64), **changes), tmp_path / "out", Events())


def test_overlapping_tiles(tmp_path: Path) -> None:
    summary = tile_scenes(plan(scene(tmp_path, "a"), overlap=8, val=0, test=0), tmp_path / "out", Events())
    assert summary.tiles == 64
    assert {tile.geometry.bounds[0] for tile in Tileset(tmp_path / "out").tiles} == {500_000 + 24 * i for i in range(8)}


def test_bands_are_picked_by_name_or_number(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=64)
    with rasterio.open(paths[0], "r+") as dataset:
        dataset.descriptions = ("red", "green", "blue")
        image = dataset.read()
    tile_scenes(plan(paths, bands=("BLUE", "1")), tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    assert [band.name for band in tileset.spec.bands] == ["blue", "red"]
    for tile in tileset.tiles:
        read = tileset.read(tile)[0]
        assert (read == image[[2, 0], tile.row : tile.row + 32, tile.col : tile.col + 32]).all()
    with pytest.raises(SceneError, match=r"a.tif: has no band 'nir' — it has: 1 red, 2 green, 3 blue"):
        tile_scenes(plan(paths, bands=("nir",)), tmp_path / "other", Events())
    with pytest.raises(SceneError, match="asked for twice"):
        tile_scenes(plan(paths, bands=("red", "1")), tmp_path / "other", Events())
    assert not (tmp_path / "other").exists()


def test_scenes_go_into_the_crs_asked_for(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=128)
    tile_scenes(plan(paths, crs="EPSG:3857", gsd=1.0), tmp_path / "out", Events())
    spec = Tileset(tmp_path / "out").spec
    assert spec.crs_name == "EPSG:3857"
    assert spec.gsd_m == pytest.approx(1.0, rel=0.01)
    assert spec.pixel_size[0] == pytest.approx(1 / np.cos(np.radians(45.15)), rel=0.01)  # a mercator metre is shorter
    with pytest.raises(GeosynthError, match="--crs EPSG:nonsense is no coordinate system"):
        tile_scenes(plan(paths, crs="EPSG:nonsense"), tmp_path / "other", Events())


def test_scenes_that_do_not_go_together_are_left_out_when_asked_for(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=64)
    coarse = scene(tmp_path, "b", side=64, transform=Affine(300, 0, 500_000, 0, -300, 5_000_000))[0]
    turned = scene(tmp_path, "c", side=64, transform=Affine(1, 1, 500_000, 1, -1, 5_000_000))[0]
    moon = scene(tmp_path, "d", side=64, crs="IAU_2015:30100", transform=Affine(1e-4, 0, 10, 0, -1e-4, 10))[0]
    said: list[str] = []
    events = Events([lambda event: said.append(str(event.get("message")))])
    base = TilingPlan((paths[0], coarse, turned, moon), (paths[1],), size=32, legend=WORLD, gsd=1.0)
    with pytest.raises(SceneError):
        tile_scenes(base, tmp_path / "out", Events())
    tile_scenes(replace(base, skip_unusable=True), tmp_path / "out", events)
    assert {tile.scene for tile in Tileset(tmp_path / "out").tiles} == {"a"}
    assert [Path(line.split(": ")[1]).name for line in said if line.startswith("left out")] == [
        "c.tif",
        "b.tif",
        "d.tif",
    ]


def test_a_scene_given_twice_without_a_place_is_refused(tmp_path: Path) -> None:
    bare = scene(tmp_path, "a", side=64, crs=None, transform=Affine.identity())[0]
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "b.tif").write_bytes(bare.read_bytes())
    with pytest.raises(SceneError, match=r"b.tif: is the same as .*a.tif"):
        tile_scenes(TilingPlan((bare, tmp_path / "copy"), size=32, legend=WORLD), tmp_path / "out", Events())


def test_a_hundredth_of_a_pixel_is_no_column_of_its_own(tmp_path: Path) -> None:
    first = scene(tmp_path, "a", side=96)
    second = scene(tmp_path, "b", side=95, transform=Affine(1, 0, 501_000.005, 0, -1, 5_000_000))
    base = TilingPlan((first[0], second[0]), size=32, crs="EPSG:32633", legend=WORLD)
    tile_scenes(base, tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    for tile in tileset.tiles:
        image, valid, _ = tileset.read(tile)
        assert (image[:, valid] > 0).any(axis=0).all()


def test_bands_with_different_nodata_are_not_warped(tmp_path: Path) -> None:
    files = []
    for number, nodata in enumerate((0, 9999)):
        files.append(tmp_path / f"band{number}.tif")
        with rasterio.open(
            files[-1], "w", driver="GTiff", height=64, width=64, count=1, dtype="uint16", nodata=nodata,
            crs="EPSG:32633", transform=Affine(1, 0, 500_000, 0, -1, 5_000_000),
        ) as dataset:  # fmt: skip
            dataset.write(np.full((1, 64, 64), 1000, np.uint16))
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{n + 1}"><NoDataValue>{nodata}</NoDataValue><SimpleSource>'
        f"<SourceFilename>{file}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for n, (file, nodata) in enumerate(zip(files, (0, 9999), strict=True))
    )
    stack = tmp_path / "stack.vrt"
    stack.write_text(
        '<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>500000,1,0,5000000,0,-1</GeoTransform>{bands}</VRTDataset>"
    )
    tile_scenes(TilingPlan((stack,), size=32, legend=WORLD), tmp_path / "native", Events())
    with pytest.raises(SceneError, match=r"stack.vrt: its bands have different nodata values \(0.0, 9999.0\)"):
        tile_scenes(TilingPlan((stack,), size=32, legend=WORLD, gsd=2.0), tmp_path / "warped", Events())
