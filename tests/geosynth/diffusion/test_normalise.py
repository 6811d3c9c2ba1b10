import numpy as np
import pytest
import torch

from geosynth.diffusion.normalise import KNEE, BandScale
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


def test_values_never_seen_are_clipped_and_nodata_is_the_mean() -> None:
    scale = BandScale((100.0,), (20.0,), (0.0,), (200.0,))
    image = np.array([[[100.0, 1e6, np.inf, -np.inf, np.nan]]], np.float32)
    network = scale.to_network(image, np.array([[True, True, True, True, False]]))
    assert network.tolist() == [[[0.0, 2.5, 2.5, -2.5, 0.0]]]


def test_a_heavy_tail_is_drawn_in_and_not_cut_off() -> None:
    """A few glints at fifty standard deviations, as in the short-wave bands of Sentinel-2."""
    scale = BandScale((400.0,), (300.0,), (1.0,), (16256.0,))
    image = np.arange(1, 16257, dtype=np.uint16).reshape(1, 64, 254)
    network = scale.to_network(image, np.ones((64, 254), bool))
    assert (network.flatten().diff() > 0).all()
    assert float(network.max()) < 5
    assert (network[image <= 400 + KNEE * 300] == torch.from_numpy((image[image <= 2200] - 400.0) / 600).float()).all()
    assert (scale.to_raster(network, "uint16", 0) == image).all()


def test_nothing_a_network_says_overflows() -> None:
    scale = BandScale((400.0,), (300.0,), (1.0,), (16256.0,))
    with np.errstate(all="raise"):
        assert scale.to_raster(torch.tensor([[[-1e30, 1e30]]]), "uint16", 0).tolist() == [[[1, 16256]]]


def test_a_constant_band_is_no_division_by_zero() -> None:
    scale = BandScale((7.0,), (0.0,), (7.0,), (7.0,))
    network = scale.to_network(np.full((1, 2, 2), 7, np.uint8), np.ones((2, 2), bool))
    assert network.abs().max() == 0
    assert (scale.to_raster(torch.randn(1, 2, 2), "uint8", None) == 7).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_tensors_and_arrays_give_the_same_values(dtype: str) -> None:
    scale = BandScale((100.0, 50.0), (20.0, 0.0), (0.0, 0.0), (200.0, 200.0))
    image = np.random.default_rng(0).integers(0, 200, (3, 2, 4, 5)).astype(dtype)
    valid = np.random.default_rng(1).random((3, 4, 5)) < 0.8
    of_arrays = scale.to_network(image, valid)
    assert torch.equal(of_arrays, scale.to_network(torch.from_numpy(image), torch.from_numpy(valid)))
    expected = np.where(valid, (image[:, 0].astype(np.float32) - 100) / 40, 0)
    assert np.allclose(of_arrays[:, 0].numpy(), expected, atol=1e-6)
