"""Outlines are those that GDAL finds, of every raster."""

from collections.abc import Iterator

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes

from geosynth.scenes.outlines import Cycles, Outlines, straightened, trace
from geosynth.scenes.pieces import polygons_of
from geosynth.world import Landscape

Found = list[tuple[int, bytes]]


def polygons(outlines: Outlines) -> NDArray[np.object_]:
    return polygons_of(outlines.x, outlines.y, outlines.starts, outlines.region)


def normal(outlines: Outlines) -> Found:
    return sorted(
        (class_, shapely.normalize(shape).wkb)
        for class_, shape in zip(outlines.classes.tolist(), polygons(outlines), strict=True)
    )


def by_gdal(ids: NDArray[np.uint8]) -> Found:
    return sorted(
        (int(value), shapely.normalize(shapely.Polygon(outline["coordinates"][0], outline["coordinates"][1:])).wkb)
        for outline, value in shapes(ids.astype(np.int16), connectivity=4)
    )


def rasters() -> Iterator[NDArray[np.uint8]]:
    yield Landscape(0).render(0, 0, 90, 110)[1]
    yield np.zeros((1, 1), np.uint8)
    yield (np.indices((7, 9)).sum(axis=0) % 2).astype(np.uint8)  # a checkerboard
    rings = np.indices((15, 15)) - 7
    yield (np.abs(rings).max(axis=0) % 2).astype(np.uint8)  # holes in holes
    yield (np.abs(rings).sum(axis=0) % 2 * 3).astype(np.uint8)  # diamonds: holes that touch with corners only
    random = np.random.default_rng(0)
    for number in range(150):
        ids = random.integers(0, 2 + number % 3, random.integers(1, 30, 2)).astype(np.uint8)
        yield np.kron(ids, np.ones((1 + number % 2, 1 + number % 4), np.uint8)).astype(np.uint8)


def test_outlines_are_those_of_gdal() -> None:
    for ids in rasters():
        outlines = trace(ids)
        assert normal(outlines) == by_gdal(ids)
        assert shapely.is_valid(polygons(outlines)).all()
        assert (shapely.area(polygons(outlines)) == outlines.sizes).all()


def test_regions_come_in_the_order_of_their_first_pixels() -> None:
    outlines = trace(np.array([[3, 3, 1], [3, 2, 1], [3, 3, 3]], np.uint8))
    assert outlines.classes.tolist() == [3, 1, 2]
    assert outlines.region.tolist() == [0, 1, 2]


def test_noded_outlines_share_every_vertex_of_their_borders() -> None:
    for ids in rasters():
        noded = polygons(trace(ids, noded=True))
        assert shapely.coverage_is_valid(noded)
        assert shapely.equals(noded, polygons(trace(ids))).all()
    assert not shapely.coverage_is_valid(polygons(trace(ids))), "otherwise this test shows nothing"


def test_what_lies_around_a_block_gives_vertices_in_its_frame() -> None:
    ids = np.array([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 2, 2]], np.uint8)
    outlines = trace(ids, halo=True)
    assert sorted(zip(outlines.x.tolist(), outlines.y.tolist(), strict=True)) == [
        (0, 0), (0, 2), (1, 0), (2, 2), (3, 0), (3, 2)
    ]  # fmt: skip
    x, y, starts = straightened(outlines.x, outlines.y, outlines.starts)
    assert sorted(zip(x.tolist(), y.tolist(), strict=True)) == [(0, 0), (0, 2), (3, 0), (3, 2)]
    assert starts.tolist() == [0, 4]


def test_sums_over_regions() -> None:
    random = np.random.default_rng(1)
    ids, values = random.integers(0, 3, (20, 30)).astype(np.uint8), random.integers(0, 100, (20, 30))
    integral = np.zeros((21, 31), np.int64)
    integral[1:, 1:] = values.cumsum(axis=0).cumsum(axis=1)
    outlines = trace(ids)
    sums = outlines.sums(integral)
    for class_ in range(3):
        assert sums[outlines.classes == class_].sum() == values[ids == class_].sum()
    alone = np.flatnonzero(outlines.sizes == 1)
    first = np.array([np.flatnonzero(outlines.region == region)[0] for region in alone])
    corner = outlines.starts[first]
    assert (sums[alone] == values[outlines.y[corner], outlines.x[corner]]).all()


def test_regions_of_one_class_that_touch_with_corners() -> None:
    outlines = trace(np.array([[1, 0], [0, 1]], np.uint8))
    assert outlines.touches.tolist() == [[1, 1], [1, 1]]
    by_diagonal = {
        bool(rising): outlines.classes[pair].tolist()
        for rising, pair in zip(outlines.rising, outlines.touching, strict=True)
    }
    assert by_diagonal == {True: [0, 0], False: [1, 1]}


@pytest.mark.parametrize("count", [1, 2, 500])
def test_cycles_of_a_permutation(count: int) -> None:
    following = np.random.default_rng(count).permutation(count).astype(np.int32)
    cycles = Cycles(following)
    seen = []
    for begin, end in zip(cycles.starts[:-1], cycles.starts[1:], strict=True):
        items = cycles.order[begin:end].tolist()
        assert items[0] == min(items)
        assert [following[item] for item in items] == [*items[1:], items[0]]
        seen += items
    assert sorted(seen) == list(range(count))
    assert cycles.first.tolist() == sorted(cycles.first.tolist())
