"""Tiling: what is in the tiles is what is in the scene and its labels, at that place."""

import hashlib
import os
import signal
from dataclasses import replace
from multiprocessing import active_children
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
from geosynth.lineage import Lineage
from geosynth.scenes.source import SceneReader
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


def test_a_dask_cluster_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr("geosynth.cutting._TILES", 6)
    paths = scene(tmp_path, "a", side=100)
    tile_scenes(plan(paths), tmp_path / "one", Events())
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        tile_scenes(plan(paths), tmp_path / "two", Events(), scheduler=cluster.scheduler_address)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_worker_costs_no_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geosynth.cutting._TILES", 6)
    paths = scene(tmp_path, "a", side=800)
    base = plan(paths, size=16)
    tile_scenes(base, tmp_path / "one", Events())
    said: list[str] = []
    killed: list[int] = []

    def kill_one(event: dict[str, Any]) -> None:
        said.append(str(event.get("message")))
        workers = [child for child in active_children() if child.pid is not None]
        if event["event"] == "progress" and event["done"] > 20 and workers and not killed:
            killed.append(workers[0].pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    tile_scenes(base, tmp_path / "two", Events([kill_one]), workers=2)
    assert killed
    assert [line for line in said if "a worker process died" in line]
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geosynth.cutting._TILES", 6)  # a column of tiles a task
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
    photos = [scene(tmp_path, n, row, **bare)[0] for n, row in (("one", 0), ("two", 500))]  # type: ignore[arg-type]
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


def test_empty_tiles_are_thinned_in_training_only(tmp_path: Path) -> None:
    image = tmp_path / "a.tif"
    with rasterio.open(
        image, "w", driver="GTiff", height=320, width=320, count=1, dtype="uint8", crs="EPSG:32633",
        transform=Affine(1, 0, 500_000, 0, -1, 5_000_000),
    ) as dataset:  # fmt: skip
        dataset.write(np.ones((1, 320, 320), np.uint8))
    house = gpd.GeoDataFrame({"class": ["house"]}, geometry=[shapely.box(500_001, 4_999_900, 500_050, 4_999_990)])
    house.set_crs("EPSG:32633").to_file(tmp_path / "a.gpkg")
    base = TilingPlan((image,), (tmp_path / "a.gpkg",), size=16, outside="background", test=0.3)
    tile_scenes(base, tmp_path / "all", Events())
    summary = tile_scenes(replace(base, empty=0.25), tmp_path / "some", Events())
    full, thin = Tileset(tmp_path / "all").tiles, {tile.id: tile for tile in Tileset(tmp_path / "some").tiles}
    empty = [tile for tile in full if tile.class_fractions[0] == 1]
    training = [tile for tile in empty if tile.split == "train"]
    assert all(tile.id in thin for tile in full if tile not in training)
    share = sum(tile.id in thin for tile in training) / len(training)
    assert 0.15 < share < 0.35
    assert summary.dropped["empty"] == len(full) - len(thin) > 0
    nothing = tile_scenes(replace(base, empty=0.0), tmp_path / "none", Events())
    assert nothing.tiles == len(full) - len(training)
    with pytest.raises(LabelError, match=r"no class is background \(house\)"):
        tile_scenes(replace(base, empty=0.5, outside="unknown"), tmp_path / "other", Events())


@pytest.mark.parametrize("with_train", [False, True])
def test_splits_are_those_of_the_ground_drawn_for_them(tmp_path: Path, with_train: bool) -> None:
    paths = scene(tmp_path, "a", side=320)
    place = (500_000, 5_000_000)
    ground = {
        "val": shapely.box(place[0], place[1] - 320, place[0] + 100, place[1]),
        "test": shapely.box(place[0] + 220, place[1] - 320, place[0] + 320, place[1] - 100),
        "train": shapely.box(place[0] + 110, place[1] - 200, place[0] + 200, place[1]),
    }
    names = [name for name in ground if with_train or name != "train"]
    frame = gpd.GeoDataFrame({"split": names}, geometry=[ground[name] for name in names], crs="EPSG:32633")
    frame.to_crs("EPSG:4326").to_file(tmp_path / "areas.geojson")
    tile_scenes(plan(paths, split=str(tmp_path / "areas.geojson"), buffer=8), tmp_path / "out", Events())
    tiles = Tileset(tmp_path / "out").tiles
    found = {(tile.row, tile.col): tile.split for tile in tiles}
    shapes = {name: shapely.buffer(ground[name], 0.01) for name in names}  # degrees and back
    for row in range(0, 320, 32):
        for col in range(0, 320, 32):
            own = shapely.box(place[0] + col, place[1] - row - 32, place[0] + col + 32, place[1] - row)
            near = {name for name in names if shapely.distance(ground[name], own) < 8}
            holding = {name for name in names if shapely.covers(shapes[name], own)}
            if not with_train and not near:
                holding = {"train"}
            expected = holding.pop() if holding and near <= holding else None
            assert found.get((row, col)) == expected, (row, col)
    assert set(found.values()) == {"train", "val", "test"}


def test_ground_for_splits_that_says_something_else_is_refused(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=64)
    areas = tmp_path / "areas.gpkg"
    frame = gpd.GeoDataFrame({"split": ["validation"]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32633")
    frame.to_file(areas)
    with pytest.raises(LabelError, match=r"areas.gpkg: its attribute 'split' holds validation — write train, val"):
        tile_scenes(plan(paths, split=str(areas)), tmp_path / "out", Events())
    with pytest.raises(GeosynthError, match="--split FILE and --assign"):
        tile_scenes(plan(paths, split=str(areas), assign=(("a", "val"),)), tmp_path / "out", Events())
    with pytest.raises(GeosynthError, match="neither block nor scene nor a file"):
        tile_scenes(plan(paths, split="place"), tmp_path / "out", Events())


def test_scenes_are_added_to_a_tileset(tmp_path: Path) -> None:
    first, out = scene(tmp_path, "a", side=160), tmp_path / "out"
    tile_scenes(plan(first), out, Events())
    before = {tile.id: tile for tile in Tileset(out).tiles}
    identity = Tileset(out).spec.id
    second = scene(tmp_path, "b", col=96, side=160)  # 64 columns of the first scene's ground, too
    addition = plan(second, size=None, legend=None)
    summary = tile_scenes(addition, out, Events(), append=True)
    tileset = Tileset(out)
    after = {tile.id: tile for tile in tileset.tiles}
    assert {id_: after[id_] for id_ in before} == before
    assert tileset.spec.id == identity
    new = [tile for id_, tile in after.items() if id_ not in before]
    assert {tile.scene for tile in new} == {"b"}
    assert summary.tiles == len(after)
    inside = 1e-6
    for tile in new:
        for old in before.values():
            if tile.split != old.split:
                assert not tile.geometry.buffer(-inside).intersects(old.geometry)
    assert summary.dropped["split"] > 0
    image = Landscape(0).render(0, 96, 160, 160)[0]
    tile = new[-1]
    assert (tileset.read(tile)[0] == image[:, tile.row : tile.row + 32, tile.col : tile.col + 32]).all()
    counts = sum(tile.valid_fraction for tile in after.values() if tile.split == "train")
    assert counts > sum(tile.valid_fraction for tile in before.values() if tile.split == "train")
    again = tile_scenes(addition, out, Events(), append=True)
    assert again.nothing_to_do
    with pytest.raises(SceneError, match="holds this very scene already, as b"):
        tile_scenes(replace(addition, seed=7), out, Events(), append=True)


def test_an_interrupted_addition_leaves_the_tileset_as_it_was_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geosynth.cutting._TILES", 2)
    first, second, third = (scene(tmp_path, name, col=200 * n, side=100) for n, name in enumerate("abc"))
    out, whole = tmp_path / "out", tmp_path / "whole"
    for folder in (out, whole):
        tile_scenes(plan(first), folder, Events())
    index = (out / "index.parquet").read_bytes()
    asked = iter(range(100))
    stop = Events(stop=[lambda: "enough" if next(asked) > 2 else None])
    with pytest.raises(Cancelled):
        tile_scenes(plan(second), out, stop, append=True)
    assert (out / "index.parquet").read_bytes() == index
    with pytest.raises(OutputError, match="unfinished run"):
        tile_scenes(plan(third), out, Events(), append=True)
    with pytest.raises(OutputError, match="unfinished run of this command"):
        tile_scenes(plan(second), out, Events(), append=True)
    tile_scenes(plan(second), out, Events(), append=True, rerun="resume")
    tile_scenes(plan(second), whole, Events(), append=True, workers=2)
    assert hashes(out) == hashes(whole)
    tile_scenes(plan(third), out, Events(), append=True)
    assert {tile.scene for tile in Tileset(out).tiles} == {"a", "b", "c"}


def test_what_does_not_go_with_a_tileset_is_not_added(tmp_path: Path) -> None:
    paths, out = scene(tmp_path, "a", side=100), tmp_path / "out"
    with pytest.raises(TilesetError, match="out"):
        tile_scenes(plan(paths), out, Events(), append=True)
    tile_scenes(plan(paths), out, Events())
    before = hashes(out)
    (tmp_path / "x").mkdir()
    refusals: list[tuple[tuple[Path, Path], dict[str, Any], str]] = [
        (scene(tmp_path / "x", "a", col=300, side=100), {}, "has a scene called a"),
        (scene(tmp_path, "b", col=300, side=100), {"size": 64}, "has tiles of 32 pixels, not 64"),
        (scene(tmp_path, "c", col=300, side=100), {"legend": load_legend("dubai")}, "other classes than --legend"),
        (scene(tmp_path, "d", col=300, side=100), {"gsd": 2.0}, "not 2 m"),
        (scene(tmp_path, "e", col=300, side=100, nodata=0), {}, "the tileset has no value for them"),
        (scene(tmp_path, "f", col=300, side=100), {"crs": "EPSG:3857"}, "has a CRS already"),
    ]
    for files, changes, message in refusals:
        with pytest.raises(GeosynthError, match=message):
            tile_scenes(plan(files, **changes), out, Events(), append=True)
    assert hashes(out) == before


def test_large_scenes_are_cut_in_pieces_of_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = scene(tmp_path, "a", side=200)
    tile_scenes(plan(paths, overlap=8), tmp_path / "whole", Events())
    seen: list[int] = []
    read = SceneReader.read

    def counting(self: SceneReader, row: int, col: int, height: int, width: int) -> Any:
        seen.append(height * width)
        return read(self, row, col, height, width)

    monkeypatch.setattr(SceneReader, "read", counting)
    monkeypatch.setattr("geosynth.cutting._BYTES", 200 * 100 * 5)
    monkeypatch.setattr("geosynth.cutting._HEIGHT", 64)
    tile_scenes(plan(paths, overlap=8), tmp_path / "parts", Events())
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "parts")
    assert len(seen) > 4
    assert max(seen) <= 200 * 110


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_loveda_as_it_is_downloaded(tmp_path: Path) -> None:
    random, masks = np.random.default_rng(0), {}
    for part, area, number in (("Train", "Rural", 2), ("Train", "Urban", 7), ("Val", "Rural", 2), ("Test", "Urban", 9)):
        bands = {"images_png": random.integers(0, 256, (3, 32, 32), dtype=np.uint8)}
        if part != "Test":
            bands["masks_png"] = masks[f"{part}_{area}_{number}"] = random.integers(0, 8, (1, 32, 32), dtype=np.uint8)
        for kind, values in bands.items():
            file = tmp_path / "LoveDA" / part / area / kind / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(
                file, "w", driver="PNG", count=len(values), height=32, width=32, dtype="uint8"
            ) as dataset:
                dataset.write(values)
    base = TilingPlan((tmp_path / "LoveDA",), layout="loveda", size=16)
    tile_scenes(base, tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    assert tileset.spec.legend == load_legend("loveda")
    assert tileset.spec.gsd_m == 0.3
    assert {(tile.scene, tile.split, tile.labelled) for tile in tileset.tiles} == {
        ("Train_Rural_2", "train", True), ("Train_Urban_7", "train", True), ("Val_Rural_2", "val", True),
        ("Test_Urban_9", "test", False),
    }  # fmt: skip
    for tile in tileset.tiles:
        if tile.split != "test":
            mask = masks[tile.scene][0, tile.row : tile.row + 16, tile.col : tile.col + 16]
            assert (tileset.read(tile)[2] == np.where(mask == 0, UNKNOWN, mask)).all()
    with pytest.raises(GeosynthError, match="takes one folder"):
        tile_scenes(replace(base, labels=(tmp_path,)), tmp_path / "other", Events())


def test_lines_and_layers_in_the_order_of_giving(tmp_path: Path) -> None:
    image = scene(tmp_path, "a", side=64)[0]
    left, top = 500_000, 5_000_000
    house = gpd.GeoDataFrame(geometry=[shapely.box(left + 10, top - 50, left + 40, top - 20)], crs="EPSG:32633")
    street = gpd.GeoDataFrame(geometry=[shapely.LineString([(left - 20, top - 35), (left + 90, top - 35)])])
    house.to_file(tmp_path / "map.gpkg", layer="building")
    street.set_crs("EPSG:32633").to_file(tmp_path / "map.gpkg", layer="road")
    layers = [f"{tmp_path}/map.gpkg|layername={name}" for name in ("building", "road")]
    base = TilingPlan((image,), tuple(layers), size=64, legend=WORLD, outside="unknown", line_width=6.0)
    expected = np.full((64, 64), UNKNOWN)
    expected[20:50, 10:40] = 1
    road = np.s_[32:38, :]
    for labels, over in ((layers, True), (layers[::-1], False)):
        out = tmp_path / f"out{over}"
        tile_scenes(replace(base, labels=tuple(labels)), out, Events())
        tileset = Tileset(out)
        drawn = expected.copy()
        drawn[road] = 2 if over else np.where(expected[road] == 1, 1, 2)
        assert (tileset.read(tileset.tiles[0])[2] == drawn).all()
    with pytest.raises(LabelError, match="--line-width"):
        tile_scenes(replace(base, line_width=None), tmp_path / "other", Events())


def test_layers_of_one_file_without_an_attribute_are_classes_of_their_own(tmp_path: Path) -> None:
    image = scene(tmp_path, "a", side=64)[0]
    left, top = 500_000, 5_000_000
    for name, x in (("houses", 5), ("ponds", 35)):
        square = gpd.GeoDataFrame(geometry=[shapely.box(left + x, top - 30, left + x + 20, top - 10)], crs="EPSG:32633")
        square.to_file(tmp_path / "osm.gpkg", layer=name)
    tile_scenes(TilingPlan((image,), (tmp_path / "osm.gpkg",), size=64, outside="background"), tmp_path / "o", Events())
    tileset = Tileset(tmp_path / "o")
    assert tileset.spec.legend.names == ("background", "houses", "ponds")
    mask = tileset.read(tileset.tiles[0])[2]
    assert (mask[10:30, 5:25] == tileset.spec.legend.named("houses").id).all()
    assert (mask[10:30, 35:55] == tileset.spec.legend.named("ponds").id).all()


def test_ground_drawn_around_a_scene_holds_its_outermost_tiles_when_it_is_warped(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=256)
    ground = shapely.box(500_000, 5_000_000 - 256, 500_256, 5_000_000)
    gpd.GeoDataFrame({"split": ["train"]}, geometry=[ground], crs="EPSG:32633").to_file(tmp_path / "areas.gpkg")
    base = plan(paths, gsd=1.37, split=str(tmp_path / "areas.gpkg"), min_valid=0.9)
    summary = tile_scenes(base, tmp_path / "out", Events())
    tiles = Tileset(tmp_path / "out").tiles
    assert {tile.row for tile in tiles} == {tile.col for tile in tiles} == set(range(0, 160, 32))
    assert summary.by_split["train"] == 25


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


def test_labels_of_other_scenes_in_the_folder_are_left_out(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=64)
    (tmp_path / "labels").mkdir()
    paths[1].rename(tmp_path / "labels" / "a_mask.tif")
    scene(tmp_path / "labels", "b", col=900, side=64)[0].unlink()
    said: list[str] = []
    events = Events([lambda event: said.append(str(event.get("message")))])
    summary = tile_scenes(plan((paths[0], tmp_path / "labels")), tmp_path / "out", events)
    assert summary.labelled == summary.tiles == 4
    assert [line for line in said if "1 of the labels belong to none of the scenes" in line]
    with pytest.raises(LabelError, match=r"b_mask.tif: lies elsewhere"):
        tile_scenes(plan((paths[0], tmp_path / "labels" / "b_mask.tif")), tmp_path / "other", Events())


def test_scenes_given_by_name_are_scenes_though_their_folder_holds_the_labels(tmp_path: Path) -> None:
    for name in "ab":
        scene(tmp_path, name, col=100 * (name == "b"), side=64)
    names = tuple(tmp_path / f"{name}.tif" for name in "ab")
    summary = tile_scenes(TilingPlan(names, (tmp_path,), size=32, legend=WORLD), tmp_path / "out", Events())
    assert summary.labelled == summary.tiles == 8


def test_a_split_without_labels_is_said(tmp_path: Path) -> None:
    labelled, bare = scene(tmp_path, "a", side=64), scene(tmp_path, "b", col=100, side=64)
    said: list[str] = []
    events = Events([lambda event: said.append(str(event.get("message")))])
    base = TilingPlan((labelled[0], bare[0]), (labelled[1],), size=32, legend=WORLD, split="scene", val=0.0)
    summary = tile_scenes(replace(base, assign=(("a", "train"), ("b", "test"))), tmp_path / "out", events)
    assert summary.labelled_by_split == {"train": 4, "val": 0, "test": 0}
    assert [line for line in said if "no tile in split test has labels" in line]


def test_a_mask_smaller_than_its_scene_is_unknown_beyond(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=200)
    for side in (190, 100, 30):
        small = tmp_path / f"small{side}.tif"
        with rasterio.open(paths[1]) as dataset:
            mask, profile = dataset.read(1)[:side, :side], dataset.profile
        with rasterio.open(small, "w", **profile | {"height": side, "width": side}) as dataset:
            dataset.write(mask, 1)
        tile_scenes(plan((paths[0], small)), tmp_path / f"out{side}", Events())
        whole = np.full((200, 200), UNKNOWN)
        whole[:side, :side] = mask
        tileset = Tileset(tmp_path / f"out{side}")
        for tile in tileset.tiles:
            ids = tileset.read(tile)[2]
            assert (ids == whole[tile.row : tile.row + 32, tile.col : tile.col + 32]).all()


def test_a_journal_with_holes_is_not_added_to(tmp_path: Path) -> None:
    first, second = (scene(tmp_path, name, col=200 * n, side=64) for n, name in enumerate("ab"))
    out = tmp_path / "out"
    tile_scenes(plan(first), out, Events())
    before = hashes(out)
    for record in (out / ".geosynth" / "journal").glob("a_*.json"):
        record.unlink()
    with pytest.raises(TilesetError, match="its journal lacks some of its tiles"):
        tile_scenes(plan(second), out, Events(), append=True)
    assert hashes(out) == before


@pytest.mark.parametrize("seed", range(6))
def test_padded_tiles_of_one_scene_are_not_tested_on_another_s_ground(tmp_path: Path, seed: int) -> None:
    for name, col in (("a", 0), ("b", 120)):
        scene(tmp_path, name, col=col, side=120, nodata=0)
    base = TilingPlan((tmp_path / "a.tif", tmp_path / "b.tif"), size=32, block=1, seed=seed, legend=WORLD, min_valid=0)
    tile_scenes(base, tmp_path / "out", Events())
    tileset = Tileset(tmp_path / "out")
    seen = Lineage.of(tileset.select("train"), tileset.spec.crs_name)
    assert seen.overlap(tileset.select("test"), tileset.spec.crs_name) == []


def test_scenes_with_a_place_but_no_crs_are_kept_apart_by_place(tmp_path: Path) -> None:
    for name, col in (("a", 0), ("b", 96)):
        scene(tmp_path, name, col=col, side=160, crs=None)
    names = (tmp_path / "a.tif", tmp_path / "b.tif")
    tile_scenes(TilingPlan(names, size=32, block=1, legend=WORLD), tmp_path / "out", Events())
    tiles = Tileset(tmp_path / "out").tiles
    assert {tile.scene for tile in tiles} == {"a", "b"}
    for one in tiles:
        for other in tiles:
            if {one.split, other.split} == {"train", "test"}:
                assert one.geometry.intersection(other.geometry).area == 0


def test_a_scene_given_twice_without_a_place_is_refused(tmp_path: Path) -> None:
    bare = scene(tmp_path, "a", side=64, crs=None, transform=Affine.identity())[0]
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "b.tif").write_bytes(bare.read_bytes())
    with pytest.raises(SceneError, match=r"b.tif: is the same as .*a.tif"):
        tile_scenes(TilingPlan((bare, tmp_path / "copy"), size=32, legend=WORLD), tmp_path / "out", Events())


def test_a_buffer_that_leaves_nothing_deletes_nothing(tmp_path: Path) -> None:
    paths, out = scene(tmp_path, "a", side=128), tmp_path / "out"
    tile_scenes(plan(paths), out, Events())
    before = hashes(out)
    with pytest.raises(TilesetError, match="no tile was kept"):
        tile_scenes(plan(paths, buffer=1000), out, Events(), rerun="overwrite")
    assert hashes(out) == before


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


def test_which_labels_are_whose_is_part_of_the_request(tmp_path: Path) -> None:
    for folder in "XY":
        (tmp_path / folder / "lab").mkdir(parents=True)
        scene(tmp_path / folder, "a", col=0 if folder == "X" else 40, side=64)[1].unlink()
    house = gpd.GeoDataFrame({"class": ["road"]}, geometry=[shapely.box(500_000, 4_999_900, 500_200, 5_000_000)])
    label = tmp_path / "X" / "lab" / "a.gpkg"
    house.set_crs("EPSG:32633").to_file(label)
    scenes = (tmp_path / "X" / "a.tif", tmp_path / "Y" / "a.tif")
    base = TilingPlan(scenes, (label,), size=32, legend=WORLD, outside="unknown", val=0.0, test=0.0)
    assert tile_scenes(base, tmp_path / "out", Events()).labelled == 4
    (tmp_path / "Z").mkdir()
    moved = label.rename(tmp_path / "Z" / "a.gpkg")
    with pytest.raises(OutputError, match="different matched"):
        tile_scenes(replace(base, labels=(moved,)), tmp_path / "out", Events())


def test_an_addition_takes_the_tile_size_that_is_there(tmp_path: Path) -> None:
    first, second = (scene(tmp_path, name, col=200 * n, side=64) for n, name in enumerate("ab"))
    tile_scenes(plan(first), tmp_path / "out", Events())
    with pytest.raises(GeosynthError, match="--overlap 32 is not between 0 and the tile size"):
        tile_scenes(plan(second, size=None, overlap=32), tmp_path / "out", Events(), append=True)
    tile_scenes(plan(second, size=None), tmp_path / "out", Events(), append=True)
    assert tile_scenes(plan(second, size=32), tmp_path / "out", Events(), append=True).nothing_to_do


def test_labels_called_like_nothing_are_everybody_s(tmp_path: Path) -> None:
    scene(tmp_path, "rgb", side=64)[1].unlink()
    scene(tmp_path, "north", col=64, side=64)[1].unlink()
    roads = gpd.GeoDataFrame({"class": ["road"]}, geometry=[shapely.box(500_000, 4_999_936, 500_128, 5_000_000)])
    roads.set_crs("EPSG:32633").to_file(tmp_path / "labels.gpkg")
    base = TilingPlan(
        (tmp_path / "rgb.tif", tmp_path / "north.tif"), (tmp_path / "labels.gpkg",), size=32, legend=WORLD
    )
    summary = tile_scenes(replace(base, outside="unknown"), tmp_path / "out", Events())
    assert summary.labelled == summary.tiles == 8
