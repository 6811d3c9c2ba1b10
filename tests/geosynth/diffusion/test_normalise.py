import numpy as np
import pytest
import torch

from geosynth.diffusion.normalise import KNEE, MOST, BandScale
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


def correlated(dtype: str, bands: int = 3, high: float = 255) -> np.ndarray:
    """Brightness that all bands share, and small differences between them."""
    random = np.random.default_rng(0)
    shared, own = random.normal(0.5, 0.15, (1, 64, 64)), random.normal(0, 0.02, (bands, 64, 64))
    return (np.clip(shared + own, 0, 1) * high).astype(dtype)


def fitted(image: np.ndarray, strength: float = 1.0) -> BandScale:
    stats = [getattr(image, name)((1, 2)).astype(float) for name in ("mean", "std", "min", "max")]
    scale = BandScale(*(tuple(values.tolist()) for values in stats))
    values = scale.to_deviations(image, np.ones(image.shape[1:], bool)).reshape(len(image), -1)
    return scale.decorrelated(np.atleast_2d(np.cov(values, bias=True)), strength)


@pytest.mark.parametrize(
    ("dtype", "bands", "high"), [("uint8", 3, 255), ("uint16", 4, 10_000), ("int16", 13, 9000), ("float32", 2, 1.0)]
)
def test_bands_are_decorrelated_and_come_back(dtype: str, bands: int, high: float) -> None:
    image = correlated(dtype, bands, high)
    scale = fitted(image)
    network = scale.to_network(image, np.ones((64, 64), bool)).numpy().reshape(bands, -1)
    assert np.cov(network) == pytest.approx(np.eye(bands) / 4, abs=0.01)
    back = scale.to_raster(torch.from_numpy(network.reshape(image.shape)), dtype, None)
    assert np.allclose(back.astype(float), image.astype(float), rtol=0, atol=0 if dtype != "float32" else 1e-5)
    # Each band is mostly itself: what is learnt of one of the same name can be used.
    mixing = np.array(scale.mixing)
    assert np.allclose(mixing, mixing.T)
    assert (np.diag(mixing) > np.abs(mixing - np.diag(np.diag(mixing))).max()).all()


def test_decorrelation_has_a_strength_and_a_limit() -> None:
    image = correlated("float32")
    spreads = []
    for strength in (0.0, 0.5, 1.0):
        network = fitted(image, strength).to_network(image, np.ones((64, 64), bool)).numpy().reshape(3, -1)
        assert np.square(network).mean() == pytest.approx(0.25, rel=0.02)
        spreads.append(float(np.sqrt(np.linalg.eigvalsh(np.cov(network))[0])))
    assert spreads[0] < spreads[1] / 2 < spreads[2] / 4
    assert fitted(image, 0.0).mixing == fitted(image[:1]).mixing == ()
    same = np.repeat(image[:1], 3, axis=0)  # differences that are not there are not enlarged without end
    scale = fitted(same)
    assert np.linalg.cond(np.array(scale.mixing)) < 1.01 * MOST
    assert np.allclose(
        scale.to_raster(scale.to_network(same, np.ones((64, 64), bool)), "float32", None), same, atol=1e-3
    )


def test_a_glint_in_one_band_stays_near_the_rest_and_comes_back() -> None:
    image = correlated("uint16", 4, 1000)
    image[2, 5, 5] = 60_000
    valid = np.ones((64, 64), bool)
    valid[:, 40:] = False
    scale = fitted(image)
    network = scale.to_network(image, valid)
    assert float(network.abs().max()) < 8
    assert (network[:, ~valid] == 0).all()
    assert (scale.to_raster(network, "uint16", None) == image)[:, valid].all()
    assert scale.to_raster(torch.full((4, 1, 1), 1e30), "uint16", None).max() <= 60_000


def test_training_in_16_bits_takes_the_same_values() -> None:
    image = correlated("uint8")
    scale, valid = fitted(image), np.ones((64, 64), bool)
    with torch.autocast("cpu", torch.bfloat16):
        halved = scale.to_network(image, valid)
    assert halved.dtype == torch.float32
    assert torch.equal(halved, scale.to_network(image, valid))
