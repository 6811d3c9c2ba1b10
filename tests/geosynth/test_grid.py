import itertools
import math

import pytest
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from shapely.geometry import box

from geosynth.grid import (
    CELLS,
    Grid,
    engineering_crs,
    fictitious_grid,
    ground_pixel_size,
    is_engineering,
    usable_area,
    utm_crs,
)


def grid(epsg: int, size: float, x: float, y: float, side: int = 100) -> Grid:
    return Grid(CRS.from_epsg(epsg), Affine(size, 0, x, 0, -size, y), side, side)


def test_web_mercator_metres_are_not_ground_metres() -> None:
    nepal = grid(3857, 0.1492911, 9_519_926, 3_202_940)
    latitude = math.radians(27.6)
    assert nepal.gsd_m == pytest.approx(0.1492911 * math.cos(latitude), rel=0.005)


def test_degrees_are_not_metres() -> None:
    across, along = ground_pixel_size(grid(4326, 1e-4, -0.78, 38.1)) or (0, 0)
    assert across == pytest.approx(1e-4 * 111_320 * math.cos(math.radians(38.1)), rel=0.005)
    assert along == pytest.approx(1e-4 * 111_000, rel=0.005)


def test_a_local_plane_has_no_ground_size_and_survives_a_geotiff() -> None:
    crs = engineering_crs()
    place = Grid(crs, Affine(1, 0, 0, 0, -1, 0), 8, 8)
    assert place.gsd_m is None
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", height=8, width=8, count=1, dtype="uint8", crs=crs, transform=place.transform):
            pass
        with memory.open() as dataset:
            assert dataset.crs == crs
            assert is_engineering(dataset.crs)
    assert not is_engineering(CRS.from_epsg(32633))


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"), [(15, 50, 32633), (15, -50, 32733), (179.9, 1, 32660), (-180, 1, 32601)]
)
def test_utm_zone(lon: float, lat: float, epsg: int) -> None:
    assert utm_crs(grid(4326, 1e-5, lon, lat)).to_epsg() == epsg


def test_a_window_is_where_its_pixels_are() -> None:
    whole = grid(32633, 2.0, 500_000, 5_000_000)
    part = whole.window(10, 20, 5, 6)
    assert part.transform @ (0, 0) == whole.transform @ (20, 10)
    assert part.bounds == (500_040, 5_000_000 - 30, 500_052, 5_000_000 - 20)


@pytest.mark.parametrize(
    ("epsg", "size"), [(3857, 0.15), (32645, 0.3), (32633, 10.0), (4326, 8.98e-5), (2056, 0.5), (None, 1.0)]
)
def test_fictitious_tiles_never_touch_and_stay_in_the_usable_area(epsg: int | None, size: float) -> None:
    crs = engineering_crs() if epsg is None else CRS.from_epsg(epsg)
    side = 128
    sample = [*range(40), CELLS - 1, CELLS, CELLS + 1, 2 * CELLS]
    grids = [fictitious_grid(crs, (size, size), side, index, "some-tileset") for index in sample]
    for one, other in itertools.combinations(grids, 2):
        assert one.footprint.distance(other.footprint) > 0.9 * side * size
    for place in grids:
        assert place.pixel_size == (size, size)  # exactly, not nearly
    area = None if epsg is None else usable_area(crs.to_wkt())
    if epsg is not None:
        assert area is not None
        for place in grids[:40]:
            left, bottom, right, top = place.bounds
            assert area[0] <= left and right <= area[2] and area[1] <= bottom and top <= area[3]


@pytest.mark.parametrize(("epsg", "size", "side"), [(32633, 1.0, 4096), (4326, 1e-5, 40_000), (2056, 0.5, 4096)])
def test_a_large_scene_has_many_places_to_lie_at(epsg: int, size: float, side: int) -> None:
    crs = CRS.from_epsg(epsg)
    grids = [fictitious_grid(crs, (size, size), side, 0, f"scene-{number}", cells=1) for number in range(20)]
    assert len({grid.bounds for grid in grids}) > 15
    area = usable_area(crs.to_wkt())
    assert area is not None
    assert all(box(*area).contains(grid.footprint) for grid in grids)


def test_fictitious_places_depend_on_the_tileset_only() -> None:
    crs = CRS.from_epsg(32633)
    first = fictitious_grid(crs, (1.0, 1.0), 64, 5, "a")
    assert first == fictitious_grid(crs, (1.0, 1.0), 64, 5, "a")
    assert first.bounds != fictitious_grid(crs, (1.0, 1.0), 64, 5, "b").bounds
    assert isinstance(first.transform, rasterio.Affine)
