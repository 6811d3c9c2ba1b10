"""Options that several commands share, each defined once."""

from __future__ import annotations

from typing import Any

from ..options import Option, Output, given

RERUN_CHOICES = ("resume", "refuse", "overwrite")


def out(label: str = "Output folder") -> Option:
    return given("--out", "save_folder", label, name="OUTPUT", required=True)


RERUN = Option(
    "RERUN",
    "rerun",
    "If the folder holds an earlier run",
    default="resume",
    choices=RERUN_CHOICES,
    help="resume: go on with an unfinished run of the same request (a finished one has nothing to do). refuse: stop."
    " overwrite: replace what geosynth made there.",
)
OVERWRITE_FILE = given(
    "--overwrite", "flag", "Replace the file when it is there", name="OVERWRITE", default=True, advanced=True
)
SEED = given("--seed", "integer", "Seed", default=0, help="The same seed gives the same result.")
DEVICE = given(
    "--device",
    "choice",
    "Device",
    default="auto",
    choices=("auto", "cpu", "cuda", "mps"),
    advanced=True,
    help="auto takes a GPU when there is one.",
)
THREADS = given(
    "--threads",
    "integer",
    "CPU threads",
    minimum=1,
    advanced=True,
    help="Their number decides the last digits of a training. Default: all cores.",
)
SCHEDULER = given(
    "--scheduler", "text", "Address of a dask cluster", advanced=True, help="For example tcp://host:8786."
)
PRECISION = given("--precision", "choice", "Precision", default="auto", choices=("auto", "32", "bf16"), advanced=True)


def batch(label: str = "Tiles a training step", **more: Any) -> Option:
    return given("--batch", "integer", label, minimum=1, advanced=True, **more)


def workers(default: int | None = 1) -> Option:
    return given("--workers", "integer", "Worker processes", default=default, minimum=1, advanced=True)


def legend(help_text: str) -> Option:
    return given("--legend", "legend", "Legend (file or name)", help=help_text, advanced=True)


TILESET_OUTPUTS = (
    Output("IMAGES", "raster", "Images", ("images.vrt", "image.tif")),
    Output("MASKS", "raster", "Masks", ("masks.vrt", "mask.tif")),
    Output("INDEX", "vector", "Index of tiles", ("index.gpkg",)),
)
