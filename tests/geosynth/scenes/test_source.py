"""Every way a file can say where and what its pixels are comes out as one image and one mask of valid pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp

from geosynth.errors import SceneError
from geosynth.grid import Grid
from geosynth.scenes.source import inspect_scene, open_scene, scene_name, target_grid

UTM = CRS.from_epsg(32633)
PLACE = Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000)


def write(path: Path, image: np.ndarray[Any, Any], colors: tuple[ColorInterp, ...] = (), **profile: Any) -> Path:
    defaults = {"driver": "GTiff", "crs": UTM, "transform": PLACE, "dtype": image.dtype.name}
    count, height, width = image.shape
    with rasterio.open(path, "w", count=count, height=height, width=width, **defaults | profile) as dataset:
        if colors:
            dataset.colorinterp = colors
        dataset.write(image)
    return path


@pytest.fixture
def noise() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(1, 255, (3, 40, 50), dtype=np.uint8)


def test_a_window_may_reach_outside(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    info = inspect_scene(write(tmp_path / "a.tif", noise))
    with open_scene(info, nodata=7) as scene:
        image, valid = scene.read(-5, 45, 20, 20)
    assert valid.sum() == 15 * 5
    assert valid[5:, :5].all()
    expected = np.where(noise[:, :15, 45:] == 7, 8, noise[:, :15, 45:])
    assert (image[:, 5:, :5] == expected).all()
    assert (image[:, ~valid] == 7).all()
    assert not (image[:, valid] == 7).any()


def test_names_of_bands_come_from_descriptions_then_colours(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    path = write(tmp_path / "a.tif", noise, (ColorInterp.blue, ColorInterp.green, ColorInterp.undefined))
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(2, "B03")
    info = inspect_scene(path)
    assert [band.name for band in info.bands] == ["blue", "B03", "band_3"]
    assert info.validity == "none"


def test_alpha_is_no_band_and_hides_pixels(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    alpha = np.full((1, 40, 50), 255, np.uint8)
    alpha[:, 10:20, 10:20] = 0
    colors = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    info = inspect_scene(write(tmp_path / "a.tif", np.concatenate([noise, alpha]), colors))
    assert info.validity == "alpha"
    assert len(info.bands) == 3
    with open_scene(info) as scene:
        image, valid = scene.read(0, 0, 40, 50)
    assert ((alpha[0] > 0) == valid).all()
    assert (image[:, ~valid] == 0).all()


@pytest.mark.parametrize("internal", [True, False])
def test_masks_inside_and_beside_the_file(tmp_path: Path, noise: np.ndarray[Any, Any], internal: bool) -> None:
    path = write(tmp_path / "a.tif", noise)
    shown = np.ones((40, 50), bool)
    shown[:, :7] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(shown)
    assert (tmp_path / "a.tif.msk").exists() is not internal
    info = inspect_scene(path)
    assert info.validity == "mask"
    with open_scene(info) as scene:
        assert (scene.read(0, 0, 40, 50)[1] == shown).all()


def test_nodata_zero_hides_only_where_all_bands_are_zero(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    noise[:, 0, 0] = 0
    noise[1, 0, 1] = 0
    info = inspect_scene(write(tmp_path / "a.tif", noise, nodata=0))
    assert info.validity == "nodata"
    with open_scene(info, nodata=0) as scene:
        image, valid = scene.read(0, 0, 40, 50)
    assert not valid[0, 0]
    assert valid[0, 1]
    assert image[1, 0, 1] == 1, "a valid value never equals nodata"


def test_nan_and_infinity_are_no_data(tmp_path: Path) -> None:
    image = np.ones((2, 8, 8), np.float32)
    image[0, 1, 1], image[1, 2, 2] = np.nan, np.inf
    info = inspect_scene(write(tmp_path / "a.tif", image))
    assert info.validity == "nan"
    with open_scene(info, nodata=float("nan")) as scene:
        read, valid = scene.read(0, 0, 8, 8)
    assert (~valid).sum() == 2
    assert np.isnan(read[:, 1, 1]).all()


def test_a_nodata_value_the_dtype_cannot_hold_hides_nothing(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    vrt = tmp_path / "a.vrt"
    write(tmp_path / "a.tif", noise[:1])
    vrt.write_text(
        '<VRTDataset rasterXSize="50" rasterYSize="40"><GeoTransform>500000,2,0,5000000,0,-2</GeoTransform>'
        '<SRS>EPSG:32633</SRS><VRTRasterBand dataType="Byte" band="1"><NoDataValue>-9999'
        '</NoDataValue><SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    info = inspect_scene(vrt)
    assert info.bands[0].nodata is None
    assert info.validity == "none"
    with open_scene(info) as scene:
        assert scene.read(0, 0, 40, 50)[1].all()


def test_rows_that_run_up_are_turned_round(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    up = Affine(2.0, 0, 500_000, 0, 2.0, 5_000_000 - 80)
    turned = inspect_scene(write(tmp_path / "up.tif", noise[:, ::-1], transform=up))
    plain = inspect_scene(write(tmp_path / "down.tif", noise))
    assert turned.grid == plain.grid
    with open_scene(turned) as one, open_scene(plain) as other:
        assert (one.read(3, 4, 20, 30)[0] == other.read(3, 4, 20, 30)[0]).all()
    coarse = target_grid(plain, gsd=5.0)
    with open_scene(turned, coarse) as one, open_scene(plain, coarse) as other:
        image, valid = one.read(0, 0, coarse.height, coarse.width)
        assert valid.any()
        assert (image == other.read(0, 0, coarse.height, coarse.width)[0]).all()


def test_a_raster_without_georeference_lies_where_qgis_draws_it(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    path = tmp_path / "photo.png"
    with rasterio.open(path, "w", driver="PNG", count=3, height=40, width=50, dtype="uint8") as dataset:
        dataset.write(noise)
    info = inspect_scene(path)
    assert info.grid.bounds == (0, -40, 50, 0)
    assert info.grid.gsd_m is None
    with pytest.raises(SceneError, match="size on the ground is unknown"):
        target_grid(info, gsd=1.0)


def test_a_target_on_the_same_pixels_is_read_as_it_is(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    info = inspect_scene(write(tmp_path / "a.tif", noise))
    with open_scene(info, info.grid.window(5, 6, 30, 30)) as scene:
        image, valid = scene.read(1, 2, 10, 10)
    assert valid.all()
    assert (image == noise[:, 6:16, 8:18]).all()


def test_shrinking_averages_only_what_is_valid(tmp_path: Path) -> None:
    image = np.zeros((2, 40, 40), np.int16)
    image[:, :, 0::2], image[:, :, 1::2] = 100, 300
    image[:, 0:4, 0:2] = -9999
    info = inspect_scene(write(tmp_path / "a.tif", image, nodata=-9999))
    target = info.grid.__class__(UTM, Affine(8.0, 0, 500_000, 0, -8.0, 5_000_000), 10, 10)
    with open_scene(info, target, nodata=-9999) as scene:
        read, valid = scene.read(0, 0, 10, 10)
    assert (read[:, 1:, 1:] == 200).all()
    assert set(np.unique(read[:, valid])) <= {200}
    assert valid[1:, 1:].all()


def test_ground_metres_are_not_web_mercator_metres(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    mercator = Affine(0.15, 0, 9_519_926, 0, -0.15, 3_202_940)  # Nepal: a metre there is 0.89 on the ground
    info = inspect_scene(write(tmp_path / "a.tif", noise, crs="EPSG:3857", transform=mercator))
    target = target_grid(info, gsd=0.5)
    assert target.crs == CRS.from_epsg(3857)
    assert target.gsd_m == pytest.approx(0.5, rel=1e-4)
    assert target.pixel_size[0] == pytest.approx(0.5 / np.cos(np.radians(27.63)), rel=5e-3)


def test_degrees_become_the_utm_zone(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    degrees = Affine(1e-4, 0, 15.0, 0, -1e-4, 45.0)
    info = inspect_scene(write(tmp_path / "a.tif", noise, crs="EPSG:4326", transform=degrees))
    assert target_grid(info) == info.grid
    target = target_grid(info, gsd=20.0)
    assert target.crs == UTM
    assert target.gsd_m == pytest.approx(20.0, rel=1e-3)
    with open_scene(info, target) as scene:
        assert scene.read(0, 0, target.height, target.width)[1].mean() > 0.8


REFUSED = {
    "geocentric": ({"crs": "EPSG:4978"}, "is no map"),
    "complex": ({"dtype": "complex64"}, "complex"),
    "rotated": ({"transform": Affine(2, 1, 500_000, 1, -2, 5_000_000)}, "gdalwarp"),
    "degrees too large": ({"crs": "EPSG:4326", "transform": Affine(512, 0, 15, 0, -512, 47)}, "makes no sense"),
    "no position": ({"transform": Affine.identity()}, "no position"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_with_a_remedy(tmp_path: Path, case: str) -> None:
    profile, words = REFUSED[case]
    image = np.ones((1, 10, 12), profile.get("dtype", "uint8"))
    with pytest.raises(SceneError, match=words) as caught:
        inspect_scene(write(tmp_path / "a.tif", image, **profile))
    assert caught.value.remedy


@pytest.mark.parametrize("crs", ["EPSG:32633+5773", 'LOCAL_CS["site",UNIT["metre",1]]'])
def test_maps_with_heights_and_local_planes_are_taken(tmp_path: Path, noise: np.ndarray[Any, Any], crs: str) -> None:
    assert inspect_scene(write(tmp_path / "a.tif", noise, crs=crs)).grid.pixel_size == (2, 2)


def test_control_points_alone_are_refused(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    points = [GroundControlPoint(r, c, 500_000 + c, 5_000_000 - r) for r, c in ((0, 0), (0, 50), (40, 0), (40, 50))]
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=3, height=40, width=50, dtype="uint8", gcps=points, crs=UTM
    ) as dataset:
        dataset.write(noise)
    with pytest.raises(SceneError, match="ground control points"):
        inspect_scene(tmp_path / "a.tif")


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1, 600, 600), dtype=np.uint8)
    path = write(tmp_path / "whole.tif", noise)
    (tmp_path / "cut.tif").write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(SceneError, match=r"cut\.tif"):
        inspect_scene(tmp_path / "cut.tif")


def test_an_error_of_the_reader_is_not_blamed_on_the_scene(tmp_path: Path, noise: np.ndarray[Any, Any]) -> None:
    info = inspect_scene(write(tmp_path / "a.tif", noise))
    with pytest.raises(rasterio.errors.RasterioIOError), open_scene(info):
        rasterio.open(tmp_path / "another.tif")


def test_names_are_safe_in_file_names() -> None:
    assert scene_name('NETCDF:"/data/a b.nc":rain') == "a_b_rain"
    assert scene_name("/vsizip/x.zip/été 1.tif") == "été_1"
    assert scene_name("C:\\data\\tile 1?.tif") == "tile_1"


def test_a_zero_in_one_band_counts_in_an_average_though_nodata_is_zero(tmp_path: Path) -> None:
    image = np.full((3, 40, 40), 100, np.uint8)
    image[0, :, ::2] = 0  # dark in one band: readings
    image[:, :, 20:] = 0  # no data
    path = write(tmp_path / "a.tif", image, nodata=0)
    info = inspect_scene(path)
    target = Grid(info.grid.crs, info.grid.transform @ Affine.scale(2), 20, 20)
    with open_scene(info, target, 0) as reader:
        read, valid = reader.read(0, 0, 20, 20)
    assert (valid == (np.arange(20) < 10)).all()
    assert (read[:, :, :10] == np.array([50, 100, 100])[:, None, None]).all()


def test_the_most_frequent_class_of_a_coarser_pixel(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 4, (1, 60, 60)).astype(np.uint8)
    info = inspect_scene(write(tmp_path / "a.tif", ids))
    target = Grid(info.grid.crs, info.grid.transform @ Affine.scale(3), 20, 20)
    with open_scene(info, target, resampled="majority") as reader:
        read = reader.read(0, 0, 20, 20)[0][0]
    cells = ids[0].reshape(20, 3, 20, 3).swapaxes(1, 2).reshape(20, 20, 9)
    counts = np.stack([(cells == value).sum(axis=2) for value in range(4)])
    chosen = np.take_along_axis(counts, read[None].astype(int), axis=0)[0]
    assert (chosen == counts.max(axis=0)).all()
    fine = Grid(info.grid.crs, info.grid.transform @ Affine.translation(0.3, 0.3), 59, 59)
    with open_scene(info, fine, resampled="majority") as reader:
        assert (reader.read(0, 0, 59, 59)[0][0] == ids[0, :59, :59]).all()
