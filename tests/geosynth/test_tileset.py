import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from conftest import SIDE, world_tiles
from rasterio.crs import CRS

from geosynth.errors import TilesetError
from geosynth.folders import file_hash
from geosynth.rasters import Band, valid_pixels
from geosynth.tileset import COLUMNS, Tileset, TileSpec, crs_name
from geosynth.world import Landscape


def test_a_pair_comes_back_as_it_was_written(opened: Tileset) -> None:
    tile = next(tile for tile in opened.tiles if tile.id == "scene_r00002_c00003")
    image, valid, mask = opened.read(tile)
    truth, classes = Landscape(0).render(2 * SIDE, 3 * SIDE, SIDE, SIDE)
    assert np.array_equal(image, truth)
    assert np.array_equal(mask, classes)
    assert valid.all()
    assert tile.geometry.bounds == (500_000 + 3 * SIDE, 5_000_000 - 3 * SIDE, 500_000 + 4 * SIDE, 5_000_000 - 2 * SIDE)
    assert tile.image_sha256 == file_hash(opened.path / tile.image)
    shares = [float((classes == id_).mean()) for id_ in opened.spec.legend.ids]
    assert tile.class_fractions == pytest.approx(shares)


def test_rows_are_sorted_and_complete(opened: Tileset) -> None:
    assert [tile.id for tile in opened.tiles] == sorted(tile.id for tile in opened.tiles)
    assert len(opened.select("train")) == 16
    assert len(opened.select("val")) == len(opened.select("test")) == 4
    assert opened.select(labelled=False) == ()


def test_statistics_are_those_of_the_training_tiles(opened: Tileset) -> None:
    images = [opened.read(tile)[0].astype(float) for tile in opened.select("train")]
    for band, statistics in enumerate(opened.statistics):
        values = np.stack(images)[:, band]
        expected = (values.mean(), values.std(), values.min(), values.max())
        assert (statistics.mean, statistics.std, statistics.min, statistics.max) == pytest.approx(expected)


def test_the_same_request_gives_the_same_bytes(shared_world_tileset: Path, tmp_path: Path) -> None:
    again = world_tiles(tmp_path / "again")
    for path in sorted(shared_world_tileset.rglob("*")):
        name = path.relative_to(shared_world_tileset)
        if path.is_file() and not name.is_relative_to(".geosynth/log"):
            assert file_hash(path) == file_hash(again / name), name


def test_the_geopackage_is_a_view_of_the_index(opened: Tileset) -> None:
    view = pyogrio.read_dataframe(opened.path / "index.gpkg")
    assert set(view.columns) == set(COLUMNS)
    assert view["id"].tolist() == [tile.id for tile in opened.tiles]
    assert view.crs.to_epsg() == 32633
    assert json.loads(view["class_fractions"][0]) == pytest.approx(list(opened.tiles[0].class_fractions))


def test_the_mosaics_show_the_tiles_in_place(opened: Tileset) -> None:
    image, mask = Landscape(0).render(0, 0, 4 * SIDE, 6 * SIDE)
    with rasterio.open(opened.path / "images.vrt") as dataset:
        assert np.array_equal(dataset.read(), image)
    with rasterio.open(opened.path / "masks.vrt") as dataset:
        assert np.array_equal(dataset.read(1), mask)
        assert dataset.colormap(1)[1][:3] == opened.spec.legend.classes[0].rgb


def test_masks_carry_palette_and_nodata(opened: Tileset) -> None:
    with rasterio.open(opened.path / opened.tiles[0].mask) as dataset:
        assert dataset.nodata == 255
        assert dataset.colormap(1)[3][:3] == opened.spec.legend.named("water").rgb


def test_the_specification_survives_json() -> None:
    spec = TileSpec.from_json(
        {
            "id": "a",
            "bands": [{"name": "vv", "dtype": "float32", "nodata": "nan"}],
            "legend": [{"id": 3, "name": "x", "color": "#000000"}],
            "crs": "EPSG:32633",
            "pixel_size": [10, 10],
            "gsd_m": None,
            "tile_size": 64,
        }
    )
    assert np.isnan(spec.bands[0].nodata or 0)
    assert TileSpec.from_json(json.loads(json.dumps(spec.to_json()))).to_json() == spec.to_json()
    assert Band.from_json(Band("b", "uint8", 0).to_json()) == Band("b", "uint8", 0.0)


DHDN = CRS.from_epsg(31467).to_wkt()
SHIFT = "TOWGS84[598.1,73.7,418.2,0.202,0.045,-2.455,6.7]"


@pytest.mark.parametrize(
    "crs",
    [
        CRS.from_string("+proj=utm +zone=33 +ellps=WGS84 +towgs84=10,20,30 +units=m"),
        CRS.from_wkt(DHDN.replace('AUTHORITY["EPSG","6314"]]', f'{SHIFT},AUTHORITY["EPSG","6314"]]', 1)),
    ],
)
def test_a_datum_shift_is_not_lost_in_a_code(crs: CRS) -> None:
    assert crs.to_epsg() and "TOWGS84" in crs.to_wkt()
    assert CRS.from_user_input(crs_name(crs)).to_wkt() == crs.to_wkt()
    assert crs_name(CRS.from_wkt(DHDN)) == "EPSG:31467"


def test_folders_that_are_no_tilesets_say_so(tmp_path: Path, generator: Path) -> None:
    with pytest.raises(TilesetError, match="no such folder"):
        Tileset(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(TilesetError, match="is a file"):
        Tileset(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TilesetError, match=r"not a tileset.*geosynth tile"):
        Tileset(tmp_path / "empty")
    with pytest.raises(TilesetError, match="is a generator, not a tileset"):
        Tileset(generator)
    (tmp_path / "partial" / ".geosynth").mkdir(parents=True)
    with pytest.raises(TilesetError, match=r"unfinished.*--resume"):
        Tileset(tmp_path / "partial")


def test_damage_is_named(world_tileset: Path) -> None:
    tile = Tileset(world_tileset).tiles[0]
    image = world_tileset / tile.image
    content = bytearray(image.read_bytes())
    content[-20] ^= 1  # damage that GDAL may decode without a word
    image.write_bytes(content)
    with pytest.raises(TilesetError, match=f"{tile.id}.*damaged"):
        Tileset(world_tileset).read(tile)
    image.unlink()
    with pytest.raises(TilesetError, match=tile.id):
        Tileset(world_tileset).read(tile)
    (world_tileset / "index.parquet").write_bytes(b"PAR1")
    with pytest.raises(TilesetError, match=r"index.parquet"):
        _ = Tileset(world_tileset).tiles
    meta = json.loads((world_tileset / "tileset.json").read_text())
    (world_tileset / "tileset.json").write_text(json.dumps(meta | {"format": 99}))
    with pytest.raises(TilesetError, match="format 99"):
        Tileset(world_tileset)
    (world_tileset / "tileset.json").write_text("{}")
    with pytest.raises(TilesetError, match="damaged"):
        Tileset(world_tileset)


def test_valid_pixels() -> None:
    dark = np.array([[[0, 0, 5]], [[0, 9, 5]]], np.uint8)
    assert valid_pixels(dark, 0).tolist() == [[False, True, True]]  # one dark band is a reading
    assert valid_pixels(dark, None).all()
    holes = np.array([[[-9999, 1]], [[3, 1]]], np.int16)
    assert valid_pixels(holes, -9999).tolist() == [[False, True]]
    floats = np.array([[[np.nan, 1.0]]], np.float32)
    assert valid_pixels(floats, float("nan")).tolist() == [[False, True]]
