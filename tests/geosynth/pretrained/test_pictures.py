"""Values, sizes and views: what goes into the model and what comes out."""

import numpy as np
import pytest
import torch

from geosynth.errors import ModelError
from geosynth.pretrained.making import canvas_for
from geosynth.pretrained.request import Manner
from geosynth.pretrained.resizing import resized_image, resized_mask
from geosynth.pretrained.tones import Tones, check_bands
from geosynth.pretrained.views import drawn_views, shares
from geosynth.rasters import Band
from geosynth.tileset import BandStatistics

STATISTICS = [BandStatistics(500, 100, 10, 4000), BandStatistics(600, 50, 20, 700), BandStatistics(700, 90, 30, 900)]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_values_come_back_in_band_order(dtype: str) -> None:
    bands = [Band(name, dtype, 0) for name in ("blue", "green", "red")]
    tones = Tones.of(bands, STATISTICS)
    image = np.stack([np.full((4, 4), value, dtype) for value in (450, 640, 720)])
    picture = tones.to_picture(image, np.ones((4, 4), bool))
    assert picture[0].mean() == pytest.approx((720 - 430) / (900 - 430) * 2 - 1, abs=1e-5)  # red first
    assert np.allclose(tones.to_raster(picture, dtype, 0), image, atol=1)
    assert tones.to_raster(torch.full((3, 4, 4), -9.0), dtype, 0).min() >= 10  # nothing beyond what was seen
    assert Tones.from_json(tones.to_json()) == tones


def test_bytes_are_taken_as_they_are_and_nodata_is_grey() -> None:
    bands = [Band(name, "uint8", 0) for name in ("red", "green", "blue")]
    tones = Tones.of(bands, [BandStatistics(100, 20, 0, 255)] * 3)
    valid = np.ones((1, 2), bool)
    valid[0, 1] = False
    picture = tones.to_picture(np.array([[[255, 7]]] * 3, np.uint8), valid)
    assert picture[:, 0, 0].tolist() == [1, 1, 1]
    assert picture[:, 0, 1].tolist() == [0, 0, 0]
    assert tones.to_raster(torch.full((3, 1, 1), -1.0), "uint8", 0).tolist() == [[[1]]] * 3  # never nodata


def test_other_than_three_bands_are_refused_with_the_remedy() -> None:
    with pytest.raises(ModelError, match=r"4 bands.*three.*without --recipe stable-diffusion"):
        check_bands([Band(str(number), "uint8") for number in range(4)], "tiles")


def test_masks_on_coarser_pixels_take_the_class_of_most_area() -> None:
    mask = torch.tensor([[[1, 1, 2, 2], [1, 0, 255, 2], [255, 255, 0, 0], [255, 2, 1, 1]]], dtype=torch.uint8)
    assert resized_mask(mask, (2, 2), 3).tolist() == [[[1, 2], [255, 0]]]
    assert set(resized_mask(mask, (9, 7), 3).unique().tolist()) <= {0, 1, 2, 255}
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert resized_image(image, (2, 2)).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert resized_image(image, (8, 8)).shape == (1, 1, 8, 8)


def test_views_show_all_turns_and_are_functions_of_their_number() -> None:
    views = drawn_views(3, 64, 32, (1.0, 2.0), 8, seed=1)
    assert {view.turn for view in views if view.tile == 1} == set(range(8))
    assert {view.span for view in views} == {32, 64}
    assert all(view.top + view.span <= 64 and view.left + view.span <= 64 for view in views)
    assert drawn_views(1, 64, 32, (1.0, 2.0), 8, seed=1) == views[:8]


def test_shares_are_of_known_pixels() -> None:
    assert shares(torch.tensor([0, 0, 1, 255], dtype=torch.uint8), 3) == pytest.approx([2 / 3, 1 / 3, 0])
    assert shares(torch.tensor([255], dtype=torch.uint8), 2) == [0, 0]


@pytest.mark.parametrize(
    ("scale", "size", "learnt"), [(1, 32, 1), (2, 32, 2), (4, 64, 2), (3, 48, 2), (0.5, 16, 1), (1.5, 48, 1)]
)
def test_a_learnt_scale_is_told_and_the_rest_is_made_by_pixels(scale: float, size: int, learnt: float) -> None:
    canvas = canvas_for((32, 32), scale, (1.0, 2.0), 8)
    assert (canvas.size, canvas.learnt) == ((size, size), learnt)


def test_a_scale_in_metres_is_of_the_pixels_that_were_learnt() -> None:
    assert Manner(gsd=1.0).scale_of(0.5, "model") == 2
    assert Manner(scale=3.0).scale_of(None, "model") == 3
    with pytest.raises(ModelError, match="no size on the ground"):
        Manner(gsd=1.0).scale_of(None, "model")
    with pytest.raises(ModelError, match=r"learnt 0\.5 m.*0\.125 to 2"):
        Manner(gsd=10.0).scale_of(0.5, "model")
    for wrong in ({"scale": 9.0}, {"strength": 0.0}, {"tile": -32}, {"scale": 1.0, "gsd": 1.0}):
        with pytest.raises(ModelError):
            Manner(**wrong)
