"""Sensors other than a camera: whatever bands go in, rasters of the same kind, range and nodata come out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine

from geosynth.diffusion.generate import GenerateRequest, generate
from geosynth.diffusion.generator import Generator, load_generator
from geosynth.diffusion.train import TrainRequest, train_generator
from geosynth.diffusion.wholescene import SceneRequest, generate_scene
from geosynth.events import Events
from geosynth.legend import UNKNOWN, load_legend
from geosynth.rasters import valid_pixels
from geosynth.tileset import Tileset
from geosynth.tiling import TilingPlan, tile_scenes
from geosynth.world import Landscape

SIDE, HEIGHT, WIDTH = 16, 48, 96
PLACE = Affine(10, 0, 600_000, 0, -10, 5_000_000)
HOLE = np.s_[:20, :20]
"""Pixels of the scene without data: one whole tile and parts of three others."""


@dataclass(frozen=True)
class Sensor:
    """A kind of raster: band names, dtype, nodata, and the values of its dark and bright ends."""

    names: tuple[str, ...]
    dtype: str
    nodata: float | None
    dark: float
    bright: float

    @property
    def kind(self) -> np.dtype[Any]:
        return np.dtype(self.dtype)


SENSORS = {
    "grey": Sensor(("pan",), "uint8", 0, 0, 255),
    "planet": Sensor(("blue", "green", "red", "nir"), "uint16", 0, 0, 9000),
    "sentinel2": Sensor(tuple(f"B{n}" for n in range(1, 14)), "int16", -9999, -500, 8000),
    "radar": Sensor(("VV", "VH", "ratio"), "float32", float("nan"), -30, 5),
    "reflectance": Sensor(("red", "nir", "swir"), "float32", -3.4028234663852886e38, 0, 1),
}


@dataclass(frozen=True)
class Made:
    """What a test looks at: the scene, its tiles, the generator trained on them, and new pairs."""

    sensor: Sensor
    scene: Path
    mask: Path
    tiles: Tileset
    model: Path
    generator: Generator
    pairs: Tileset

    def allowed(self, image: NDArray[Any]) -> None:
        """Values of pixels that hold data (C, N): of the kind and in the range that the training tiles have."""
        assert image.dtype == self.sensor.kind
        low, high = (np.array(ends)[:, None] for ends in (self.generator.scale.low, self.generator.scale.high))
        assert ((image >= low) & (image <= high)).all()  # and so not NaN
        assert self.sensor.nodata is None or not (image == image.dtype.type(self.sensor.nodata)).any()
        if len(image) > 1:
            assert (image[-1] == image[-1, 0]).all()  # the constant band


def values(sensor: Sensor) -> NDArray[Any]:
    """A scene (C, H, W) with a hole, a few glints far off from all else, and a last band of one value."""
    colour, _ = Landscape(0).render(0, 0, HEIGHT, WIDTH)
    shares = np.stack([np.roll(colour[n % 3], n, axis=0) / 255.0 for n in range(len(sensor.names))])
    image = sensor.dark + shares * (sensor.bright - sensor.dark) * 0.1
    image[:, 30, ::24] = sensor.bright
    image[:, 31, ::24] = sensor.dark
    if len(image) > 1:
        image[-1] = 0.1 if sensor.kind.kind == "f" else 11
    image = image.astype(sensor.kind)
    if sensor.nodata is not None:
        image[:, *HOLE] = sensor.nodata
    return image


def write(path: Path, sensor: Sensor) -> None:
    image = values(sensor)
    place = {"crs": "EPSG:32633", "transform": PLACE, "height": HEIGHT, "width": WIDTH}
    with rasterio.open(
        path, "w", driver="GTiff", count=len(image), dtype=sensor.dtype, nodata=sensor.nodata, **place
    ) as dataset:
        dataset.write(image)
        dataset.descriptions = sensor.names
    with rasterio.open(path.with_name("mask.tif"), "w", driver="GTiff", count=1, dtype="uint8", **place) as dataset:
        dataset.write(Landscape(0).render(0, 0, HEIGHT, WIDTH)[1], 1)


@pytest.fixture(scope="module", params=SENSORS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    sensor, folder = SENSORS[request.param], tmp_path_factory.mktemp(request.param)
    scene, mask = folder / "scene.tif", folder / "mask.tif"
    write(scene, sensor)
    plan = TilingPlan((scene,), (mask,), size=SIDE, legend=load_legend("world"), val=0.0, test=0.0, min_valid=0.1)
    tile_scenes(plan, folder / "tiles", Events())
    train = TrainRequest(steps=1, batch=2, start="base")
    train_generator(folder / "tiles", train, folder / "model", Events(), device="cpu", threads=1)
    generate(folder / "model", GenerateRequest(3, steps=2, block=3), folder / "pairs", Events(), device="cpu")
    generator = load_generator(folder / "model")
    return Made(sensor, scene, mask, Tileset(folder / "tiles"), folder / "model", generator, Tileset(folder / "pairs"))


def same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and np.isnan(one) and np.isnan(other))


def test_the_range_is_that_of_pixels_with_data(made: Made) -> None:
    image = values(made.sensor)
    there = image[:, valid_pixels(image, made.sensor.nodata)]
    scale = made.generator.scale
    # A dark value that is nodata counts as the one beside it.
    assert scale.low == pytest.approx(there.min(axis=1).astype(float), abs=1)
    assert list(scale.high) == there.max(axis=1).tolist()


def test_every_training_value_comes_back(made: Made) -> None:
    scale, sensor = made.generator.scale, made.sensor
    for tile in made.tiles.tiles:
        image, valid, _ = made.tiles.read(tile)
        back = scale.to_raster(scale.to_network(image, valid), sensor.dtype, sensor.nodata)
        exact = 0 if sensor.kind.kind in "iu" else 1e-5 * (sensor.bright - sensor.dark)
        assert np.abs(back[:, valid].astype(float) - image[:, valid]).max() <= exact
        assert valid_pixels(back, sensor.nodata).all()


def test_new_pairs_are_rasters_of_the_same_kind(made: Made) -> None:
    assert len(made.pairs.tiles) == 3
    assert made.pairs.spec.bands == made.tiles.spec.bands or np.isnan(made.sensor.nodata or 0)
    for tile in made.pairs.tiles:
        image, valid, mask = made.pairs.read(tile)
        assert valid.all() and (mask != UNKNOWN).all()
        made.allowed(image.reshape(len(image), -1))
        with rasterio.open(made.pairs.path / tile.image) as dataset:
            assert set(dataset.dtypes) == {made.sensor.dtype}
            assert dataset.descriptions == made.sensor.names
            assert same(dataset.nodata, made.sensor.nodata)
            assert (dataset.read_masks() == 255).all()  # what QGIS takes for data, band by band


def test_a_whole_scene_is_a_raster_of_the_same_kind(made: Made, tmp_path: Path) -> None:
    generate_scene(made.model, SceneRequest(20, 28, steps=2), tmp_path / "out", Events(), device="cpu")
    with rasterio.open(tmp_path / "out" / "image.tif") as dataset:
        assert (dataset.count, dataset.shape) == (len(made.sensor.names), (20, 28))
        assert dataset.descriptions == made.sensor.names
        assert same(dataset.nodata, made.sensor.nodata)
        assert (dataset.read_masks() == 255).all()
        made.allowed(dataset.read().reshape(dataset.count, -1))


def test_masks_for_a_scene_leave_its_values_alone(made: Made, tmp_path: Path) -> None:
    request = GenerateRequest(steps=2, block=2, images_from=(str(made.scene),), count=2)
    generate(made.model, request, tmp_path / "out", Events(), device="cpu")
    out, scene = Tileset(tmp_path / "out"), values(made.sensor)
    holds = valid_pixels(scene, made.sensor.nodata)
    for tile in out.tiles:
        image, valid, mask = out.read(tile)
        there = np.s_[tile.row : tile.row + SIDE, tile.col : tile.col + SIDE]
        assert (valid == holds[there]).all() and ((mask == UNKNOWN) == ~valid).all()
        assert (image[:, valid] == scene[:, *there][:, valid]).mean() > 0.99  # but for single values that are nodata
        assert np.abs(image[:, valid].astype(float) - scene[:, *there][:, valid]).max() <= 1
    assert any(not out.read(tile)[1].all() for tile in out.tiles)


def test_images_for_masks_are_whole(made: Made, tmp_path: Path) -> None:
    request = GenerateRequest(steps=2, block=2, masks_from=(str(made.mask),), count=2)
    generate(made.model, request, tmp_path / "out", Events(), device="cpu")
    out = Tileset(tmp_path / "out")
    for tile in out.tiles:
        image, valid, _ = out.read(tile)
        assert valid.all()
        made.allowed(image.reshape(len(image), -1))
