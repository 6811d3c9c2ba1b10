"""Tiling: what is in the tiles is what is in the scene and its labels, at that place."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio import Affine

from geosynth.errors import Cancelled, GeosynthError, LabelError, OutputError, SceneError, TilesetError
from geosynth.events import Events
from geosynth.legend import UNKNOWN, load_legend
from geosynth.tileset import Tileset
from geosynth.tiling import TilingPlan, tile_scenes
from geosynth.world import Landscape

WORLD = load_legend("world")


def scene(folder: Path, name: str, row: int = 0, col: int = 0, side: int = 200, **profile: Any) -> tuple[Path, Path]:
    """A made-up scene and its mask, 1 m pixels, at its place in the world."""
    image, mask = Landscape(0).render(row, col, side, side)
    place = {"crs": "EPSG:32633", "transform": Affine(1, 0, 500_000 + col, 0, -1, 5_000_000 - row)}
    paths = folder / f"{name}.tif", folder / f"{name}_mask.tif"
    for path, bands in zip(paths, (image, mask[None]), strict=True):
        extra = profile if path == paths[0] else {}
        with rasterio.open(
            path, "w", driver="GTiff", height=side, width=side, count=len(bands), dtype="uint8", **place | extra
        ) as dataset:
            dataset.write(bands)
    return paths


def plan(paths: tuple[Path, Path], **changes: Any) -> TilingPlan:
    return replace(TilingPlan((paths[0],), (paths[1],), size=32, legend=WORLD), **changes)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".geosynth" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_tiles_are_the_scene_at_their_place(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a")
    summary = tile_scenes(plan(paths), tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    assert summary.tiles == len(tileset.tiles) == 36
    assert summary.dropped == {"edge": 49 - 36, "nodata": 0, "split": 0}
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


def test_an_empty_split_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    events = Events([lambda event: said.append(str(event.get("message")))])
    tile_scenes(plan(scene(tmp_path, "a", side=32)), tmp_path / "out", events)
    assert [line for line in said if "split val" in line]
    assert [line for line in said if "split test" in line]
    assert not [line for line in said if "split train" in line]


def test_blocks_of_tiles_go_into_one_split(tmp_path: Path) -> None:
    tile_scenes(plan(scene(tmp_path, "a"), size=16, block=2), tmp_path / "out", Events())
    blocks: dict[tuple[int, int], set[str]] = {}
    for tile in Tileset(tmp_path / "out").tiles:
        blocks.setdefault((tile.row // 32, tile.col // 32), set()).add(tile.split)
    assert len(blocks) == 36
    assert all(len(splits) == 1 for splits in blocks.values())


def test_the_same_request_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=100)
    tile_scenes(plan(paths), tmp_path / "one", Events())
    tile_scenes(plan(paths), tmp_path / "two", Events(), workers=2)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    again = tile_scenes(plan(paths), tmp_path / "one", Events())
    assert again.nothing_to_do
    assert again.tiles == 9
    with pytest.raises(OutputError, match="different seed"):
        tile_scenes(plan(paths, seed=1), tmp_path / "one", Events())


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a")
    asked = iter(range(100))
    stop = Events(stop=[lambda: "enough" if next(asked) > 2 else None])
    with pytest.raises(Cancelled):
        tile_scenes(plan(paths), tmp_path / "out", stop)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").iterdir()}
    assert 0 < len(written) < 36
    tile_scenes(plan(paths), tmp_path / "out", Events(), rerun="resume")
    assert all(path.stat().st_mtime_ns == before for path, before in written.items())
    tile_scenes(plan(paths), tmp_path / "whole", Events())
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")


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


def test_polygons_with_a_gsd(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a")
    houses = [
        shapely.box(x, y, x + 13, y + 9) for x in range(500_005, 500_180, 40) for y in range(4_999_810, 4_999_990, 30)
    ]
    frame = gpd.GeoDataFrame({"class": ["house"] * len(houses)}, geometry=houses, crs=32633)
    frame.to_crs(4326).to_file(tmp_path / "houses.gpkg")
    with pytest.raises(LabelError, match="--outside"):
        tile_scenes(TilingPlan((paths[0],), (tmp_path / "houses.gpkg",), size=16), tmp_path / "out", Events())
    assert not (tmp_path / "out").exists(), "nothing is touched before everything is checked"
    asked = TilingPlan((paths[0],), (tmp_path / "houses.gpkg",), size=16, gsd=2.0, outside="background")
    tile_scenes(asked, tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    assert tileset.spec.legend.names == ("background", "house")
    assert tileset.spec.gsd_m == pytest.approx(2.0, rel=1e-4)
    union = shapely.union_all(houses)
    for tile in tileset.tiles:
        _, valid, ids = tileset.read(tile)
        place = tileset.grid(tile).transform
        rows, cols = np.mgrid[:16, :16] + 0.5
        inside = shapely.contains(union, shapely.points(place.c + cols * place.a, place.f + rows * place.e))
        assert (ids == np.where(valid, inside, UNKNOWN)).all()


def test_scenes_without_labels_are_unknown(tmp_path: Path) -> None:
    first, other = scene(tmp_path, "a", side=100), scene(tmp_path, "b", row=1000, side=100)
    tile_scenes(plan(first, scenes=(first[0], other[0])), tmp_path / "out", Events())
    by_scene = {tile.scene: tile for tile in Tileset(tmp_path / "out").tiles}
    assert by_scene["a"].mask_origin == "human"
    assert by_scene["b"].mask_origin == "none"
    assert by_scene["b"].unknown_fraction == 1
    with pytest.raises(LabelError, match="no labels and no legend"):
        tile_scenes(plan(first, labels=(), legend=None), tmp_path / "other", Events())


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


def test_scenes_without_a_crs_do_not_lie_on_each_other(tmp_path: Path) -> None:
    bare = {"side": 128, "crs": None, "transform": Affine.identity()}
    photos = [scene(tmp_path, name, **bare)[0] for name in ("one", "two")]  # type: ignore[arg-type]
    asked = TilingPlan(tuple(photos), size=32, legend=WORLD, buffer=0, assign=(("one", "test"), ("two", "train")))
    summary = tile_scenes(asked, tmp_path / "out", Events())
    assert summary.dropped["split"] == 0
    tiles = Tileset(tmp_path / "out").tiles
    assert {tile.id.split("_")[0] for tile in tiles} == {tile.scene for tile in tiles} == {"one", "two"}
    assert {(tile.scene, tile.split) for tile in tiles} == {("one", "test"), ("two", "train")}
    assert len(tiles) == len({tile.id for tile in tiles}) == 32


def test_nothing_to_keep_is_an_error(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=30)
    with pytest.raises(TilesetError, match="no scene holds a whole tile of 32 pixels"):
        tile_scenes(plan(paths), tmp_path / "out", Events())
    empty = scene(tmp_path, "b", side=64, nodata=0)
    with rasterio.open(empty[0], "r+") as dataset:
        dataset.write(np.zeros((3, 64, 64), np.uint8))
    with pytest.raises(TilesetError, match=r"b\.tif: no tile was kept \(4 nodata\)"):
        tile_scenes(plan(empty), tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()
    good = scene(tmp_path, "c", side=64)
    tile_scenes(plan(good), tmp_path / "out", Events())
    before = hashes(tmp_path / "out")
    with pytest.raises(TilesetError, match="no tile was kept"):
        tile_scenes(plan(empty), tmp_path / "out", Events(), rerun="overwrite")
    assert hashes(tmp_path / "out") == before


def test_a_run_that_keeps_nothing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which tiles are kept is estimated before: should all of them turn out otherwise, the folder goes."""
    empty = scene(tmp_path, "b", side=64, nodata=0)
    with rasterio.open(empty[0], "r+") as dataset:
        dataset.write(np.zeros((3, 64, 64), np.uint8))
    monkeypatch.setattr("geosynth.tiling.kept_tiles", lambda *_: np.ones((2, 2), bool))
    with pytest.raises(TilesetError, match="no tile was kept"):
        tile_scenes(plan(empty), tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()


def test_small_scenes_get_small_blocks_and_the_shares_asked_for(tmp_path: Path) -> None:
    said: list[str] = []
    events = Events([lambda event: said.append(str(event.get("message")))])
    summary = tile_scenes(plan(scene(tmp_path, "a"), block=4), tmp_path / "out", events)
    assert summary.by_split == {"train": 26, "val": 5, "test": 5}
    assert "blocks of 1 x 1 tiles instead of 4 x 4: there are few tiles" in said


def test_a_scene_that_moved_is_another_request(tmp_path: Path) -> None:
    image, label = scene(tmp_path, "a", side=64, crs=None, transform=None)
    label.unlink()
    place = tmp_path / "a.tfw"
    asked = TilingPlan((image,), size=32, legend=WORLD)
    for left in (10, 20):
        place.write_text(f"1\n0\n0\n-1\n{left}\n5\n")
        if left == 10:
            tile_scenes(asked, tmp_path / "out", Events())
    with pytest.raises(OutputError, match="different scenes"):
        tile_scenes(asked, tmp_path / "out", Events())


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
