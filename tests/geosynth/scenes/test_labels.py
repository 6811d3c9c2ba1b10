"""Labels: what is found in files, which class it is, and which pixels it covers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from conftest import required
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.errors import LabelError
from geosynth.grid import Grid
from geosynth.legend import UNKNOWN, Legend, LegendClass, category_names, load_legend
from geosynth.rasters import Band
from geosynth.scenes.burning import open_labels, placed
from geosynth.scenes.labels import Labels, MaskLabels, infer_legend, inspect_labels, make_codes
from geosynth.scenes.source import SceneInfo, inspect_scene

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


def test_real_labels_that_do_not_fit_their_crs_and_some_that_do(real_data: Path) -> None:
    folder = real_data / "awkward" / "solaris"
    names = ("sample_geotiff_custom_proj", "sample_geotiff_uint16_pan")
    scenes = [folder / f"{name}.tif" for name in names]
    files = [
        folder / "sample_geotiff_custom_proj_labels.geojson",
        folder / "sample_geotiff_uint16_pan_buildings.geojson",
    ]
    required("the awkward rasters", all(path.is_file() for path in (*scenes, *files)))
    (wrong,), (right,) = (inspect_labels(path) for path in files)
    with pytest.raises(LabelError, match=r"custom_proj_labels.*do not fit its coordinate system.*-a_srs"):
        placed(wrong, inspect_scene(scenes[0]))
    assert placed(right, inspect_scene(scenes[1])) == right


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


def test_measurements_and_texts_are_no_masks(tmp_path: Path) -> None:
    heights = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    with pytest.raises(LabelError, match=r"256 different values|no whole numbers"):
        inspect_labels(write_mask(tmp_path / "b.tif", heights))
    (tmp_path / "c.txt").write_text("nothing")
    with pytest.raises(LabelError, match="neither polygons nor"):
        inspect_labels(tmp_path / "c.txt")


def two_over_one(tmp_path: Path) -> tuple[Labels, Labels, np.ndarray, np.ndarray]:
    """A mask of class 1 whose right half is unknown, polygons of class 2, and what each is alone."""
    mask = np.full((40, 50), 1, np.uint8)
    mask[:, 25:] = 255
    frame = polygons(count=8)
    frame["roof"] = "two"
    frame.to_file(tmp_path / "a.gpkg")
    (raster,) = inspect_labels(write_mask(tmp_path / "a.tif", mask, nodata=255))
    (vector,) = inspect_labels(tmp_path / "a.gpkg", "roof")
    return raster, vector, mask, by_centres(frame, {"two": 2}, UNKNOWN)


def test_later_labels_lie_over_earlier_ones(tmp_path: Path) -> None:
    raster, vector, mask, drawn = two_over_one(tmp_path)
    legend = Legend.from_names(["one", "two"])
    assert ((drawn == 2) & (mask == 1)).any(), "they must overlap"
    assert (read((raster, vector), legend, "unknown") == np.where(drawn == 2, 2, mask)).all()
    assert (read((vector, raster), legend, "unknown") == np.where(mask == 1, 1, drawn)).all()


def test_layers_of_a_file_are_put_in_order_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    for number, name in enumerate(("roofs", "yards")):
        polygons(seed=number).assign(roof=name).to_file(path, layer=name)
    polygons(seed=2).assign(roof="odd").to_file(path, layer="more yards")
    legend = Legend.from_names(["roofs", "yards", "odd"])

    def layer(name: str) -> Labels:
        (found,) = inspect_labels(f"{path}|layername={name}", "roof")
        return found

    alone = {name: read((layer(name),), legend, "unknown") for name in ("roofs", "yards", "more yards")}
    for order in (("roofs", "yards"), ("yards", "roofs"), ("roofs", "more yards")):
        lower, upper = (alone[name] for name in order)
        both = read(tuple(layer(name) for name in order), legend, "unknown")
        assert (both == np.where(upper == UNKNOWN, lower, upper)).all()
    assert len(inspect_labels(path, "roof")) == 3
    with pytest.raises(LabelError, match=r"no layer 'roads'.*roofs, yards, more yards"):
        inspect_labels(f"{path}|layername=roads")
    with pytest.raises(LabelError, match=r"'\|subset=x' is not understood.*layername="):
        inspect_labels(f"{path}|subset=x")
    with pytest.raises(LabelError, match="no such file"):
        inspect_labels(f"{tmp_path / 'b.gpkg'}|layername=roofs")


def test_a_layer_without_attribute_is_of_the_class_it_is_called_after(tmp_path: Path) -> None:
    for name in ("Roof", "yard"):
        polygons()[["geometry"]].to_file(tmp_path / "a.gpkg", layer=name)
    polygons()[["geometry"]].to_file(tmp_path / "yard.geojson")
    legend = Legend.from_names(["roof", "yard"])
    for source, id_ in ((f"{tmp_path}/a.gpkg|layername=Roof", 1), (f"{tmp_path}/a.gpkg|layername=yard", 2),
                        (f"{tmp_path}/yard.geojson", 2)):  # fmt: skip
        assert set(np.unique(read(inspect_labels(source), legend, "unknown"))) == {id_, UNKNOWN}
    with pytest.raises(LabelError, match=r"do not say their class.*called|do not say their class.*call the layer"):
        make_codes(inspect_labels(tmp_path / "a.gpkg"), Legend.from_names(["tin", "tile"]), "unknown")


def test_of_several_attributes_each_layer_has_its_own(tmp_path: Path) -> None:
    polygons().to_file(tmp_path / "a.gpkg", layer="roofs")
    polygons().rename(columns={"roof": "use"}).to_file(tmp_path / "a.gpkg", layer="yards")
    labels = inspect_labels(tmp_path / "a.gpkg", ["use", "roof"])
    assert [entry.field for entry in labels if not isinstance(entry, MaskLabels)] == ["roof", "use"]
    with pytest.raises(LabelError, match=r"none of the attributes a, b.*roof, use"):
        inspect_labels(tmp_path / "a.gpkg", ["a", "b"])
