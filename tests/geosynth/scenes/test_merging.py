"""Blocks put together: the result is that of the whole raster, whatever the blocks."""

from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from geosynth.legend import UNKNOWN
from geosynth.scenes.merging import Merger, Regions, Rings
from geosynth.scenes.outlines import trace
from geosynth.scenes.pieces import Keys, Paths, cut, polygons_of, simplified
from geosynth.world import Landscape

Shapes = list[tuple[int, Any]]


def merged(
    ids: NDArray[np.uint8], block: int, *, noded: bool = False, tolerance: float = 0.0, largest: int | None = None
) -> Shapes:
    """(class, polygon) of every known region, by way of blocks."""
    height, width = ids.shape
    padded, keys = np.pad(ids, 1, constant_values=UNKNOWN), Keys(width)
    noded |= tolerance > 0
    merger = Merger(keys, noded=noded, largest=largest)
    found: Shapes = []
    for row in range(0, height, block):
        open_parts = []
        for col in range(0, width, block):
            around = padded[row : row + block + 2, col : col + block + 2]
            outlines = trace(around, halo=True, noded=noded)
            if tolerance:
                outlines = simplified(outlines, tolerance, (1.0, 1.0))
            paths, open_ = cut(outlines, around, outlines.classes != UNKNOWN, keys, row, col)
            whole = paths.take(np.flatnonzero(~open_[paths.region]))
            regions, number = np.unique(whole.region, return_inverse=True)
            rings = Rings(whole.x, whole.y, whole.starts, number.astype(np.int32))
            found += shapes(outlines.classes[regions], rings if noded else rings.straightened())
            rest = paths.take(np.flatnonzero(open_[paths.region]))
            regions, number = np.unique(rest.region, return_inverse=True)
            known = Regions(
                outlines.classes[regions],
                outlines.sizes[regions],
                outlines.sizes[regions].astype(float),
                np.ones((len(regions), 2)),
                np.ones((len(regions), 1), bool),
            )
            open_parts.append(
                (known, Paths(rest.x, rest.y, rest.starts, number.astype(np.int32), rest.begin, rest.end))
            )
        done = merger.add(open_parts, min(row + block, height))
        if done is not None:
            regions_, rings = done
            polygons = shapes(regions_.classes, rings)
            if not tolerance:
                assert [polygon.area for _, polygon in polygons] == regions_.pixels.tolist()
            found += polygons
    return found


def shapes(classes: NDArray[np.uint8], rings: Rings) -> Shapes:
    return list(zip(classes.tolist(), polygons_of(rings.x, rings.y, rings.starts, rings.region), strict=True))


def normal(found: Shapes) -> list[tuple[int, bytes]]:
    return sorted((class_, shapely.normalize(shape).wkb) for class_, shape in found)


def whole(ids: NDArray[np.uint8]) -> list[tuple[int, bytes]]:
    outlines = trace(ids)
    rings = Rings(outlines.x, outlines.y, outlines.starts, outlines.region)
    return normal([entry for entry in shapes(outlines.classes, rings) if entry[0] != UNKNOWN])


def rasters(count: int) -> list[tuple[NDArray[np.uint8], int]]:
    """Rasters in which regions touch in every way, and the side of blocks."""
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        ids = random.integers(0, random.integers(1, 5), random.integers(1, 22, 2)).astype(np.uint8)
        if number % 3 == 0:
            ids = np.kron(ids, np.ones((3, 2), np.uint8)).astype(np.uint8)
        if number % 4 == 0:
            ids[random.random(ids.shape) < 0.2] = UNKNOWN
        made.append((ids, int(random.integers(1 + number % 5, 14))))
    return made


def test_the_result_does_not_depend_on_blocks() -> None:
    for ids, block in rasters(50):
        assert normal(merged(ids, block)) == whole(ids)
    mask = Landscape(0).render(0, 0, 150, 170)[1]
    assert normal(merged(mask, 64)) == normal(merged(mask, 50)) == whole(mask)


def test_noded_polygons_share_their_vertices_across_blocks() -> None:
    for ids, block in rasters(30):
        polygons = np.array([shape for _, shape in merged(ids, block, noded=True)])
        assert shapely.is_valid(polygons).all()
        assert shapely.coverage_is_valid(polygons)


def test_simplifying_opens_no_gaps_where_blocks_meet() -> None:
    for ids, block in [*rasters(30), (Landscape(0).render(0, 0, 150, 170)[1], 64)]:
        polygons = np.array([shape for _, shape in merged(ids, block + 2, tolerance=1.5)])
        assert shapely.is_valid(polygons).all()
        assert shapely.coverage_is_valid(polygons)
        if (ids != UNKNOWN).all():
            assert shapely.area(polygons).sum() == pytest.approx(ids.size, rel=1e-12)
            assert shapely.union_all(polygons).area == pytest.approx(ids.size, rel=1e-12)
    assert shapely.get_num_coordinates(polygons).sum() < 0.7 * sum(
        shapely.get_num_coordinates(shape) for _, shape in merged(ids, block)
    )


def test_large_regions_stay_cut_where_blocks_meet() -> None:
    for ids, block in rasters(30):
        found = merged(ids, block, largest=20)
        polygons = np.array([shape for _, shape in found])
        assert shapely.is_valid(polygons).all()
        assert shapely.area(polygons).sum() == (ids != UNKNOWN).sum()
        assert all(shape.area <= max(20, block * block) for shape in polygons)
        assert normal(merged(ids, block, largest=ids.size)) == whole(ids)
    large = np.zeros((40, 40), np.uint8)
    assert len(merged(large, 10, largest=399)) > 4
    assert len(merged(large, 10, largest=1600)) == 1


def test_only_what_reaches_over_the_lower_edge_is_held() -> None:
    keys = Keys(4)
    merger = Merger(keys, noded=False)
    ids = np.array([[1, 1, 2, 2]] * 4, np.uint8)
    ids[2:, :2] = 3

    def block(row: int) -> tuple[Regions, Paths]:
        around = np.pad(ids, 1, constant_values=UNKNOWN)[row : row + 4]
        outlines = trace(around, halo=True)
        paths, open_ = cut(outlines, around, np.ones(2, bool), keys, row, 0)
        assert open_.tolist() == [False, True]
        kept = np.flatnonzero(paths.region == 1)
        rest = paths.take(kept)
        chosen = np.array([1])
        known = Regions(
            outlines.classes[chosen], outlines.sizes[chosen], np.ones(1), np.ones((1, 2)), np.ones((1, 1), bool)
        )
        return known, Paths(rest.x, rest.y, rest.starts, np.zeros(len(kept), np.int32), rest.begin, rest.end)

    assert merger.add([block(0)], 2) is None
    done = merger.add([block(2)], 4)
    assert done is not None
    regions, rings = done
    assert (regions.classes.tolist(), regions.pixels.tolist(), regions.area.tolist()) == ([2], [8], [2.0])
    assert shapes(regions.classes, rings)[0][1].equals(shapely.box(2, 0, 4, 4))
