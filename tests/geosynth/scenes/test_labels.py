"""Labels: what is found in files, which class it is, and which pixels it covers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.errors import LabelError
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN, Legend, LegendClass, category_names, load_legend
from geosynth.rasters import Band
from geosynth.scenes.burning import open_labels, placed
from geosynth.scenes.labels import Labels, MaskLabels, infer_legend, inspect_labels, make_codes
from geosynth.scenes.source import SceneInfo

UTM = CRS.from_epsg(32633)
GRID = Grid(UTM, Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000), 40, 50)
SCENE = SceneInfo("scene.tif", "scene", GRID, (Band("red", "uint8"),), "none")


def polygons(seed: int = 0, count: int = 30) -> Any:
    """Turned rectangles over and around the grid, with kinds."""
    random = np.random.default_rng(seed)
    shapes = []
    for _ in range(count):
        x, y = random.uniform(499_990, 500_100), random.uniform(4_999_910, 5_000_010)
        box = shapely.box(x, y, x + random.uniform(3, 30), y + random.uniform(3, 30))
        shapes.append(shapely.affinity.rotate(box, random.uniform(0, 90)))
    kinds = random.choice(["tin", "tile", "thatch"], count)
    return gpd.GeoDataFrame({"roof": kinds}, geometry=shapes, crs=UTM.to_wkt())


def by_centres(frame: Any, ids: dict[str, int], outside: int) -> np.ndarray:
    """The same rule another way: a pixel has the class of the last polygon that holds its centre."""
    rows, cols = np.mgrid[: GRID.height, : GRID.width]
    points = shapely.points(500_000 + 2 * (cols + 0.5), 5_000_000 - 2 * (rows + 0.5))
    mask = np.full((GRID.height, GRID.width), outside, np.uint8)
    for shape, kind in zip(frame.geometry, frame["roof"], strict=True):
        mask[shapely.contains(shape, points)] = ids[kind]
    return mask


def read(labels: tuple[Labels, ...], legend: Legend, outside: Any, *, ignore: tuple[int | str, ...] = ()) -> np.ndarray:
    codes = make_codes(labels, legend, outside, ignore)
    with open_labels([placed(entry, SCENE) for entry in labels], codes, GRID) as reader:
        whole = reader.read(0, 0, GRID.height, GRID.width)
        parts = np.vstack([reader.read(row, 0, 8, GRID.width) for row in range(0, GRID.height, 8)])
        assert (whole == parts).all(), "windows must not matter"
        assert (reader.read(-3, 0, 10, 10)[3:] == whole[:7, :10]).all()
    return whole


def write_mask(path: Path, mask: np.ndarray, **profile: Any) -> Path:
    defaults = {"driver": "GTiff", "crs": UTM, "transform": GRID.transform}
    height, width = mask.shape
    with rasterio.open(
        path, "w", count=1, height=height, width=width, dtype=mask.dtype.name, **defaults | profile
    ) as dataset:
        dataset.write(mask, 1)
    return path


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.parquet"])
def test_polygons_cover_the_pixels_whose_centre_they_hold(tmp_path: Path, name: str) -> None:
    frame = polygons()
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        (frame.to_crs(4326) if name.endswith("json") else frame).to_file(path)
    labels = inspect_labels(path, "roof")
    legend = infer_legend(labels, "background")
    assert legend.names == ("background", "thatch", "tile", "tin")
    ids = dict(zip(legend.names, legend.ids, strict=True))
    mask = read(labels, legend, "background")
    differ = (mask != by_centres(frame, ids, 0)).sum()
    assert differ <= (2 if name.endswith("json") else 0)  # GeoJSON rounds its degrees


def test_sparse_labels_are_not_background(tmp_path: Path) -> None:
    polygons().to_file(tmp_path / "a.gpkg")
    labels = inspect_labels(tmp_path / "a.gpkg", "roof")
    legend = infer_legend(labels, "unknown")
    mask = read(labels, legend, "unknown")
    assert UNKNOWN in mask
    assert "background" not in legend.names
    with pytest.raises(LabelError, match="--outside"):
        make_codes(labels, legend, None)


def test_ignored_and_empty_attributes_are_unknown(tmp_path: Path) -> None:
    frame = polygons()
    frame.loc[0, "roof"] = None
    frame.to_file(tmp_path / "a.gpkg")
    labels = inspect_labels(tmp_path / "a.gpkg", "roof")
    legend = infer_legend(labels, "background", ("tin",))
    assert "tin" not in legend.names
    mask = read(labels, legend, "background", ignore=("tin",))
    ids = {"tin": UNKNOWN, None: UNKNOWN} | dict(zip(legend.names, legend.ids, strict=True))
    assert (mask == by_centres(frame.astype({"roof": object}).where(frame.notna(), None), ids, 0)).all()


@pytest.mark.parametrize(("name", "field"), [("Classname", "Classname"), ("CLASS", "CLASS"), ("roof", None)])
def test_the_attribute_of_the_class_is_found(tmp_path: Path, name: str, field: str | None) -> None:
    polygons().rename(columns={"roof": name}).to_file(tmp_path / "a.gpkg")
    labels = inspect_labels(tmp_path / "a.gpkg")
    assert [entry.field for entry in labels if not isinstance(entry, MaskLabels)] == [field]
    assert infer_legend(labels, "unknown").names == (("thatch", "tile", "tin") if field else ("object",))


def test_a_value_that_is_no_class_is_named(tmp_path: Path) -> None:
    polygons().to_file(tmp_path / "a.gpkg")
    legend = Legend((LegendClass(1, "tin", "#000000"), LegendClass(2, "tile", "#ffffff")))
    with pytest.raises(LabelError, match=r"'thatch'.*1 tin, 2 tile"):
        make_codes(inspect_labels(tmp_path / "a.gpkg", "roof"), legend, "unknown")
    with pytest.raises(LabelError, match=r"no attribute 'rooof'.*roof"):
        inspect_labels(tmp_path / "a.gpkg", "rooof")


def test_invalid_polygons_are_repaired_and_still_cover(tmp_path: Path) -> None:
    bow = shapely.Polygon([(500_010, 4_999_990), (500_050, 4_999_950), (500_050, 4_999_990), (500_010, 4_999_950)])
    gpd.GeoDataFrame({"class": ["bow"]}, geometry=[bow], crs=UTM.to_wkt()).to_file(tmp_path / "a.gpkg")
    labels = inspect_labels(tmp_path / "a.gpkg")
    mask = read(labels, infer_legend(labels, "background"), "background")
    from geosynth.scenes.burning import load_polygons

    assert load_polygons(labels[0], UTM).repaired == 1  # type: ignore[arg-type]
    assert (mask == 1).sum() * 4 == pytest.approx(800, rel=0.1)


def test_labels_elsewhere_or_in_the_wrong_crs_say_so(tmp_path: Path) -> None:
    far = polygons()
    far.geometry = far.geometry.translate(5_000, 0)
    far.to_file(tmp_path / "far.gpkg")
    with pytest.raises(LabelError, match=r"elsewhere \(x 50[0-9.]+ to .*500000 to"):
        placed(inspect_labels(tmp_path / "far.gpkg", "roof")[0], SCENE)
    polygons().set_crs(4326, allow_override=True).to_file(tmp_path / "wrong.gpkg")
    with pytest.raises(LabelError, match="do not fit its coordinate system"):
        placed(inspect_labels(tmp_path / "wrong.gpkg", "roof")[0], SCENE)


def test_a_mask_of_another_grid_is_read_by_the_nearest_pixel(tmp_path: Path) -> None:
    fine = np.kron(np.random.default_rng(0).integers(0, 3, (40, 50), dtype=np.uint8), np.ones((3, 3), np.uint8))
    transform = GRID.transform @ Affine.scale(1 / 3)
    labels = inspect_labels(write_mask(tmp_path / "a.tif", fine, transform=transform))
    assert (read(labels, infer_legend(labels, None), None) == fine[1::3, 1::3]).all()


def test_a_mask_without_georeference_needs_the_scenes_size(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (40, 50), dtype=np.uint8)
    bare = {"driver": "PNG", "crs": None, "transform": None}
    scene = replace(SCENE, path=str(write_mask(tmp_path / "scene.tif", mask)))
    labels = inspect_labels(write_mask(tmp_path / "a.png", mask, **bare))
    placed_on = tuple(placed(entry, scene) for entry in labels)
    assert (read(placed_on, infer_legend(labels, None), None) == mask).all()
    (small,) = inspect_labels(write_mask(tmp_path / "b.png", mask[:30], **bare))
    with pytest.raises(LabelError, match=r"50 x 30 pixels.*50 x 40"):
        placed(small, scene)


def test_nodata_of_a_mask_is_unknown_unless_the_legend_has_it(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (40, 50), dtype=np.uint8)
    labels = inspect_labels(write_mask(tmp_path / "a.tif", mask, nodata=0))
    assert (read(labels, infer_legend(labels, None), None) == np.where(mask == 0, UNKNOWN, mask)).all()
    legend = Legend.from_names(["none", "one", "two"], first_id=0)
    assert (read(labels, legend, None) == mask).all()


def test_masks_of_0_and_255_are_no_and_yes(tmp_path: Path) -> None:
    mask = np.where(np.random.default_rng(0).random((40, 50)) < 0.3, 255, 0).astype(np.uint8)
    labels = inspect_labels(write_mask(tmp_path / "a.tif", mask))
    assert (read(labels, infer_legend(labels, None), None) == mask // 255).all()
    assert (read(labels, load_legend("building"), None) == mask // 255).all()


def test_negative_values_need_to_be_ignored(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(-1, 2, (40, 50)).astype(np.int16)
    labels = inspect_labels(write_mask(tmp_path / "a.tif", mask))
    with pytest.raises(LabelError, match="value -1"):
        infer_legend(labels, None)
    assert (read(labels, infer_legend(labels, None, (-1,)), None, ignore=(-1,)) == np.where(mask < 0, 255, mask)).all()


def test_names_and_colours_come_from_the_raster(tmp_path: Path) -> None:
    world = load_legend("world")
    mask = np.random.default_rng(0).integers(1, 7, (40, 50), dtype=np.uint8)
    path = write_mask(tmp_path / "a.tif", mask, photometric="palette")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, world.colormap())
    Path(f"{path}.aux.xml").write_text(category_names(world))
    assert infer_legend(inspect_labels(path), None) == world


def test_floats_with_holes_in_every_block_are_a_mask(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (1040, 1040)).astype(np.float32)
    mask[::16, ::16] = np.nan
    blocks = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    (labels,) = inspect_labels(write_mask(tmp_path / "a.tif", mask, **blocks))
    assert isinstance(labels, MaskLabels)
    assert labels.values == (0, 1, 2)


def test_confidence_is_no_class(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "a.tif", np.full((40, 50), 90, np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(1, "confidence")
    with pytest.raises(LabelError, match="how sure"):
        inspect_labels(path)


def test_an_infinite_class_is_named(tmp_path: Path) -> None:
    frame = polygons(count=3)
    frame["class"] = [1.0, np.inf, np.nan]
    frame.to_file(tmp_path / "a.gpkg")
    with pytest.raises(LabelError, match=r"a\.gpkg.*infinite"):
        inspect_labels(tmp_path / "a.gpkg")


def test_a_spike_burns_nothing(tmp_path: Path) -> None:
    x, y = 500_020, 4_999_980  # 10 x 10 pixels, and a line of no width out of a side
    shape = shapely.Polygon([(x, y), (x + 20, y), (x + 20, y - 9), (x + 60, y - 9), (x + 20, y - 9), (x + 20, y - 20),
                             (x, y - 20)])  # fmt: skip
    frame = gpd.GeoDataFrame({"class": ["house"]}, geometry=[shape], crs=UTM.to_wkt())
    frame.to_file(tmp_path / "a.gpkg")
    labels = inspect_labels(tmp_path / "a.gpkg")
    assert (read(labels, infer_legend(labels, "background"), "background") == 1).sum() == 100


def test_polygons_edited_meanwhile_are_read_again(tmp_path: Path) -> None:
    burnt = []
    for seed in (0, 1):
        polygons(seed).to_file(tmp_path / "a.gpkg")
        labels = inspect_labels(tmp_path / "a.gpkg", "roof")
        burnt.append(read(labels, infer_legend(labels, "background"), "background"))
    assert (burnt[0] != burnt[1]).any()


def test_pictures_and_measurements_are_no_masks(tmp_path: Path) -> None:
    with rasterio.open(tmp_path / "a.png", "w", driver="PNG", count=3, height=4, width=4, dtype="uint8") as dataset:
        dataset.write(np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(LabelError, match="picture with colours"):
        inspect_labels(tmp_path / "a.png")
    heights = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    with pytest.raises(LabelError, match=r"256 different values|no whole numbers"):
        inspect_labels(write_mask(tmp_path / "b.tif", heights))
    (tmp_path / "c.txt").write_text("nothing")
    with pytest.raises(LabelError, match="neither polygons nor"):
        inspect_labels(tmp_path / "c.txt")


def test_a_mask_under_polygons(tmp_path: Path) -> None:
    mask = np.full((40, 50), 1, np.uint8)
    mask[:, 25:] = 255
    frame = polygons(count=4)
    frame["roof"] = "two"
    frame.to_file(tmp_path / "a.gpkg")
    labels = inspect_labels(write_mask(tmp_path / "a.tif", mask, nodata=255)) + inspect_labels(
        tmp_path / "a.gpkg", "roof"
    )
    assert isinstance(labels[0], MaskLabels)
    legend = Legend.from_names(["one", "two"])
    expected = by_centres(frame, {"two": 2}, 0)
    assert (read(labels, legend, "unknown") == np.where(expected == 2, 2, mask)).all()
