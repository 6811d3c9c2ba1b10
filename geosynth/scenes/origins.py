"""Where pixels come from, as the tags of a raster say: a synthetic scene that is tiled stays synthetic."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from geosynth.events import Events
from geosynth.folders import canonical_json
from geosynth.lineage import FILE, Lineage, read_lineage
from geosynth.rasters import read_tags
from geosynth.scenes.codes import Labels
from geosynth.scenes.masks import MaskLabels

ImageOrigin = Literal["real", "generated"]
MaskOrigin = Literal["human", "generated", "predicted"]

SYNTHETIC = "GEOSYNTH_SYNTHETIC"
PLACEMENT = "GEOSYNTH_PLACEMENT"
_OURS = ("GEOSYNTH_", "DIGITAL_SOURCE_TYPE")


def image_origin(path: str) -> ImageOrigin:
    """Whether an image was made by a generator. Raises SceneError when it cannot be read."""
    return "generated" if read_tags(path).get(SYNTHETIC) in ("image", "both") else "real"


def mask_origin(path: str) -> MaskOrigin:
    """Whether a mask was drawn by people, made by a generator with its image, or made for an image by a model.

    Raises SceneError when it cannot be read.
    """
    return _mask_origin(read_tags(path))


def _mask_origin(tags: Mapping[str, str]) -> MaskOrigin:
    made = tags.get(SYNTHETIC)
    if made == "both":
        return "generated"
    return "predicted" if made == "mask" or "GEOSYNTH_SEGMENTER" in tags else "human"


def kept_tags(path: str) -> dict[str, str]:
    """What a raster says of how it was made: its parts say so, too. Raises SceneError when it cannot be read."""
    tags = read_tags(path)
    made = "mask" if _mask_origin(tags) == "predicted" else "none"
    return {SYNTHETIC: made} | {key: value for key, value in tags.items() if key.startswith(_OURS)}


def labels_origin(labels: Sequence[Labels]) -> MaskOrigin:
    """The origin of labels lying over each other: "human" as soon as people drew any of them."""
    origins = {mask_origin(entry.path) if isinstance(entry, MaskLabels) else "human" for entry in labels}
    return next((origin for origin in ("human", "predicted", "generated") if origin in origins), "human")


def synthetic_side(image: ImageOrigin, mask: str) -> str:
    """Which side of a pair no camera and no person made; a mask of origin "none" is none."""
    made = (image == "generated", mask in ("generated", "predicted"))
    return {(True, True): "both", (True, False): "image", (False, True): "mask"}.get(made, "none")


def lineage_behind(paths: Iterable[str], events: Events) -> Lineage:
    """What the makers of synthetic rasters saw, as the lineage beside them says; behind real ones there is none.

    Args:
        paths: rasters; those in the folders of a tileset have its lineage.
        events: warned where a synthetic raster has no lineage.

    Raises:
        SceneError, ModelError: a raster cannot be read, or a lineage is damaged.
    """
    made = [Path(path) for path in dict.fromkeys(paths) if kept_tags(path)[SYNTHETIC] != "none"]
    # Beside a whole scene or a class raster, or one up from a tile.
    beside = [next((place for place in path.parents[:2] if (place / FILE).is_file()), None) for path in made]
    silent = [path.name for path, place in zip(made, beside, strict=True) if place is None]
    if silent:
        events.warn(
            f"no {FILE} lies beside {', '.join(silent[:4])}{', …' if len(silent) > 4 else ''}: what the makers of"
            " synthetic rasters saw is not known, and a leak cannot be ruled out"
        )
    lineage = Lineage()
    for place in {place for place in beside if place is not None}:
        lineage |= read_lineage(place)
    return lineage


def lineage_identity(lineage: Lineage) -> dict[str, Any]:
    """What a request says of a lineage that its output hands on: nothing where there is none."""
    content = canonical_json({"seen": lineage.to_json()})
    return {"lineage": hashlib.sha256(content.encode()).hexdigest()} if lineage.seen else {}
