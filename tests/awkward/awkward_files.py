"""What must become of every awkward and every multispectral raster, written down by hand from what they are.

Nothing here is asked of geosynth: sizes, bands and signs of missing data are those that ``gdalinfo`` shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from geosynth.errors import GeosynthError, SceneError, TilesetError

RGB = ("red", "green", "blue")


def numbered(count: int) -> tuple[str, ...]:
    """Names of bands that have none."""
    return tuple(f"band_{index}" for index in range(1, count + 1))


@dataclass(frozen=True)
class Tiles:
    """A raster that must become tiles.

    Attributes:
        size: the side of the tiles to make.
        bands: names, in order; an alpha band is none of them.
        dtype: of the file, and so of the tiles.
        holds: how the file says where it has data: ``all``, ``alpha`` (its last band), ``mask`` (inside or beside the
            file), ``zeros`` (no data where all bands are 0), ``value`` (where one band has ``nodata``), ``nan``.
        nodata: the file's own nodata value.
        min_valid: share of a tile that must hold data.
    """

    size: int
    bands: tuple[str, ...]
    dtype: str = "uint8"
    holds: str = "all"
    nodata: float | None = None
    min_valid: float = 0.5


@dataclass(frozen=True)
class Refused:
    """A raster that must be refused: the class of the error, and words of the reason and of the remedy."""

    error: type[GeosynthError]
    reason: str
    remedy: str


@dataclass(frozen=True)
class Beside:
    """A file that belongs to a raster, and is no scene."""

    of: str


Expectation = Tiles | Refused | Beside

_S2 = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
_LANDSAT = (*(f"band {number} reflectance" for number in (1, 2, 3, 4, 5, 7)), "band 6 temperature", "band_8")
_EXTMASK = "awkward/rio-tiler/201404_13SED190110_201404_0x1500m_CL_1_extmask.tif"
_SEN1FLOODS11 = "multispectral/sen1floods11/Spain_7370579"

EXPECTED: dict[str, Expectation] = {
    "awkward/deepness/dummy_fotomap_small.tif": Tiles(280, RGB, holds="alpha"),
    "awkward/detectree/big_img_1091-322_00.tif": Tiles(170, RGB),
    **{f"awkward/detectree/img/1091-322_{number:02}.tif": Tiles(40, RGB) for number in range(25)},
    **{f"awkward/detectree/response_img/1091-322_{number:02}.tif": Tiles(40, numbered(1)) for number in (0, 5, 11, 19)},
    "awkward/ftw/inference-img_8band_uint16.tif": Tiles(140, numbered(8), "uint16"),
    "awkward/maxwolf/nonsense_transform_int16.tif": Refused(
        SceneError, "512 x 512 from (15.1172, 47.7393) do not fit EPSG:4326", "-a_ullr"
    ),
    "awkward/rasterio/RGB.byte.tif": Tiles(180, RGB, holds="zeros", nodata=0),
    "awkward/rasterio/RGBA.byte.tif": Tiles(180, RGB, holds="alpha"),
    "awkward/rasterio/RGBA.uint16.tif": Tiles(130, ("blue", "green", "red"), "uint16", "alpha"),
    "awkward/rasterio/alpha.tif": Tiles(90, RGB, holds="alpha"),
    "awkward/rasterio/cogeo.tif": Tiles(300, RGB, holds="mask"),
    "awkward/rasterio/float_nan.tif": Tiles(2, numbered(1), "float32", "nan"),
    "awkward/rasterio/float_raster_with_nodata.tif": Tiles(4, numbered(1), "float32", "value", -3.3999999521443642e38),
    "awkward/rasterio/goes.tif": Tiles(130, RGB, holds="mask"),
    "awkward/rasterio/rotated.tif": Refused(SceneError, "rotated or sheared", "gdalwarp"),
    "awkward/rasterio/world.rgb.tif": Tiles(64, RGB),
    _EXTMASK: Tiles(64, RGB, holds="mask"),
    f"{_EXTMASK}.msk": Beside(_EXTMASK),
    "awkward/rio-tiler/cog_cmap.tif": Refused(SceneError, "colours of a palette", "-expand rgb"),
    "awkward/rio-tiler/cog_dateline.tif": Tiles(512, numbered(1), "uint16"),
    "awkward/rio-tiler/cog_gcps.tif": Refused(SceneError, "only given by ground control points", "gdalwarp -tps"),
    "awkward/rio-tiler/cog_int16.tif": Tiles(512, numbered(1), "int16", "value", -32768),
    "awkward/rio-tiler/cog_nodata_nan.tif": Tiles(140, ("Gamma0_VV",), "float32", "zeros", 0),
    "awkward/rio-tiler/cog_nonearth.tif": Tiles(180, ("IR-9680",), "float32", "value", -3.4028226550889045e38),
    "awkward/rio-tiler/cog_rgb_mask.tif": Tiles(64, RGB, holds="mask"),
    "awkward/rio-tiler/cog_rgba.tif": Tiles(64, RGB, holds="alpha"),
    # Every pixel of it is nodata: what its rows running up means is tried with other values in its place.
    "awkward/rio-tiler/inverted_lat.tif": Refused(TilesetError, "no tile was kept (18 nodata)", "--min-valid"),
    "awkward/rio-tiler/pix4d_alpha_nodata.tif": Tiles(200, RGB, holds="alpha"),
    "awkward/solaris/rotated_complex_sar_hh.tif": Refused(SceneError, "complex numbers", "gdal_calc.py"),
    "awkward/solaris/sample_geotiff_custom_proj.tif": Tiles(200, numbered(3), "int16", "value", -9999),
    "awkward/solaris/sample_geotiff_uint16_pan.tif": Tiles(250, numbered(1), "uint16", "zeros", 0),
    "awkward/solaris/sar_masked.tif": Tiles(48, numbered(4), "float32", "nan"),
    "multispectral/eolearn_ndvi_lulc/lulc.tif": Tiles(32, numbered(1)),
    "multispectral/eolearn_ndvi_lulc/ndvi_68dates.tif": Tiles(64, numbered(68), "float32", "nan", min_valid=0.2),
    "multispectral/landsat7_guatemala/LE70220491999322EDC01_stack.tif": Tiles(96, _LANDSAT, "int16", "value", -9999),
    "multispectral/landsat7_guatemala/training_raster.tif": Tiles(
        64, numbered(1), holds="zeros", nodata=0, min_valid=0.01
    ),
    "multispectral/rcr_sentinel2/rcr_s2_8band.tif": Tiles(512, tuple(f"B0{number}" for number in range(1, 9))),
    f"{_SEN1FLOODS11}_LabelHand.tif": Tiles(200, numbered(1), "int16"),
    f"{_SEN1FLOODS11}_S1Hand.tif": Tiles(200, ("VV", "VH"), "float32", "nan"),
    f"{_SEN1FLOODS11}_S2Hand.tif": Tiles(200, _S2, "int16", "zeros", 0),
}
"""By path below the folder of real data."""

TILES = {path: entry for path, entry in EXPECTED.items() if isinstance(entry, Tiles)}
REFUSED = {path: entry for path, entry in EXPECTED.items() if isinstance(entry, Refused)}
BESIDE = {path: entry for path, entry in EXPECTED.items() if isinstance(entry, Beside)}
