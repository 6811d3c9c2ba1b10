import json
from dataclasses import replace
from pathlib import Path

import pyproj
import pytest
from shapely.geometry import box

from geosynth.errors import ModelError
from geosynth.grid import engineering_crs
from geosynth.lineage import Lineage, Seen, read_lineage
from geosynth.tileset import Tile, Tileset

UTM = "EPSG:32633"


def elsewhere(tiles: tuple[Tile, ...], crs: str) -> list[Tile]:
    """The same ground in another CRS, under another scene name, with other pixels."""
    move = pyproj.Transformer.from_crs(UTM, crs, always_xy=True)
    places = [box(*move.transform_bounds(*tile.geometry.bounds)) for tile in tiles]
    return [
        replace(tile, geometry=place, scene="renamed", image_sha256="other")
        for tile, place in zip(tiles, places, strict=True)
    ]


def test_a_seen_tile_is_found_again_by_content_and_by_place(opened: Tileset) -> None:
    train, test = opened.select("train"), opened.select("test")
    lineage = Lineage.of(train, UTM)
    assert lineage.overlap(test, UTM) == []
    assert lineage.overlap([], UTM) == []
    assert lineage.overlap(train[:3], UTM) == [tile.id for tile in train[:3]]
    assert lineage.overlap(train[:3], "EPSG:32733") == [tile.id for tile in train[:3]]  # the same pixels
    assert lineage.label_keys == lineage.image_keys
    assert len(lineage.seen) == len(train)


def test_a_predicted_mask_is_no_label(opened: Tileset) -> None:
    first, *others = opened.select("train")
    lineage = Lineage.of([first, *(replace(tile, mask_origin="predicted") for tile in others)], UTM)
    assert len(lineage.image_keys) == 1 + len(others)
    assert lineage.label_keys == Lineage.of([first], UTM).label_keys


@pytest.mark.parametrize("crs", [UTM, "EPSG:3857", "EPSG:4326", pyproj.CRS("EPSG:3035").to_wkt()])
def test_neither_another_name_nor_another_crs_hides_the_ground(opened: Tileset, crs: str) -> None:
    lineage = Lineage.of(opened.select("test"), UTM)
    assert lineage.overlap(elsewhere(opened.select("test"), crs), crs) == [tile.id for tile in opened.select("test")]
    first = elsewhere(opened.select("train")[:1], crs)  # at the far end of the scene
    assert lineage.overlap(first, crs) == []


def test_neighbours_touch_and_do_not_overlap(opened: Tileset) -> None:
    tile = opened.tiles[0]
    left, bottom, right, top = tile.geometry.bounds
    lineage = Lineage((Seen("", "scene", UTM, (left, bottom, right, top), True),))
    for shift, found in ((1.0, False), (0.9925, False), (0.95, True)):  # tiles of 32 m
        moved = replace(tile, geometry=box(left + 32 * shift, bottom, right + 32 * shift, top), image_sha256="other")
        assert bool(lineage.overlap([moved], UTM)) == found


def test_many_small_places_cover_a_large_tile(opened: Tileset) -> None:
    tile = replace(opened.tiles[0], geometry=box(500_000, 5_000_000, 500_320, 5_000_320), image_sha256="other")
    places = [(500_000 + 10 * i, 5_000_000, 500_010 + 10 * i, 5_000_010) for i in range(32)]
    assert Lineage((Seen("", "a", UTM, places[0], True),)).overlap([tile], UTM) == []  # a thousandth of it
    assert Lineage(tuple(Seen("", "a", UTM, place, True) for place in places)).overlap([tile], UTM) == [tile.id]


def test_local_planes_need_the_same_scene(opened: Tileset) -> None:
    plane = engineering_crs().to_wkt()
    tile = replace(opened.tiles[0], image_sha256="other")
    for scene, found in (("scene", True), ("another", False)):
        lineage = Lineage((Seen("", scene, plane, tile.geometry.bounds, True),))
        assert bool(lineage.overlap([tile], plane)) == found
        assert lineage.overlap([tile], UTM) == []


def test_places_at_the_antimeridian_and_out_of_reach(opened: Tileset) -> None:
    lineage = Lineage((Seen("", "s", "EPSG:32601", (165_800.0, 0.0, 166_400.0, 600.0), True),))
    west = pyproj.Transformer.from_crs("EPSG:32601", "EPSG:32660", always_xy=True)
    bounds = {"same": west.transform_bounds(165_900, 100, 166_200, 400), "far": (400_000, 0, 400_600, 600)}
    tiles = [replace(opened.tiles[0], id=k, geometry=box(*v), image_sha256=k) for k, v in bounds.items()]
    assert lineage.overlap(tiles, "EPSG:32660") == ["same"]
    beyond = replace(opened.tiles[0], geometry=box(1e12, 1e12, 2e12, 2e12), image_sha256="other")
    assert lineage.overlap([beyond], "EPSG:3857") == []


def test_union_and_round_trip(opened: Tileset, tmp_path: Path) -> None:
    train = opened.select("train")
    both = Lineage.of(train[:4], UTM) | Lineage.of(train[2:6], UTM)
    assert both == Lineage.of(train[:6], UTM)
    (tmp_path / "lineage.json").write_text(json.dumps(both.to_json()))
    assert read_lineage(tmp_path) == both


@pytest.mark.parametrize("text", ['[["key"]]', '[["key", "scene", "EPSG:0", [0, 0, 1, 1], true]]'])
def test_nothing_recorded_and_damaged(tmp_path: Path, text: str) -> None:
    assert read_lineage(tmp_path) == Lineage()
    (tmp_path / "lineage.json").write_text(text)
    with pytest.raises(ModelError, match=r"lineage.json"):
        read_lineage(tmp_path)
