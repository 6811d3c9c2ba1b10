"""Polygons out of masks: exact, whatever the blocks, and with borders that neighbours share."""

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from geosynth.scenes.polygons import class_polygons, noded
from geosynth.world import Landscape


def world() -> NDArray[np.uint8]:
    mask = Landscape(0).render(0, 0, 150, 170)[1].copy()
    mask[40:80, 30:60] = 255
    return mask


def specks() -> NDArray[np.uint8]:
    """Every way regions can touch at corners and hold holes."""
    return np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), (61, 47))


def polygons(mask: NDArray[np.uint8], block: int) -> tuple[NDArray[np.object_], NDArray[np.uint8]]:
    return class_polygons(
        lambda row, col, height, width: mask[row : row + height, col : col + width], *mask.shape, block=block
    )


@pytest.mark.parametrize("mask", [world(), specks()], ids=["world", "specks"])
@pytest.mark.parametrize("block", [1000, 64, 17])
def test_polygons_are_the_mask_whatever_the_blocks(mask: NDArray[np.uint8], block: int) -> None:
    shapes, classes = polygons(mask, block)
    assert shapely.is_valid(shapes).all()
    assert (rasterize(zip(shapes, classes.tolist(), strict=True), mask.shape, fill=255) == mask).all()
    whole, whole_classes = polygons(mask, 1000)
    same = {(int(c), shapely.normalize(s).wkb) for s, c in zip(shapely.simplify(shapes, 0), classes, strict=True)}
    assert len(shapes) == len(whole)
    assert same == {
        (int(c), shapely.normalize(s).wkb) for s, c in zip(shapely.simplify(whole, 0), whole_classes, strict=True)
    }


@pytest.mark.parametrize("mask", [world(), specks()], ids=["world", "specks"])
def test_noded_polygons_share_every_vertex_of_their_borders(mask: NDArray[np.uint8]) -> None:
    shapes, _ = polygons(mask, 64)
    assert not shapely.coverage_is_valid(shapes), "otherwise this test shows nothing"
    dense = noded(shapes)
    assert shapely.coverage_is_valid(dense)
    assert shapely.equals(dense, shapes).all()


def test_simplifying_opens_no_gaps() -> None:
    mask = np.where(world() == 255, np.uint8(1), world())
    simple = shapely.coverage_simplify(noded(polygons(mask, 64)[0]), 2.0, simplify_boundary=False)
    assert shapely.get_num_coordinates(simple).sum() < 0.7 * shapely.get_num_coordinates(polygons(mask, 64)[0]).sum()
    assert shapely.area(simple).sum() == pytest.approx(mask.size, rel=1e-9)
    assert shapely.union_all(simple).area == pytest.approx(mask.size, rel=1e-9)


def test_nothing_known_is_no_polygon() -> None:
    shapes, classes = polygons(np.full((20, 30), 255, np.uint8), 16)
    assert len(shapes) == len(classes) == 0
