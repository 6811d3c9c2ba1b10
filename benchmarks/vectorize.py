"""Vectorizing against what one would use otherwise: gdal_polygonize, and rasterio.features.shapes + geopandas.

    python benchmarks/vectorize.py --data DIR [--copies 2] [--repeat 3]

DIR holds ``landcover_dubai/tile8_mask.tif``, which is laid out ``copies`` x ``copies`` times as a tiled GeoTIFF in UTM.
Every contender runs as a process of its own, imports included, and writes a GeoPackage. The floor decodes the raster
and writes as many bytes. What is written is checked: the area, and for simplified polygons that every side is there
twice, once in each direction, or lies on the raster's edge: then there are no gaps and no overlaps. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
import shapely
from measuring import measured
from rasterio import Affine
from rasterio.windows import Window

FLOOR = """
import sys, rasterio
scene, out, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
with rasterio.open(scene) as dataset:
    for _, window in dataset.block_windows(1):
        dataset.read(1, window=window)
with open(out, "wb") as target:
    for _ in range(size >> 20):
        target.write(bytes(1 << 20))
"""
LOOP = """
import sys, geopandas, rasterio, shapely
from rasterio.features import shapes
scene, out, tolerance = sys.argv[1], sys.argv[2], float(sys.argv[3])
with rasterio.open(scene) as dataset:
    found = [(shapely.Polygon(g["coordinates"][0], g["coordinates"][1:]), int(v))
             for g, v in shapes(dataset.read(1), connectivity=4, transform=dataset.transform)]
    frame = geopandas.GeoDataFrame({"class_id": [v for _, v in found]}, geometry=[p for p, _ in found], crs=dataset.crs)
if tolerance:
    frame.geometry = frame.geometry.simplify(tolerance)
frame.to_file(out)
"""


def mosaic(data: Path, target: Path, rows: int, cols: int) -> Path:
    """The class raster laid out several times, written strip by strip."""
    with rasterio.open(data / "landcover_dubai" / "tile8_mask.tif") as dataset:
        mask = dataset.read(1)
    height, width = mask.shape
    profile = {
        "driver": "GTiff", "height": height * rows, "width": width * cols, "count": 1, "dtype": "uint8",
        "crs": "EPSG:32640", "transform": Affine(1, 0, 330_000, 0, -1, 2_790_000), "compress": "deflate",
        "tiled": True, "blockxsize": 512, "blockysize": 512,
    }  # fmt: skip
    with rasterio.open(target, "w", **profile) as dataset:
        for row in range(rows):
            dataset.write(np.tile(mask, (1, cols)), 1, window=Window(0, row * height, width * cols, height))
    return target


def checked(path: Path, scene: Path, simplified: bool) -> str:
    """What is wrong with a file's polygons, in words."""
    polygons: Any = pyogrio.read_dataframe(path, columns=[]).geometry.to_numpy()
    with rasterio.open(scene) as dataset:
        bounds, size = dataset.bounds, dataset.width * dataset.height
    words = f"{len(polygons)} polygons, {shapely.get_num_coordinates(polygons).sum()} vertices"
    words += f", area {(shapely.area(polygons).sum() / size - 1) * 100:+.4f} %"
    if not simplified:
        return words
    invalid = int((~shapely.is_valid(polygons)).sum())
    return f"{words}, {invalid} invalid, {_unmatched(polygons, tuple(bounds))} sides without a neighbour's"


def _unmatched(polygons: Any, bounds: tuple[float, ...]) -> int:
    """How many sides are not there once in each direction, without those on the raster's edge."""
    rings = shapely.get_rings(shapely.orient_polygons(polygons))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    inner = ring[1:] == ring[:-1]
    start, end = points[:-1][inner], points[1:][inner]
    left, bottom, right, top = bounds
    edge = np.zeros(len(start), bool)
    for axis, line in ((0, left), (0, right), (1, bottom), (1, top)):
        edge |= (start[:, axis] == line) & (end[:, axis] == line)
    start, end = start[~edge], end[~edge]
    forward = (start[:, 0] < end[:, 0]) | (start[:, 0] == end[:, 0]) & (start[:, 1] < end[:, 1])
    sides = np.where(forward[:, None], np.hstack([start, end]), np.hstack([end, start]))
    order = np.lexsort(sides.T)
    sides, way = sides[order], np.where(forward[order], 1, -1)
    first = np.flatnonzero(np.append(True, (sides[1:] != sides[:-1]).any(axis=1)))
    counts, balance = np.diff(np.append(first, len(sides))), np.add.reduceat(way, first)
    return int(counts[(counts != 2) | (balance != 0)].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("GEOSYNTH_DATA"), required="GEOSYNTH_DATA" not in os.environ
    )
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=2.0, help="of the simplified ones, in pixels")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = mosaic(args.data, folder / "scene.tif", args.copies, args.copies)
        out = folder / "out.gpkg"
        tolerance = str(args.tolerance)
        geosynth = [shutil.which("geosynth", path=str(Path(sys.executable).parent)) or "geosynth", "vectorize"]
        ours = [*geosynth, str(scene), "--progress", "none", "--overwrite", "--out", str(out)]
        loop = [sys.executable, "-W", "ignore", "-c", LOOP, str(scene), str(out)]
        polygonize = shutil.which("gdal_polygonize") or shutil.which("gdal_polygonize.py") or "gdal_polygonize.py"
        contenders: dict[str, tuple[list[str], int, bool]] = {
            "geosynth": (ours, args.repeat, False),
            "geosynth --workers 2": ([*ours, "--workers", "2"], args.repeat, False),
            "geosynth --simplify": ([*ours, "--simplify", tolerance], args.repeat, True),
            "geosynth --simplify --workers 2": ([*ours, "--simplify", tolerance, "--workers", "2"], args.repeat, True),
            "rasterio + geopandas": ([*loop, "0"], args.repeat, False),
            "rasterio + geopandas, each simplified": ([*loop, tolerance], 1, True),
            "gdal_polygonize": ([polygonize, "-q", str(scene), "-f", "GPKG", str(out)], 1, False),
        }
        rows: dict[str, tuple[float, float, float]] = {}
        verdicts = {}
        for title, (command, repeat, simplified) in contenders.items():
            best = (float("inf"),) * 3
            for _ in range(repeat):
                out.unlink(missing_ok=True)
                best = min(best, measured([command]))
            rows[title] = best
            verdicts[title] = checked(out, scene, simplified)
            if title == "geosynth":
                size = str(out.stat().st_size)
        floor = [sys.executable, "-c", FLOOR, str(scene), str(folder / "floor"), size]
        rows["floor: decode, write the bytes"] = min(measured([floor]) for _ in range(args.repeat))
        with rasterio.open(scene) as dataset:
            print(f"{dataset.width} x {dataset.height} pixels, {os.cpu_count()} cores, best of {args.repeat}\n")
        print("| | wall s | CPU s | peak MB | gdal's time / this | rasterio's / this |\n|---|---|---|---|---|---|")
        gdal, plain = rows["gdal_polygonize"][0], rows["rasterio + geopandas"][0]
        for title, (wall, cpu, peak) in rows.items():
            print(f"| {title} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {gdal / wall:.2f} | {plain / wall:.2f} |")
        print("\n| | what is written |\n|---|---|")
        for title, verdict in verdicts.items():
            print(f"| {title} | {verdict} |")
        print("\n| geosynth on | wall s | CPU s | peak MB |\n|---|---|---|---|")
        for down, across in ((1, 1), (args.copies, args.copies), (2 * args.copies, 2 * args.copies)):
            mosaic(args.data, scene, down, across)
            with rasterio.open(scene) as dataset:
                size = f"{dataset.width} x {dataset.height}"
            for title, more in ((size, []), (f"{size}, --split-at 1000000", ["--split-at", "1000000"])):
                wall, cpu, peak = measured([[*ours, *more]])
                print(f"| {title} | {wall:.2f} | {cpu:.2f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
