"""Tiling with labels: masks and polygons lie where they belong, and each belongs to its scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from tiling_world import WORLD, plan, scene

from geosynth.errors import GeosynthError, LabelError, OutputError
from geosynth.events import Events
from geosynth.legend import UNKNOWN, load_legend
from geosynth.tileset import Tileset
from geosynth.tiling import TilingPlan, tile_scenes


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
