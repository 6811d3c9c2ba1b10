"""Every awkward raster becomes tiles whose pixels are its own, each at its place; or it is refused."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from awkward_files import BESIDE, EXPECTED, REFUSED, TILES, Tiles
from click.testing import CliRunner
from geosynth_cli.main import cli
from numpy.typing import NDArray
from plain_gdal import Truth, truth, values_at

from geosynth.events import Events
from geosynth.legend import load_legend
from geosynth.tileset import Tile, Tileset
from geosynth.tiling import TilingPlan, tile_scenes

LEGEND = load_legend("world")
SERIES = ("awkward/detectree/img", "awkward/detectree/response_img")
RASTERS = (".tif", ".tiff", ".msk", ".vrt", ".jp2", ".png", ".jpg", ".img")


@dataclass(frozen=True)
class Case:
    """A raster, what must become of it, its tiles, and the raster as GDAL's programs say it is."""

    path: Path
    entry: Tiles
    tileset: Tileset
    whole: Truth

    @property
    def tiles(self) -> list[Tile]:
        return [tile for tile in self.tileset.tiles if tile.scene == self.path.stem]


@pytest.fixture(scope="module")
def series(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tileset]:
    """The tilesets of folders of rasters of one kind, made in one go."""
    made = {}
    for folder in SERIES:
        entries = {entry for name, entry in TILES.items() if name.startswith(f"{folder}/")}
        (entry,) = entries
        out = tmp_path_factory.mktemp("series") / "out"
        tile_scenes(TilingPlan((real_data / folder,), size=entry.size, legend=LEGEND), out, Events())
        made[folder] = Tileset(out)
    return made


@pytest.fixture(scope="module", params=TILES)
def case(
    request: pytest.FixtureRequest,
    real_data: Path,
    series: dict[str, Tileset],
    tmp_path_factory: pytest.TempPathFactory,
) -> Case:
    name: str = request.param
    scene, entry = real_data / name, TILES[name]
    tileset = series.get(name.rpartition("/")[0])
    if tileset is None:
        out = tmp_path_factory.mktemp("tiles") / "out"
        tile_scenes(TilingPlan((scene,), size=entry.size, legend=LEGEND, min_valid=entry.min_valid), out, Events())
        tileset = Tileset(out)
    return Case(scene, entry, tileset, truth(scene, entry))


def pixels(path: Path) -> tuple[NDArray[Any], Any]:
    """A tile's pixels (C, H, W), and its file's profile and band names, by plain rasterio."""
    with rasterio.open(path) as dataset:
        return dataset.read(), dataset.profile | {"names": dataset.descriptions}


def test_no_raster_is_forgotten(real_data: Path) -> None:
    found = {
        path.relative_to(real_data).as_posix()
        for folder in ("awkward", "multispectral")
        for path in (real_data / folder).rglob("*")
        if path.suffix.lower() in RASTERS
    }
    assert found == set(EXPECTED)


def padded(band: NDArray[Any], row: int, col: int, size: int) -> NDArray[Any]:
    """A window (…, size, size) of (…, H, W) with zeros beyond the edge."""
    part = band[..., row : row + size, col : col + size]
    beyond = [(0, 0)] * (part.ndim - 2) + [(0, size - part.shape[-2]), (0, size - part.shape[-1])]
    return np.pad(part, beyond)


def expected_tiles(whole: Truth, entry: Tiles) -> set[tuple[int, int]]:
    """Upper left pixels (row, col) of tiles with enough data; the last ones reach beyond where nodata can say so."""
    height, width = whole.valid.shape
    if entry.holds == "all":
        height, width = height - entry.size + 1, width - entry.size + 1
    places = ((row, col) for row in range(0, height, entry.size) for col in range(0, width, entry.size))
    shares = {place: padded(whole.valid, *place, entry.size).mean() for place in places}
    return {place for place, share in shares.items() if share >= entry.min_valid and share > 0}


def test_tiles_hold_the_raster_s_own_pixels(case: Case) -> None:
    entry, tileset, whole = case.entry, case.tileset, case.whole
    assert {(tile.row, tile.col) for tile in case.tiles} == expected_tiles(whole, entry) != set()
    for tile in case.tiles:
        image, profile = pixels(tileset.path / tile.image)
        valid = padded(whole.valid, tile.row, tile.col, entry.size)
        there = padded(whole.image, tile.row, tile.col, entry.size)
        nodata = profile["nodata"]
        assert profile["dtype"] == entry.dtype and profile["names"] == entry.bands, tile.id
        assert tile.valid_fraction == pytest.approx(valid.mean())
        if entry.holds == "all":
            assert nodata is None and valid.all()
        elif np.isnan(nodata):
            assert (np.isnan(image) == ~valid).all(), tile.id
        else:
            # Whoever reads the tile, by bands or all together, sees no data exactly where the raster has none ...
            assert ((image == image.dtype.type(nodata)) == ~valid).all(), tile.id
            # ... so a reading that happens to be nodata's number moves to the next.
            there = np.where(there == there.dtype.type(nodata), there + 1, there)
        assert (image[:, valid] == there[:, valid]).all(), tile.id
        mask, _ = pixels(tileset.path / tile.mask)
        assert (mask == 255).all(), "nobody gave labels"


def test_a_place_on_the_ground_has_the_same_value_in_tile_and_raster(case: Case) -> None:
    """Corners and random pixels of tiles, looked up in the raster by where the tile's file says that they are."""
    entry, tileset, whole = case.entry, case.tileset, case.whole
    random = np.random.default_rng(0)
    tiles = case.tiles
    chosen = random.choice(len(tiles), min(8, len(tiles)), replace=False)
    points, found = [], []
    for tile in (tiles[index] for index in sorted({0, len(tiles) - 1, *chosen.tolist()})):
        image, profile = pixels(tileset.path / tile.image)
        valid = padded(whole.valid, tile.row, tile.col, entry.size)
        a, b, c, d, e, f = profile["transform"][:6]
        assert b == d == 0 < a and e < 0
        assert (a, -e) == pytest.approx((whole.x, whole.y), rel=1e-12)
        # The index says the same as the file.
        bounds = (c, f + e * entry.size, c + a * entry.size, f)
        assert tile.geometry.bounds == pytest.approx(bounds, rel=1e-12, abs=1e-9)
        last = entry.size - 1
        corners = [[0, 0], [0, last], [last, 0], [last, last]]
        inside = np.argwhere(valid)
        for row, col in [*corners, *random.choice(inside, min(12, len(inside)), replace=False).tolist()]:
            if valid[row, col]:
                points.append((c + a * (col + 0.5), f + e * (row + 0.5)))
                found.append(image[:, row, col])
    assert len(points) >= min(30, 12 * len(tiles), whole.valid.sum() // 2)
    places = np.array(points)
    if not whole.placed:
        places = np.floor(places * (1, -1))
    looked_up = values_at(case.path, places, pixels=not whole.placed)
    for point, one, other in zip(points, found, looked_up, strict=True):
        there = other[: len(entry.bands)].astype(entry.dtype)
        # Where nodata is 0, a lone 0 was moved to 1.
        assert (one == np.where((there == 0) & (one == 1), 1, there)).all(), point


def test_the_coordinate_system_is_kept(case: Case) -> None:
    tileset, whole = case.tileset, case.whole
    tile = case.tiles[len(case.tiles) // 2]
    _, profile = pixels(tileset.path / tile.image)
    crs = pyproj.CRS.from_wkt(profile["crs"].to_wkt(version="WKT2_2019"))
    if whole.wkt is None:
        assert crs.is_engineering and tileset.spec.gsd_m is None
        return
    own = pyproj.CRS.from_wkt(whole.wkt)
    point = tile.geometry.centroid
    there = pyproj.Transformer.from_crs(own, crs, always_xy=True).transform(point.x, point.y)
    assert there == pytest.approx((point.x, point.y), rel=1e-12, abs=1e-9)
    assert (crs.ellipsoid.semi_major_metre, crs.is_geographic) == (own.ellipsoid.semi_major_metre, own.is_geographic)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_tiled_is_refused(real_data: Path, tmp_path: Path, name: str) -> None:
    entry, scene, out = REFUSED[name], real_data / name, tmp_path / "out"
    with pytest.raises(entry.error) as caught:
        tile_scenes(TilingPlan((scene,), legend=LEGEND), out, Events())
    assert type(caught.value) is entry.error
    assert caught.value.where == str(scene)
    assert entry.reason in caught.value.what
    assert entry.remedy in (caught.value.remedy or "")
    arguments = ["tile", str(scene), "--legend", "world", "--out", str(out)]
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {caught.value}\n"
    assert not list(tmp_path.iterdir())


def test_one_bad_raster_in_a_folder_is_named(real_data: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli, ["tile", str(real_data / "awkward/rasterio"), "--legend", "world", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 1
    assert str(real_data / "awkward/rasterio/rotated.tif") in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", BESIDE)
def test_a_mask_beside_the_file_is_part_of_it(real_data: Path, tmp_path: Path, name: str) -> None:
    of = real_data / BESIDE[name].of
    folder = tmp_path / "scenes"
    folder.mkdir()
    shutil.copy(of, folder)
    shares = []
    for _ in range(2):
        out = tmp_path / f"out{len(shares)}"
        tile_scenes(TilingPlan((folder,), size=64, legend=LEGEND), out, Events())
        tiles = Tileset(out).tiles
        assert {tile.scene for tile in tiles} == {of.stem}
        shares.append(min(tile.valid_fraction for tile in tiles))
        shutil.copy(real_data / name, folder)
    assert shares[0] == 1 > shares[1]


def test_rows_that_run_up_are_turned_round(real_data: Path, tmp_path: Path) -> None:
    """The raster in which south is up, with numbers in the place of its nodata."""
    source = real_data / "awkward/rio-tiler/inverted_lat.tif"
    _, profile = pixels(source)
    values = np.arange(360 * 720, dtype=np.float32).reshape(1, 360, 720)
    values[0, 100:130, :200] = -9999
    with rasterio.open(
        tmp_path / source.name, "w", **{key: profile[key] for key in profile if key != "names"}
    ) as dataset:
        dataset.write(values)
    tile_scenes(
        TilingPlan((tmp_path / source.name,), size=90, legend=LEGEND, min_valid=0.9), tmp_path / "out", Events()
    )
    tileset = Tileset(tmp_path / "out")
    assert 0 < len(tileset.tiles) < 4 * 8
    corners, found = [], []
    for tile in tileset.tiles:
        image, profile = pixels(tileset.path / tile.image)
        west, south, east, north = tile.geometry.bounds
        assert (west, north) == (-180 + tile.col / 2, 90 - tile.row / 2)
        assert (east - west, north - south) == (45, 45)
        steps = np.arange(90) / 2 + 0.25
        latitudes, longitudes = np.meshgrid(north - steps, west + steps, indexing="ij")
        # In the file, row 0 begins at the south pole.
        there = values[0, np.floor((latitudes + 90) * 2).astype(int), np.floor((longitudes + 180) * 2).astype(int)]
        assert (image[0] == there).all()
        corners.append((west + 0.25, north - 0.25))
        found.append(image[0, 0, 0])
    assert np.ravel(values_at(tmp_path / source.name, np.array(corners))).tolist() == found
