"""Areas are those of geodesics, where these follow the sides closely enough."""

import numpy as np
import pyproj
import pytest
import shapely
from rasterio import Affine
from rasterio.crs import CRS

from geosynth.grid import Grid, engineering_crs
from geosynth.scenes.groundarea import ring_areas

SIDE = 1000
PLACES = {
    "UTM": (32640, Affine(10, 0, 640_000, 0, -10, 6_790_000)),
    "UTM far from its middle": (32633, Affine(1, 0, 900_000, 0, -1, 500_000)),
    "web mercator": (3857, Affine(10, 0, 1e6, 0, -10, 8e6)),
    "degrees": (4326, Affine(1e-4, 0, 55, 0, -1e-4, 25)),
    "a tenth of the Earth": (4326, Affine(0.1, 0, -50, 0, -0.1, 80)),
    "all of the Earth": (4326, Affine(0.36, 0, -180, 0, -0.18, 90)),
    "the pole": (3413, Affine(1000, 0, -500_000, 0, -1000, 500_000)),
    "the date line": (3832, Affine(100, 0, 3_300_000, 0, -100, 2_000_000)),
    "Lambert's cone": (2154, Affine(5, 0, 7e5, 0, -5, 6.6e6)),
    "feet": (2263, Affine(10, 0, 980_000, 0, -10, 200_000)),
}


@pytest.mark.parametrize("place", PLACES)
def test_areas_are_those_on_the_ellipsoid(place: str) -> None:
    code, transform = PLACES[place]
    grid = Grid(CRS.from_epsg(code), transform, SIDE, SIDE)
    crs = pyproj.CRS.from_epsg(code)
    to_lonlat = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    geod = crs.get_geod()
    random = np.random.default_rng(0)
    for _ in range(5):
        points = random.uniform(0, SIDE, (8, 2))
        middle = points.mean(axis=0)
        points = points[np.argsort(np.arctan2(*(points - middle).T[::-1]))]  # clockwise with y down
        # Between vertices a geodesic is not straight in the CRS, so there must be many.
        dense = shapely.get_coordinates(shapely.segmentize(shapely.Polygon(points), SIDE / 2000))
        lon, lat = to_lonlat.transform(dense[:, 0] * transform.a + transform.c, dense[:, 1] * transform.e + transform.f)
        expected, _ = geod.polygon_area_perimeter(lon, lat)
        (found,) = ring_areas(points[:, 0], points[:, 1], np.array([0, 8]), grid)
        assert found == pytest.approx(abs(expected), rel=1e-6)
        (hole,) = ring_areas(points[::-1, 0], points[::-1, 1], np.array([0, 8]), grid)
        assert hole == pytest.approx(-found, rel=1e-12)


def test_areas_of_pixels_add_up() -> None:
    grid = Grid(CRS.from_epsg(3857), Affine(30, 0, 9_519_000, 0, -30, 3_202_000), 40, 50)
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(50), np.arange(40)))
    corners = (np.stack([x, x + 1, x + 1, x], 1).ravel(), np.stack([y, y, y + 1, y + 1], 1).ravel())
    pixels = ring_areas(*corners, np.arange(0, 4 * 2000 + 1, 4), grid)
    (whole,) = ring_areas(np.array([0, 50, 50, 0]), np.array([0, 0, 40, 40]), np.array([0, 4]), grid)
    assert pixels.sum() == pytest.approx(whole, rel=1e-12)
    assert pixels.min() < pixels.max()


def test_a_local_plane_has_its_own_units() -> None:
    grid = Grid(engineering_crs(), Affine(2, 0, 0, 0, -3, 0), 10, 10)
    x, y = np.array([1, 4, 4, 1, 0, 0, 1, 1]), np.array([1, 1, 3, 3, 0, 1, 1, 0])
    assert ring_areas(x, y, np.array([0, 4, 4, 8]), grid).tolist() == [36.0, 0.0, -6.0]
