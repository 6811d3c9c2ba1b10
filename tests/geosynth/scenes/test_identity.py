"""An input is the same only when all of its files are, and lie at the same place."""

import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio import Affine

from geosynth.scenes.identity import content_hash, input_files, label_identity, scene_identity
from geosynth.scenes.labels import inspect_labels
from geosynth.scenes.source import inspect_scene

VRT = """<VRTDataset rasterXSize="8" rasterYSize="8"><GeoTransform>5,1,0,9,0,-1</GeoTransform><SRS>EPSG:32633</SRS>
<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename>
</SimpleSource></VRTRasterBand></VRTDataset>"""


def raster(path: Path, value: int = 1, driver: str = "GTiff") -> Path:
    with rasterio.open(path, "w", driver=driver, height=8, width=8, count=1, dtype="uint8") as dataset:
        dataset.write(np.full((1, 8, 8), value, np.uint8))
    return path


@pytest.mark.parametrize(("name", "driver", "world"), [("a.png", "PNG", "a.pgw"), ("a.tif", "GTiff", "a.tfw")])
def test_a_world_file_belongs_to_its_picture(tmp_path: Path, name: str, driver: str, world: str) -> None:
    path = raster(tmp_path / name, driver=driver)
    seen = {content_hash(path)}
    for left in (10, 20):
        (tmp_path / world).write_text(f"1\n0\n0\n-1\n{left}\n5\n")
        seen.add(content_hash(path))
    assert len(seen) == 3


def test_a_mask_beside_belongs_to_its_raster(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif")
    before = content_hash(path)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.eye(8, dtype=bool))
    assert [file.name for file in input_files(path)] == ["a.tif", "a.tif.msk"]
    assert content_hash(path) != before


def test_the_sources_of_a_vrt_belong_to_it_and_theirs_too(tmp_path: Path) -> None:
    raster(tmp_path / "a.tif")
    (tmp_path / "inner.vrt").write_text(VRT.format("a.tif"))
    (tmp_path / "outer.vrt").write_text(VRT.format("inner.vrt"))
    assert [file.name for file in input_files(tmp_path / "outer.vrt")] == ["outer.vrt", "inner.vrt", "a.tif"]
    before = content_hash(tmp_path / "outer.vrt")
    raster(tmp_path / "a.tif", 2)
    assert content_hash(tmp_path / "outer.vrt") != before


def test_place_and_nodata_out_of_an_aux_file_are_in_the_identity(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.png", driver="PNG")
    texts = []
    for left, nodata in ((10, 3), (20, 3), (20, 4)):
        (tmp_path / "a.png.aux.xml").write_text(
            f"<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform>{left}, 1, 0, 90, 0, -1</GeoTransform>"
            f'<PAMRasterBand band="1"><NoDataValue>{nodata}</NoDataValue></PAMRasterBand></PAMDataset>'
        )
        texts.append(str(scene_identity(inspect_scene(path))))
        texts.append(str(label_identity(inspect_labels(path)[0])))
    assert len(set(texts)) == 6


def test_statistics_that_a_viewer_writes_change_nothing(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif")
    before = scene_identity(inspect_scene(path))
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><Metadata><MDI key="STATISTICS_MEAN">1</MDI></Metadata></PAMRasterBand>'
        "</PAMDataset>"
    )
    assert scene_identity(inspect_scene(path)) == before


def test_the_parts_of_a_shapefile_belong_to_it(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"class": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32633)
    frame.to_file(tmp_path / "a.shp")
    before = content_hash(tmp_path / "a.shp")
    with (tmp_path / "a.dbf").open("r+b") as stream:
        stream.seek(-2, os.SEEK_END)
        stream.write(b"z")
    assert content_hash(tmp_path / "a.shp") != before


@pytest.mark.parametrize(("name", "driver"), [("a.gdb", "OpenFileGDB"), ("a.tab", "MapInfo File")])
def test_a_change_in_any_part_of_a_vector_file_counts(tmp_path: Path, name: str, driver: str) -> None:
    frame = gpd.GeoDataFrame({"class": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32633)
    frame.to_file(tmp_path / name, driver=driver)
    assert label_identity(inspect_labels(tmp_path / name)[0])["sha256"] == content_hash(tmp_path / name)
    seen = [content_hash(tmp_path / name)]
    parts = input_files(tmp_path / name)
    assert len(parts) > 3
    for part in parts:
        with part.open("ab") as stream:
            stream.write(b"z")
        seen.append(content_hash(tmp_path / name))
    assert len(set(seen)) == len(parts) + 1


def test_the_same_content_elsewhere_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    one, other = raster(tmp_path / "a.tif"), raster(tmp_path / "x" / "b.tif")
    assert content_hash(one) == content_hash(other)
    moved = Affine(1, 0, 5, 0, -1, 9)
    with rasterio.open(other, "r+") as dataset:
        dataset.transform = moved
    assert content_hash(one) != content_hash(other)
