"""Each remedy that an error about an awkward raster names, carried out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio
from awkward_labels import tiled
from plain_gdal import all_pixels, facts, gdal

# Each remedy that an error names, carried out.


def from_rotated(source: Path, out: Path) -> None:
    gdal("gdalwarp", "-q", source, out)


def from_points(source: Path, out: Path) -> None:
    gdal("gdalwarp", "-q", "-tps", source, out)


def from_complex(source: Path, out: Path) -> None:
    plain = out.with_name("plain.tif")
    gdal("gdal_calc.py", "--quiet", "-A", source, f"--outfile={plain}", "--calc=abs(A)", "--type=Float32")
    gdal("gdalwarp", "-q", plain, out)


def from_palette(source: Path, out: Path) -> None:
    gdal("gdal_translate", "-q", "-expand", "rgb", "-srcwin", 3000, 3000, 300, 300, source, out)


def from_nonsense(source: Path, out: Path) -> None:
    bounds = (500_000, 5_105_120, 505_120, 5_100_000)
    gdal("gdal_translate", "-q", "-a_ullr", *bounds, "-a_srs", "EPSG:32633", source, out)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("awkward/rasterio/rotated.tif", from_rotated),
        ("awkward/rio-tiler/cog_gcps.tif", from_points),
        ("awkward/solaris/rotated_complex_sar_hh.tif", from_complex),
        ("awkward/rio-tiler/cog_cmap.tif", from_palette),
        ("awkward/maxwolf/nonsense_transform_int16.tif", from_nonsense),
    ],
)
def test_the_remedy_helps(real_data: Path, tmp_path: Path, name: str, remedy: Callable[[Path, Path], None]) -> None:
    remedy(real_data / name, tmp_path / "right.tif")
    about = facts(tmp_path / "right.tif")
    left, x, _, top, _, y = about["geoTransform"]
    side = min(256, *about["size"])
    options = ("--legend", "world", "--size", side, "--min-valid", 0)
    tileset = tiled(tmp_path / "out", tmp_path / "right.tif", *options)
    kind = {"Byte": "uint8", "UInt16": "uint16", "Int16": "int16", "Float32": "float32"}[about["bands"][0]["type"]]
    whole = all_pixels(tmp_path / "right.tif", kind)
    for entry in tileset.tiles:
        assert entry.geometry.bounds[0] == pytest.approx(left + entry.col * x)
        assert entry.geometry.bounds[3] == pytest.approx(top + entry.row * y)
        with rasterio.open(tileset.path / entry.image) as dataset:
            there = whole[:, entry.row : entry.row + side, entry.col : entry.col + side]
            assert (dataset.read()[:, : there.shape[1], : there.shape[2]] == there).all()
