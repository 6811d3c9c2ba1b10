"""Labels of the awkward and the multispectral rasters: masks say what the polygons or numbers at that place say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from click.testing import CliRunner, Result
from geosynth_cli.main import cli
from numpy.typing import NDArray
from plain_gdal import all_pixels, facts, features, gdal

from geosynth.tileset import Tileset

UNKNOWN = 255


def tile(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["tile", *map(str, arguments)])


def tiled(out: Path, *arguments: object) -> Tileset:
    result = tile(*arguments, "--out", out)
    assert result.exit_code == 0, result.stderr
    return Tileset(out)


def refused(out: Path, where: Path, *arguments: object) -> str:
    """The one line of a run that must be refused because of the file ``where``, and leave nothing."""
    result = tile(*arguments, "--out", out)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"Error: {where}: "), result.stderr
    assert " — " in lines[0], "no remedy"
    assert not out.exists()
    return lines[0]


def masks(tileset: Tileset) -> list[tuple[Any, NDArray[np.uint8], Any]]:
    """Every tile with its mask (H, W) and the mask file's profile, by plain rasterio."""
    found = []
    for entry in tileset.tiles:
        with rasterio.open(tileset.path / entry.mask) as dataset:
            found.append((entry, dataset.read(1), dataset.profile))
    assert found
    return found


def by_centres(
    profile: Any, polygons: NDArray[Any], crs: str, ids: Sequence[int], outside: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """What a mask must be: the class of the last polygon that holds a pixel's centre; and where that is beyond doubt.

    The polygons' corners are brought into the mask's CRS by pyproj.
    """
    own = pyproj.CRS.from_wkt(profile["crs"].to_wkt(version="WKT2_2019"))
    there = pyproj.Transformer.from_crs(pyproj.CRS.from_user_input(crs), own, always_xy=True)
    moved = shapely.transform(polygons, lambda points: np.column_stack(there.transform(points[:, 0], points[:, 1])))
    transform, height, width = profile["transform"], profile["height"], profile["width"]
    rows, cols = np.mgrid[:height, :width] + 0.5
    xs, ys = transform.c + cols * transform.a, transform.f + rows * transform.e
    ids_there = np.full((height, width), outside, np.uint8)
    sure = np.ones((height, width), bool)
    window = shapely.box(xs.min(), ys.min(), xs.max(), ys.max())
    for polygon, id_ in zip(moved, ids, strict=True):
        if polygon.intersects(window):
            ids_there[shapely.contains_xy(polygon, xs, ys)] = id_
            sure &= shapely.distance(polygon.boundary, shapely.points(xs, ys)) > 1e-4 * transform.a
    return ids_there, sure


def assert_by_centres(
    tileset: Tileset, polygons: NDArray[Any], crs: str, ids: Sequence[int], outside: int, valid: bool = True
) -> int:
    """All masks are what the rule says where the image has data; returns how many pixels some polygon holds."""
    covered = 0
    for entry, mask, profile in masks(tileset):
        expected, sure = by_centres(profile, polygons, crs, ids, outside)
        if valid:
            assert entry.valid_fraction == 1
        else:
            _, shown, _ = tileset.read(entry)
            assert (mask[~shown] == UNKNOWN).all()
            sure &= shown
        assert sure.mean() > 0.3
        assert (mask[sure] == expected[sure]).all(), entry.id
        covered += int((expected[sure] != outside).sum())
    return covered


# Buildings of SpaceNet: one band of uint16, GeoJSON in the raster's UTM zone, cut off at its edge.


@pytest.fixture(scope="module")
def pan(real_data: Path) -> tuple[Path, Path]:
    folder = real_data / "awkward/solaris"
    return folder / "sample_geotiff_uint16_pan.tif", folder / "sample_geotiff_uint16_pan_buildings.geojson"


@pytest.mark.parametrize("field", [None, "building"])
def test_buildings(pan: tuple[Path, Path], tmp_path: Path, field: str | None) -> None:
    scene, labels = pan
    named = [] if field is None else ["--class-field", field]
    tileset = tiled(tmp_path, scene, "--labels", labels, *named, "--outside", "background", "--size", 225)
    assert tileset.spec.legend.names == ("background", "object" if field is None else "yes")
    polygons, _ = features(labels)
    assert len(polygons) == 43
    covered = assert_by_centres(tileset, polygons, "EPSG:32616", [1] * 43, 0)
    # Pixels of 0.25 square metres; some buildings lie on others.
    assert covered * 0.25 == pytest.approx(shapely.area(shapely.union_all(polygons)), rel=0.01)


def test_a_field_that_is_not_there_is_named(pan: tuple[Path, Path], tmp_path: Path) -> None:
    scene, labels = pan
    options = ("--class-field", "roof", "--outside", "background")
    line = refused(tmp_path / "out", labels, scene, "--labels", labels, *options)
    assert "has no attribute 'roof'" in line and "building" in line.partition(" — ")[2]


# An area of interest over a drone's picture with an alpha band: one polygon without attributes.


def test_an_area_of_interest(real_data: Path, tmp_path: Path) -> None:
    scene, area = (real_data / f"awkward/deepness/dummy_fotomap_{name}" for name in ("small.tif", "area.gpkg"))
    tileset = tiled(tmp_path, scene, "--labels", area, "--outside", "unknown", "--size", 128, "--min-valid", 0.1)
    assert tileset.spec.legend.names == ("object",)
    polygons, _ = features(area)
    covered = assert_by_centres(tileset, polygons, "EPSG:32633", [tileset.spec.legend.ids[0]], UNKNOWN, valid=False)
    assert covered > 100_000


# Labels in the wrong coordinate system: said to be degrees, and metres of the raster's own CRS.


@pytest.fixture(scope="module")
def custom(real_data: Path) -> tuple[Path, Path]:
    folder = real_data / "awkward/solaris"
    return folder / "sample_geotiff_custom_proj.tif", folder / "sample_geotiff_custom_proj_labels.geojson"


@pytest.mark.parametrize("outside", ["background", "unknown"])
def test_labels_in_the_wrong_crs_are_refused(custom: tuple[Path, Path], tmp_path: Path, outside: str) -> None:
    scene, labels = custom
    line = refused(tmp_path / "out", labels, scene, "--labels", labels, "--outside", outside)
    assert "x -663347.3 to -657354.8, y 2118636 to 2129938" in line
    assert "coordinate system" in line and "ogr2ogr -a_srs" in line


def test_labels_in_the_wrong_crs_are_set_against_the_scene_s_place(custom: tuple[Path, Path], tmp_path: Path) -> None:
    scene, labels = custom
    line = refused(tmp_path / "out", labels, scene, "--labels", labels, "--outside", "background")
    assert "x -673425 to -658065, y 2114805 to 2130165" in line, "whoever sees both extents sees what is wrong"


def test_labels_given_their_right_crs_are_where_they_belong(custom: tuple[Path, Path], tmp_path: Path) -> None:
    scene, labels = custom
    wkt = facts(scene)["coordinateSystem"]["wkt"]
    gdal("ogr2ogr", "-a_srs", wkt, tmp_path / "right.gpkg", labels)
    options = ("--outside", "background", "--size", 64)
    tileset = tiled(tmp_path / "out", scene, "--labels", tmp_path / "right.gpkg", *options)
    polygons, _ = features(labels)
    assert assert_by_centres(tileset, polygons, wkt, [1] * len(polygons), 0) > 1000


# Trees of Zurich: 25 neighbouring images, masks without georeference for four of them, called alike.


@pytest.mark.parametrize("numbers", [(0, 1), (0, 255)])
def test_masks_without_georeference_belong_to_images_of_their_name(
    real_data: Path, tmp_path: Path, numbers: tuple[int, int]
) -> None:
    folder = real_data / "awkward/detectree"
    drawn = {path.stem: all_pixels(path, "uint8")[0] for path in (folder / "response_img").glob("*.tif")}
    assert len(drawn) == 4
    labels = folder / "response_img"
    if numbers[1] == 255:
        labels = tmp_path / "masks"
        labels.mkdir()
        for name in drawn:
            options = ("-q", "-scale", 0, 1, 0, 255, "-ot", "Byte")
            gdal("gdal_translate", *options, folder / f"response_img/{name}.tif", labels / f"{name}.tif")
            assert set(np.unique(all_pixels(labels / f"{name}.tif", "uint8"))) == {0, 255}
    tileset = tiled(tmp_path / "out", folder / "img", "--labels", labels, "--size", 60)
    assert len(tileset.tiles) == 25 * 2 * 2
    assert tileset.spec.legend.ids == (0, 1)
    for entry, mask, _ in masks(tileset):
        if entry.scene in drawn:
            assert (mask == drawn[entry.scene][entry.row : entry.row + 60, entry.col : entry.col + 60]).all()
        else:
            assert (mask == UNKNOWN).all() and entry.mask_origin == "none"


def test_images_lower_than_a_tile_are_refused(real_data: Path, tmp_path: Path) -> None:
    """120 rows: nothing says that rows beyond them hold no data."""
    folder = real_data / "awkward/detectree"
    where = folder / "img/1091-322_00.tif"
    line = refused(tmp_path / "out", where, folder / "img", "--labels", folder / "response_img", "--size", 128)
    assert "no scene holds a whole tile of 128 pixels" in line and "--size" in line


def test_a_mask_without_georeference_must_have_the_scene_s_size(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "awkward/detectree"
    mask = folder / "response_img/1091-322_00.tif"
    line = refused(tmp_path / "out", mask, folder / "big_img_1091-322_00.tif", "--labels", mask)
    assert "175 x 120" in line and "875 x 600" in line


# Land cover and NDVI of 68 dates: pixels that are not quite square, and not quite 10 m.


def test_land_cover_on_a_time_series(real_data: Path, tmp_path: Path) -> None:
    scene, labels = (real_data / f"multispectral/eolearn_ndvi_lulc/{name}.tif" for name in ("ndvi_68dates", "lulc"))
    tileset = tiled(tmp_path, scene, "--labels", labels, "--size", 32, "--min-valid", 0.01)
    assert tileset.spec.legend.ids == (0, 1, 2, 3, 4, 8)
    drawn = np.pad(all_pixels(labels, "uint8")[0], ((0, 27), (0, 28)), constant_values=UNKNOWN)
    assert len(tileset.tiles) == 16
    for entry, mask, _ in masks(tileset):
        assert (mask == drawn[entry.row : entry.row + 32, entry.col : entry.col + 32]).all()


# Open Geo Tutorial: sparse polygons in metres on pixels in degrees that are longer than high.


@pytest.fixture(scope="module")
def carolina(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The part of the scene in which the polygons are."""
    source, labels = (
        real_data / f"multispectral/rcr_sentinel2/{name}" for name in ("rcr_s2_8band.tif", "rcr_training.gpkg")
    )
    polygons, _ = features(labels)
    to_degrees = pyproj.Transformer.from_crs(32618, 4326, always_xy=True)
    west, south, east, north = to_degrees.transform_bounds(*shapely.total_bounds(polygons))
    left, x, _, top, _, y = facts(source)["geoTransform"]
    col, row = int((west - left) / x) - 20, int((north - top) / y) - 20
    window = col, row, int((east - west) / x) + 40, int((south - north) / y) + 40
    scene = tmp_path_factory.mktemp("carolina") / "rcr.tif"
    gdal("gdal_translate", "-q", "-srcwin", *window, source, scene)
    return scene, labels


@pytest.mark.parametrize("gsd", [None, 12])
def test_polygons_in_metres_on_pixels_in_degrees(carolina: tuple[Path, Path], tmp_path: Path, gsd: int | None) -> None:
    scene, labels = carolina
    there = [] if gsd is None else ["--gsd", gsd]
    tileset = tiled(tmp_path, scene, "--labels", labels, "--outside", "unknown", "--size", 64, *there)
    assert tileset.spec.crs.to_epsg() == (4326 if gsd is None else 32618)
    legend = tileset.spec.legend
    polygons, attributes = features(labels)
    assert len(polygons) == 65 and len(legend) == 7
    ids = [legend.ids[legend.names.index(one["Classname"])] for one in attributes]
    covered = assert_by_centres(tileset, polygons, "EPSG:32618", ids, UNKNOWN, valid=gsd is None)
    squares = shapely.area(shapely.union_all(polygons)) / tileset.spec.gsd_m**2
    assert covered == pytest.approx(squares, rel=0.05)


# Landsat 7 of Guatemala: the same sparse training areas as polygons and as a raster whose 0 is nodata.


@pytest.fixture(scope="module")
def guatemala(real_data: Path) -> Path:
    return real_data / "multispectral/landsat7_guatemala"


def test_training_areas_as_polygons(guatemala: Path, tmp_path: Path) -> None:
    labels = guatemala / "training_polygons.geojson"
    scene = guatemala / "LE70220491999322EDC01_stack.tif"
    options = ("--outside", "unknown", "--size", 64, "--min-valid", 0.1)
    tileset = tiled(tmp_path / "class", scene, "--labels", labels, *options)
    legend = tileset.spec.legend
    assert legend.names == ("barren", "forest", "herbaceous", "urban", "water")
    polygons, attributes = features(labels)
    ids = [legend.ids[legend.names.index(one["class"])] for one in attributes]
    assert assert_by_centres(tileset, polygons, "EPSG:32615", ids, UNKNOWN, valid=False) > 600
    # Numbers of an attribute stay the classes' numbers.
    numbered = tiled(tmp_path / "id", scene, "--labels", labels, "--class-field", "id", *options)
    assert numbered.spec.legend.ids == (1, 2, 3, 4, 5)
    drawn = np.pad(all_pixels(guatemala / "training_raster.tif", "uint8")[0], ((0, 6), (0, 6)))
    same = known = 0
    for entry, mask, _ in masks(numbered):
        there = drawn[entry.row : entry.row + 64, entry.col : entry.col + 64]
        both = (mask != UNKNOWN) & (there != 0)
        same, known = same + int((mask == there)[both].sum()), known + int(both.sum())
    assert known > 600 and same == known, "the polygons and the raster say the same"


def test_training_areas_as_a_raster(guatemala: Path, tmp_path: Path) -> None:
    labels = guatemala / "training_raster.tif"
    scene = guatemala / "LE70220491999322EDC01_stack.tif"
    tileset = tiled(tmp_path, scene, "--labels", labels, "--size", 64, "--min-valid", 0.1)
    assert tileset.spec.legend.ids == (1, 2, 3, 4, 5)
    drawn = np.pad(all_pixels(labels, "uint8")[0], ((0, 6), (0, 6)))
    drawn[drawn == 0] = UNKNOWN
    assert len(tileset.tiles) == 16
    for entry, mask, _ in masks(tileset):
        assert (mask == drawn[entry.row : entry.row + 64, entry.col : entry.col + 64]).all()


# Floods in Spain: labels of int16 where -1 is unknown, on optical and radar images of the same place.


def test_a_number_below_zero_is_no_class(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "multispectral/sen1floods11"
    scene, labels = (folder / f"Spain_7370579_{name}.tif" for name in ("S2Hand", "LabelHand"))
    line = refused(tmp_path / "out", labels, scene, "--labels", labels)
    assert "value -1 cannot be a class" in line and "--ignore" in line


@pytest.mark.parametrize("sensor", ["S1Hand", "S2Hand"])
def test_floods(real_data: Path, tmp_path: Path, sensor: str) -> None:
    folder = real_data / "multispectral/sen1floods11"
    scene, labels = (folder / f"Spain_7370579_{name}.tif" for name in (sensor, "LabelHand"))
    tileset = tiled(tmp_path, scene, "--labels", labels, "--ignore", "-1", "--size", 128)
    assert tileset.spec.legend.ids == (0, 1)
    drawn = all_pixels(labels, "int16")[0]
    assert (drawn == -1).sum() == 99
    counted = np.zeros(256, int)
    for entry, mask, _ in masks(tileset):
        there = drawn[entry.row : entry.row + 128, entry.col : entry.col + 128]
        assert (mask == np.where(there == -1, UNKNOWN, there)).all()
        counted += np.bincount(mask.ravel(), minlength=256)
    assert (counted[0], counted[1], counted[UNKNOWN]) == (192010, 70035, 99)


def test_floods_on_coarser_pixels(real_data: Path, tmp_path: Path) -> None:
    """Masks are warped as the images are: what most of the labels say that lie under a pixel, by gdalwarp."""
    folder = real_data / "multispectral/sen1floods11"
    scene, labels = (folder / f"Spain_7370579_{name}.tif" for name in ("S2Hand", "LabelHand"))
    tileset = tiled(tmp_path / "out", scene, "--labels", labels, "--ignore", "-1", "--size", 64, "--gsd", 30)
    agree = moved = known = 0
    for entry, mask, profile in masks(tileset):
        here = profile["transform"]

        def most(shift: float, entry: Any = entry, here: Any = here) -> NDArray[Any]:
            west, south, east, north = entry.geometry.bounds
            bounds = (west + shift * here.a, south, east + shift * here.a, north)
            out = tmp_path / "most"
            options = ("-te", *bounds, "-ts", 64, 64, "-t_srs", "EPSG:32630", "-r", "mode", "-et", 0)
            gdal("gdalwarp", "-q", "-overwrite", *options, "-dstnodata", -1, "-of", "ENVI", labels, out)
            return np.fromfile(out, "int16").reshape(64, 64)

        there = most(0)
        both = (mask != UNKNOWN) & (there != -1)
        agree, known = agree + int((mask == there)[both].sum()), known + int(both.sum())
        moved += int((mask == most(0.5))[both].sum())
    assert known > 20_000
    assert agree > 0.98 * known
    assert known - agree < 0.5 * (known - moved), "half a pixel off would be worse"


# Where degrees jump, and where there are none.


def test_polygons_on_both_sides_of_the_antimeridian(real_data: Path, tmp_path: Path) -> None:
    scene, labels = real_data / "awkward/rio-tiler/cog_dateline.tif", tmp_path / "sides.geojson"
    boxes = {"west": shapely.box(179.4, 51.2, 179.9, 51.8), "east": shapely.box(-179.9, 51.2, -179.4, 51.8)}
    found = [
        {"type": "Feature", "properties": {"class": name}, "geometry": json.loads(shapely.to_geojson(box))}
        for name, box in boxes.items()
    ]
    labels.write_text(json.dumps({"type": "FeatureCollection", "features": found}))
    options = ("--outside", "background", "--size", 64, "--gsd", 1000)
    tileset = tiled(tmp_path / "out", scene, "--labels", labels, *options)
    assert tileset.spec.legend.names == ("background", "east", "west")
    polygons = np.array(list(boxes.values()))
    assert assert_by_centres(tileset, polygons, "EPSG:4326", [2, 1], 0, valid=False) > 3000
    to_degrees = pyproj.Transformer.from_crs(32660, 4326, always_xy=True)
    sides: dict[int, list[NDArray[Any]]] = {1: [], 2: []}
    for _, mask, profile in masks(tileset):
        for id_, longitudes in sides.items():
            rows, cols = np.nonzero(mask == id_)
            longitudes.append(to_degrees.transform(*(profile["transform"] @ (cols + 0.5, rows + 0.5)))[0])
    assert np.concatenate(sides[1]).max() < -179.3 and np.concatenate(sides[2]).min() > 179.3


def test_labels_of_the_earth_are_not_on_another_moon(pan: tuple[Path, Path], real_data: Path, tmp_path: Path) -> None:
    scene = real_data / "awkward/rio-tiler/cog_nonearth.tif"
    line = refused(tmp_path / "out", pan[1], scene, "--labels", pan[1], "--outside", "background")
    assert "unexpected" not in line


# A raster with a palette is refused as an image: it is labels.


def test_a_raster_with_a_palette_as_labels(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "awkward/rio-tiler/cog_cmap.tif"
    window = ("-srcwin", 25 * 256, 10 * 256, 256, 256)
    scene, labels = tmp_path / "colours.tif", tmp_path / "classes.tif"
    gdal("gdal_translate", "-q", "-expand", "rgb", *window, source, scene)
    gdal("gdal_translate", "-q", *window, source, labels)
    tileset = tiled(tmp_path / "out", scene, "--labels", labels, "--size", 64)
    drawn, image = all_pixels(labels, "uint8")[0], all_pixels(scene, "uint8")
    assert set(tileset.spec.legend.ids) == set(np.unique(drawn)) - {0}
    colours = {entry.id: entry.rgb for entry in tileset.spec.legend.classes}
    for entry, mask, _ in masks(tileset):
        window = np.s_[entry.row : entry.row + 64, entry.col : entry.col + 64]
        assert (mask == np.where(drawn[window] == 0, UNKNOWN, drawn[window])).all()
        for id_, rgb in colours.items():
            shown = image[:, *window][:, mask == id_].T
            assert (shown == rgb).all(), "the colours are those of the palette"


# Each remedy that an error names, carried out.


def from_rotated(source: Path, out: Path) -> None:
    gdal("gdalwarp", "-q", source, out)


def from_points(source: Path, out: Path) -> None:
    gdal("gdalwarp", "-q", "-tps", source, out)


def from_complex(source: Path, out: Path) -> None:
    plain = out.with_name("plain.tif")
    gdal("gdal_calc.py", "--quiet", "-A", source, f"--outfile={plain}", "--calc=abs(A)", "--type=Float32")
    gdal("gdalwarp", "-q", plain, out)


def from_palette(source: Path, out: Path) -> None:
    gdal("gdal_translate", "-q", "-expand", "rgb", "-srcwin", 3000, 3000, 300, 300, source, out)


def from_nonsense(source: Path, out: Path) -> None:
    bounds = (500_000, 5_105_120, 505_120, 5_100_000)
    gdal("gdal_translate", "-q", "-a_ullr", *bounds, "-a_srs", "EPSG:32633", source, out)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("awkward/rasterio/rotated.tif", from_rotated),
        ("awkward/rio-tiler/cog_gcps.tif", from_points),
        ("awkward/solaris/rotated_complex_sar_hh.tif", from_complex),
        ("awkward/rio-tiler/cog_cmap.tif", from_palette),
        ("awkward/maxwolf/nonsense_transform_int16.tif", from_nonsense),
    ],
)
def test_the_remedy_helps(real_data: Path, tmp_path: Path, name: str, remedy: Callable[[Path, Path], None]) -> None:
    remedy(real_data / name, tmp_path / "right.tif")
    about = facts(tmp_path / "right.tif")
    left, x, _, top, _, y = about["geoTransform"]
    side = min(256, *about["size"])
    options = ("--legend", "world", "--size", side, "--min-valid", 0)
    tileset = tiled(tmp_path / "out", tmp_path / "right.tif", *options)
    kind = {"Byte": "uint8", "UInt16": "uint16", "Int16": "int16", "Float32": "float32"}[about["bands"][0]["type"]]
    whole = all_pixels(tmp_path / "right.tif", kind)
    for entry in tileset.tiles:
        assert entry.geometry.bounds[0] == pytest.approx(left + entry.col * x)
        assert entry.geometry.bounds[3] == pytest.approx(top + entry.row * y)
        with rasterio.open(tileset.path / entry.image) as dataset:
            there = whole[:, entry.row : entry.row + side, entry.col : entry.col + side]
            assert (dataset.read()[:, : there.shape[1], : there.shape[2]] == there).all()
