"""Masks over the awkward and the multispectral rasters: tiles say what the numbers at that place say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from awkward_labels import UNKNOWN, masks, refused, tiled
from numpy.typing import NDArray
from plain_gdal import all_pixels, gdal

# Trees of Zurich: 25 neighbouring images, masks without georeference for four of them, called alike.


@pytest.mark.parametrize("numbers", [(0, 1), (0, 255)])
def test_masks_without_georeference_belong_to_images_of_their_name(
    real_data: Path, tmp_path: Path, numbers: tuple[int, int]
) -> None:
    folder = real_data / "awkward/detectree"
    drawn = {path.stem: all_pixels(path, "uint8")[0] for path in (folder / "response_img").glob("*.tif")}
    assert len(drawn) == 4
    labels = folder / "response_img"
    if numbers[1] == 255:
        labels = tmp_path / "masks"
        labels.mkdir()
        for name in drawn:
            options = ("-q", "-scale", 0, 1, 0, 255, "-ot", "Byte")
            gdal("gdal_translate", *options, folder / f"response_img/{name}.tif", labels / f"{name}.tif")
            assert set(np.unique(all_pixels(labels / f"{name}.tif", "uint8"))) == {0, 255}
    tileset = tiled(tmp_path / "out", folder / "img", "--labels", labels, "--size", 60)
    assert len(tileset.tiles) == 25 * 2 * 2
    assert tileset.spec.legend.ids == (0, 1)
    for entry, mask, _ in masks(tileset):
        if entry.scene in drawn:
            assert (mask == drawn[entry.scene][entry.row : entry.row + 60, entry.col : entry.col + 60]).all()
        else:
            assert (mask == UNKNOWN).all() and entry.mask_origin == "none"


def test_images_lower_than_a_tile_are_refused(real_data: Path, tmp_path: Path) -> None:
    """120 rows: nothing says that rows beyond them hold no data."""
    folder = real_data / "awkward/detectree"
    where = folder / "img/1091-322_00.tif"
    line = refused(tmp_path / "out", where, folder / "img", "--labels", folder / "response_img", "--size", 128)
    assert "no scene holds a whole tile of 128 pixels" in line and "--size" in line


def test_a_mask_without_georeference_must_have_the_scene_s_size(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "awkward/detectree"
    mask = folder / "response_img/1091-322_00.tif"
    line = refused(tmp_path / "out", mask, folder / "big_img_1091-322_00.tif", "--labels", mask)
    assert "175 x 120" in line and "875 x 600" in line


# Land cover and NDVI of 68 dates: pixels that are not quite square, and not quite 10 m.


def test_land_cover_on_a_time_series(real_data: Path, tmp_path: Path) -> None:
    scene, labels = (real_data / f"multispectral/eolearn_ndvi_lulc/{name}.tif" for name in ("ndvi_68dates", "lulc"))
    tileset = tiled(tmp_path, scene, "--labels", labels, "--size", 32, "--min-valid", 0.01)
    assert tileset.spec.legend.ids == (0, 1, 2, 3, 4, 8)
    drawn = np.pad(all_pixels(labels, "uint8")[0], ((0, 27), (0, 28)), constant_values=UNKNOWN)
    assert len(tileset.tiles) == 16
    for entry, mask, _ in masks(tileset):
        assert (mask == drawn[entry.row : entry.row + 32, entry.col : entry.col + 32]).all()


# Floods in Spain: labels of int16 where -1 is unknown, on optical and radar images of the same place.


def test_a_number_below_zero_is_no_class(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "multispectral/sen1floods11"
    scene, labels = (folder / f"Spain_7370579_{name}.tif" for name in ("S2Hand", "LabelHand"))
    line = refused(tmp_path / "out", labels, scene, "--labels", labels)
    assert "value -1 cannot be a class" in line and "--ignore" in line


@pytest.mark.parametrize("sensor", ["S1Hand", "S2Hand"])
def test_floods(real_data: Path, tmp_path: Path, sensor: str) -> None:
    folder = real_data / "multispectral/sen1floods11"
    scene, labels = (folder / f"Spain_7370579_{name}.tif" for name in (sensor, "LabelHand"))
    tileset = tiled(tmp_path, scene, "--labels", labels, "--ignore", "-1", "--size", 128)
    assert tileset.spec.legend.ids == (0, 1)
    drawn = all_pixels(labels, "int16")[0]
    assert (drawn == -1).sum() == 99
    counted = np.zeros(256, int)
    for entry, mask, _ in masks(tileset):
        there = drawn[entry.row : entry.row + 128, entry.col : entry.col + 128]
        assert (mask == np.where(there == -1, UNKNOWN, there)).all()
        counted += np.bincount(mask.ravel(), minlength=256)
    assert (counted[0], counted[1], counted[UNKNOWN]) == (192010, 70035, 99)


def test_floods_on_coarser_pixels(real_data: Path, tmp_path: Path) -> None:
    """Masks are warped as the images are: what most of the labels say that lie under a pixel, by gdalwarp."""
    folder = real_data / "multispectral/sen1floods11"
    scene, labels = (folder / f"Spain_7370579_{name}.tif" for name in ("S2Hand", "LabelHand"))
    tileset = tiled(tmp_path / "out", scene, "--labels", labels, "--ignore", "-1", "--size", 64, "--gsd", 30)
    agree = moved = known = 0
    for entry, mask, profile in masks(tileset):
        here = profile["transform"]

        def most(shift: float, entry: Any = entry, here: Any = here) -> NDArray[Any]:
            west, south, east, north = entry.geometry.bounds
            bounds = (west + shift * here.a, south, east + shift * here.a, north)
            out = tmp_path / "most"
            options = ("-te", *bounds, "-ts", 64, 64, "-t_srs", "EPSG:32630", "-r", "mode", "-et", 0)
            gdal("gdalwarp", "-q", "-overwrite", *options, "-dstnodata", -1, "-of", "ENVI", labels, out)
            return np.fromfile(out, "int16").reshape(64, 64)

        there = most(0)
        both = (mask != UNKNOWN) & (there != -1)
        agree, known = agree + int((mask == there)[both].sum()), known + int(both.sum())
        moved += int((mask == most(0.5))[both].sum())
    assert known > 20_000
    assert agree > 0.98 * known
    assert known - agree < 0.5 * (known - moved), "half a pixel off would be worse"


# A raster with a palette is refused as an image: it is labels.


def test_a_raster_with_a_palette_as_labels(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "awkward/rio-tiler/cog_cmap.tif"
    window = ("-srcwin", 25 * 256, 10 * 256, 256, 256)
    scene, labels = tmp_path / "colours.tif", tmp_path / "classes.tif"
    gdal("gdal_translate", "-q", "-expand", "rgb", *window, source, scene)
    gdal("gdal_translate", "-q", *window, source, labels)
    tileset = tiled(tmp_path / "out", scene, "--labels", labels, "--size", 64)
    drawn, image = all_pixels(labels, "uint8")[0], all_pixels(scene, "uint8")
    assert set(tileset.spec.legend.ids) == set(np.unique(drawn)) - {0}
    colours = {entry.id: entry.rgb for entry in tileset.spec.legend.classes}
    for entry, mask, _ in masks(tileset):
        window = np.s_[entry.row : entry.row + 64, entry.col : entry.col + 64]
        assert (mask == np.where(drawn[window] == 0, UNKNOWN, drawn[window])).all()
        for id_, rgb in colours.items():
            shown = image[:, *window][:, mask == id_].T
            assert (shown == rgb).all(), "the colours are those of the palette"
