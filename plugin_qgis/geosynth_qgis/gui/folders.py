"""Folders of geosynth that the project knows: those its layers lie in, those in the working folder, recent ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from qgis.core import QgsProject, QgsSettings

from ..core.artefacts import kind_of

_RECENT, _KEPT = "geosynth/recent_folders", 30
_SCOPE, _ENTRY = "geosynth", "folder"
_UP = 2


def working_folder(project: QgsProject) -> Path:
    """Where results go: what was chosen for the project, else ``geosynth`` beside the project file, else at home."""
    chosen, found = project.readEntry(_SCOPE, _ENTRY)
    if found and chosen:
        return Path(chosen)
    home = project.homePath()
    return (Path(home) if home else Path.home()) / "geosynth"


def choose_working_folder(project: QgsProject, folder: str) -> None:
    project.writeEntry(_SCOPE, _ENTRY, folder)


def remember(folder: str) -> None:
    """Put a result first among the recent ones."""
    QgsSettings().setValue(_RECENT, json.dumps([folder, *(old for old in _recent() if old != folder)][:_KEPT]))


def _recent() -> list[str]:
    try:
        return [str(entry) for entry in json.loads(QgsSettings().value(_RECENT, "[]") or "[]")]
    except (ValueError, TypeError):
        return []


def known_folders(kinds: Sequence[str], project: QgsProject) -> list[Path]:
    """Folders of these kinds (``core.artefacts.kind_of``), the likeliest first."""
    return [folder for folder in _unique(_candidates(project)) if kind_of(folder) in kinds]


def is_synthetic(folder: Path) -> bool:
    """Whether a tileset was generated, or cut from what was: only such a one says what its generator saw."""
    return (folder / "lineage.json").is_file()


def is_real(folder: Path) -> bool:
    return not is_synthetic(folder)


def _candidates(project: QgsProject) -> Iterable[Path]:
    yield from (Path(entry) for entry in _recent())
    workspace = working_folder(project)
    if workspace.is_dir():
        yield from sorted(entry for entry in workspace.iterdir() if entry.is_dir())
    for layer in project.mapLayers().values():
        source = Path(layer.source().split("|")[0])
        if source.is_absolute() and source.exists():
            yield from list(source.parents)[:_UP]


def _unique(paths: Iterable[Path]) -> list[Path]:
    seen: dict[str, Path] = {}
    for path in paths:
        seen.setdefault(str(path), path)
    return list(seen.values())


def free_name(folder: Path, name: str) -> Path:
    """``folder/name``, or ``folder/name-2`` … where that is taken, be it by an unfinished run. An empty one is free."""
    number = 1
    while True:
        path = folder / (name if number == 1 else _numbered(name, number))
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return path
        number += 1


def _numbered(name: str, number: int) -> str:
    stem, dot, ending = name.partition(".")
    return f"{stem}-{number}{dot}{ending}"
