"""Where pixels come from, as the tags of a raster say: a synthetic scene that is tiled stays synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from geosynth.rasters import read_tags
from geosynth.scenes.codes import Labels
from geosynth.scenes.masks import MaskLabels

ImageOrigin = Literal["real", "generated"]
MaskOrigin = Literal["human", "generated", "predicted"]

SYNTHETIC = "GEOSYNTH_SYNTHETIC"


def image_origin(path: str) -> ImageOrigin:
    """Whether an image was made by a generator. Raises SceneError when it cannot be read."""
    return "generated" if read_tags(path).get(SYNTHETIC) in ("image", "both") else "real"


def mask_origin(path: str) -> MaskOrigin:
    """Whether a mask was drawn by people, made by a generator with its image, or made for an image by a model.

    Raises SceneError when it cannot be read.
    """
    tags = read_tags(path)
    made = tags.get(SYNTHETIC)
    if made == "both":
        return "generated"
    return "predicted" if made == "mask" or "GEOSYNTH_SEGMENTER" in tags else "human"


def labels_origin(labels: Sequence[Labels]) -> MaskOrigin:
    """The origin of labels lying over each other: "human" as soon as people drew any of them."""
    origins = {mask_origin(entry.path) if isinstance(entry, MaskLabels) else "human" for entry in labels}
    return next((origin for origin in ("human", "predicted", "generated") if origin in origins), "human")


def synthetic_side(image: ImageOrigin, mask: str) -> str:
    """Which side of a pair no camera and no person made; a mask of origin "none" is none."""
    made = (image == "generated", mask in ("generated", "predicted"))
    return {(True, True): "both", (True, False): "image", (False, True): "mask"}.get(made, "none")
