from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from evaluation_tiles import make_tiles
from PIL import Image

from geosynth.errors import TilesetError
from geosynth.evaluation.contact import Stretch, coloured, contact_sheet, mosaic, overlaid, picture, stretch_of
from geosynth.legend import load_legend
from geosynth.rasters import Band
from geosynth.tileset import Tileset


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Tileset:
    return make_tiles(tmp_path_factory.mktemp("contact") / "real", {"train": 7})


def test_a_sheet_is_the_same_picture_for_the_same_seed(tiles: Tileset) -> None:
    first = contact_sheet(tiles, 4, seed=1)
    assert first == contact_sheet(tiles, 4, seed=1)
    assert first != contact_sheet(tiles, 4, seed=2)
    assert opened(first).format == "PNG"


def test_the_grid_shows_images_and_masks_in_legend_colours(tiles: Tileset) -> None:
    tile = tiles.tiles[0]
    grid = np.array(mosaic(tiles, [tile, tiles.tiles[1]], stretch_of(tiles), columns=2, cell=32))
    assert grid.shape == (32, 4 * 32 + 2 + 6 + 2, 3)
    mask = tiles.read(tile)[2]
    np.testing.assert_array_equal(grid[:, 34:66], tiles.spec.legend.color_table()[mask])
    assert (grid[:, 66:72] == 255).all()  # the gutter between pairs


@pytest.mark.parametrize("style", ["pair", "overlay", "image", "mask"])
def test_every_style_draws(tiles: Tileset, style: str) -> None:
    page = opened(contact_sheet(tiles, 7, style=style, columns=3, cell=40))  # type: ignore[arg-type]
    assert page.width >= 3 * 40
    assert page.height >= 3 * 40
    pixels = np.array(page.convert("RGB")).reshape(-1, 3)
    legend = {entry.rgb for entry in tiles.spec.legend.classes}
    there = {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}
    # Pictures have far more colours than a page of text; masks those of the legend.
    assert len(there) > 200 if style != "mask" else len(there & legend) >= 3


def test_a_single_band_of_counts_is_grey(tmp_path: Path) -> None:
    grey = make_tiles(tmp_path / "grey", {"train": 2}, bands=(Band("b", "uint16"),))
    pixels = np.array(mosaic(grey, grey.tiles, stretch_of(grey), columns=1, cell=32, style="image"))
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert {int(pixels.min()), int(pixels.max())} == {0, 255}


def test_red_green_and_blue_of_sentinel_2_are_drawn(tmp_path: Path) -> None:
    bands = tuple(Band(f"B{number:02}", "uint16") for number in range(1, 6))
    tiles = make_tiles(tmp_path / "sentinel", {"train": 2}, bands=bands)
    assert stretch_of(tiles).bands == (3, 2, 1)


def test_the_stretch_maps_its_ends_to_black_and_white() -> None:
    image = np.array([[[100, 200, 300, 50]]], np.int16)
    valid = np.array([[True, True, True, False]])
    assert picture(image, valid, Stretch((0,), (100.0,), (300.0,)))[0, :, 0].tolist() == [0, 128, 255, 255]


def test_unknown_is_hatched_and_never_laid_over() -> None:
    legend = load_legend("world")
    mask = np.full((8, 8), 255, np.uint8)
    assert np.unique(coloured(mask, legend)).tolist() == [205, 238]
    rgb = np.full((8, 8, 3), 77, np.uint8)
    np.testing.assert_array_equal(overlaid(rgb, mask, legend), rgb)


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    with pytest.raises(TilesetError, match="no tiles to show"):
        contact_sheet(make_tiles(tmp_path / "none", {}))
