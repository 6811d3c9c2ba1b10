"""Bad input through every command: one line that names the file, the reason and a remedy, and nothing half-written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from conftest import world_tiles
from geosynth_cli.main import cli
from rasterio import Affine
from rasterio.crs import CRS
from shapely.geometry import box

from geosynth.events import Events
from geosynth.world import Landscape
from geosynth.world.scene import write_scene

SIDE = 64
PLACE = Affine(1, 0, 450_000, 0, -1, 5_300_000)
"""Where the made-up scene lies (UTM 33N)."""
Refused = Callable[..., str]


def snapshot(folder: Path) -> dict[str, str]:
    """Every path below a folder with a hash of what is in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must fail: exit code 1, one line on standard error, and not a byte changed on the disk.

    ``where`` is the file or folder the line names (none for a wrong number), ``why`` a part of the reason.
    """

    def run(*arguments: str | Path, where: Path | None, why: str) -> str:
        before = snapshot(tmp_path)
        capfd.readouterr()
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        lines = result.stderr.splitlines()
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("Error: ")
        assert "unexpected" not in lines[0]
        assert where is None or str(where) in lines[0]
        reason, dash, remedy = lines[0].partition(" — ")
        assert dash and remedy, f"no remedy: {lines[0]}"
        assert why in reason, lines[0]
        # GDAL and libtiff write past Python when nobody stops them.
        assert capfd.readouterr() == ("", "")
        assert snapshot(tmp_path) == before
        return lines[0]

    return run


def write_raster(path: Path, values: np.ndarray, transform: Affine = PLACE, **options: Any) -> Path:
    """Values (C, H, W) as a GeoTIFF at the scene's place."""
    shape = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2]}
    # Without "photometric" GDAL takes a fourth band for alpha.
    profile = {"driver": "GTiff", "dtype": values.dtype, "crs": CRS.from_epsg(32633), "photometric": "minisblack"}
    with rasterio.open(path, "w", **profile, **shape, transform=transform, **options) as dataset:
        dataset.write(values)
    return path


def write_polygons(path: Path, left: float, top: float, crs: str = "EPSG:32633", **columns: Any) -> Path:
    """One square of 20 units with attributes."""
    frame = geopandas.GeoDataFrame(columns or {"n": [1]}, geometry=[box(left, top - 20, left + 20, top)], crs=crs)
    frame.to_file(path)
    return path


def cut_off(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def flip_byte(path: Path, position: int = -1000) -> Path:
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def shared_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(Landscape(0), tmp_path_factory.mktemp("scene"), "place", 0, 0, SIDE, SIDE)


@pytest.fixture
def scene(shared_scene: Path, tmp_path: Path) -> Path:
    """A scene of 64 x 64 pixels, ``place.tif``, its mask ``place_mask.tif`` beside it."""
    for name in ("place.tif", "place_mask.tif"):
        shutil.copy(shared_scene.with_name(name), tmp_path / name)
    return tmp_path / "place.tif"


@pytest.fixture
def mask(scene: Path) -> Path:
    return scene.with_name("place_mask.tif")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(scope="module")
def shared_segmenter(shared_world_tileset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter trained for two steps; do not change it."""
    from geosynth.segmentation.training import SegmenterPlan, train_segmenter

    folder = tmp_path_factory.mktemp("segmenter") / "segmenter"
    plan = SegmenterPlan(encoder="mobilenet_v2", steps=2, batch=2)
    train_segmenter(shared_world_tileset, [], plan, folder, Events(), threads=1, device="cpu")
    return folder


@pytest.fixture
def segmenter(shared_segmenter: Path, tmp_path: Path) -> Path:
    """A copy of the segmenter that a test may damage."""
    shutil.copytree(shared_segmenter, tmp_path / "segmenter")
    return tmp_path / "segmenter"


# Scenes


def test_an_empty_folder_as_scene(refused: Refused, tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused("tile", tmp_path / "empty", "--out", out, where=tmp_path / "empty", why="holds no")


def test_a_folder_without_rasters_as_scene(refused: Refused, tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "notes.txt").write_text("no raster")
    refused("tile", folder, "--out", out, where=folder, why="holds no")


def test_a_pattern_of_no_file(refused: Refused, tmp_path: Path, out: Path) -> None:
    refused("tile", tmp_path / "*.jp2", "--out", out, where=tmp_path / "*.jp2", why="no file is like this")


def test_a_scene_without_data(refused: Refused, tmp_path: Path, out: Path) -> None:
    path = write_raster(tmp_path / "empty.tif", np.zeros((3, SIDE, SIDE), np.uint8), nodata=0)
    arguments = ("tile", path, "--legend", "world", "--size", "32", "--out", out)
    refused(*arguments, where=None, why="no tile was kept")


def test_a_scene_that_is_not_there(refused: Refused, tmp_path: Path, out: Path) -> None:
    refused("tile", tmp_path / "gone.tif", "--out", out, where=tmp_path / "gone.tif", why="cannot be read")


def test_a_text_file_as_scene(refused: Refused, tmp_path: Path, out: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no raster")
    refused("tile", text, "--out", out, where=text, why="cannot be read as a raster")
    refused("inspect", text, where=text, why="cannot be read as a raster")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_scene_that_was_cut_off(refused: Refused, scene: Path, mask: Path, out: Path, share: float) -> None:
    cut_off(scene, share)
    refused("tile", scene, "--labels", mask, "--out", out, where=scene, why="cannot be read")


def test_a_rotated_scene(refused: Refused, tmp_path: Path, out: Path) -> None:
    turned = PLACE * Affine.rotation(20)
    path = write_raster(tmp_path / "turned.tif", np.ones((3, SIDE, SIDE), np.uint8), transform=turned)
    refused("tile", path, "--legend", "world", "--out", out, where=path, why="rotated")


def test_scenes_of_different_bands(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    other = write_raster(tmp_path / "four.tif", np.ones((4, SIDE, SIDE), np.uint8))
    line = refused("tile", scene, other, "--legend", "world", "--out", out, where=other, why="bands")
    assert "4 of uint8" in line and "3 of uint8" in line


def test_a_size_no_scene_holds(refused: Refused, scene: Path, mask: Path, out: Path) -> None:
    arguments = ("tile", scene, "--labels", mask, "--size", "128", "--out", out)
    refused(*arguments, where=scene, why="no scene holds a whole tile of 128 pixels")


def test_an_assigned_scene_that_is_not_there(refused: Refused, scene: Path, mask: Path, out: Path) -> None:
    arguments = ("tile", scene, "--labels", mask, "--size", "32", "--block", "1", "--assign", "elsewhere=test")
    line = refused(*arguments, "--out", out, where=None, why="no scene is called elsewhere")
    assert "place" in line.partition(" — ")[2]


# Labels


def test_polygons_that_do_not_overlap_the_scene(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    far = write_polygons(tmp_path / "far.gpkg", 460_000, 5_300_000, roof=["tin"])
    arguments = ("tile", scene, "--labels", far, "--class-field", "roof", "--outside", "background", "--out", out)
    refused(*arguments, "--size", "32", where=far, why="lies elsewhere")


def test_a_mask_that_does_not_overlap_the_scene(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    place = Affine(1, 0, 460_000, 0, -1, 5_300_000)
    far = write_raster(tmp_path / "place_mask2.tif", np.ones((1, SIDE, SIDE), np.uint8), transform=place)
    refused("tile", scene, "--labels", far, "--size", "32", "--out", out, where=far, why="lies elsewhere")


def test_labels_of_neither_of_two_scenes(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    second = scene.with_name("second.tif")
    shutil.copy(scene, second)
    far = write_polygons(tmp_path / "far.gpkg", 460_000, 5_300_000)
    arguments = ("tile", scene, second, "--labels", far, "--outside", "background", "--size", "32", "--out", out)
    refused(*arguments, where=far, why="belongs to no scene")


def test_metres_declared_as_degrees(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    wrong = write_polygons(tmp_path / "wrong.geojson", 450_010, 5_299_990, crs="EPSG:4326")
    arguments = ("tile", scene, "--labels", wrong, "--outside", "background", "--size", "32", "--out", out)
    line = refused(*arguments, where=wrong, why="")
    assert "coordinate system" in line


def test_polygons_without_a_coordinate_system(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    bare = tmp_path / "bare.gpkg"
    geopandas.GeoDataFrame(geometry=[box(450_000, 5_299_980, 450_020, 5_300_000)]).to_file(bare)
    arguments = ("tile", scene, "--labels", bare, "--outside", "background", "--size", "32", "--out", out)
    refused(*arguments, where=bare, why="no coordinate system")


def test_polygons_without_outside(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    labels = write_polygons(tmp_path / "roofs.gpkg", 450_010, 5_299_990, roof=["tin"])
    arguments = ("tile", scene, "--labels", labels, "--class-field", "roof", "--size", "32", "--out", out)
    line = refused(*arguments, where=labels, why="outside the polygons")
    assert "--outside background" in line and "--outside unknown" in line


def test_a_class_field_that_is_not_there(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    labels = write_polygons(tmp_path / "roofs.gpkg", 450_010, 5_299_990, roof=["tin"])
    arguments = ("tile", scene, "--labels", labels, "--class-field", "dach", "--outside", "background", "--out", out)
    line = refused(*arguments, "--size", "32", where=labels, why="dach")
    assert "roof" in line.partition(" — ")[2]


def test_an_unknown_class_in_an_attribute(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    labels = write_polygons(tmp_path / "roofs.gpkg", 450_010, 5_299_990, roof=["thatch"])
    legend = tmp_path / "legend.json"
    legend.write_text(json.dumps([{"id": 0, "name": "background"}, {"id": 1, "name": "tin"}]))
    arguments = ("tile", scene, "--labels", labels, "--class-field", "roof", "--outside", "background")
    line = refused(*arguments, "--legend", legend, "--size", "32", "--out", out, where=labels, why="'thatch'")
    assert "1 tin" in line


def test_an_unknown_class_in_a_mask(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    values = np.ones((1, SIDE, SIDE), np.uint8)
    values[0, 3, 5] = 77
    labels = write_raster(tmp_path / "place_mask2.tif", values)
    arguments = ("tile", scene, "--labels", labels, "--legend", "world", "--size", "32", "--out", out)
    line = refused(*arguments, where=labels, why="value 77")
    assert "1 building" in line


def test_a_mask_that_was_cut_off(refused: Refused, scene: Path, mask: Path, out: Path) -> None:
    cut_off(mask)
    refused("tile", scene, "--labels", mask, "--size", "32", "--out", out, where=mask, why="cannot be read")


def test_labels_that_are_not_there(refused: Refused, scene: Path, tmp_path: Path, out: Path) -> None:
    gone = tmp_path / "gone.gpkg"
    refused("tile", scene, "--labels", gone, "--size", "32", "--out", out, where=gone, why="no such file")


POINT = '{"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [1, 2]}}'


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("notes.txt", "no labels", "neither polygons nor"),
        ("roofs.gpkg", "no labels", "neither polygons nor"),
        ("roofs.parquet", "no labels", "is no GeoParquet"),
        ("roofs.geojson", '{"type": "FeatureCollection", "features": [', "neither polygons nor"),
        ("roofs.geojson", '{"type": "FeatureCollection", "features": []}', "lies elsewhere"),
        ("roofs.geojson", f'{{"type": "FeatureCollection", "features": [{POINT}]}}', "holds no polygons"),
    ],
)
def test_labels_that_are_none(
    refused: Refused, scene: Path, tmp_path: Path, out: Path, name: str, content: str, why: str
) -> None:
    labels = tmp_path / name
    labels.write_text(content)
    arguments = ("tile", scene, "--labels", labels, "--outside", "background", "--size", "32", "--out", out)
    refused(*arguments, where=labels, why=why)


def test_no_labels_and_no_legend(refused: Refused, scene: Path, out: Path) -> None:
    line = refused("tile", scene, "--size", "32", "--out", out, where=None, why="no labels and no legend")
    assert "--legend" in line.partition(" — ")[2]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("classes: tin", "JSON"),
        ("{}", "classes"),
        ('[{"id": "one"}]', "class"),
        ('[{"id": 1, "name": "a"}, 3]', "class"),
    ],
)
def test_a_legend_that_is_none(
    refused: Refused, scene: Path, mask: Path, tmp_path: Path, out: Path, content: str, why: str
) -> None:
    legend = tmp_path / "legend.json"
    legend.write_text(content)
    arguments = ("tile", scene, "--labels", mask, "--legend", legend, "--size", "32", "--out", out)
    refused(*arguments, where=legend, why=why)


# The output folder


def tile_arguments(scene: Path) -> tuple[str | Path, ...]:
    return ("tile", scene, "--labels", scene.with_name("place_mask.tif"), "--size", "32", "--block", "1")


@pytest.mark.parametrize("rerun", [(), ("--overwrite",), ("--resume",)])
def test_an_output_that_holds_something_else(refused: Refused, scene: Path, out: Path, rerun: tuple[str, ...]) -> None:
    (out / "holiday").mkdir(parents=True)
    (out / "holiday" / "photo.jpg").write_bytes(b"irreplaceable")
    refused(*tile_arguments(scene), "--out", out, *rerun, where=out, why="not made by geosynth")


@pytest.mark.parametrize("rerun", [(), ("--overwrite",)])
def test_an_output_that_is_a_file(refused: Refused, scene: Path, out: Path, rerun: tuple[str, ...]) -> None:
    out.write_text("a file")
    refused(*tile_arguments(scene), "--out", out, *rerun, where=out, why="is a file")


def test_an_output_under_a_file(refused: Refused, scene: Path, out: Path) -> None:
    out.write_text("a file")
    refused(*tile_arguments(scene), "--out", out / "tiles", where=out, why="")


def test_another_request_in_the_same_output(refused: Refused, scene: Path, out: Path) -> None:
    assert CliRunner().invoke(cli, [*map(str, tile_arguments(scene)), "--out", str(out)]).exit_code == 0
    line = refused(
        *tile_arguments(scene), "--seed", "5", "--out", out, where=out, why="another request (different seed)"
    )
    assert "--overwrite" in line.partition(" — ")[2]
    # What is read is no place to write, whatever is asked for.
    for more in ((), ("--overwrite",)):
        refused(
            "train", out, "--steps", "2", "--batch", "2", "--out", out, *more, where=out, why="would be overwritten"
        )
    assert CliRunner().invoke(cli, ["inspect", str(out)]).exit_code == 0


def test_an_output_whose_request_is_damaged(refused: Refused, scene: Path, out: Path) -> None:
    assert CliRunner().invoke(cli, [*map(str, tile_arguments(scene)), "--out", str(out)]).exit_code == 0
    cut_off(out / ".geosynth" / "request.json")
    line = refused(*tile_arguments(scene), "--out", out, where=out, why="damaged")
    assert "--overwrite" in line.partition(" — ")[2]
    # What is there is whole all the same.
    assert CliRunner().invoke(cli, ["inspect", str(out)]).exit_code == 0


# Generators


def test_training_on_a_generator(refused: Refused, shared_generator: Path, out: Path) -> None:
    refused("train", shared_generator, "--out", out, where=shared_generator, why="not a tileset")


def test_training_on_a_folder_that_is_not_there(refused: Refused, tmp_path: Path, out: Path) -> None:
    refused("train", tmp_path / "gone", "--out", out, where=tmp_path / "gone", why="no such folder")


def test_starting_from_a_tileset(refused: Refused, shared_world_tileset: Path, out: Path) -> None:
    arguments = ("train", shared_world_tileset, "--from", shared_world_tileset, "--out", out)
    refused(*arguments, where=shared_world_tileset, why="is a tileset, not a generator")


def test_tiles_the_network_cannot_take(refused: Refused, tmp_path: Path, out: Path) -> None:
    tiles = world_tiles(tmp_path / "tiles", rows=1, cols=3, side=36)
    line = refused("train", tiles, "--steps", "2", "--out", out, where=tiles, why="36 px")
    assert "--size" in line.partition(" — ")[2]


def test_generating_with_a_tileset(refused: Refused, shared_world_tileset: Path, out: Path) -> None:
    arguments = ("generate", shared_world_tileset, "--count", "1", "--out", out)
    refused(*arguments, where=shared_world_tileset, why="is a tileset, not a generator")


def edit_geosynth_json(model: Path) -> Path:
    path = model / "geosynth.json"
    content = json.loads(path.read_text())
    content["spec"]["gsd_m"] = 7.0
    path.write_text(json.dumps(content))
    return path


def remove_lineage(model: Path) -> Path:
    (model / "lineage.json").unlink()
    return model / "lineage.json"


def rewrite_lineage(model: Path) -> Path:
    (model / "lineage.json").write_text("[]\n")
    return model / "lineage.json"


def cut_geosynth_json(model: Path) -> Path:
    return cut_off(model / "geosynth.json")


def flip_weights(model: Path) -> Path:
    return flip_byte(next((model / "denoiser").glob("*.safetensors")))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (flip_weights, "is damaged"),
        (remove_lineage, "is missing"),
        (rewrite_lineage, "is damaged"),
        (edit_geosynth_json, "was changed"),
        (cut_geosynth_json, "is damaged"),
    ],
)
def test_a_damaged_generator(
    refused: Refused, generator: Path, out: Path, damage: Callable[[Path], Path], why: str
) -> None:
    refused("generate", generator, "--count", "1", "--out", out, where=damage(generator), why=why)


def test_masks_that_do_not_fit_the_generator(
    refused: Refused, shared_generator: Path, tmp_path: Path, out: Path
) -> None:
    tiles = world_tiles(tmp_path / "tiles", rows=1, cols=3, side=40)
    arguments = ("generate", shared_generator, "--count", "1", "--masks-from", tiles, "--out", out)
    refused(*arguments, where=tiles, why="tiles of 40 px")


def test_a_ratio_of_tiles_without_labels(refused: Refused, shared_generator: Path, scene: Path, out: Path) -> None:
    tiles = scene.with_name("unlabelled")
    arguments = ["tile", str(scene), "--legend", "world", "--size", "32", "--out", str(tiles)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    arguments = ("generate", shared_generator, "--ratio", "1", "--of", tiles, "--out", out)
    refused(*arguments, where=tiles, why="no labelled real training tiles")
    refused("train", tiles, "--steps", "2", "--out", out, where=tiles, why="no labelled training tile")


# Tilesets


def damaged_tile(tiles: Path) -> Path:
    """Cut off the first training tile's image."""
    return cut_off(tiles / "images" / "scene_r00000_c00000.tif")


def missing_mask(tiles: Path) -> Path:
    path = tiles / "masks" / "scene_r00000_c00000.tif"
    path.unlink()
    return path


def damaged_index(tiles: Path) -> Path:
    return flip_byte(tiles / "index.parquet", -20)


def damaged_description(tiles: Path) -> Path:
    return cut_off(tiles / "tileset.json")


@pytest.mark.parametrize("command", ["train", "segment"])
@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (damaged_tile, "is damaged"),
        (missing_mask, "is missing"),
        (damaged_index, "cannot be read as an index"),
        (damaged_description, "is damaged"),
    ],
)
def test_a_damaged_tileset(
    refused: Refused, world_tileset: Path, out: Path, command: str, damage: Callable[[Path], Path], why: str
) -> None:
    # Messages about what is being read may come first; they are no part of the error.
    arguments = (command, world_tileset, "--steps", "2", "--batch", "2", "--out", out, "--progress", "none")
    refused(*arguments, where=damage(world_tileset), why=why)


def test_a_damaged_tileset_does_not_cost_the_earlier_result(
    refused: Refused, world_tileset: Path, generator: Path, segmenter: Path
) -> None:
    where = damaged_tile(world_tileset)
    arguments = (world_tileset, "--steps", "2", "--batch", "2", "--overwrite", "--progress", "none")
    refused("train", *arguments, "--out", generator, where=where, why="is damaged")
    refused("segment", *arguments, "--out", segmenter, where=where, why="is damaged")


def test_inspecting_a_damaged_tileset(refused: Refused, world_tileset: Path) -> None:
    refused("inspect", world_tileset, where=damaged_index(world_tileset), why="cannot be read as an index")


# Segmenters


def test_segmenting_a_generator(refused: Refused, shared_generator: Path, out: Path) -> None:
    refused("segment", shared_generator, "--out", out, where=shared_generator, why="not a tileset")


def test_too_few_synthetic_tiles(refused: Refused, shared_world_tileset: Path, tmp_path: Path, out: Path) -> None:
    few = world_tiles(tmp_path / "few", rows=1, cols=4, seed=1)
    arguments = ("segment", shared_world_tileset, "--synthetic", few, "--ratio", "3", "--out", out)
    line = refused(*arguments, where=few, why="ratio 3")
    assert "generate" in line.partition(" — ")[2]


def test_synthetic_tiles_that_do_not_go_with_the_real(
    refused: Refused, shared_world_tileset: Path, tmp_path: Path, out: Path
) -> None:
    other = world_tiles(tmp_path / "other", rows=1, cols=3, side=40)
    arguments = ("segment", shared_world_tileset, "--synthetic", other, "--out", out)
    refused(*arguments, where=other, why="tile size is 40")


def test_an_encoder_that_is_not_there(refused: Refused, shared_world_tileset: Path, out: Path) -> None:
    arguments = ("segment", shared_world_tileset, "--encoder", "resnet19", "--out", out)
    refused(*arguments, where=None, why="resnet19")
    arguments = ("segment", shared_world_tileset, "--arch", "unett", "--out", out)
    refused(*arguments, where=None, why="unett")


def test_predicting_with_a_generator(refused: Refused, shared_generator: Path, scene: Path, out: Path) -> None:
    arguments = ("predict", shared_generator, scene, "--out", out)
    refused(*arguments, where=shared_generator, why="is a generator, not a segmenter")


def test_predicting_a_scene_of_other_bands(
    refused: Refused, shared_segmenter: Path, scene: Path, tmp_path: Path, out: Path
) -> None:
    four = write_raster(tmp_path / "four.tif", np.ones((4, SIDE, SIDE), np.uint8))
    # A scene that fits comes first: it is not written either.
    line = refused("predict", shared_segmenter, scene, four, "--out", out, where=four, why="4 bands of uint8")
    assert "3 bands of uint8" in line


def test_predicting_a_scene_of_another_pixel_size(
    refused: Refused, shared_segmenter: Path, tmp_path: Path, out: Path
) -> None:
    coarse = write_raster(tmp_path / "coarse.tif", np.ones((3, SIDE, SIDE), np.uint8), PLACE * Affine.scale(10))
    line = refused("predict", shared_segmenter, coarse, "--out", out, where=coarse, why="10")
    assert "--resample" in line.partition(" — ")[2]


def test_predicting_a_scene_that_was_cut_off(refused: Refused, shared_segmenter: Path, scene: Path, out: Path) -> None:
    refused("predict", shared_segmenter, cut_off(scene), "--out", out, where=scene, why="cannot be read")


def test_predicting_two_scenes_of_one_name(
    refused: Refused, shared_segmenter: Path, scene: Path, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "b").mkdir()
    twin = Path(shutil.copy(scene, tmp_path / "b" / "place.tif"))
    refused("predict", shared_segmenter, scene, twin, "--out", out, where=None, why="two scenes are called 'place'")


def edit_segmenter_json(segmenter: Path) -> Path:
    path = segmenter / "segmenter.json"
    path.write_text(path.read_text().replace('"uint8"', '"uint16"'))
    return path


def flip_segmenter_weights(segmenter: Path) -> Path:
    return flip_byte(segmenter / "weights.safetensors")


def remove_segmenter_weights(segmenter: Path) -> Path:
    (segmenter / "weights.safetensors").unlink()
    return segmenter / "weights.safetensors"


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (edit_segmenter_json, "was changed"),
        (flip_segmenter_weights, "is damaged"),
        (remove_segmenter_weights, "is missing"),
    ],
)
def test_a_damaged_segmenter(
    refused: Refused, segmenter: Path, scene: Path, out: Path, damage: Callable[[Path], Path], why: str
) -> None:
    refused("predict", segmenter, scene, "--out", out, where=damage(segmenter), why=why)


# Polygons


def test_vectorizing_what_is_no_class_raster(refused: Refused, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "polygons.gpkg"
    random = np.random.default_rng(0)
    heights = write_raster(tmp_path / "heights.tif", random.random((1, SIDE, SIDE), np.float32))
    refused("vectorize", heights, "--out", out, where=heights, why="")
    refused("vectorize", scene, "--out", out, where=scene, why="a mask is one band")
    roofs = write_polygons(tmp_path / "roofs.gpkg", 450_010, 5_299_990)
    refused("vectorize", roofs, "--out", out, where=roofs, why="polygons already")
    refused("vectorize", tmp_path / "gone.tif", "--out", out, where=tmp_path / "gone.tif", why="no such file")


def test_vectorizing_into_what_cannot_be(refused: Refused, mask: Path, tmp_path: Path) -> None:
    dxf = tmp_path / "polygons.dxf"
    refused("vectorize", mask, "--out", dxf, where=dxf, why="no known format")
    there = tmp_path / "there.gpkg"
    there.write_bytes(b"somebody's polygons")
    line = refused("vectorize", mask, "--out", there, where=there, why="is there already")
    assert "--overwrite" in line.partition(" — ")[2]
    refused("vectorize", mask, "--out", there / "under.gpkg", where=there, why="cannot be written")
    refused("vectorize", mask, "--drop", "castle", "--out", tmp_path / "new.gpkg", where=None, why="castle")
    cut_off(mask)
    refused("vectorize", mask, "--out", tmp_path / "new.gpkg", where=mask, why="cannot be read")


# Evaluation


def test_evaluating_an_arm_that_saw_test_tiles(refused: Refused, shared_world_tileset: Path, tmp_path: Path) -> None:
    """The real tileset itself as an arm, and tiles of a generator that was trained on test tiles."""
    arguments = ("evaluate", shared_world_tileset, "--seeds", "1", "--steps", "2", "--out", tmp_path / "report")
    refused(*arguments, "--arm", f"same={shared_world_tileset}", where=shared_world_tileset, why="saw")
    peeking = tmp_path / "peeking"
    # The same ground, split otherwise: what is tested there is trained on here.
    world_tiles(peeking, rows=4, cols=8)
    model, made = tmp_path / "model", tmp_path / "made"
    for command in (
        ["train", peeking, "--steps", "2", "--batch", "2", "--precision", "32", "--threads", "1", "--out", model],
        ["generate", model, "--count", "2", "--steps", "1", "--workers", "1", "--out", made],
    ):
        done = CliRunner().invoke(cli, [str(part) for part in command])
        assert done.exit_code == 0, done.output
    line = refused(*arguments, "--arm", f"made={made}", where=made, why="saw 4 of the 4 test tiles")
    assert "'made'" in line


def test_evaluating_what_cannot_be_compared(
    refused: Refused, shared_world_tileset: Path, scene: Path, tmp_path: Path, out: Path
) -> None:
    small = world_tiles(tmp_path / "small", rows=1, cols=3, side=16)
    arguments = ("evaluate", shared_world_tileset, "--seeds", "1", "--steps", "2", "--out", out)
    refused(*arguments, "--arm", f"small={small}", where=small, why="tile size is 16")
    untested = tmp_path / "untested"
    assert (
        CliRunner().invoke(cli, [*map(str, tile_arguments(scene)), "--test", "0", "--out", str(untested)]).exit_code
        == 0
    )
    arguments = ("evaluate", untested, "--arm", f"small={small}", "--seeds", "1", "--steps", "2", "--out", out)
    refused(*arguments, where=untested, why="no labelled tiles in split=test")
