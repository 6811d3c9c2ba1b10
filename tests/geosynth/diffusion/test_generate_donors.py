"""Masks, maps and scenes that are given to a generator: where the pairs lie, and what of them is left as it was."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from conftest import SIDE, world_tiles
from given_tiles import copy_with_ids, hashes
from rasterio import Affine
from rasterio.crs import CRS
from shapely.geometry import box

from geosynth.diffusion.donors import class_positions
from geosynth.diffusion.donorwindows import without_nodata
from geosynth.diffusion.generate import GenerateRequest, Reading, generate
from geosynth.errors import Cancelled, LabelError, ModelError, SceneError
from geosynth.events import Events
from geosynth.grid import is_engineering
from geosynth.legend import UNKNOWN, Legend, load_legend
from geosynth.lineage import read_lineage
from geosynth.tileset import Tileset
from geosynth.world import Landscape
from geosynth.world.scene import write_scene

WORLD = load_legend("world")
HEIGHT, WIDTH = 40, 72
"""Two rows and three columns of tiles, those at the edges reaching out."""
PLACE = Affine(1, 0, 450_000, 0, -1, 5_300_000)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(Landscape(5), tmp_path / "scenes", "place", 0, 0, HEIGHT, WIDTH)


@pytest.fixture
def mask(scene: Path) -> Path:
    return scene.with_name("place_mask.tif")


def make(
    model: Path, out: Path, *, masks: Any = (), images: Any = (), count: int | None = None, **reading: Any
) -> Tileset:
    given = {"masks_from": tuple(map(str, masks)), "images_from": tuple(map(str, images))}
    request = GenerateRequest(count, steps=1, block=2, **given, reading=Reading(**reading))  # type: ignore[arg-type]
    generate(model, request, out, Events())
    return Tileset(out)


def rewritten(path: Path, values: np.ndarray, **profile: Any) -> Path:
    with rasterio.open(path) as dataset:
        profile = dict(dataset.profile) | {"photometric": "minisblack"} | profile
    with rasterio.open(path, "w", **profile | {"count": len(values), "dtype": values.dtype}) as dataset:
        dataset.write(values)
    return path


def centres(dataset: Any) -> np.ndarray:
    rows, cols = np.mgrid[: dataset.height, : dataset.width]
    return np.stack(dataset.transform @ (cols + 0.5, rows + 0.5))


def polygons(path: Path, crs: str = "EPSG:32633", **columns: Any) -> Path:
    """Two boxes of 30 x 30 m; the second covers half of the first."""
    shapes = [box(450_000, 5_299_970, 450_030, 5_300_000), box(450_015, 5_299_970, 450_045, 5_300_000)]
    frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:32633")
    frame.to_crs(crs).to_file(path)
    return path


def test_a_mask_raster_is_painted_where_it_lies(shared_generator: Path, mask: Path, tmp_path: Path) -> None:
    with rasterio.open(mask) as dataset:
        whole, where = dataset.read(1), centres(dataset)
    tileset = make(shared_generator, tmp_path / "out", masks=[mask])
    assert len(tileset.tiles) == 6
    assert (tileset.spec.crs, tileset.spec.pixel_size) == (CRS.from_epsg(32633), (1.0, 1.0))
    for tile in tileset.tiles:
        assert (tile.scene, tile.image_origin, tile.mask_origin, tile.placement) == (
            "place_mask", "generated", "human", "donor",
        )  # fmt: skip
        part = np.s_[tile.row : tile.row + SIDE, tile.col : tile.col + SIDE]
        rows, cols = whole[part].shape
        with rasterio.open(tileset.path / tile.mask) as dataset:
            values = dataset.read(1)
            assert np.array_equal(centres(dataset)[:, :rows, :cols], where[:, *part])
            assert dataset.tags()["GEOSYNTH_SYNTHETIC"] == "none"
        assert np.array_equal(values[:rows, :cols], whole[part])
        assert (values[rows:] == UNKNOWN).all() and (values[:, cols:] == UNKNOWN).all()
        with rasterio.open(tileset.path / tile.image) as dataset:
            assert dataset.tags()["GEOSYNTH_SYNTHETIC"] == "image"
    # Whoever compares with these places must know.
    places = {entry.bounds for entry in read_lineage(tmp_path / "out").seen if entry.labelled and not entry.key}
    assert places == {tile.geometry.bounds for tile in tileset.tiles}


def test_windows_of_a_mask_without_a_known_pixel_are_left_out(
    shared_generator: Path, mask: Path, tmp_path: Path
) -> None:
    with rasterio.open(mask) as dataset:
        whole = dataset.read()
    whole[:, :, :SIDE] = UNKNOWN
    whole[0, 3, 3] = WORLD.ids[0]  # one pixel keeps its window
    tileset = make(shared_generator, tmp_path / "out", masks=[rewritten(mask, whole)])
    assert sorted((tile.row, tile.col) for tile in tileset.tiles) == [(0, 0), (0, 32), (0, 64), (32, 32), (32, 64)]
    assert max(tile.unknown_fraction for tile in tileset.tiles) == 1 - 1 / SIDE**2


def test_a_folder_and_a_pattern_of_masks(shared_generator: Path, mask: Path, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    (folder / "a.tif").write_bytes(mask.read_bytes())
    (folder / "b.tif").write_bytes(mask.read_bytes())
    tileset = make(shared_generator, tmp_path / "out", masks=[folder])
    assert sorted({tile.scene for tile in tileset.tiles}) == ["a", "b"]
    assert len(make(shared_generator, tmp_path / "one", masks=[folder / "a*.tif"]).tiles) == 6


def test_a_mask_with_pixels_of_another_size(shared_generator: Path, mask: Path, tmp_path: Path) -> None:
    with rasterio.open(mask) as dataset:
        whole = dataset.read()
    fine = rewritten(
        mask,
        whole.repeat(2, axis=1).repeat(2, axis=2),
        height=2 * HEIGHT,
        width=2 * WIDTH,
        transform=PLACE @ Affine.scale(0.5),
    )
    tileset = make(shared_generator, tmp_path / "out", masks=[fine])
    assert len(tileset.tiles) == 6
    assert tileset.spec.gsd_m == pytest.approx(1, abs=1e-4)
    first = tileset.read(tileset.tiles[0])[2]
    assert (first == whole[0, :SIDE, :SIDE]).mean() > 0.85  # the new pixels begin up to one further left and up


def test_a_mask_without_crs_lies_in_a_local_plane(shared_generator: Path, mask: Path, tmp_path: Path) -> None:
    with rasterio.open(mask) as dataset:
        whole = dataset.read()
    bare = tmp_path / "bare.tif"
    with rasterio.open(bare, "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype="uint8") as dataset:
        dataset.write(whole)
    tileset = make(shared_generator, tmp_path / "out", masks=[bare])
    assert is_engineering(tileset.spec.crs) and tileset.spec.gsd_m is None
    with rasterio.open(tileset.path / tileset.tiles[1].image) as dataset:
        assert dataset.transform == Affine(1, 0, 32, 0, -1, 0)


def test_numbers_with_names_are_read_by_their_names(shared_generator: Path, mask: Path, tmp_path: Path) -> None:
    """A raster whose numbers mean other classes than the generator's, and says so."""
    names = "".join(f"<Category>{name}</Category>" for name in reversed(WORLD.names))
    whole = (np.arange(HEIGHT * WIDTH).reshape(1, HEIGHT, WIDTH) % len(WORLD)).astype(np.uint8)
    rewritten(mask, whole)
    mask.with_name("place_mask.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>'
    )
    tileset = make(shared_generator, tmp_path / "out", masks=[mask])
    painted = tileset.read(tileset.tiles[0])[2]
    assert np.array_equal(painted, np.array(WORLD.ids[::-1], np.uint8)[whole[0, :SIDE, :SIDE]])


def test_a_map_is_painted_on_pixels_of_the_generator_in_a_metric_crs(shared_generator: Path, tmp_path: Path) -> None:
    drawn = polygons(tmp_path / "map.geojson", "EPSG:4326", kind=["water", "Road"])
    tileset = make(shared_generator, tmp_path / "out", masks=[drawn], class_field=("kind",), outside="unknown")
    assert tileset.spec.crs == CRS.from_epsg(32633)
    assert tileset.spec.gsd_m == pytest.approx(1, abs=1e-4)
    area = 0
    for tile in tileset.tiles:
        with rasterio.open(tileset.path / tile.mask) as dataset:
            values, (x, y) = dataset.read(1), centres(dataset)
        inside = (x > 450_001) & (x < 450_044) & (y < 5_299_999) & (y > 5_299_971)
        later = inside & (x > 450_016)
        assert (values[later] == WORLD.named("road").id).all()  # later polygons lie over earlier ones
        assert (values[inside & (x < 450_014)] == WORLD.named("water").id).all()
        assert (values[(x < 449_999) | (x > 450_046) | (y < 5_299_969)] == UNKNOWN).all()
        area += int((values != UNKNOWN).sum())
    assert area == pytest.approx(45 * 30, rel=0.02)


def test_what_lies_outside_polygons_can_be_any_class(shared_generator: Path, tmp_path: Path) -> None:
    drawn = polygons(tmp_path / "map.gpkg", kind=["water", "road"])
    reading = {"class_field": ("kind",), "outside": "grass"}
    tileset = make(shared_generator, tmp_path / "out", masks=[f"{drawn}|layername=map"], **reading)
    assert tileset.spec.pixel_size == (1.0, 1.0)  # the map's plane has metres
    assert all(tile.unknown_fraction == 0 for tile in tileset.tiles)
    found = {int(value) for tile in tileset.tiles for value in np.unique(tileset.read(tile)[2])}
    assert found == {WORLD.named(name).id for name in ("water", "road", "grass")}


def test_maps_apart_are_scenes_of_their_own(shared_generator: Path, tmp_path: Path) -> None:
    near = polygons(tmp_path / "near.gpkg", kind=["water", "road"])
    over = polygons(tmp_path / "over.gpkg", kind=["field", "field"])
    frame = geopandas.read_file(near)
    frame.geometry = frame.translate(100_000)
    frame.to_file(tmp_path / "far.gpkg")
    given = [near, tmp_path / "far.gpkg", over]
    tileset = make(shared_generator, tmp_path / "out", masks=given, class_field=("kind",), outside="grass")
    assert [tile.scene for tile in tileset.tiles] == ["near", "near", "far", "far"]
    near_mask, far_mask = tileset.read(tileset.tiles[0])[2], tileset.read(tileset.tiles[2])[2]
    assert WORLD.named("water").id not in near_mask and WORLD.named("field").id in near_mask
    assert WORLD.named("water").id in far_mask and WORLD.named("field").id not in far_mask


def test_classes_the_generator_does_not_know(shared_generator: Path, mask: Path, tmp_path: Path) -> None:
    drawn = polygons(tmp_path / "map.gpkg", kind=["lava", "quay"])
    where = f"{drawn}.*'lava', 'quay' are no classes.*building.*--ignore"
    with pytest.raises(LabelError, match=where):
        make(shared_generator, tmp_path / "out", masks=[drawn], class_field=("kind",), outside="unknown")
    other = Legend.from_names(["ice", *WORLD.names])
    with pytest.raises(LabelError, match=f"{mask}.*'ice' is no class.*--ignore"):
        make(
            shared_generator,
            tmp_path / "out",
            masks=[rewritten(mask, np.ones((1, HEIGHT, WIDTH), np.uint8))],
            legend=other,
        )
    with pytest.raises(LabelError, match=r"cannot be 'sky'.*building"):
        plain = polygons(tmp_path / "plain.gpkg", kind=["water", "road"])
        make(shared_generator, tmp_path / "out", masks=[plain], class_field=("kind",), outside="sky")
    with pytest.raises(LabelError, match="--outside"):
        make(shared_generator, tmp_path / "out", masks=[plain], class_field=("kind",))
    with pytest.raises(LabelError, match="together with mask rasters"):
        make(shared_generator, tmp_path / "out", masks=[plain, mask], class_field=("kind",), outside="unknown")
    assert not (tmp_path / "out").exists()


def test_ignored_and_renamed_classes(shared_generator: Path, tmp_path: Path) -> None:
    drawn = polygons(tmp_path / "map.gpkg", kind=["7", "lava"])
    legend = Legend((replace(WORLD.named("tree"), id=7), replace(WORLD.named("road"), id=1)))
    reading = {"class_field": ("kind",), "outside": "unknown", "ignore": ("lava",), "legend": legend}
    tileset = make(shared_generator, tmp_path / "out", masks=[drawn], **reading)
    found = {int(value) for tile in tileset.tiles for value in np.unique(tileset.read(tile)[2])}
    assert found == {WORLD.named("tree").id, UNKNOWN}


def test_scenes_get_masks_and_stay_what_they_are(shared_generator: Path, scene: Path, tmp_path: Path) -> None:
    with rasterio.open(scene) as dataset:
        image, where = dataset.read(), centres(dataset)
    image[0, 5, 5] = 0  # a dark band is a reading
    image[:, 10:20, 10:60] = 0
    image[:, 32:, :32] = 0
    rewritten(scene, image, nodata=0)
    tileset = make(shared_generator, tmp_path / "out", images=[scene])
    assert [(tile.row, tile.col) for tile in tileset.tiles] == [(0, 0), (0, 32), (0, 64), (32, 32), (32, 64)]
    for tile in tileset.tiles:
        assert (tile.scene, tile.image_origin, tile.mask_origin, tile.placement) == (
            "place", "real", "predicted", "real",
        )  # fmt: skip
        part = np.s_[tile.row : tile.row + SIDE, tile.col : tile.col + SIDE]
        rows, cols = image[0][part].shape
        with rasterio.open(tileset.path / tile.image) as dataset:
            assert np.array_equal(dataset.read()[:, :rows, :cols], image[:, *part])
            assert np.array_equal(centres(dataset)[:, :rows, :cols], where[:, *part])
            assert dataset.tags()["GEOSYNTH_SYNTHETIC"] == "none"
        _, valid, mask = tileset.read(tile)
        assert np.array_equal(valid[:rows, :cols], image[:, *part].any(axis=0))
        assert (mask[~valid] == UNKNOWN).all() and (mask[valid] != UNKNOWN).all()
        with rasterio.open(tileset.path / tile.mask) as dataset:
            tags = dataset.tags()
        assert tags["GEOSYNTH_SYNTHETIC"] == "mask"
        assert 0 <= float(tags["GEOSYNTH_CONFIDENCE"]) <= 1 and len(tags["GEOSYNTH_CONFIDENCE"]) == 5


def test_bands_are_taken_by_name_or_as_asked(shared_generator: Path, scene: Path, tmp_path: Path) -> None:
    with rasterio.open(scene) as dataset:
        image = dataset.read()
    rewritten(scene, np.stack([image[2], 255 - image[0], image[1], image[0]]))
    with rasterio.open(scene, "r+") as dataset:
        dataset.descriptions = ("Blue", "nir", "Green", "Red")
    tileset = make(shared_generator, tmp_path / "named", images=[scene])
    assert np.array_equal(tileset.read(tileset.tiles[0])[0], image[:, :SIDE, :SIDE])
    tileset = make(shared_generator, tmp_path / "asked", images=[scene], bands=("nir", "3", "Blue"))
    assert np.array_equal(tileset.read(tileset.tiles[0])[0][0], 255 - image[0, :SIDE, :SIDE])
    assert [band.name for band in tileset.spec.bands] == ["red", "green", "blue"]
    rewritten(scene, image[:2])
    with pytest.raises(SceneError, match=r"place.tif.*2 of uint8.*3 of uint8.*--bands"):
        make(shared_generator, tmp_path / "out", images=[scene])
    rewritten(scene, image.astype(np.float32))
    with pytest.raises(SceneError, match=r"float32.*uint8"):
        make(shared_generator, tmp_path / "out", images=[scene])
    rewritten(scene, np.zeros((3, HEIGHT, WIDTH), np.uint8), nodata=0)
    with pytest.raises(SceneError, match="no pixel with data"):
        make(shared_generator, tmp_path / "out", images=[scene])
    assert not (tmp_path / "out").exists()


def test_scenes_of_several_crs_become_one_tileset(shared_generator: Path, scene: Path, tmp_path: Path) -> None:
    from rasterio.warp import calculate_default_transform, reproject

    other = tmp_path / "scenes" / "neighbour.tif"
    with rasterio.open(scene) as dataset:
        where = calculate_default_transform(dataset.crs, "EPSG:32632", WIDTH, HEIGHT, *dataset.bounds, resolution=1)
        profile = dataset.profile | {"crs": "EPSG:32632", "transform": where[0], "width": where[1], "height": where[2]}
        with rasterio.open(other, "w", **profile | {"nodata": 0}) as target:
            for band in (1, 2, 3):
                reproject(rasterio.band(dataset, band), rasterio.band(target, band))
            target.descriptions = dataset.descriptions
    tileset = make(shared_generator, tmp_path / "out", images=[scene, other])
    assert {tile.scene for tile in tileset.tiles} == {"place", "neighbour"}
    for tile in tileset.tiles:
        with rasterio.open(tileset.path / tile.image) as dataset:
            assert dataset.crs == tileset.spec.crs
            assert (dataset.transform.a, -dataset.transform.e) == tileset.spec.pixel_size


def test_the_same_bytes_in_any_order_and_after_any_interruption(
    shared_generator: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = GenerateRequest(steps=1, block=2, masks_from=(str(mask),))
    generate(shared_generator, request, tmp_path / "one", Events())

    def elsewhere(function: Any, tasks: Any, *_: Any, **__: Any) -> Any:
        """Other processes: each task is sent, and the last comes back first."""
        for task in reversed(tasks):
            yield function(pickle.loads(pickle.dumps(task)))

    with monkeypatch.context() as patched:
        patched.setattr("geosynth.diffusion.generate.run_tasks", elsewhere)
        generate(shared_generator, request, tmp_path / "two", Events())
    assert hashes(tmp_path / "two") == hashes(tmp_path / "one")

    def stop() -> str | None:
        written = len(list((tmp_path / "three").glob("images/*.tif")))
        return "enough" if written >= 2 else None

    with pytest.raises(Cancelled):
        generate(shared_generator, request, tmp_path / "three", Events(stop=[stop]))
    assert 0 < len(list((tmp_path / "three").glob("images/*.tif"))) < 6
    generate(shared_generator, request, tmp_path / "three", Events(), rerun="resume")
    assert hashes(tmp_path / "three") == hashes(tmp_path / "one")
    assert generate(shared_generator, request, tmp_path / "three", Events()).nothing_to_do
    with rasterio.open(mask) as dataset:
        whole = dataset.read()
    rewritten(mask, WORLD.ids[0] + 0 * whole)  # the same file with other content is another request
    with pytest.raises(OSError, match="masks_from"):
        generate(shared_generator, request, tmp_path / "three", Events())


def test_donors_take_turns(shared_generator: Path, mask: Path, tmp_path: Path) -> None:
    tileset = make(shared_generator, tmp_path / "out", masks=[mask], count=8)
    places = [(tile.row, tile.col) for tile in tileset.tiles]
    assert places[6:] == places[:2] and len(set(places)) == 6


def test_classes_of_a_tileset_go_by_their_names() -> None:
    ours = Legend.from_names(["water", "Road", "ice"], first_id=4)
    mask = np.array([[4, 5, 6, UNKNOWN, 1]], np.uint8)
    assert class_positions(mask, ours, WORLD).tolist() == [[2, 1, UNKNOWN, UNKNOWN, UNKNOWN]]


def test_a_tileset_with_other_classes(shared_generator: Path, shared_world_tileset: Path, tmp_path: Path) -> None:
    copy_with_ids(shared_world_tileset, tmp_path / "shifted", offset=10)
    meta = tmp_path / "shifted" / "tileset.json"
    meta.write_text(meta.read_text().replace('"building"', '"house"'))
    with pytest.raises(ModelError, match=r"classes house.*knows building"):
        make(shared_generator, tmp_path / "out", masks=[tmp_path / "shifted"])


def test_a_tileset_comes_alone(shared_generator: Path, shared_world_tileset: Path, mask: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="among others"):
        make(shared_generator, tmp_path / "out", masks=[mask, shared_world_tileset])
    with pytest.raises(ModelError, match="both"):
        make(shared_generator, tmp_path / "out", masks=[mask], images=[mask])


def test_only_what_would_read_as_no_data_is_moved() -> None:
    image = np.array([[[0, 0, 9, 0]], [[0, 5, 9, 0]]], np.uint8)
    valid = np.array([[True, True, True, False]])
    assert without_nodata(image, valid, 0.0).tolist() == [[[1, 0, 9, 0]], [[1, 5, 9, 0]]]
    assert without_nodata(image, valid, 9.0)[:, 0].tolist() == [[0, 0, 10, 9], [0, 5, 10, 9]]
    assert without_nodata(image, valid, None) is image


def test_tiles_of_other_sizes_do_not_fit(shared_generator: Path, tmp_path: Path) -> None:
    other = world_tiles(tmp_path / "other", rows=1, cols=3, side=16)
    with pytest.raises(ModelError, match=r"tiles of 16 px.*makes 32 px"):
        make(shared_generator, tmp_path / "out", images=[other])


def test_bands_of_a_tileset_are_taken_by_name(
    shared_generator: Path, shared_world_tileset: Path, tmp_path: Path
) -> None:
    turned = tmp_path / "turned"
    shutil.copytree(shared_world_tileset, turned)
    meta = turned / "tileset.json"
    content = json.loads(meta.read_text())
    content["bands"].reverse()
    meta.write_text(json.dumps(content))
    tileset = make(shared_generator, tmp_path / "out", images=[turned], count=1)
    assert [band.name for band in tileset.spec.bands] == ["red", "green", "blue"]
    own = Tileset(shared_world_tileset)
    donor = next(tile for tile in own.tiles if tile.id == tileset.tiles[0].parent_id)
    assert np.array_equal(tileset.read(tileset.tiles[0])[0], own.read(donor)[0][::-1])
    content["bands"][0]["name"] = "green"
    content["bands"][1]["name"] = "nir"
    meta.write_text(json.dumps(content))
    with pytest.raises(
        ModelError, match=r"bands \(3 of uint8: green, nir, red\).*others \(3 of uint8: red, green, blue"
    ):
        make(shared_generator, tmp_path / "not", images=[turned])
    assert not (tmp_path / "not").exists()


def test_a_tileset_says_itself_how_it_is_read(
    shared_generator: Path, shared_world_tileset: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="is a tileset, which says itself"):
        make(shared_generator, tmp_path / "out", masks=[shared_world_tileset], ignore=("water",))


def test_a_stray_polygon_is_found_before_all_memory_is_taken(
    shared_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geosynth.diffusion.finddonors._MOST", 1)
    drawn = polygons(tmp_path / "map.gpkg", kind=["water", "road"])
    with pytest.raises(LabelError, match=r"map.gpkg: more than 1 tiles of 32 px .* 45 x 30 pixels \(a stray polygon"):
        make(shared_generator, tmp_path / "out", masks=[drawn], class_field=("kind",), outside="grass")
    assert not (tmp_path / "out").exists()


def test_a_mask_of_far_coarser_pixels(shared_generator: Path, mask: Path, tmp_path: Path) -> None:
    coarse = rewritten(mask, np.ones((1, HEIGHT, WIDTH), np.uint8), transform=PLACE @ Affine.scale(30))
    with pytest.raises(SceneError, match=r"its pixels are 30 m, far coarser than 1 m — give finer pixels, or take"):
        make(shared_generator, tmp_path / "out", masks=[coarse])
