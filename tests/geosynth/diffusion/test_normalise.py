import numpy as np
import pytest
import torch

from geosynth.diffusion.normalise import LIMIT, BandScale
from geosynth.rasters import avoid_nodata

CASES = [
    ("uint8", 3, 0, 255, None),
    ("uint8", 1, 0, 255, 0),
    ("uint16", 4, 0, 10000, 0),
    ("int16", 13, -9000, 9000, -9999),
    ("float32", 4, -30, 5, float("nan")),
]


@pytest.mark.parametrize(("dtype", "bands", "low", "high", "nodata"), CASES)
def test_values_come_back(dtype: str, bands: int, low: float, high: float, nodata: float | None) -> None:
    random = np.random.default_rng(0)
    image = random.uniform(low, high, (bands, 16, 16)).astype(dtype)
    image = avoid_nodata(image, nodata)
    scale = BandScale(
        mean=tuple(image.mean((1, 2), dtype=float)),
        std=tuple(image.std((1, 2), dtype=float)),
        low=tuple(image.min((1, 2)).astype(float)),
        high=tuple(image.max((1, 2)).astype(float)),
    )
    network = scale.to_network(image, np.ones((16, 16), bool))
    assert float(network.std()) == pytest.approx(0.5, rel=0.02)
    back = scale.to_raster(network, dtype, nodata)
    assert back.dtype == np.dtype(dtype)
    assert np.allclose(back.astype(float), image.astype(float), atol=0 if dtype != "float32" else 1e-3)


def test_what_is_written_stays_in_the_range_seen_and_is_never_nodata() -> None:
    scale = BandScale((100.0,), (20.0,), (0.0,), (200.0,))
    wild = torch.tensor([[[-50.0, 0.0, 50.0]]])
    assert scale.to_raster(wild, "uint8", None).tolist() == [[[0, 100, 200]]]
    assert scale.to_raster(wild, "uint8", 0).tolist() == [[[1, 100, 200]]]
    assert scale.to_raster(wild, "uint8", 200).tolist() == [[[0, 100, 201]]]


def test_far_values_are_clipped_and_nodata_is_the_mean() -> None:
    scale = BandScale((100.0,), (20.0,), (0.0,), (200.0,))
    image = np.array([[[100.0, 1e6, np.nan]]], np.float32)
    network = scale.to_network(image, np.array([[True, True, False]]))
    assert network.tolist() == [[[0.0, LIMIT / 2, 0.0]]]


def test_a_constant_band_is_no_division_by_zero() -> None:
    scale = BandScale((7.0,), (0.0,), (7.0,), (7.0,))
    network = scale.to_network(np.full((1, 2, 2), 7, np.uint8), np.ones((2, 2), bool))
    assert network.abs().max() == 0
    assert (scale.to_raster(torch.randn(1, 2, 2), "uint8", None) == 7).all()
