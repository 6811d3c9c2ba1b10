"""Real scenes of more than three bands: what their sensors measured is neither lost nor cut off, and is made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import required
from test_real_data import geosynth

from geosynth.diffusion.generator import load_generator
from geosynth.diffusion.normalise import BandScale
from geosynth.rasters import valid_pixels
from geosynth.tileset import Tileset

S2 = "multispectral/sen1floods11/Spain_7370579_S2Hand.tif"
FLOOD = "multispectral/sen1floods11/Spain_7370579_LabelHand.tif"
SCENES = {
    S2: ("int16", 13, 0),
    "multispectral/landsat7_guatemala/LE70220491999322EDC01_stack.tif": ("int16", 8, -9999),
    "awkward/ftw/inference-img_8band_uint16.tif": ("uint16", 8, None),
    "multispectral/eolearn_ndvi_lulc/ndvi_68dates.tif": ("float32", 68, float("nan")),
    "multispectral/rcr_sentinel2/rcr_s2_8band.tif": ("uint8", 8, None),
}


def found(real_data: Path, name: str) -> Path:
    required(f"{name} among the real data", (real_data / name).is_file())
    return real_data / name


@pytest.mark.parametrize("name", SCENES)
def test_every_reading_of_a_sensor_survives_the_network_values(real_data: Path, name: str) -> None:
    """Some lie fifty standard deviations from the mean: sunlit roofs and water in short-wave infrared."""
    dtype, bands, nodata = SCENES[name]
    with rasterio.open(found(real_data, name)) as dataset:
        image = dataset.read()[:, :512, :512]
        assert (image.dtype, dataset.count) == (np.dtype(dtype), bands)
    valid = valid_pixels(image, nodata)
    there = image[:, valid].astype(float)
    scale = BandScale(*(tuple(ends.tolist()) for ends in (there.mean(1), there.std(1), there.min(1), there.max(1))))
    network = scale.to_network(image, valid)
    assert float(network.abs().max()) < 5.5
    back = scale.to_raster(network, dtype, nodata)
    exact = 1e-6 if dtype == "float32" else 0
    assert np.abs(back[:, valid] - there).max() <= exact


def test_a_generator_of_sentinel_2_makes_sentinel_2(real_data: Path, tmp_path: Path) -> None:
    scene, label = found(real_data, S2), found(real_data, FLOOD)
    legend = tmp_path / "legend.json"
    legend.write_text('{"classes": [{"id": 0, "name": "land"}, {"id": 1, "name": "water"}], "ignore_index": -1}')
    tiles, model, out = (tmp_path / name for name in ("tiles", "model", "out"))
    geosynth("tile", scene, "--labels", label, "--legend", legend, "--size", 32, "--out", tiles)
    geosynth("train", tiles, "--from", "base", "--steps", 2, "--batch", 2, "--out", model)
    geosynth("generate", model, "--count", 2, "--steps", 2, "--workers", 1, "--out", out)
    real, made, scale = Tileset(tiles), Tileset(out), load_generator(model).scale
    with rasterio.open(scene) as dataset:
        assert tuple(band.name for band in real.spec.bands) == dataset.descriptions
    assert made.spec.bands == real.spec.bands
    low, high = (np.array(ends)[:, None, None] for ends in (scale.low, scale.high))
    for tile in made.tiles:
        image, valid, mask = made.read(tile)
        assert image.dtype == np.int16 and valid.all() and set(np.unique(mask)) <= {0, 1}
        assert ((image >= low) & (image <= high)).all()
