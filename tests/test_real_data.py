"""Real scenes and their labels: small windows of them, against what other means say about them."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from conftest import required
from geosynth_cli.main import cli
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window, from_bounds

from geosynth.tileset import Tileset

SIDE = 64
BANEPA = Window(1024, 1024, 1024, 1024)
"""A window of banepa_a with some 200 roofs."""
DUBAI = Window(800, 1200, 480, 410)
"""A window of tile1 with all five classes and unlabelled pixels."""


def geosynth(*arguments: str | Path) -> str:
    """Standard output of a command that must succeed."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def cut(path: Path, window: Window, folder: Path) -> Path:
    """A window of a raster as a raster of the same name, values, place and palette; losslessly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            kept = {key: source.profile[key] for key in ("driver", "dtype", "count", "crs", "nodata")}
            if source.crs:
                kept["transform"] = source.window_transform(window)
            kept |= {"height": window.height, "width": window.width, "compress": "deflate"}
            palette = source.colormap(1) if source.colorinterp[0].name == "palette" else None
            with rasterio.open(folder / path.name, "w", **kept, photometric="palette" if palette else "rgb") as target:
                target.write(source.read(window=window))
                if palette:
                    target.write_colormap(1, palette)
    return folder / path.name


# Roofs of Banepa, Nepal: OpenStreetMap polygons in degrees over drone imagery in web-mercator metres.


@pytest.fixture(scope="module")
def banepa(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a window of the scene, all polygons, and tiles of 0.3 ground metres; do not change it."""
    scene, labels = (real_data / "buildings_oam" / name for name in ("banepa_a.tif", "banepa_a_buildings.gpkg"))
    required("Banepa among the real data", scene.is_file() and labels.is_file())
    folder = tmp_path_factory.mktemp("banepa")
    shutil.copy(labels, folder)
    arguments = ("--class-field", "roof_class", "--outside", "background", "--gsd", "0.3", "--size", SIDE, "--block", 2)
    geosynth(
        "tile", cut(scene, BANEPA, folder), "--labels", folder / labels.name, *arguments, "--out", folder / "tiles"
    )
    return folder


def roofs(banepa: Path) -> geopandas.GeoDataFrame:
    """The polygons in the scene's CRS."""
    return geopandas.read_file(banepa / "banepa_a_buildings.gpkg").to_crs(3857)


def test_banepa_tiles_measure_what_was_asked_for_on_the_ground(banepa: Path) -> None:
    tileset = Tileset(banepa / "tiles")
    assert tileset.spec.crs.to_epsg() == 3857
    assert tileset.spec.gsd_m == pytest.approx(0.3, rel=1e-3)
    # A web-mercator metre is not a ground metre: at 27.6° north it is 0.89 of one.
    assert tileset.spec.pixel_size == pytest.approx((0.3 / 0.886, 0.3 / 0.886), rel=2e-3)
    to_degrees = pyproj.Transformer.from_crs(3857, 4326, always_xy=True)
    for tile in tileset.tiles:
        left, bottom, right, top = tile.geometry.bounds
        (west, east), (south, north) = to_degrees.transform([left, right], [bottom, top])
        lengths = pyproj.Geod(ellps="WGS84").inv([west, west], [south, south], [east, west], [south, north])[2]
        # Web mercator takes the Earth for a ball: squares there are not quite squares on the ground.
        assert np.array(lengths) / SIDE == pytest.approx(0.3, rel=5e-3)
        assert np.sqrt(np.prod(lengths)) / SIDE == pytest.approx(0.3, rel=1e-3)


def test_banepa_tiles_lie_where_their_pixels_are_from(banepa: Path) -> None:
    tileset = Tileset(banepa / "tiles")
    x, y = tileset.spec.pixel_size
    with rasterio.open(banepa / "banepa_a.tif") as scene:
        covered = 0.0
        for tile in tileset.tiles:
            image, valid, _ = tileset.read(tile)
            grid = tileset.grid(tile)
            assert tile.geometry.equals_exact(grid.footprint, 1e-6) and grid.pixel_size == pytest.approx((x, y))
            assert grid.transform.c / x == pytest.approx(round(grid.transform.c / x), abs=1e-3)

            def there(shift: float, grid: object = grid) -> np.ndarray:
                """The scene's own pixels under the tile, averaged by rasterio; moved ``shift`` pixels to the east."""
                left, bottom, right, top = tile.geometry.bounds  # noqa: B023
                window = from_bounds(left + shift * x, bottom, right + shift * x, top, scene.transform)
                return scene.read(
                    window=window, boundless=True, out_shape=(3, SIDE, SIDE), resampling=Resampling.average
                ).astype(float)

            inner = valid.copy()
            inner[:, [0, -1]] = inner[[0, -1]] = False
            off = [np.abs(there(shift) - image)[:, inner].mean() for shift in (0, 1, -1)]
            assert off[0] < 8 and off[0] < 0.6 * min(off[1:]), tile.id
            covered += valid.sum() * x * y
        bounds = scene.bounds
    # Splits keep apart what they must; what is left out by nodata is at the edge.
    assert covered == pytest.approx((bounds.right - bounds.left) * (bounds.top - bounds.bottom), rel=0.05)


def test_banepa_masks_are_the_polygons(banepa: Path) -> None:
    tileset, polygons = Tileset(banepa / "tiles"), roofs(banepa)
    legend = tileset.spec.legend
    assert legend.names == ("background", *sorted(polygons["roof_class"].unique()))
    assert legend.ids == (0, 1, 2, 3, 4)
    assert len({entry.color for entry in legend.classes}) == len(legend)
    ids = polygons["roof_class"].map(dict(zip(legend.names, legend.ids, strict=True))).to_numpy()
    geometries = polygons.geometry.to_numpy()
    tree = shapely.STRtree(geometries)
    agree, known, drawn, written = 0, 0, np.zeros(len(legend)), np.zeros(len(legend))
    for tile in tileset.tiles:
        _, valid, mask = tileset.read(tile)
        transform = tileset.grid(tile).transform
        rows, cols = np.mgrid[:SIDE, :SIDE] + 0.5
        xs, ys = transform.c + cols * transform.a, transform.f + rows * transform.e
        points, hits = tree.query(shapely.points(xs.ravel(), ys.ravel()), predicate="intersects")
        expected = np.zeros(SIDE * SIDE, np.uint8)
        for point, hit in sorted(zip(points.tolist(), hits.tolist(), strict=True)):
            expected[point] = ids[hit]  # of two that overlap the later one counts
        agree += int((expected.reshape(SIDE, SIDE) == mask)[valid].sum())
        known += int(valid.sum())
        assert (mask[~valid] == 255).all()
        written += np.array(tile.class_fractions) * SIDE**2
        if valid.all():
            # Areas of the polygons themselves, without any pixels.
            parts = shapely.area(shapely.intersection(geometries, tile.geometry)) / tileset.spec.pixel_size[0] ** 2
            drawn += np.bincount(ids, parts, minlength=len(legend))
            drawn[0] += SIDE**2 - parts.sum()
        else:
            drawn += np.array(tile.class_fractions) * SIDE**2
    assert agree >= 0.9999 * known
    assert known == pytest.approx(written.sum())
    assert drawn == pytest.approx(written, rel=0.01, abs=20)
    assert (written > 100).all()  # the window shows every class


def test_banepa_roofs_nobody_could_tell_can_be_unknown(banepa: Path, tmp_path: Path) -> None:
    """The attribute's value "unknown" is no class of roof."""
    arguments = ("--class-field", "roof_class", "--outside", "background", "--ignore", "unknown")
    labels = banepa / "banepa_a_buildings.gpkg"
    geosynth(
        "tile", banepa / "banepa_a.tif", "--labels", labels, *arguments, "--size", 512, "--block", 1, "--out", tmp_path
    )
    tileset = Tileset(tmp_path)
    assert tileset.spec.legend.names == ("background", "clay_tiles", "concrete", "tin")
    polygons = roofs(banepa)
    unclear = polygons[polygons["roof_class"] == "unknown"].geometry
    for tile in tileset.tiles:
        area = unclear.intersection(tile.geometry).area.sum() / tile.geometry.area
        assert tile.unknown_fraction == pytest.approx(area, abs=2e-3)
    assert max(tile.unknown_fraction for tile in tileset.tiles) > 0.01


# Dubai: no georeference, masks with a palette, a legend file whose ignore_index is 0.


@pytest.fixture(scope="module")
def dubai(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a window of tile1, its mask, the legend, and tiles; do not change it."""
    source = real_data / "landcover_dubai"
    required("Dubai among the real data", (source / "tile1.tif").is_file())
    folder = tmp_path_factory.mktemp("dubai")
    scene, mask = (cut(source / name, DUBAI, folder) for name in ("tile1.tif", "tile1_mask.tif"))
    legend = Path(shutil.copy(source / "classes.json", folder))
    arguments = ("--labels", mask, "--legend", legend, "--size", SIDE, "--block", 2)
    geosynth("tile", scene, *arguments, "--out", folder / "tiles")
    return folder


def classes(dubai: Path) -> dict[int, dict[str, object]]:
    """The classes of the legend file that count, by id."""
    content = json.loads((dubai / "classes.json").read_text())
    return {entry["id"]: entry for entry in content["classes"] if entry["id"] != content["ignore_index"]}


def pixels(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            return dataset.read()


def test_dubai_has_no_place_on_earth(dubai: Path) -> None:
    tileset = Tileset(dubai / "tiles")
    assert tileset.spec.gsd_m is None and tileset.spec.pixel_size == (1, 1)
    assert not tileset.spec.crs.is_projected and not tileset.spec.crs.is_geographic
    for tile in tileset.tiles[:3]:
        for name in (tile.image, tile.mask):
            with rasterio.open(tileset.path / name) as dataset:
                assert 'EDATUM["Unknown engineering datum"' in dataset.crs.to_wkt(version="WKT2_2019")
                assert dataset.bounds == pytest.approx(tile.geometry.bounds)
    # The index and its view for QGIS say so, too.
    for frame in (
        geopandas.read_parquet(dubai / "tiles" / "index.parquet"),
        geopandas.read_file(dubai / "tiles" / "index.gpkg"),
    ):
        assert frame.crs is None or not (frame.crs.is_projected or frame.crs.is_geographic)
        assert frame.total_bounds == pytest.approx([0, -(DUBAI.height // SIDE * SIDE), DUBAI.width // SIDE * SIDE, 0])


def test_dubai_tiles_are_the_crop(dubai: Path) -> None:
    tileset = Tileset(dubai / "tiles")
    image, mask = pixels(dubai / "tile1.tif"), pixels(dubai / "tile1_mask.tif")[0]
    assert len(tileset.tiles) == (DUBAI.height // SIDE) * (DUBAI.width // SIDE)
    for tile in tileset.tiles:
        left, _, _, top = (round(value) for value in tile.geometry.bounds)
        window = np.s_[-top : -top + SIDE, left : left + SIDE]
        values, valid, ids = tileset.read(tile)
        assert (values == image[:, *window]).all() and valid.all()
        assert (ids == np.where(mask[window] == 0, 255, mask[window])).all()


def test_dubai_classes_are_those_of_the_legend_file(dubai: Path) -> None:
    tileset = Tileset(dubai / "tiles")
    expected = classes(dubai)
    found = {entry.id: (entry.name, list(entry.rgb)) for entry in tileset.spec.legend.classes}
    assert found == {id_: (entry["name"], entry["rgb"]) for id_, entry in expected.items()}
    with rasterio.open(tileset.path / tileset.tiles[0].mask) as dataset:
        assert dataset.nodata == 255
        assert all(list(dataset.colormap(1)[id_][:3]) == entry["rgb"] for id_, entry in expected.items())
    style = (tileset.path / "legend.qml").read_text(encoding="utf-8")
    assert all(str(entry["name"]) in style for entry in expected.values())
    # Shares by counting the source's pixels.
    mask = pixels(dubai / "tile1_mask.tif")[0, : DUBAI.height // SIDE * SIDE, : DUBAI.width // SIDE * SIDE]
    shares = np.mean([tile.class_fractions for tile in tileset.tiles], axis=0)
    assert shares == pytest.approx([(mask == id_).mean() for id_ in expected])
    assert np.mean([tile.unknown_fraction for tile in tileset.tiles]) == pytest.approx((mask == 0).mean())
    assert (mask == 0).any() and all((mask == id_).any() for id_ in expected)


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "geojson", "shp"])
def test_dubai_polygons_have_the_pixels_area(dubai: Path, tmp_path: Path, suffix: str) -> None:
    mask = dubai / "tile1_mask.tif"
    out = tmp_path / f"classes.{suffix}"
    geosynth("vectorize", mask, "--legend", dubai / "classes.json", "--out", out)
    polygons = geopandas.read_parquet(out) if suffix == "parquet" else geopandas.read_file(out)
    counts = np.bincount(pixels(mask).ravel(), minlength=6)
    assert polygons.is_valid.all()
    assert polygons.area.groupby(polygons["class_id"]).sum().to_dict() == pytest.approx(
        {id_: counts[id_] for id_ in classes(dubai)}
    )
    assert polygons["area"].sum() == pytest.approx(counts[1:].sum())
    assert polygons.union_all().area == pytest.approx(counts[1:].sum())  # no two overlap
    assert (polygons["class_name"] == polygons["class_id"].map(lambda id_: classes(dubai)[id_]["name"])).all()


def test_dubai_polygons_stay_side_by_side_when_simplified(dubai: Path, tmp_path: Path) -> None:
    mask, out = dubai / "tile1_mask.tif", tmp_path / "classes.gpkg"
    geosynth("vectorize", mask, "--out", out, "--simplify", "2")
    polygons = geopandas.read_file(out)
    counts = np.bincount(pixels(mask).ravel(), minlength=6)
    area = polygons.area.groupby(polygons["class_id"]).sum()
    # Without a legend 0 is a class as well, so the whole window is covered: not a gap, not an overlap.
    assert area.sum() == pytest.approx(counts.sum(), rel=1e-9)
    assert polygons.union_all().area == pytest.approx(counts.sum(), rel=1e-9)
    assert area.to_numpy() == pytest.approx(counts, rel=0.05, abs=60)
