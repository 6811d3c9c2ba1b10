"""Which files are meant: folders and patterns as scenes and labels, the scenes' names, and which labels are whose."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path

from geosynth.errors import LabelError, SceneError
from geosynth.grid import is_engineering
from geosynth.scenes.burning import overlaps, placed
from geosynth.scenes.codes import Labels
from geosynth.scenes.masks import MaskLabels
from geosynth.scenes.source import SceneInfo, scene_name
from geosynth.scenes.vectors import split_layer

RASTERS = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".vrt", ".img")
VECTORS = (".gpkg", ".geojson", ".shp", ".parquet", ".fgb", ".kml", ".gml", ".sqlite", ".gdb")
_MASK_WORDS = frozenset(("mask", "masks", "label", "labels", "gt", "seg", "annotation", "annotations"))
_IMAGE_WORDS = frozenset(("image", "images", "img", "sat", "rgb"))
"""Words at either end of a file's name that say what it is, and not which place it shows."""

_SEPARATORS = "_-. "

Source = str | PathLike[str]


def find_files(scenes: Sequence[Source], labels: Sequence[Source] = ()) -> tuple[list[str], list[str]]:
    """Files of scenes and of labels, from files, folders and patterns; each once.

    Labels keep the order they are given in; what comes of one folder or pattern is sorted, masks before polygons. In a
    folder that is given as both, ``a_mask.tif`` beside ``a.tif`` is a label, and so is every vector file.

    Raises:
        SceneError, LabelError: nothing there.
    """
    shared = {str(source) for source in scenes if not Path(source).is_file()} & {str(source) for source in labels}
    # What is given by its own name is what it is given as, whatever the folder it lies in is given as.
    named = {str(Path(source).absolute()) for source in scenes if Path(source).is_file()}
    named -= {str(Path(source).absolute()) for source in labels}
    found_labels = [
        path for path in _expand(labels, RASTERS + VECTORS, LabelError) if str(Path(path).absolute()) not in named
    ]
    found_scenes = _expand(scenes, RASTERS, SceneError)
    if shared:
        both = set(found_scenes) & set(found_labels)
        stems = {Path(path).stem for path in found_scenes}
        masks = {path for path in both if _is_mask(Path(path).stem, stems)}
        found_labels = [path for path in found_labels if path not in both or path in masks]
    given = {str(Path(path).absolute()) for path in found_labels}
    found_scenes = [path for path in found_scenes if str(Path(path).absolute()) not in given]
    if not found_scenes:
        raise SceneError("no raster is left that is not a label", remedy="give the scenes")
    if labels and not found_labels:
        raise LabelError(
            "holds nothing that is called like the labels of a scene",
            where=labels[0],
            remedy="call them like their scenes (a.tif and a_mask.tif), or give the files themselves",
        )
    return found_scenes, found_labels


def _expand(
    sources: Sequence[Source], suffixes: tuple[str, ...], error: type[SceneError] | type[LabelError]
) -> list[str]:
    found: list[str] = []
    for source in sources:
        text, layer = split_layer(fspath(source)) if error is LabelError else (fspath(source), None)
        path = Path(text)
        if path.is_dir() and not _is_geodatabase(path):
            inside = [str(entry) for entry in path.iterdir() if entry.suffix.lower() in suffixes]
            if not inside:
                raise error(
                    f"holds no file of these kinds: {' '.join(suffixes)}",
                    where=text,
                    remedy="give another folder, or files",
                )
        elif not path.exists() and glob.has_magic(text):
            names = glob.glob(text, recursive=True)  # noqa: PTH207 - a Path pattern cannot be absolute
            inside = [name for name in names if Path(name).suffix.lower() in suffixes]
            if not inside:
                raise error("no file is like this", where=text, remedy="check the pattern")
        else:
            inside = [text]
        inside.sort(key=lambda name: (Path(name).suffix.lower() in VECTORS, name))
        found += inside if layer is None else [f"{name}|layername={layer}" for name in inside]
    return list(dict.fromkeys(found))


def _is_geodatabase(path: Path) -> bool:
    """A folder that is one vector file to GDAL."""
    return path.suffix.lower() == ".gdb"


def _is_mask(stem: str, stems: set[str]) -> bool:
    """Whether a raster among scenes is the mask of one of them."""
    words = _words(stem)
    if {words[0], words[-1]} & _MASK_WORDS:
        return any(_core(other) == _core(stem) for other in stems - {stem})
    return _called_after(stem, stems - {stem}) is not None


def name_apart(scenes: Sequence[SceneInfo]) -> list[SceneInfo]:
    """Scenes with names of their own: of two called alike the later is called after its folder too, or numbered."""
    taken: set[str] = set()
    named = []
    for info in scenes:
        parent = scene_name(Path(info.path).absolute().parent.name)
        candidates = [info.name, f"{parent}_{info.name}", *(f"{info.name}_{n}" for n in range(2, len(scenes) + 2))]
        # Windows and macOS do not tell capitals apart in file names.
        name = next(candidate for candidate in candidates if candidate.casefold() not in taken)
        taken.add(name.casefold())
        named.append(replace(info, name=name))
    return named


def match_labels(
    scenes: Sequence[SceneInfo], labels: Sequence[Labels], spare: Collection[str] = ()
) -> list[tuple[Labels, ...]]:
    """The labels of every scene, put onto it, in the order they are given.

    Labels called like a scene (``a``, ``a_mask``, ``mask_a``, ``a_buildings`` are called like ``a``) are its own alone;
    of scenes called alike the one whose folders are. All others belong to every scene that they overlap.

    Args:
        scenes: named apart.
        labels: of any kind.
        spare: files that need not belong to any scene, because they came along in a folder.

    Raises:
        LabelError: labels that fit no scene, or whose size or place is not their scene's.
    """
    by_stem: dict[str, list[SceneInfo]] = {}
    by_core: dict[str, list[SceneInfo]] = {}
    for info in scenes:
        stem = Path(info.path).stem
        by_stem.setdefault(stem, []).append(info)
        by_core.setdefault(_core(stem), []).append(info)
    if set(by_core) != {""}:
        by_core.pop("", None)  # "image" is called like nothing, unless that is what all are called
    mine: dict[str, list[Labels]] = {info.name: [] for info in scenes}
    for entry in labels:
        stem = Path(entry.path).stem
        called = _called_after(stem, by_stem)
        alike = by_stem[called] if called is not None else by_core.get(_core(stem), [])
        owner = scenes[0] if len(scenes) == 1 and entry.path not in spare else _nearest(entry.path, alike)
        if owner is not None:
            mine[owner.name].append(placed(entry, owner))
            continue
        fits = [info for info in scenes if _has_place(entry, info) and overlaps(entry, info.grid)]
        if not fits and entry.path not in spare:
            raise _fits_nowhere(entry, alike)
        for info in fits:
            mine[info.name].append(entry)
    return [tuple(mine[info.name]) for info in scenes]


def _fits_nowhere(labels: Labels, alike: Sequence[SceneInfo]) -> LabelError:
    bare = isinstance(labels, MaskLabels) and not labels.placed
    name = (
        f"several scenes are called like it ({alike[0].path}, {alike[1].path})" if alike else "it is called like none"
    )
    return LabelError(
        f"belongs to no scene: {name}" + (" and has no georeference" if bare else " and overlaps none"),
        where=labels.path,
        remedy="call it like its scene (scene_mask.tif), or check the coordinate systems",
    )


def _has_place(labels: Labels, info: SceneInfo) -> bool:
    """Whether both lie somewhere: local planes all start at the same corner, which says nothing."""
    return not is_engineering(info.grid.crs) and (not isinstance(labels, MaskLabels) or labels.placed)


def _called_after(stem: str, scenes: Collection[str]) -> str | None:
    """The scene a label is called after: the longest name that the label's starts with, up to a separator."""
    if stem in scenes:
        return stem
    ends = [position for position, letter in enumerate(stem) if letter in _SEPARATORS]
    return next((stem[:end] for end in reversed(ends) if stem[:end] in scenes), None)


def _words(stem: str) -> list[str]:
    return re.split(f"[{re.escape(_SEPARATORS)}]+", stem.casefold())


def _core(stem: str) -> str:
    """A name without the words at its ends that say "image" or "mask": nothing of ``image.tif`` in a folder a place."""
    words = _words(stem)
    while words and words[0] in _MASK_WORDS | _IMAGE_WORDS:
        words = words[1:]
    while words and words[-1] in _MASK_WORDS | _IMAGE_WORDS:
        words = words[:-1]
    return "_".join(words)


def _nearest(path: str, scenes: Sequence[SceneInfo]) -> SceneInfo | None:
    """Of scenes called alike the one that shares most folders with a label; None where several do, or there is none."""
    folders = Counter(Path(path).absolute().parent.parts)
    shared = [(folders & Counter(Path(info.path).absolute().parent.parts)).total() for info in scenes]
    best = [info for info, number in zip(scenes, shared, strict=True) if number == max(shared)]
    return best[0] if len(best) == 1 else None
