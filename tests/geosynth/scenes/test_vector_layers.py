"""Lines, collections and other geometries as areas of a class."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.errors import LabelError
from geosynth.grid import Grid, engineering_crs
from geosynth.legend import UNKNOWN
from geosynth.scenes.areas import as_areas, ground_scale
from geosynth.scenes.burning import load_polygons, open_labels
from geosynth.scenes.identity import label_identity
from geosynth.scenes.labels import PolygonLabels, infer_legend, inspect_labels, make_codes

EAST, NORTH = 500_000, 6_650_000
"""Near Oslo, at 60 degrees north: a web-mercator metre is half a metre on the ground there."""
UTM = CRS.from_epsg(32632)
GRID = Grid(UTM, Affine(0.5, 0, EAST, 0, -0.5, NORTH), 240, 240)
STREET = shapely.LineString([(EAST + 10, NORTH - 20), (EAST + 60, NORTH - 20), (EAST + 100, NORTH - 70)])


def write(path: Path, shapes: list[Any], crs: Any = UTM, **columns: Any) -> Path:
    values = columns or {"class": ["road"] * len(shapes)}
    frame = gpd.GeoDataFrame(values, geometry=shapes, crs=None if crs is None else pyproj.CRS.from_user_input(crs))
    frame.to_file(path)
    return path


def layer(path: str | Path, line_width: float | None = None) -> PolygonLabels:
    (found,) = inspect_labels(path, line_width=line_width)
    assert isinstance(found, PolygonLabels)
    return found


def burnt(path: str | Path, line_width: float | None, grid: Grid = GRID) -> np.ndarray:
    labels = [layer(path, line_width)]
    codes = make_codes(labels, infer_legend(labels, "background"), "background")
    with open_labels(labels, codes, grid) as reader:
        return reader.read(0, 0, grid.height, grid.width) == 1


def test_lines_are_as_wide_on_the_ground_as_they_are_said_to_be(tmp_path: Path) -> None:
    expected = burnt(write(tmp_path / "a.gpkg", [STREET.buffer(3)]), None)
    assert expected.sum() * 0.25 == pytest.approx(STREET.buffer(3).area, rel=0.02)
    degrees = gpd.GeoSeries([STREET], crs=32632).to_crs(4326)
    for name in ("b.gpkg", "b.geojson", "b.shp"):
        path = write(tmp_path / name, list(degrees), 4326)
        assert (burnt(path, 6.0) != expected).sum() < 0.02 * expected.sum(), name


@pytest.mark.parametrize("code", [3857, 4326, 32632, 25833, 2263])
def test_a_width_is_the_same_in_every_coordinate_system(code: int) -> None:
    """Half of a line's buffer is measured on the ellipsoid, wherever and in whatever unit it is drawn."""
    point = (-74.0, 40.7) if code == 2263 else (10.0, 60.0)
    crs = pyproj.CRS.from_epsg(code)
    east, north = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(*point)
    long = 0.01 if crs.is_geographic else 1000.0
    for direction in ((long, 0.0), (0.0, long), (long, long)):
        line = shapely.LineString([(east, north), (east + direction[0], north + direction[1])])
        (area,) = as_areas(np.array([line]), 10.0, crs.to_wkt()).geometries
        (flat,) = gpd.GeoSeries([area], crs=crs).to_crs(4326)
        (middle,) = gpd.GeoSeries([line], crs=crs).to_crs(4326)
        geod = pyproj.Geod(ellps="WGS84")
        ground, length = abs(geod.geometry_area_perimeter(flat)[0]), geod.geometry_length(middle)
        assert ground == pytest.approx(10 * length + np.pi * 25, rel=5e-3)


def test_lines_in_a_plane_without_place_have_its_units(tmp_path: Path) -> None:
    grid = Grid(engineering_crs(), Affine(1, 0, 0, 0, -1, 0), 60, 60)
    path = write(tmp_path / "a.gpkg", [shapely.LineString([(10, -30), (50, -30)])], None)
    assert burnt(path, 4.0, grid).sum() == pytest.approx(40 * 4 + np.pi * 4, abs=6)


def test_lines_without_width_say_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [STREET])
    with pytest.raises(LabelError, match=r"holds lines, no polygons.*--line-width METRES"):
        inspect_labels(path)
    write(tmp_path / "b.geojson", [STREET, shapely.MultiLineString([STREET])])  # a layer of no one kind
    with pytest.raises(LabelError, match="--line-width"):
        inspect_labels(tmp_path / "b.geojson")


def test_points_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [shapely.Point(EAST, NORTH)])
    for width in (None, 5.0):
        with pytest.raises(LabelError, match=r"only points.*draw them"):
            inspect_labels(path, line_width=width)


def test_of_a_file_with_many_kinds_of_layers_those_with_areas_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    shapes = {
        "trees": shapely.Point(EAST, NORTH),
        "streets": STREET,
        "roofs": shapely.box(EAST, NORTH, EAST + 1, NORTH + 1),
    }
    for name, shape in shapes.items():
        gpd.GeoDataFrame({"class": [name]}, geometry=[shape], crs=32632).to_file(path, layer=name)
    assert [entry.layer for entry in inspect_labels(path)] == ["roofs"]  # type: ignore[union-attr]
    assert [entry.layer for entry in inspect_labels(path, line_width=3)] == ["streets", "roofs"]  # type: ignore[union-attr]
    with pytest.raises(LabelError, match=r"layername=streets.*--line-width"):
        inspect_labels(f"{path}|layername=streets")
    assert layer(f"{path}|layername=streets", 3.0).values == ("streets",)


def test_collections_keep_what_has_an_area(tmp_path: Path) -> None:
    box, point = shapely.box(EAST + 70, NORTH - 20, EAST + 80, NORTH - 10), shapely.Point(EAST + 5, NORTH - 5)
    nested = shapely.GeometryCollection([point, shapely.GeometryCollection([STREET, box])])
    shapes = [nested, None, shapely.Polygon(), point, shapely.LineString([(EAST, NORTH), (EAST, NORTH)])]
    path = write(tmp_path / "a.gpkg", shapes)
    without, with_lines = (load_polygons(layer(path, width), UTM) for width in (None, 4.0))
    assert (len(without.geometries), without.dropped, without.repaired) == (1, 4, 0)
    assert (len(with_lines.geometries), with_lines.dropped) == (2, 4)
    assert with_lines.values == ("road", "road")
    assert burnt(path, None).sum() == 400
    expected = shapely.union(box, STREET.buffer(2)).area
    assert burnt(path, 4.0).sum() * 0.25 == pytest.approx(expected, rel=0.02)


def test_invalid_polygons_inside_collections_are_repaired_and_counted_once() -> None:
    bow = shapely.Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])
    areas = as_areas(np.array([shapely.GeometryCollection([bow, bow]), bow, shapely.box(0, 0, 1, 1)]))
    assert (areas.repaired, areas.dropped, areas.index.tolist()) == (2, 0, [0, 0, 1, 2])
    assert shapely.area(areas.geometries).tolist() == [8, 8, 8, 1]
    assert shapely.is_valid(areas.geometries).all()


def test_the_last_feature_wins_lines_among_polygons_too(tmp_path: Path) -> None:
    box = shapely.box(EAST, NORTH - 40, EAST + 100, NORTH)
    for order, on_street in ((("field", "road"), 2), (("road", "field"), 1)):
        shapes = [box if name == "field" else STREET for name in order]
        labels = [layer(write(tmp_path / f"{on_street}.gpkg", shapes, **{"class": list(order)}), 4.0)]
        legend = infer_legend(labels, "unknown")
        assert legend.names == ("field", "road")
        with open_labels(labels, make_codes(labels, legend, "unknown"), GRID) as reader:
            ids = reader.read(0, 0, GRID.height, GRID.width)
        assert ids[40, 60] == on_street and ids[10, 60] == 1 and ids[239, 0] == UNKNOWN


def test_the_width_belongs_to_the_identity_only_where_there_are_lines(tmp_path: Path) -> None:
    lines = write(tmp_path / "a.gpkg", [STREET])
    assert len({str(label_identity(layer(lines, width))) for width in (3.0, 4.0)}) == 2
    polygons = write(tmp_path / "b.gpkg", [STREET.buffer(1)])
    assert label_identity(layer(polygons, 3.0)) == label_identity(layer(polygons))


def test_ground_metres_of_a_unit() -> None:
    mercator = ground_scale(np.array([[0.0, 0.0], [0.0, 8_399_737.89]]), pyproj.CRS.from_epsg(3857).to_wkt())
    assert mercator == pytest.approx(np.array([[1, 1], [0.5, 0.5]]), rel=7e-3)  # mercator takes the Earth for a ball
    assert ground_scale(np.array([[3.0, 4.0]]), None).tolist() == [[1.0, 1.0]]
