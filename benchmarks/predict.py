"""Predicting a scene against what one would use otherwise: geoai's predict_geotiff, and a plain torchgeo loop.

    pip install --requirement benchmarks/requirements-peers.txt
    python benchmarks/predict.py [--data DIR] [--sizes 4096 8192] [--networks one-layer unet] [--threads 1 2]

The scene is real drone imagery (``DIR/buildings_oam/zanzibar_a.tif``) laid out until it is big enough, or the made-up
world without ``--data``. Windows of 256 px that share 64 px, six classes, random weights. Every contender runs as a
process of its own; its clock starts when its libraries and the network are loaded. The floors are measured in the same
run: the forward passes alone, and reading every pixel and writing every class once, as deflated tiles without overviews
and as the COG with overviews that geosynth writes.
``--ours`` leaves the peers out, ``--large`` adds 16384² and 32768². Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import torch
from rasterio.windows import Window
from torch import nn

from geosynth.segmentation.networks import build_network
from geosynth.segmentation.windows import Windows

WINDOW, OVERLAP, CLASSES = 256, 64, 6
MEAN, STD = (110.0, 110.0, 100.0), (50.0, 50.0, 50.0)


class OneLayer(nn.Conv2d):
    """The cheapest network there is: what is left is the cost of the tool."""

    encoder = type("Encoder", (), {"output_stride": 32})

    def __init__(self) -> None:
        super().__init__(3, CLASSES, 3, padding=1)


def make_network(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = OneLayer() if name == "one-layer" else build_network("unet", "resnet18", 3, CLASSES)
    return network.eval().requires_grad_(False)


def make_scene(path: Path, side: int, data: Path | None) -> None:
    """A square scene in deflated tiles of 512 px (of a JPEG one geoai cannot write the classes)."""
    if data is None:
        from geosynth.world import Landscape

        pattern = Landscape(0).render(0, 0, 2048, 2048)[0]
    else:
        with rasterio.open(data / "buildings_oam" / "zanzibar_a.tif") as dataset:
            pattern = dataset.read(window=Window(0, 0, 4096, 4096))
    profile = {
        "driver": "GTiff", "count": 3, "dtype": "uint8", "height": side, "width": side, "crs": "EPSG:32737",
        "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 9_300_000), "tiled": True, "blockxsize": 512,
        "blockysize": 512, "compress": "deflate", "predictor": 2, "zlevel": 1, "photometric": "rgb",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        for row in range(0, side, 512):
            at = row % pattern.shape[1]
            lines = np.tile(pattern[:, at : at + 512], (1, 1, -(-side // pattern.shape[2])))
            dataset.write(lines[:, :, :side], window=Window(0, row, side, 512))


def normalised(image: np.ndarray) -> np.ndarray:
    values = image.astype(np.float32)
    values -= np.array(MEAN, np.float32)[:, None, None]
    values /= np.array(STD, np.float32)[:, None, None]
    return values


# The contenders: each is given a network, a scene, a file to write and a number of threads; what it gives is timed.


def forward(network: nn.Module, scene: Path, _: Path, threads: int) -> Callable[[], None]:
    """Every window once, a window a pass (larger batches are slower here), several threads within a pass."""
    torch.set_num_threads(threads)
    images, count = torch.randn(8, 1, 3, WINDOW, WINDOW), window_count(scene)

    def run() -> None:
        with torch.no_grad():
            for number in range(count):
                network(images[number % 8])

    return run


def forward_side_by_side(network: nn.Module, scene: Path, _: Path, threads: int) -> Callable[[], None]:
    """Every window once, several passes side by side."""
    torch.set_num_threads(1)
    images, count = torch.randn(8, 1, 3, WINDOW, WINDOW), window_count(scene)

    def some(first: int) -> None:
        torch.set_num_threads(1)
        with torch.no_grad():
            for number in range(first, count, threads):
                network(images[number % 8])

    def run() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(some, range(threads)))

    return run


def read_write(_: nn.Module, scene: Path, out: Path, threads: int, *, cog: bool = False) -> Callable[[], None]:
    """Every pixel and the classes that geosynth found; nothing is computed."""
    with rasterio.open(out.with_name("geosynth.tif")) as dataset:
        classes = dataset.read(1)

    def read_write_cog() -> None:
        """The same file as geosynth's, made by GDAL of classes that are in memory."""
        with rasterio.open(scene) as source:
            for row in range(0, source.height, 512):
                source.read(window=Window(0, row, source.width, 512))
            size = {"height": source.height, "width": source.width, "transform": source.transform, "crs": source.crs}
            with rasterio.MemoryFile() as memory:
                with memory.open(driver="GTiff", count=1, dtype="uint8", nodata=255, **size) as to:
                    to.write(classes, 1)
                options = {"COMPRESS": "DEFLATE", "LEVEL": 5, "OVERVIEW_RESAMPLING": "MODE", "NUM_THREADS": threads}
                rasterio.shutil.copy(memory.name, out, driver="COG", BLOCKSIZE=512, **options)

    def run() -> None:
        with rasterio.open(scene) as source:
            size = {"height": source.height, "width": source.width, "transform": source.transform}
            options = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 5}
            with rasterio.open(
                out, "w", driver="GTiff", count=1, dtype="uint8", crs=source.crs, **size, **options
            ) as to:
                for row in range(0, source.height, 512):
                    window = Window(0, row, source.width, 512)
                    source.read(window=window)
                    to.write(classes[row : row + 512], 1, window=window)

    return read_write_cog if cog else run


def geosynth(network: nn.Module, scene: Path, out: Path, threads: int) -> Callable[[], None]:
    from geosynth.events import Events
    from geosynth.legend import Legend
    from geosynth.normalisation import Normalisation
    from geosynth.rasters import Band
    from geosynth.segmentation import prediction
    from geosynth.segmentation.segmenter import Segmenter, SegmenterSpec

    bands = tuple(Band(name, "uint8") for name in ("red", "green", "blue"))
    legend = Legend.from_names([f"class {number}" for number in range(CLASSES)], 0)
    scale = Normalisation(MEAN, STD)
    spec = SegmenterSpec("unet", "resnet18", bands, legend, "EPSG:32737", (0.5, 0.5), 0.5, WINDOW, scale)
    segmenter = Segmenter(spec, network, "cpu", {}, None, "benchmark")
    prediction.load_segmenter = lambda *_: segmenter

    def run() -> None:
        folder = out.with_suffix("")
        options: dict[str, Any] = {"window": WINDOW, "overlap": OVERLAP, "threads": threads, "device": "cpu"}
        (raster,) = prediction.predict_scenes("benchmark", [scene], folder, Events(), **options)
        raster.replace(out)
        shutil.rmtree(folder)

    return run


def torchgeo_loop(network: nn.Module, scene: Path, out: Path, threads: int) -> Callable[[], None]:
    """What its tutorials show: a gridded sampler, batches, the sums of a whole scene in memory."""
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    class Scene(RasterDataset):
        filename_glob = scene.name
        separate_files = False

    torch.set_num_threads(threads)

    def run() -> None:
        dataset = Scene(scene.parent)
        sampler = GridGeoSampler(dataset, size=WINDOW, stride=WINDOW - OVERLAP)
        loader = DataLoader(dataset, batch_size=4, sampler=sampler, collate_fn=stack_samples)
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        with rasterio.open(scene) as source:
            height, width, profile = source.height, source.width, source.profile
            left, top, size = source.bounds.left, source.bounds.top, source.res[0]
        sums = torch.zeros(CLASSES, height, width)
        with torch.no_grad():
            for sample in loader:
                logits = network((sample["image"] - mean) / std)
                for part, place in zip(logits, sample["bounds"], strict=True):
                    col, row = round((float(place[0]) - left) / size), round((top - float(place[4])) / size)
                    at = slice(max(row, 0), row + WINDOW), slice(max(col, 0), col + WINDOW)
                    into = sums[:, *at]
                    into += part[:, max(-row, 0) :, max(-col, 0) :][:, : into.shape[1], : into.shape[2]]
        classes = sums.max(0).indices.byte().numpy()
        profile |= {"count": 1, "compress": "deflate", "photometric": "minisblack"}
        with rasterio.open(out, "w", **profile) as dataset_out:
            dataset_out.write(classes, 1)

    return run


def geoai(network: nn.Module, scene: Path, out: Path, threads: int) -> Callable[[], None]:
    from geoai.inference import predict_geotiff

    torch.set_num_threads(threads)

    def run() -> None:
        predict_geotiff(
            network,
            str(scene),
            str(out),
            tile_size=WINDOW,
            overlap=OVERLAP,
            batch_size=4,
            num_classes=CLASSES,
            output_dtype="uint8",
            output_nodata=255,
            preprocess_fn=normalised,
            postprocess_fn=lambda scores: scores.argmax(0)[None],
            device="cpu",
            compress="deflate",
            verbose=False,
        )

    return run


def window_count(scene: Path) -> int:
    with rasterio.open(scene) as dataset:
        return len(Windows.over(dataset.height, WINDOW, OVERLAP).starts) * len(
            Windows.over(dataset.width, WINDOW, OVERLAP).starts
        )


MAKERS = {
    "forward": forward, "forward side by side": forward_side_by_side, "read + write": read_write,
    "read + write a COG": partial(read_write, cog=True), "geosynth": geosynth,
    "torchgeo loop": torchgeo_loop, "geoai": geoai,
}  # fmt: skip


def contend(name: str, network: str, scene: Path, out: Path, threads: int) -> None:
    """Run one contender in this process; prints seconds, CPU seconds and the peak memory."""
    run = MAKERS[name](make_network(network), scene, out, threads)
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak}))


def measured(name: str, network: str, scene: Path, out: Path, threads: int, runs: int) -> dict[str, float] | str:
    """The fastest of some runs, or why there is none."""
    best: dict[str, float] | None = None
    for _ in range(runs):
        command = [sys.executable, __file__, "--contend", name, network, str(scene), str(out), str(threads)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or [f"died ({done.returncode})"])[-1][:80]
        found = json.loads(done.stdout.splitlines()[-1])
        best = found if best is None or found["wall"] < best["wall"] else best
    assert best is not None
    return best


def share_equal(one: Path, other: Path) -> float:
    """Share of pixels of the same class."""
    with rasterio.open(one) as a, rasterio.open(other) as b:
        same = total = 0
        for row in range(0, a.height, 1024):
            window = Window(0, row, a.width, min(1024, a.height - row))
            hit = a.read(1, window=window) == b.read(1, window=window)
            same, total = same + int(hit.sum()), total + hit.size
    return same / total


def compare(scene: Path, side: int, network: str, threads: int, names: tuple[str, ...], runs: int) -> None:
    """Print a table row a contender."""
    folder = scene.parent
    ours = folder / "geosynth.tif"
    found: dict[str, dict[str, float] | str] = {}
    for name in names:
        out = ours if name == "geosynth" else folder / f"{name.replace(' ', '_')}.tif"
        found[name] = measured(name, network, scene, out, threads, runs)
    floors = [found[name] for name in ("forward", "forward side by side")]
    passes = min(floor["wall"] for floor in floors if isinstance(floor, dict))
    passes_cpu = min(floor["cpu"] for floor in floors if isinstance(floor, dict))
    floors_with = {}
    for name in ("read + write", "read + write a COG"):
        disk = found[name]
        assert isinstance(disk, dict), disk
        floors_with[name] = (passes + disk["wall"], passes_cpu + disk["cpu"])
    (plain, plain_cpu), (cog, cog_cpu) = floors_with.values()
    for name, result in found.items():
        start = f"| {side}² | {network} | {threads} | {name} |"
        if isinstance(result, str):
            print(f"{start} {result} | | | | | | |", flush=True)
            continue
        out = folder / f"{name.replace(' ', '_')}.tif"
        same = f"{100 * share_equal(ours, out):.2f} %" if name in ("torchgeo loop", "geoai") else ""
        wall, cpu = result["wall"], result["cpu"]
        print(
            f"{start} {wall:.1f} | {cpu:.1f} | {wall / passes:.2f} | {wall / plain:.2f} ({cpu / plain_cpu:.2f}) |"
            f" {wall / cog:.2f} ({cpu / cog_cpu:.2f}) | {result['peak']:.0f} | {same} |",
            flush=True,
        )
        out.unlink(missing_ok=True) if out != ours else None
    ours.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("GEOSYNTH_DATA"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 8192])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--networks", nargs="+", choices=["one-layer", "unet"], default=["one-layer", "unet"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--runs", type=int, default=2, help="the fastest counts")
    parser.add_argument("--ours", action="store_true")
    parser.add_argument("--contend", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contend:
        name, network, scene, out, threads = arguments.contend
        contend(name, network, Path(scene), Path(out), int(threads))
        return
    # geosynth before the floors: what it found is what is written there.
    names = ("geosynth", "forward", "forward side by side", "read + write", "read + write a COG")
    peers = () if arguments.ours else ("torchgeo loop", "geoai")
    print(
        "| scene | network | threads | | s | CPU s | × forward | × (forward + read + write), by CPU |"
        " × (forward + read + write a COG), by CPU | peak MB | equal |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for side in arguments.sizes + ([16384, 32768] if arguments.large else []):
        with tempfile.TemporaryDirectory() as folder:
            scene = Path(folder) / "scene.tif"
            make_scene(scene, side, None if arguments.data is None else Path(arguments.data))
            for network in arguments.networks:
                for threads in arguments.threads:
                    compare(scene, side, network, threads, (*names, *peers), arguments.runs)


if __name__ == "__main__":
    main()
