"""Rasters brought onto other pixels: every pixel is where pyproj says it is, and has the value gdalwarp gives it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from awkward_files import TILES, Tiles
from click.testing import CliRunner
from geosynth_cli.main import cli
from numpy.typing import NDArray
from plain_gdal import Truth, gdal, truth
from rasterio import Affine

from geosynth.events import Events
from geosynth.legend import load_legend
from geosynth.tileset import Tileset
from geosynth.tiling import TilingPlan, tile_scenes

SIDE = 96
LEGEND = load_legend("world")
GSD = {
    "awkward/deepness/dummy_fotomap_small.tif": 0.05,
    "awkward/rasterio/RGB.byte.tif": 1000.0,
    "awkward/rasterio/RGBA.byte.tif": 400.0,
    "awkward/rasterio/cogeo.tif": 1.5,
    "awkward/rasterio/goes.tif": 50_000.0,
    "awkward/rio-tiler/cog_dateline.tif": 500.0,
    "awkward/rio-tiler/cog_int16.tif": 600.0,
    "awkward/rio-tiler/cog_nodata_nan.tif": 450.0,
    "awkward/rio-tiler/cog_nonearth.tif": 330.0,
    "awkward/rio-tiler/cog_rgb_mask.tif": 0.25,
    "awkward/rio-tiler/pix4d_alpha_nodata.tif": 0.8,
    "awkward/solaris/sample_geotiff_custom_proj.tif": 70.0,
    "awkward/solaris/sar_masked.tif": 6.0,
    "multispectral/landsat7_guatemala/LE70220491999322EDC01_stack.tif": 26.0,
    "multispectral/rcr_sentinel2/rcr_s2_8band.tif": 45.0,
    "multispectral/sen1floods11/Spain_7370579_S1Hand.tif": 8.0,
    "multispectral/sen1floods11/Spain_7370579_S2Hand.tif": 20.0,
}
"""Ground metres to bring rasters to; about as fine as they are, and coarser."""
UTM = {"rcr_s2_8band": 32618, "Spain_7370579_S1Hand": 32630, "Spain_7370579_S2Hand": 32630}
"""Where those in degrees go to."""
COARSER = 1.5
"""From so many pixels along a target's on all of them count, as documented."""


@lru_cache(maxsize=8)
def transformer(one: str, other: str) -> pyproj.Transformer:
    """From one CRS (as WKT) to another, x before y."""
    return pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(one), pyproj.CRS.from_wkt(other), always_xy=True)


@dataclass(frozen=True)
class Mosaic:
    """All tiles side by side: ``image`` (C, H, W), ``valid`` (H, W), ``tiled`` (H, W) where there is one.

    ``transform`` and ``wkt`` say where the pixels are.
    """

    image: NDArray[Any]
    valid: NDArray[np.bool_]
    tiled: NDArray[np.bool_]
    transform: Affine
    wkt: str

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        height, width = self.valid.shape
        left, top = self.transform @ (0, 0)
        right, bottom = self.transform @ (width, height)
        return left, bottom, right, top


def mosaic(tileset: Tileset, size: int = SIDE) -> Mosaic:
    """Tiles of a size put together by where their files say they are."""
    parts = []
    for tile in tileset.tiles:
        with rasterio.open(tileset.path / tile.image) as dataset:
            parts.append((dataset.read(), dataset.transform))
            wkt, nodata = dataset.crs.to_wkt(version="WKT2_2019"), dataset.nodata
    a, e = parts[0][1].a, parts[0][1].e
    left, top = min(place.c for _, place in parts), max(place.f for _, place in parts)
    steps = [((place.f - top) / e, (place.c - left) / a) for _, place in parts]
    corners = np.round(steps).astype(int)
    assert np.allclose(steps, corners, atol=1e-3), "tiles share one lattice"
    height, width = corners.max(axis=0) + size
    image = np.zeros((len(parts[0][0]), height, width), parts[0][0].dtype)
    tiled, valid = np.zeros((height, width), bool), np.zeros((height, width), bool)
    for (values, _), (row, col) in zip(parts, corners.tolist(), strict=True):
        window = np.s_[row : row + size, col : col + size]
        image[:, *window], tiled[window] = values, True
        assert nodata is not None, "a warped raster has edges"
        valid[window] = ~(np.isnan(values) if np.isnan(nodata) else values == values.dtype.type(nodata)).any(axis=0)
    return Mosaic(image, valid, tiled, Affine(a, 0, left, 0, e, top), wkt)


@dataclass(frozen=True)
class Case:
    """A raster, its tiles on other pixels put together, and the raster as GDAL's programs say it is."""

    path: Path
    entry: Tiles
    gsd: float
    tileset: Tileset
    tiles: Mosaic
    whole: Truth

    @property
    def shrink(self) -> float:
        """How many of the raster's pixels lie along one of the target's."""
        xs, ys = self.in_raster(np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
        return float(np.sqrt(abs((xs[1] - xs[0]) * (ys[2] - ys[0]))))

    def in_raster(self, cols: NDArray[np.float64], rows: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Points of the mosaic, in its pixels, as columns and rows of the raster."""
        transform, whole = self.tiles.transform, self.whole
        assert whole.wkt is not None
        xs, ys = transformer(self.tiles.wkt, whole.wkt).transform(
            transform.c + cols * transform.a, transform.f + rows * transform.e
        )
        return (np.asarray(xs) - whole.left) / whole.x, (whole.top - np.asarray(ys)) / whole.y


@pytest.fixture(scope="module", params=GSD)
def case(request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    scene, gsd, out = real_data / request.param, GSD[request.param], tmp_path_factory.mktemp("tiles") / "out"
    tile_scenes(TilingPlan((scene,), size=SIDE, gsd=gsd, legend=LEGEND, min_valid=0.05), out, Events())
    tileset, entry = Tileset(out), TILES[request.param]
    return Case(scene, entry, gsd, tileset, mosaic(tileset), truth(scene, entry))


def test_pixels_measure_what_was_asked_for(case: Case) -> None:
    """Along geodesics through the middle of the raster, on the ellipsoid of the raster's own world."""
    crs = pyproj.CRS.from_wkt(case.tiles.wkt)
    assert crs.is_projected
    if case.path.stem in UTM:
        assert crs.to_epsg() == UTM[case.path.stem]
    if crs.geodetic_crs is None:
        return
    whole, (a, e) = case.whole, (case.tiles.transform.a, case.tiles.transform.e)
    middle = whole.left + whole.x * whole.image.shape[2] / 2, whole.top - whole.y * whole.image.shape[1] / 2
    x, y = transformer(str(whole.wkt), case.tiles.wkt).transform(*middle)
    lons, lats = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(
        [x - a / 2, x + a / 2, x, x], [y, y, y - e / 2, y + e / 2]
    )
    _, _, lengths = crs.get_geod().inv(lons[::2], lats[::2], lons[1::2], lats[1::2])
    assert np.sqrt(np.prod(lengths)) == pytest.approx(case.gsd, rel=1e-3)
    assert case.tileset.spec.gsd_m == pytest.approx(case.gsd, rel=1e-3)


def test_no_ground_is_lost(case: Case) -> None:
    """Nearly all of the raster's valid ground is in tiles; what is not is in those with hardly any."""
    valid = case.tiles.valid.sum() * case.shrink**2
    assert valid == pytest.approx(case.whole.valid.sum(), rel=0.03)


def test_pixels_are_valid_where_the_raster_s_nearest_pixel_is(case: Case) -> None:
    height, width = case.tiles.valid.shape
    rows, cols = np.mgrid[:height, :width] + 0.5
    xs, ys = case.in_raster(cols, rows)
    inside = (xs >= 0) & (ys >= 0) & (xs < case.whole.valid.shape[1]) & (ys < case.whole.valid.shape[0])
    expected = np.zeros((height, width), bool)
    expected[inside] = case.whole.valid[np.floor(ys[inside]).astype(int), np.floor(xs[inside]).astype(int)]
    # Points on the border of two pixels may fall to either.
    steps = np.stack([xs - np.round(xs), ys - np.round(ys)])
    clear = (np.abs(steps) > 0.13).all(axis=0) & case.tiles.tiled
    assert clear.mean() > 0.2
    assert (case.tiles.valid == expected)[clear].mean() > 0.999
    assert (case.tiles.valid == expected)[case.tiles.tiled].mean() > 0.995


def some_pixels(case: Case) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of valid pixels of the mosaic: 3000 by chance, and those at the corners of tiles."""
    rows, cols = np.nonzero(case.tiles.valid)
    chosen = np.random.default_rng(0).random(len(rows)) < 3000 / len(rows)
    corners = np.isin(rows % SIDE, (0, SIDE - 1)) & np.isin(cols % SIDE, (0, SIDE - 1))
    return rows[chosen | corners], cols[chosen | corners]


def mixed(
    case: Case, rows: NDArray[np.int64], cols: NDArray[np.int64], shift: tuple[float, float] = (0, 0)
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The raster's valid pixels under pixels (N,) of the mosaic, weighted by area or by distance: by plain numpy.

    Weights by area: the part of the target's pixel that lies on the raster's. By distance: falling from 1 at the
    target's centre to 0 one pixel away, a pixel of the raster or of the target, whichever is larger.

    Returns:
        image (C, N), of places moved by ``shift`` pixels of the mosaic to the right and down, and where there is one.
    """
    x, y = cols + 0.5 + shift[0], rows + 0.5 + shift[1]
    xs, ys = case.in_raster(x, y)
    (left, _), (right, _) = case.in_raster(x - 0.5, y), case.in_raster(x + 0.5, y)
    (_, above), (_, below) = case.in_raster(x, y - 0.5), case.in_raster(x, y + 0.5)
    across, down = np.abs(right - left), np.abs(below - above)
    weight, image = np.zeros(len(rows)), np.zeros((len(case.whole.image), len(rows)))
    reach = int(np.ceil(max(np.median(across), np.median(down)))) + 1
    for row_step in range(-reach, reach + 1):
        for col_step in range(-reach, reach + 1):
            i, j = np.floor(ys).astype(int) + row_step, np.floor(xs).astype(int) + col_step
            inside = (i >= 0) & (j >= 0) & (i < case.whole.valid.shape[0]) & (j < case.whole.valid.shape[1])
            i, j = np.where(inside, i, 0), np.where(inside, j, 0)
            share = _overlap if case.shrink >= COARSER else _nearness
            part = share(j, xs, across) * share(i, ys, down) * (inside & case.whole.valid[i, j])
            weight += part
            image += part * np.where(part > 0, case.whole.image[:, i, j], 0)
    there = weight > 0.05
    return np.divide(image, weight, out=np.zeros_like(image), where=there), there


def _overlap(pixel: NDArray[Any], centre: NDArray[Any], side: NDArray[Any]) -> NDArray[Any]:
    """The share of a pixel of ``side`` around ``centre`` that lies on the one from ``pixel`` to ``pixel`` + 1."""
    share: NDArray[Any] = np.minimum(pixel + 1, centre + side / 2) - np.maximum(pixel, centre - side / 2)
    return np.clip(share, 0, None) / side


def _nearness(pixel: NDArray[Any], centre: NDArray[Any], side: NDArray[Any]) -> NDArray[Any]:
    reach = np.where(side > 1 / 0.95, side, 1)  # as GDAL has it: nearly the same size is the same size
    near: NDArray[Any] = np.clip(1 - np.abs(pixel + 0.5 - centre) / reach, 0, None) / reach
    return near


def count(case: Case) -> NDArray[Any]:
    """What may be one off, by band (C, 1): a hundredth of the spread, and for whole numbers at least 1."""
    spread = np.stack([[values[case.whole.valid].std() / 100] for values in case.whole.image.astype(float)])
    return spread if case.whole.image.dtype.kind == "f" else np.maximum(spread, 1)


def alike(case: Case, off: NDArray[Any]) -> bool:
    """Whether differences, in counts, are none.

    Between two CRSs GDAL takes short straight lines for curved ones, up to an eighth of a pixel off.
    """
    if case.path.stem in UTM:
        return bool((off <= 2).mean() > 0.97)
    return bool((off <= 1).mean() > 0.995)


def test_values_are_those_under_the_pixel(case: Case) -> None:
    """Against pyproj and numpy; and with half a pixel's shift they are not."""
    rows, cols = some_pixels(case)
    values = case.tiles.image[:, rows, cols].astype(float)
    here, there = mixed(case, rows, cols)
    assert there.mean() > 0.98
    off = (np.abs(values - here) / count(case))[:, there]
    assert alike(case, off)
    for shift in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)):
        elsewhere, also = mixed(case, rows, cols, shift)
        moved = (np.abs(values - elsewhere) / count(case))[:, there & also]
        assert off.mean() < 0.4 * moved.mean(), shift


def test_values_are_those_of_gdalwarp(case: Case) -> None:
    """Another build of GDAL, another program: pixel by pixel, the edges of what is valid as well."""
    height, width = case.tiles.valid.shape
    method = "average" if case.shrink >= COARSER else "bilinear"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "warped"
        options = ["-te", *case.tiles.bounds, "-ts", width, height, "-t_srs", case.tiles.wkt, "-r", method]
        plain = ["-et", 0, "-ovr", "NONE", "-of", "ENVI", "-co", "INTERLEAVE=BSQ", "-q"]
        hidden = {"alpha": [], "nan": ["-srcnodata", "nan", "-dstalpha"]}.get(case.entry.holds, ["-dstalpha"])
        # Said outright: else the reach of "bilinear" depends on how much of the target lies beyond the raster.
        scale = ["-wo", f"XSCALE={1 / case.shrink}", "-wo", f"YSCALE={1 / case.shrink}"]
        gdal("gdalwarp", *options, *plain, *hidden, *scale, case.path, out)
        warped = np.fromfile(out, case.entry.dtype).reshape(-1, height, width)[:-1].astype(float)
    both = case.tiles.valid & np.isfinite(warped).all(axis=0)
    assert both.sum() > 0.99 * case.tiles.valid.sum()
    assert alike(case, np.abs(case.tiles.image - warped)[:, both] / count(case))


@pytest.mark.parametrize("name", ["sar_masked", "RGBA.byte", "S2Hand"])
def test_values_do_not_depend_on_the_size_of_the_tiles(real_data: Path, tmp_path: Path, name: str) -> None:
    """The same ground on the same pixels has the same values, however it is cut."""
    scene, gsd = next((real_data / path, gsd) for path, gsd in GSD.items() if name in path)
    made = []
    for size in (SIDE, 70):
        plan = TilingPlan((scene,), size=size, gsd=gsd, legend=LEGEND, min_valid=0.01)
        tile_scenes(plan, tmp_path / str(size), Events())
        made.append(mosaic(Tileset(tmp_path / str(size)), size))
    left = max(part.transform.c for part in made)
    top = min(part.transform.f for part in made)
    cut = []
    for part in made:
        col, row = (round(step) for step in ~part.transform @ (left, top))
        assert part.transform @ (col, row) == pytest.approx((left, top), abs=1e-3 * gsd)
        cut.append((part.image[:, row:, col:], (part.valid & part.tiled)[row:, col:], part.tiled[row:, col:]))
    window = tuple(map(slice, np.minimum(cut[0][1].shape, cut[1][1].shape)))
    (one, first, here), (other, second, there) = (
        (image[:, *window], *(m[window] for m in masks)) for image, *masks in cut
    )
    assert (first == second)[here & there].mean() > 0.9999
    valid = first & second
    values, others = one[:, valid].astype(float), other[:, valid].astype(float)
    spread = np.maximum(values.std(axis=1, keepdims=True) / 100, 1 if one.dtype.kind != "f" else 0)
    assert (np.abs(values - others) <= spread).mean() > 0.9999


@pytest.mark.parametrize("gsd", [35.0, 70.0])
def test_nodata_in_one_band_is_not_mixed_into_its_neighbours(real_data: Path, tmp_path: Path, gsd: float) -> None:
    """Small and large holes that only one band of the raster in a CRS of its own has."""
    source = real_data / "awkward/solaris/sample_geotiff_custom_proj.tif"
    with rasterio.open(source) as dataset:
        values, profile = dataset.read(), dataset.profile
    random = np.random.default_rng(0)
    values[1, random.integers(0, 512, 500), random.integers(0, 512, 500)] = -9999
    values[1, 200:260, 300:360] = -9999
    lowest = values[1][values[1] != -9999].min()
    assert lowest > 0
    with rasterio.open(tmp_path / "holes.tif", "w", **profile) as dataset:
        dataset.write(values)
    plan = TilingPlan((tmp_path / "holes.tif",), size=SIDE, gsd=gsd, legend=LEGEND)
    tile_scenes(plan, tmp_path / "out", Events())
    tiles = mosaic(Tileset(tmp_path / "out"))
    assert tiles.image[1][tiles.valid].min() >= lowest
    x, y = profile["transform"] @ (330, 230)
    col, row = (int(step) for step in ~tiles.transform @ (x, y))
    assert tiles.tiled[row, col] and not tiles.valid[row - 8 : row + 9, col - 8 : col + 9].any()


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("gsd", [6.0, 10.0])
def test_nan_is_no_data_whether_the_file_says_so_or_not(
    real_data: Path, tmp_path: Path, gsd: float, declared: bool
) -> None:
    """Neither does it spread to its neighbours, nor does it become a number."""
    source = real_data / "awkward/solaris/sar_masked.tif"
    with rasterio.open(source) as dataset:
        values, profile = dataset.read(), dataset.profile
    with rasterio.open(tmp_path / "sar.tif", "w", **profile | ({"nodata": np.nan} if declared else {})) as dataset:
        dataset.write(values)
    plan = TilingPlan((tmp_path / "sar.tif",), size=SIDE, gsd=gsd, legend=LEGEND, min_valid=0.01)
    tile_scenes(plan, tmp_path / "out", Events())
    tiles = mosaic(Tileset(tmp_path / "out"))
    ground = tiles.valid.sum() * abs(tiles.transform.a * tiles.transform.e)
    own = np.isfinite(values).all(axis=0).sum() * abs(profile["transform"].a * profile["transform"].e)
    assert ground == pytest.approx(own, rel=0.012)
    assert not (tiles.image[:, tiles.valid] == 0).any()


def test_the_whole_world_has_no_zone(real_data: Path, tmp_path: Path) -> None:
    scene = real_data / "awkward/rasterio/world.rgb.tif"
    arguments = ["tile", str(scene), "--legend", "world", "--gsd", "50000", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {scene}: reaches further than a UTM zone — ")
    assert not list(tmp_path.iterdir())


def test_a_raster_without_a_place_has_no_ground_metres(real_data: Path, tmp_path: Path) -> None:
    scene = real_data / "awkward/detectree/response_img/1091-322_00.tif"
    arguments = ["tile", str(scene), "--legend", "world", "--gsd", "1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert str(scene) in result.stderr and "size on the ground is unknown — " in result.stderr
    assert not list(tmp_path.iterdir())
