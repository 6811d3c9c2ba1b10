"""The experiment, the whole flow, and commands that only look."""

from __future__ import annotations

from ..options import Command, Output, argument, given
from .shared import DEVICE, RERUN, SCHEDULER, THREADS, batch, legend, out, workers

EVALUATE = Command(
    "evaluate",
    "Evaluate synthetic tiles",
    "Train the same network on real, on synthetic and on both tiles, several times, and compare on test tiles that"
    " nothing has seen. Arms whose generator saw test tiles are refused.",
    "segmentation",
    (
        argument("TILES", "tileset", "Real tileset"),
        argument(
            "MORE_TILES",
            "texts",
            "More label subsets of it",
            advanced=True,
            help="Folders, one a line or with ; between them.",
        ),
        given("--arm", "tileset", "Synthetic tileset to judge", name="SYNTHETIC", prefix="synthetic="),
        given(
            "--arm",
            "texts",
            "More arms",
            name="ARM",
            advanced=True,
            help="NAME=FOLDER or NAME=FOLDER,FOLDER, one a line or with ; between them.",
        ),
        given("--seeds", "integer", "Runs of each arm", default=5, minimum=0, help="0 compares the tiles only."),
        given("--budget", "text", "Time there is", help="For example 30min or 2h; the runs are planned into it."),
        given("--steps", "integer", "Optimiser steps", default=1000, minimum=1),
        out("Report folder"),
        RERUN,
        given(
            "--arms",
            "text",
            "What to compare",
            default="default",
            advanced=True,
            help="default, all, or some of: real, mixed, synthetic, duplicated, cutmix, filtered, filtered3, copypaste,"
            " pretrained, selftraining, answers; with commas between them.",
        ),
        given("--ratios", "text", "Ratios of the mixed arm", default="", advanced=True, help="For example 0.5,1,2."),
        given(
            "--generator",
            "texts",
            "Generators to test by themselves",
            advanced=True,
            help="NAME=FOLDER, one a line or with ; between them.",
        ),
        given("--other-seeds", "integer", "Runs of each other arm, at most", default=3, minimum=1, advanced=True),
        given("--arch", "text", "Architecture", default="unet", advanced=True),
        given("--encoder", "text", "Encoder", default="resnet18", advanced=True),
        batch(default=16),
        given("--learning-rate", "number", "Learning rate", default=1e-3, minimum=0, above=True, advanced=True),
        given(
            "--features",
            "text",
            "Encoder weights that describe images",
            advanced=True,
            help="A file, or ENCODER=FILE. Default: the segmenter of the arm real.",
        ),
        given("--self-test", "flag", "Test the method where the answer is known", default=False, advanced=True),
        DEVICE,
        THREADS,
        workers(),
        SCHEDULER,
    ),
    (Output("REPORT", "file", "Report", ("report.html",)),),
    detachable=True,
)


INSPECT = Command(
    "inspect",
    "Inspect a folder or file",
    "Say what something is: tileset, generator, segmenter, report, raster or an unfinished run, and what is in it.",
    "tools",
    (argument("PATH", "path", "Folder or file", required=True, words=("base",)),),
)


ENV = Command(
    "env",
    "Show the environment",
    "Versions, device, memory and what is missing in the environment geosynth runs in.",
    "tools",
    (),
)


DEMO = Command(
    "demo",
    "Run the whole flow",
    "Tiles, generator, synthetic pairs, segmenter, class raster, polygons and report on a made-up landscape, or on a"
    " scene of yours. Takes some minutes on a CPU.",
    "tools",
    (
        given("--scene", "rasters", "Your own scenes", help="Default: a made-up landscape."),
        given("--labels", "layers", "Their labels"),
        given("--outside", "choice", "What lies outside the polygons", choices=("background", "unknown")),
        given("--class-field", "text", "Attribute of the polygons that holds the class"),
        given("--steps", "integer", "Steps of fine-tuning", default=200, minimum=1),
        out("Folder for everything"),
        RERUN,
        given("--gsd", "number", "Ground metres a pixel", minimum=0, above=True, advanced=True),
        legend("Classes of the labels."),
        given("--ignore", "texts", "Label values that mean unknown", advanced=True),
        DEVICE,
    ),
    (
        Output("CLASSES", "raster", "Class raster", ("classes/next.tif",)),
        Output("POLYGONS", "vector", "Polygons", ("classes.gpkg",)),
        Output("IMAGES", "raster", "Synthetic images", ("synthetic/images.vrt",)),
        Output("MASKS", "raster", "Synthetic masks", ("synthetic/masks.vrt",)),
        Output("REPORT", "file", "Report", ("report/report.html",)),
    ),
    detachable=True,
)
