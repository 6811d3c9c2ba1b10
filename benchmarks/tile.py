"""Tiling against what one would use otherwise: gdal_retile + gdal_rasterize, and a plain rasterio loop.

    python benchmarks/tile.py --data DIR [--copies 2] [--size 256]

DIR holds ``buildings_oam/zanzibar_a.tif`` and its buildings; the scene is laid out ``copies`` x ``copies`` times. Every
contender runs as a process of its own, imports included, writes all pairs, and is checked against the scene afterwards.
The floor decodes the scene and writes as many bytes as uncompressed pairs hold. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from measuring import measured
from rasterio import Affine
from rasterio.windows import Window

FLOOR = """
import sys, numpy as np, rasterio
from pathlib import Path
from rasterio.windows import Window
scene, out, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
with rasterio.open(scene) as dataset:
    for row in range(0, dataset.height, 512):
        strip = dataset.read(window=Window(0, row, dataset.width, 512))
        for top in range(0, 512, size):
            for col in range(0, dataset.width, size):
                pixels = strip[:, top:top + size, col:col + size]
                (out / f"i{row + top}_{col}").write_bytes(pixels.tobytes())
                (out / f"m{row + top}_{col}").write_bytes(pixels[0].tobytes())
"""
LOOP = """
import sys, geopandas, rasterio, shapely
from pathlib import Path
from rasterio.features import rasterize
from rasterio.windows import Window
scene, labels, out, size, compress = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
options = {} if compress == "none" else {"compress": compress}
with rasterio.open(scene) as dataset:
    polygons = geopandas.read_file(labels).to_crs(dataset.crs)
    for row in range(0, dataset.height, size):
        for col in range(0, dataset.width, size):
            window = Window(col, row, size, size)
            transform = dataset.window_transform(window)
            image = dataset.read(window=window)
            left, top = transform @ (0, 0)
            right, bottom = transform @ (size, size)
            shapes = [(shape, 1) for shape in polygons.geometry.iloc[polygons.sindex.query(
                shapely.box(left, bottom, right, top))]]
            mask = rasterize(shapes, (size, size), transform=transform) if shapes else image[0] * 0
            place = dict(driver="GTiff", height=size, width=size, crs=dataset.crs, transform=transform, dtype="uint8")
            with rasterio.open(out / f"i{row}_{col}.tif", "w", count=3, **place, **options) as target:
                target.write(image)
            with rasterio.open(out / f"m{row}_{col}.tif", "w", count=1, **place, **options) as target:
                target.write(mask, 1)
"""


def mosaic(data: Path, folder: Path, copies: int) -> tuple[Path, Path]:
    """The scene laid out several times, as one JPEG-in-TIFF like the source, and its polygons."""
    source = data / "buildings_oam" / "zanzibar_a.tif"
    polygons = gpd.read_file(data / "buildings_oam" / "zanzibar_a_buildings.geojson")
    scene, labels = folder / "scene.tif", folder / "labels.geojson"
    with rasterio.open(source) as dataset:
        height, width, base = dataset.height, dataset.width, dataset.transform
        profile = {
            "driver": "GTiff", "height": height * copies, "width": width * copies, "count": 3, "dtype": "uint8",
            "crs": dataset.crs, "transform": base, "tiled": True, "blockxsize": 512, "blockysize": 512,
            "compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": 95,
        }  # fmt: skip
        with rasterio.open(scene, "w", **profile) as target:
            for row in range(0, height, 512):
                strip = dataset.read(window=Window(0, row, width, 512))
                for down in range(copies):
                    for across in range(copies):
                        target.write(strip, window=Window(across * width, down * height + row, width, 512))
        crs = dataset.crs
    local = polygons.to_crs(crs)
    parts = [
        local.assign(geometry=local.translate(across * width * base.a, down * height * base.e))
        for down in range(copies)
        for across in range(copies)
    ]
    pd.concat(parts).to_crs(polygons.crs).to_file(labels)
    return scene, labels


def check(tiles: Path, scene: Path, reference: Path, size: int) -> str:
    """Compare geosynth's tiles with the scene and with gdal_rasterize's mask, pixel by pixel."""
    from geosynth.tileset import Tileset

    tileset = Tileset(tiles)
    wrong = masks = 0
    with rasterio.open(scene) as dataset, rasterio.open(reference) as burnt:
        places = {(tile.row, tile.col) for tile in tileset.tiles}
        for tile in tileset.tiles:
            image, _, mask = tileset.read(tile)
            window = Window(tile.col, tile.row, size, size)
            wrong += int((image != dataset.read(window=window)).sum())
            masks += int((mask != burnt.read(1, window=window)).sum())
            assert image.shape[1:] == (size, size)
    assert len(places) == len(tileset.tiles)
    count = len(tileset.tiles)
    return f"{count} tiles, none twice, all {size} x {size}; {wrong} image values and {masks} mask pixels differ"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene, labels = mosaic(args.data, folder, args.copies)
        with rasterio.open(scene) as dataset:
            bounds, crs = dataset.bounds, dataset.crs
            shape, pixel = dataset.shape, dataset.transform
        small = folder / "small.tif"
        with rasterio.open(
            small, "w", driver="GTiff", height=args.size, width=args.size, count=3, dtype="uint8", crs=crs,
            transform=pixel @ Affine.translation(shape[1] // 4, shape[0] // 4),  # the middle of the first copy
        ) as dataset:  # fmt: skip
            dataset.write(np.full((3, args.size, args.size), 7, np.uint8))
        local = folder / "local.gpkg"
        gpd.read_file(labels).to_crs(crs).to_file(local, VERSION="1.2")
        out, size = folder / "out", str(args.size)
        loop = [sys.executable, "-c", LOOP, str(scene), str(labels), str(out), size]
        burnt = folder / "burnt.tif"
        geosynth = [shutil.which("geosynth") or "geosynth", "tile"]
        common = ["--labels", str(labels), "--outside", "background", "--progress", "none", "--out", str(out / "tiles")]
        retile = [shutil.which("gdal_retile.py") or "gdal_retile", "-q", "-ps", size, size, "-targetDir"]
        rasterize = [
            "gdal_rasterize", "-q", "-burn", "1", "-init", "0", "-ot", "Byte", "-te",
            *map(str, (bounds.left, bounds.bottom, bounds.right, bounds.top)), "-ts", *map(str, shape[::-1]),
            str(local), str(burnt),
        ]  # fmt: skip
        deflate = ["-co", "COMPRESS=DEFLATE", "-co", "ZLEVEL=1", "-co", "PREDICTOR=2"]
        contenders: dict[str, list[list[str]]] = {
            "floor: decode, write the bytes": [[sys.executable, "-c", FLOOR, str(scene), str(out), size]],
            "gdal_retile + gdal_rasterize": [
                rasterize,
                [*retile, str(out / "i"), str(scene)],
                [*retile, str(out / "m"), str(burnt)],
            ],
            "the same, deflated like ours": [
                rasterize,
                [*retile, str(out / "i"), *deflate, str(scene)],
                [*retile, str(out / "m"), *deflate, str(burnt)],
            ],
            "rasterio loop, uncompressed": [[*loop, "none"]],
            "rasterio loop, deflate": [[*loop, "deflate"]],
            "geosynth, start-up only": [[*geosynth, str(small), "--size", size, *common]],
            "geosynth": [[*geosynth, str(scene), "--size", size, *common]],
            "geosynth --workers 2": [[*geosynth, str(scene), "--size", size, "--workers", "2", *common]],
        }  # fmt: skip
        rows = {}
        for title, commands in contenders.items():
            best = (float("inf"),) * 3
            for _ in range(args.repeat):
                shutil.rmtree(out, ignore_errors=True)
                if commands[0][0] == "gdal_rasterize":
                    burnt.unlink(missing_ok=True)
                for inner in ("i", "m"):
                    (out / inner).mkdir(parents=True)
                best = min(best, measured(commands))
            size_mb = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6
            rows[title] = {"wall": best[0], "cpu": best[1], "peak": best[2], "disk": size_mb}
        verdict = check(out / "tiles", scene, burnt, args.size)
        peer = rows["gdal_retile + gdal_rasterize"]["wall"]
        print(f"{shape[1]} x {shape[0]} pixels, {args.size} px tiles, {os.cpu_count()} cores, best of {args.repeat}\n")
        print("| | wall s | CPU s | peak MB | on disk MB | gdal's time / this |\n|---|---|---|---|---|---|")
        for title, row in rows.items():
            print(
                f"| {title} | {row['wall']:.2f} | {row['cpu']:.2f} | {row['peak']:.0f} | {row['disk']:.0f}"
                f" | {peer / row['wall']:.2f} |"
            )
        print(f"\n{verdict}")


if __name__ == "__main__":
    main()
