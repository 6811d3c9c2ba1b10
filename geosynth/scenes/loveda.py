"""LoveDA as it is downloaded: where its images and masks are, and how they are split."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from geosynth.errors import SceneError
from geosynth.legend import Legend, ignored_values, load_legend
from geosynth.tileset import Split


@dataclass(frozen=True)
class Layout:
    """A label set on disk.

    Attributes:
        scenes: (name, image file), names each once.
        labels: (name of the scene, mask file); scenes that are not among them are unlabelled.
        assign: (name of the scene, split), for every scene.
        legend: its classes.
        ignore: label values that mean unknown.
        gsd_m: ground metres a pixel, which the files do not say.
    """

    scenes: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    assign: tuple[tuple[str, Split], ...]
    legend: Legend
    ignore: tuple[int | str, ...]
    gsd_m: float


_LOVEDA_PARTS: tuple[tuple[str, Split], ...] = (("Train", "train"), ("Val", "val"), ("Test", "test"))


def find_loveda(root: str | PathLike[str]) -> Layout:
    """LoveDA, unpacked: any of Train, Val and Test in ``root``, as torchgeo.datasets.LoveDA wants them too.

    The published split is kept; the masks of Test are not published, so its scenes are unlabelled. Scenes are called
    after their folders: Train_Urban_1366.

    Raises:
        SceneError: not LoveDA, or not all of it: an image without mask, a mask without image.
    """
    scenes: list[tuple[str, str]] = []
    labels: list[tuple[str, str]] = []
    assign: list[tuple[str, Split]] = []
    for part, split in _LOVEDA_PARTS:
        for area in ("Rural", "Urban"):
            folder = Path(root) / part / area
            images, masks = _numbered(folder / "images_png"), _numbered(folder / "masks_png")
            if split != "test":
                _refuse_unpaired(images, masks)
            for stem, image in images.items():
                name = f"{part}_{area}_{stem}"
                scenes.append((name, str(image)))
                assign.append((name, split))
                if stem in masks:
                    labels.append((name, str(masks[stem])))
    if not scenes:
        raise SceneError(
            "holds no LoveDA images",
            where=root,
            remedy="give the folder that holds Train, Val or Test, each with Rural/images_png or Urban/images_png",
        )
    legend = load_legend("loveda")
    return Layout(tuple(scenes), tuple(labels), tuple(assign), legend, ignored_values("loveda"), 0.3)


def _numbered(folder: Path) -> dict[str, Path]:
    """The PNG files of a folder by stem, in the order of their numbers; none where there is no such folder."""
    files = [file for file in folder.glob("*.png") if not file.name.startswith(".")]  # "._1.png" comes from macOS
    files.sort(key=lambda file: (len(file.stem), file.stem))
    return {file.stem: file for file in files}


def _refuse_unpaired(images: dict[str, Path], masks: dict[str, Path]) -> None:
    lone = [images[stem] for stem in images if stem not in masks] + [
        masks[stem] for stem in masks if stem not in images
    ]
    if lone:
        kind = "mask" if lone[0].parent.name == "images_png" else "image"
        more = f", like {len(lone) - 1} more here" if len(lone) > 1 else ""
        raise SceneError(
            f"has no {kind} of its number{more}", where=lone[0], remedy="unpack the archive again: it holds both"
        )
