"""A segmenter on disk, scenes, and a prediction that writes everything there is; what it wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from rasterio import Affine
from segment_world import SPEC

from geosynth.events import Events
from geosynth.folders import claim
from geosynth.lineage import Lineage, Seen
from geosynth.normalisation import Normalisation
from geosynth.segmentation.networks import build_network
from geosynth.segmentation.prediction import predict_scenes
from geosynth.segmentation.segmenter import SegmenterSpec, save_segmenter

SAW = Lineage((Seen("0123456789abcdef", "elsewhere", "EPSG:32633", (0.0, 0.0, 32.0, 32.0), True),))


def write_inputs(folder: Path) -> Path:
    """A segmenter with random weights (whose last bits depend on the threads of a pass), a high scene and a small."""
    network = build_network("fpn", "mobilenet_v2", len(SPEC.bands), len(SPEC.legend))
    scale = Normalisation((100.0, 100.0), (50.0, 50.0))
    spec = SegmenterSpec(
        "fpn", "mobilenet_v2", SPEC.bands, SPEC.legend, "EPSG:32633", (0.5, 0.5), 0.5, 64, scale
    )  # fmt: skip
    with claim(folder / "segmenter", {"command": "made up"}) as out:
        save_segmenter(out, spec, network.state_dict(), {}, None, SAW)
        out.finish()
    for name, height in (("high", 900), ("small", 100)):
        values = np.random.default_rng(height).integers(1, 200, (2, height // 10, 15))
        image = np.kron(values, np.ones((1, 10, 10))).astype(np.uint8)
        image[:, 20:60, 30:90] = 0
        place = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), "nodata": 0}
        size = {"count": 2, "height": height, "width": 150, "dtype": "uint8"}
        with rasterio.open(folder / f"{name}.tif", "w", driver="GTiff", **size, **place) as dataset:
            dataset.write(image)
    return folder


def predict(inputs: Path, out: Path, **options: object) -> None:
    scenes = [inputs / "high.tif", inputs / "small.tif"]
    arguments = {
        "window": 64, "overlap": 24, "confidence": True, "probabilities": True, "device": "cpu", "rerun": "resume",
    } | options  # fmt: skip
    predict_scenes(inputs / "segmenter", scenes, out, arguments.pop("events", Events()), **arguments)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of everything but the log."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).is_relative_to(".geosynth/log")
    }
