"""Every command of geosynth and its options: what algorithm parameters and command lines are made from.

A test compares it with the program's own options, so that the two cannot drift apart. Only ``--json`` and the options
of a run (``--progress``, ``--events``, ``--cancel-file``, ``--watch-stdin``, ``--debug``) are not here: the plugin
gives those itself.
"""

from __future__ import annotations

from typing import Any

from .options import Command, Option, Output, argument, given

RERUN_CHOICES = ("resume", "refuse", "overwrite")


def _out(label: str = "Output folder") -> Option:
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


def _batch(label: str = "Tiles a training step", **more: Any) -> Option:
    return given("--batch", "integer", label, minimum=1, advanced=True, **more)


def _workers(default: int | None = 1) -> Option:
    return given("--workers", "integer", "Worker processes", default=default, minimum=1, advanced=True)


def _legend(help_text: str) -> Option:
    return given("--legend", "legend", "Legend (file or name)", help=help_text, advanced=True)


TILESET_OUTPUTS = (
    Output("IMAGES", "raster", "Images", ("images.vrt", "image.tif")),
    Output("MASKS", "raster", "Masks", ("masks.vrt", "mask.tif")),
    Output("INDEX", "vector", "Index of tiles", ("index.gpkg",)),
)

TILE = Command(
    "tile",
    "Tile scenes and labels",
    "Cut scenes and their labels into a tileset: small georeferenced image-mask pairs, split by place into train, val"
    " and test. Scenes without labels give tiles whose masks are unknown; a generator learns from those too.",
    "data",
    (
        argument("SCENES", "rasters", "Scenes"),
        argument("SCENES_FOLDER", "folder", "Folder of scenes", help="Instead of layers, or with them."),
        given(
            "--labels",
            "layers",
            "Labels (polygons, lines or mask rasters)",
            help="Labels called like a scene are its own; all others belong to the scenes they overlap. Later ones lie"
            " over earlier ones.",
        ),
        given(
            "--outside",
            "choice",
            "What lies outside the polygons",
            choices=("background", "unknown"),
            help="Needed for polygons: background when every object is drawn, unknown when only some are.",
        ),
        given(
            "--class-field",
            "texts",
            "Attribute that holds the class",
            help="Several: one a line, or with ; between them.",
        ),
        given("--size", "integer", "Side of a tile, pixels", minimum=8, help="Default: 128."),
        given(
            "--gsd",
            "number",
            "Ground metres a pixel",
            minimum=0,
            above=True,
            help="Default: as in the scenes.",
        ),
        _out("Tileset folder"),
        RERUN,
        given(
            "--layout",
            "choice",
            "Layout of a downloaded label set",
            choices=("loveda",),
            advanced=True,
            help="The folder of scenes is that of the label set as it was unpacked.",
        ),
        given("--crs", "crs", "Warp the scenes to", advanced=True, help="Default: the first scene's."),
        given(
            "--bands",
            "text",
            "Bands to take, in order",
            advanced=True,
            help="Names or numbers with commas between them, for example 4,3,2. Default: all.",
        ),
        _legend("Classes: a JSON file, or the name of a ready-made legend. Default: those found in the labels."),
        given("--line-width", "number", "Width of label lines, ground metres", minimum=0, above=True, advanced=True),
        given(
            "--ignore",
            "texts",
            "Label values that mean unknown",
            advanced=True,
            help="Numbers or colours (#rrggbb), one a line or with ; between them.",
        ),
        given(
            "--overlap",
            "integer",
            "Pixels that neighbours share",
            default=0,
            minimum=0,
            advanced=True,
        ),
        given(
            "--split",
            "text",
            "Split by",
            default="block",
            advanced=True,
            help="block, scene, or a vector file of polygons whose attribute split says train, val or test.",
        ),
        given(
            "--assign",
            "texts",
            "Scenes put into a split",
            advanced=True,
            help="SCENE=train, SCENE=val or SCENE=test, one a line or with ; between them.",
        ),
        given("--val", "number", "Share for validation", default=0.15, minimum=0, maximum=1, advanced=True),
        given("--test", "number", "Share for testing", default=0.15, minimum=0, maximum=1, advanced=True),
        given("--block", "integer", "Tiles a side of a block, at most", default=4, minimum=1, advanced=True),
        given("--buffer", "integer", "Pixels between splits", default=0, minimum=0, advanced=True),
        given(
            "--min-valid",
            "number",
            "Share of a tile that must hold data",
            default=0.5,
            minimum=0,
            maximum=1,
            advanced=True,
        ),
        given(
            "--empty",
            "number",
            "Share of background-only training tiles to keep",
            default=1.0,
            minimum=0,
            maximum=1,
            advanced=True,
        ),
        given("--skip-unusable", "flag", "Leave out scenes that cannot be used", default=False, advanced=True),
        given("--append", "flag", "Add to the tileset in the output folder", default=False, advanced=True),
        SEED,
        _workers(),
        SCHEDULER,
    ),
    TILESET_OUTPUTS,
)

TRAIN = Command(
    "train",
    "Train a generator",
    "Train a generator of image-mask pairs on a tileset. It learns from the tiles of split train and reports its loss"
    " on split val. Takes minutes to hours; cancelled, it goes on where it was.",
    "generator",
    (
        argument("TILES", "tileset", "Tileset", required=True),
        given(
            "--from",
            "generator",
            "Start from a generator",
            words=("base",),
            help="A generator folder, or base: the one that ships with geosynth.",
        ),
        given("--steps", "integer", "Optimiser steps", default=4000, minimum=1),
        _out("Generator folder"),
        RERUN,
        given(
            "--recipe",
            "choice",
            "Recipe",
            default="default",
            choices=("default", "flow", "v", "satsynth", "stable-diffusion"),
            advanced=True,
            help="stable-diffusion fine-tunes a pretrained model instead; SD marks the options that belong to it.",
        ),
        given("--pretrained", "text", "SD: folder or hub id of a Stable Diffusion", advanced=True),
        given("--label-steps", "integer", "SD: steps that learn labels", minimum=1, advanced=True),
        given(
            "--label-learning-rate",
            "number",
            "SD: learning rate of labels",
            minimum=0,
            maximum=1,
            above=True,
            below=True,
            advanced=True,
        ),
        given("--lora-rank", "integer", "SD: rank of the LoRA", minimum=1, advanced=True),
        given("--lora-targets", "text", "SD: layers the LoRA is put beside", advanced=True),
        given("--prompt", "text", "SD: template of prompts", advanced=True),
        given("--style", "text", "SD: style, in prompts", advanced=True),
        given("--scales", "text", "SD: coarser pixels that are learnt, too", advanced=True),
        given("--views", "integer", "SD: crops and turns of a tile", minimum=1, advanced=True),
        given("--embed", "flag", "SD: copy the pretrained model into the output", default=False, advanced=True),
        given(
            "--save-memory",
            "choice",
            "SD: compute activations again",
            default="auto",
            choices=("auto", "yes", "no"),
            advanced=True,
        ),
        _batch(default=16),
        given(
            "--learning-rate",
            "number",
            "Learning rate",
            minimum=0,
            maximum=1,
            above=True,
            below=True,
            advanced=True,
            help="Default: 2e-3; half of it when it starts from a generator.",
        ),
        given("--size", "integer", "Side of what is learnt, pixels", minimum=1, advanced=True),
        given(
            "--labelled-share",
            "number",
            "Share of labelled tiles in a batch",
            minimum=0,
            maximum=1,
            above=True,
            advanced=True,
        ),
        given("--dropout", "number", "Dropout", minimum=0, maximum=1, below=True, advanced=True),
        given(
            "--patience",
            "integer",
            "Stop after so many measurements without a better one",
            minimum=1,
            advanced=True,
        ),
        given("--evaluate-every", "integer", "Steps between measurements", default=250, minimum=1, advanced=True),
        given("--samples-every", "integer", "Steps between sample pictures", minimum=1, advanced=True),
        given("--tensorboard", "flag", "Write TensorBoard's files", default=False, advanced=True),
        PRECISION,
        given("--compile", "flag", "Let torch compile the network", default=False, advanced=True),
        given("--devices", "integer", "Devices that share each batch", default=1, minimum=1, advanced=True),
        given("--workers", "integer", "Processes that make batches ahead", minimum=0, advanced=True),
        given("--checkpoint-every", "integer", "Steps between checkpoints", default=500, minimum=1, advanced=True),
        SEED,
        DEVICE,
        THREADS,
    ),
    detachable=True,
)

GENERATE = Command(
    "generate",
    "Generate synthetic pairs",
    "Write synthetic image-mask pairs as a tileset, or one seamless scene. Without given masks or images both sides are"
    " new and lie in a made-up place; with them the other side is made for them, where they lie. What is generated"
    " shows no real place, and every file says so.",
    "generator",
    (
        argument(
            "MODEL",
            "generator",
            "Generator",
            required=True,
            words=("base",),
            help="A generator folder, or base: the one that ships with geosynth.",
        ),
        given(
            "--count",
            "integer",
            "Number of pairs",
            minimum=1,
            help="Default: one for each given mask or image.",
        ),
        given(
            "--ratio",
            "number",
            "Pairs per labelled real training pair",
            minimum=0,
            above=True,
            help="Instead of a number of pairs; needs the real tileset.",
        ),
        given("--of", "tileset", "Real tileset that the ratio counts"),
        given(
            "--masks-from",
            "layers",
            "Make images for these masks",
            name="FROM_MASKS",
            help="Polygons or mask rasters whose classes are the generator's.",
        ),
        given("--masks-from", "tileset", "Make images for the masks of a tileset", name="FROM_MASKS_TILES"),
        given(
            "--outside",
            "text",
            "What lies outside the polygons",
            help="A class of the generator, or unknown. Needed for polygons.",
        ),
        given("--class-field", "texts", "Attribute that holds the class of polygons"),
        given("--images-from", "rasters", "Make masks for these images", name="FROM_IMAGES"),
        given("--images-from", "tileset", "Make masks for the images of a tileset", name="FROM_IMAGES_TILES"),
        _out("Synthetic tileset folder"),
        RERUN,
        given(
            "--size",
            "text",
            "One seamless scene of this size instead of tiles",
            help="WIDTHxHEIGHT in pixels, for example 1024x1024.",
        ),
        given("--whole", "flag", "Paint the given map as one seamless scene instead of tiles", default=False),
        given("--overlap", "integer", "Pixels that windows of a scene share", minimum=0, advanced=True),
        given("--line-width", "number", "Width of lines, ground metres", minimum=0, above=True, advanced=True),
        given("--ignore", "texts", "Label values that mean unknown", advanced=True),
        _legend("What the values of the masks are called. Default: the generator's names, ids and colours."),
        given("--bands", "text", "Bands of the given images, in the generator's order", advanced=True),
        given(
            "--want",
            "text",
            "Wanted shares of classes",
            default="",
            advanced=True,
            help="For example car=0.02,building=0.2: masks are chosen so that these shares come out.",
        ),
        given("--balance", "flag", "Equal shares for the other classes", default=False, advanced=True),
        given(
            "--sieve",
            "integer",
            "Smallest connected area of drawn masks, pixels",
            default=4,
            minimum=0,
            maximum=100,
            advanced=True,
        ),
        given("--prompt", "text", "SD: template of prompts", advanced=True),
        given("--style", "text", "SD: style, in prompts", advanced=True),
        given(
            "--scale",
            "number",
            "SD: fineness",
            minimum=0,
            above=True,
            advanced=True,
            help="Ground a pixel covers, as a multiple of what was learnt. SD: for generators of Stable Diffusion.",
        ),
        given("--gsd", "number", "SD: ground metres of a pixel", minimum=0, above=True, advanced=True),
        given(
            "--strength",
            "number",
            "SD: variations of the tiles whose masks are given, changed by so much",
            minimum=0,
            maximum=1,
            above=True,
            advanced=True,
        ),
        given("--tile", "integer", "SD: side of the tiles, pixels", minimum=1, advanced=True),
        given("--pretrained", "text", "SD: where the pretrained model is, if it has moved", advanced=True),
        given("--sampler", "text", "Sampler", advanced=True),
        given("--steps", "integer", "Network evaluations a pair", minimum=1, advanced=True),
        given("--guidance", "number", "Guidance", minimum=0, advanced=True),
        _batch("Pairs a unit of work", default=8),
        _workers(None),
        SEED,
        DEVICE,
        PRECISION,
        SCHEDULER,
    ),
    TILESET_OUTPUTS,
    detachable=True,
)

REVIEW = Command(
    "review",
    "Review pairs",
    "Accept or reject pairs of a tileset; rejected ones are left out of all training. Without verdicts some unseen"
    " pairs are drawn with their ids on one sheet.",
    "generator",
    (
        argument("TILES", "tileset", "Tileset", required=True),
        given("--accept", "texts", "Accept", help="Ids or patterns with *, one a line or with ; between them."),
        given("--reject", "texts", "Reject", help="The same."),
        given("--unseen", "texts", "Take the verdict back", help="The same."),
        given(
            "--from",
            "file",
            "Verdicts from a table",
            name="TABLE",
            help="A CSV or GeoPackage with columns id and review, for example the tileset's index.gpkg.",
        ),
        given("--undo", "flag", "Take all verdicts back", default=False),
        given("--sheet", "text", "Where to draw the sheet", advanced=True, help="Default: review.png in the tileset."),
        given("--count", "integer", "Pairs on the sheet", default=24, minimum=1),
        SEED,
    ),
    (Output("SHEET", "file", "Contact sheet", ("review.png",)),),
    keeps_in="TILES",
)

NEAREST = Command(
    "nearest",
    "Find the nearest real tiles",
    "Find the real training tile nearest to each synthetic image: was it copied?",
    "generator",
    (
        argument("TILES", "tileset", "Synthetic tileset", required=True),
        given("--of", "tileset", "Real tileset the generator was trained on", required=True),
        given("--by", "segmenter", "Segmenter whose features are compared", help="Default: small images."),
        given("--shown", "integer", "Pairs on the page", default=12, minimum=1),
        DEVICE,
    ),
    (
        Output("SHEET", "file", "Nearest pairs side by side", ("nearest.png",)),
        Output("TABLE", "file", "Table of nearest tiles", ("nearest.csv",)),
    ),
    keeps_in="TILES",
)

FILTER = Command(
    "filter",
    "Filter synthetic pairs",
    "Make doubtful pixels of synthetic masks unknown, and reject pairs with too little left. Changes the tileset in"
    " place; it can be undone.",
    "generator",
    (
        argument("TILES", "tileset", "Synthetic tileset", required=True),
        given("--by", "folder", "Segmenter trained on real tiles alone, or a generator"),
        given("--real", "tileset", "Real tileset", help="Its val split says which losses are normal."),
        given(
            "--factor", "number", "Doubtful above this many times the normal loss", default=1.25, minimum=0, above=True
        ),
        given(
            "--min-known",
            "number",
            "Reject pairs with less than this share left",
            default=0.5,
            minimum=0,
            maximum=1,
        ),
        given("--specks", "integer", "Clean regions of fewer pixels", default=6, minimum=0, advanced=True),
        given("--draws", "integer", "Masks a generator is asked for", default=4, minimum=1, advanced=True),
        given("--steps", "integer", "Its steps for each", default=20, minimum=1, advanced=True),
        given("--undo", "flag", "Take the filtering back", default=False),
        RERUN,
        _workers(),
        SCHEDULER,
        DEVICE,
    ),
    (Output("MASKS", "raster", "Masks", ("masks.vrt",)),),
    keeps_in="TILES",
)

SUBSET = Command(
    "subset",
    "Hide labels",
    "The same tileset as if only a part had been labelled: the other training masks become unknown.",
    "data",
    (
        argument("TILES", "tileset", "Tileset", required=True),
        given(
            "--labels",
            "text",
            "Labelled training tiles that stay",
            required=True,
            help="A share (0.05 or 5%) or a number (40).",
        ),
        given("--val-labels", "number", "Share of val tiles that stay labelled", minimum=0, maximum=1, advanced=True),
        given("--block", "integer", "Tiles a side of a labelled area, at most", default=4, minimum=1, advanced=True),
        SEED,
        _out("Tileset folder"),
        RERUN,
    ),
    TILESET_OUTPUTS,
)

SEGMENT = Command(
    "segment",
    "Train a segmenter",
    "Train a segmentation model on real tiles, with synthetic ones mixed in. The weights with the best mean IoU on"
    " split val are kept.",
    "segmentation",
    (
        argument("TILES", "tileset", "Real tileset", required=True),
        given("--synthetic", "tileset", "Synthetic tileset"),
        given(
            "--synthetic",
            "texts",
            "More synthetic tilesets",
            name="MORE_SYNTHETIC",
            advanced=True,
            help="Folders, one a line or with ; between them.",
        ),
        given(
            "--ratio",
            "number",
            "Synthetic pairs per labelled real training pair",
            minimum=0,
            above=True,
            help="Default: all there are.",
        ),
        given("--steps", "integer", "Optimiser steps", default=1000, minimum=1),
        _out("Segmenter folder"),
        RERUN,
        given("--synthetic-only", "flag", "Train on the synthetic tiles alone", default=False, advanced=True),
        given(
            "--pretrain",
            "number",
            "Share of the steps on synthetic tiles first",
            default=0.0,
            minimum=0,
            maximum=1,
            below=True,
            advanced=True,
        ),
        given("--preset", "choice", "Preset", default="default", choices=("default", "satsynth"), advanced=True),
        given(
            "--arch",
            "text",
            "Architecture",
            advanced=True,
            help="unet, unet++, fpn, deeplabv3+, pspnet, segformer, upernet or farseg. Default: the preset's.",
        ),
        given("--encoder", "text", "Encoder", advanced=True, help="Default: the preset's."),
        given("--encoder-weights", "file", "Encoder weights", advanced=True, help="Default: random weights."),
        given(
            "--pretrained",
            "folder",
            "Pretrained Mask2Former",
            advanced=True,
            help="A folder that transformers saved: its backbone, its sizes, its weights.",
        ),
        given(
            "--loss",
            "text",
            "Loss",
            advanced=True,
            help="ce, focal, dice or lovasz; several are added: ce+dice. Default: ce; Mask2Former has its own.",
        ),
        given(
            "--class-weights",
            "choice",
            "How much more rare classes count",
            default="none",
            choices=("none", "sqrt", "inverse"),
            advanced=True,
        ),
        given("--turns", "unflag", "Flip and turn tiles at random", default=True, advanced=True),
        given("--colour", "number", "Change colours at random", default=0.0, minimum=0, maximum=1, advanced=True),
        given("--zoom", "number", "Enlarge crops by up to this share", default=0.0, minimum=0, advanced=True),
        given(
            "--cutmix",
            "number",
            "Share of tiles with a rectangle of another",
            default=0.0,
            minimum=0,
            maximum=1,
            advanced=True,
        ),
        given(
            "--copy-paste",
            "number",
            "Share of tiles with objects of rare classes of others",
            default=0.0,
            minimum=0,
            maximum=1,
            advanced=True,
        ),
        _batch(default=16),
        given("--learning-rate", "number", "Learning rate", default=1e-3, minimum=0, above=True, advanced=True),
        given("--validate-every", "integer", "Steps between scores", minimum=1, advanced=True),
        given("--patience", "integer", "Stop after so many scores without a better one", minimum=1, advanced=True),
        SEED,
        DEVICE,
        PRECISION,
        THREADS,
    ),
    detachable=True,
)

PREDICT = Command(
    "predict",
    "Predict classes of scenes",
    "Segment whole scenes of any size with a segmenter. Writes one cloud-optimised class raster a scene, with style and"
    " class names. No data stays no data.",
    "segmentation",
    (
        argument("SEGMENTER", "segmenter", "Segmenter", required=True),
        argument("SCENES", "rasters", "Scenes"),
        argument("SCENES_FOLDER", "folder", "Folder of scenes", help="Instead of layers, or with them."),
        given("--confidence", "flag", "Write the probability of the chosen class, too", default=False),
        given("--resample", "flag", "Resample scenes of another pixel size", default=False),
        _out("Folder of class rasters"),
        RERUN,
        given("--probabilities", "flag", "Write the probability of every class, too", default=False, advanced=True),
        given(
            "--window",
            "integer",
            "Side of a window, pixels",
            minimum=32,
            advanced=True,
            help="Default: 256; with Mask2Former that of its training tiles.",
        ),
        given("--overlap", "integer", "Pixels that windows share", minimum=0, advanced=True),
        given(
            "--flips",
            "choice",
            "Flips and turns of each window",
            default="1",
            choices=("1", "4", "8"),
            advanced=True,
            help="The mean of several is better, and as many times slower.",
        ),
        PRECISION,
        _batch("Windows a forward pass"),
        given("--threads", "integer", "Windows side by side on a CPU", minimum=1, advanced=True),
        _workers(),
        SCHEDULER,
        DEVICE,
    ),
    (
        Output("CLASSES", "raster", "Class raster (the first)"),
        Output("LAYERS", "layers", "Class rasters"),
    ),
    detachable=True,
)

VECTORIZE = Command(
    "vectorize",
    "Vectorize class rasters",
    "Turn class rasters into polygons with class names, areas and colours. Rasters on one lattice of pixels are one"
    " mosaic.",
    "segmentation",
    (
        argument("MASKS", "rasters", "Class rasters"),
        argument("MASKS_FOLDER", "folder", "Folder of class rasters", help="Instead of layers, or with them."),
        given("--min-area", "number", "Smallest area", default=0.0, minimum=0, help="Ground square metres."),
        given(
            "--sieve",
            "integer",
            "Smallest region, pixels",
            default=0,
            minimum=0,
            maximum=500,
            help="Smaller regions take the class of a larger neighbour.",
        ),
        given(
            "--simplify",
            "number",
            "Simplify by",
            default=0.0,
            minimum=0,
            help="Tolerance in units of the coordinate system; neighbours keep their common borders.",
        ),
        given("--out", "save_vector", "Polygons", name="OUTPUT", required=True),
        OVERWRITE_FILE,
        _legend("Default: as named in the rasters."),
        given("--split-at", "integer", "Cut regions of more pixels", minimum=1, advanced=True),
        given("--ignore", "texts", "Values that mean unknown", advanced=True),
        given("--drop", "texts", "Classes to leave out", advanced=True),
        _workers(),
        SCHEDULER,
    ),
)

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
        _out("Report folder"),
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
        _batch(default=16),
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
        _workers(),
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
        _out("Folder for everything"),
        RERUN,
        given("--gsd", "number", "Ground metres a pixel", minimum=0, above=True, advanced=True),
        _legend("Classes of the labels."),
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

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        TILE, TRAIN, GENERATE, REVIEW, NEAREST, FILTER, SUBSET, SEGMENT, PREDICT, VECTORIZE, EVALUATE, INSPECT, ENV,
        DEMO,
    )
}  # fmt: skip
"""By name, in the order of the flow."""

GROUPS = {"data": "Data", "generator": "Generator", "segmentation": "Segmentation", "tools": "Tools"}
