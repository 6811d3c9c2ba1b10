"""Which files are meant: folders and patterns as scenes and labels, the scenes' names, and which labels are whose."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path

from geosynth.errors import LabelError, SceneError
from geosynth.grid import is_engineering
from geosynth.scenes.burning import overlaps, placed
from geosynth.scenes.labels import Labels, MaskLabels
from geosynth.scenes.source import SceneInfo, scene_name

RASTERS = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".vrt", ".img")
VECTORS = (".gpkg", ".geojson", ".shp", ".parquet", ".fgb", ".kml", ".gml", ".sqlite")

Source = str | PathLike[str]


def find_files(scenes: Sequence[Source], labels: Sequence[Source] = ()) -> tuple[list[str], list[str]]:
    """Files of scenes and of labels, from files, folders and patterns; each once, folders and patterns sorted.

    In a folder that is given as both, ``a_mask.tif`` beside ``a.tif`` is a label, and so is every vector file.

    Raises:
        SceneError, LabelError: nothing there.
    """
    shared = {str(source) for source in scenes if not Path(source).is_file()} & {str(source) for source in labels}
    found_labels = _expand(labels, RASTERS + VECTORS, LabelError)
    found_scenes = _expand(scenes, RASTERS, SceneError)
    if shared:
        stems = {Path(path).stem for path in found_scenes}
        both = set(found_scenes) & set(found_labels)
        masks = {path for path in both if _owner(Path(path).stem, stems - {Path(path).stem}) is not None}
        found_labels = [path for path in found_labels if path not in both or path in masks]
    given = {str(Path(path).absolute()) for path in found_labels}
    found_scenes = [path for path in found_scenes if str(Path(path).absolute()) not in given]
    if not found_scenes:
        raise SceneError("no raster is left that is not a label", remedy="give the scenes")
    return found_scenes, found_labels


def _expand(
    sources: Sequence[Source], suffixes: tuple[str, ...], error: type[SceneError] | type[LabelError]
) -> list[str]:
    found: list[str] = []
    for source in sources:
        text = fspath(source)
        path = Path(text)
        if path.is_dir():
            inside = sorted(str(entry) for entry in path.iterdir() if entry.suffix.lower() in suffixes)
            if not inside:
                raise error(
                    f"holds no file of these kinds: {' '.join(suffixes)}",
                    where=text,
                    remedy="give another folder, or files",
                )
            found += inside
        elif not path.exists() and glob.has_magic(text):
            names = glob.glob(text, recursive=True)  # noqa: PTH207 - a Path pattern cannot be absolute
            inside = sorted(name for name in names if Path(name).suffix.lower() in suffixes)
            if not inside:
                raise error("no file is like this", where=text, remedy="check the pattern")
            found += inside
        else:
            found.append(text)
    return list(dict.fromkeys(found))


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


def match_labels(scenes: Sequence[SceneInfo], labels: Sequence[Labels]) -> list[tuple[Labels, ...]]:
    """The labels of every scene, put onto it: those called like the scene, else those that overlap it.

    ``a``, ``a_mask``, ``a_buildings`` are called like the scene ``a``; labels called like one scene are not used for
    another.

    Raises:
        LabelError: labels that fit no scene, or whose size or place is not their scene's.
    """
    stems = {Path(info.path).stem: info for info in scenes}
    unique = len(stems) == len(scenes)
    mine: dict[str, list[Labels]] = {info.name: [] for info in scenes}
    roaming: list[Labels] = []
    for entry in labels:
        owner = _owner(Path(entry.path).stem, set(stems)) if unique else None
        if owner is not None:
            mine[stems[owner].name].append(placed(entry, stems[owner]))
        elif len(scenes) == 1:
            mine[scenes[0].name].append(placed(entry, scenes[0]))
        else:
            roaming.append(entry)
    named = {name for name, entries in mine.items() if entries}
    for entry in roaming:
        fits = [
            info for info in scenes if info.name not in named and _has_place(entry, info) and overlaps(entry, info.grid)
        ]
        if not fits:
            raise LabelError(
                "belongs to no scene: it is called like none"
                + (" and has no georeference" if isinstance(entry, MaskLabels) and not entry.placed else "")
                + " and overlaps none that has no labels of its own",
                where=entry.path,
                remedy="call it like its scene (scene_mask.tif), or check the coordinate systems",
            )
        for info in fits:
            mine[info.name].append(entry)
    return [tuple(mine[info.name]) for info in scenes]


def _has_place(labels: Labels, info: SceneInfo) -> bool:
    """Whether both lie somewhere: local planes all start at the same corner, which says nothing."""
    return not is_engineering(info.grid.crs) and (not isinstance(labels, MaskLabels) or labels.placed)


def _owner(stem: str, scenes: set[str]) -> str | None:
    """The scene a label is called after: the longest name that the label's starts with, up to a separator."""
    fits = [name for name in scenes if stem == name or (stem.startswith(name) and stem[len(name)] in "_-. ")]
    return max(fits, key=len, default=None)
