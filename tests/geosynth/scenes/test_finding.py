"""Which files are scenes and which are labels, and whose."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from geosynth.errors import LabelError, SceneError
from geosynth.scenes.finding import find_files, match_labels, name_apart
from geosynth.scenes.labels import inspect_labels
from geosynth.scenes.source import inspect_scene


def raster(path: Path, left: float = 500_000, side: int = 20, *, place: bool = True) -> Path:
    path.parent.mkdir(exist_ok=True)
    profile = {"crs": "EPSG:32633", "transform": Affine(1, 0, left, 0, -1, 5_000_000)} if place else {}
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=side, width=side, dtype="uint8", **profile
    ) as dataset:
        dataset.write(np.ones((1, side, side), np.uint8))
    return path


def names(paths: list[str]) -> list[str]:
    return [Path(path).name for path in paths]


def test_folders_patterns_and_masks_in_the_same_folder(tmp_path: Path) -> None:
    for name in ("b.tif", "a.tif", "a_mask.tif", "b_mask.tif"):
        raster(tmp_path / name)
    (tmp_path / "c.gpkg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    scenes, labels = find_files([tmp_path], [tmp_path])
    assert names(scenes) == ["a.tif", "b.tif"]
    assert names(labels) == ["a_mask.tif", "b_mask.tif", "c.gpkg"]
    scenes, labels = find_files([str(tmp_path / "?.tif")], [str(tmp_path / "*_mask.tif")])
    assert names(scenes) == ["a.tif", "b.tif"]
    assert names(labels) == ["a_mask.tif", "b_mask.tif"]


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="holds no file"):
        find_files([tmp_path])
    with pytest.raises(SceneError, match="no file is like this"):
        find_files([tmp_path / "*.tif"])
    path = raster(tmp_path / "a.tif")
    with pytest.raises(SceneError, match="not a label"):
        find_files([path], [path])


def test_scenes_called_alike_get_names_of_their_own(tmp_path: Path) -> None:
    paths = [raster(tmp_path / folder / name) for folder, name in (("x", "a.tif"), ("y", "a.tif"), ("y", "A.tiff"))]
    named = name_apart([inspect_scene(path) for path in paths])
    assert [info.name for info in named] == ["a", "y_a", "y_A"] or len({i.name.casefold() for i in named}) == 3


def test_labels_go_by_name_before_place(tmp_path: Path) -> None:
    scenes = [inspect_scene(raster(tmp_path / name)) for name in ("tile1.tif", "tile1_b.tif", "other.tif")]
    labels = [
        entry
        for name in ("tile1_mask.tif", "tile1_b_mask.tif", "elsewhere.tif")
        for entry in inspect_labels(raster(tmp_path / "labels" / name))
    ]
    matched = match_labels(scenes, labels)
    assert [[Path(entry.path).stem for entry in entries] for entries in matched] == [
        ["tile1_mask"],
        ["tile1_b_mask"],
        ["elsewhere"],
    ]


def test_labels_of_no_scene_are_an_error(tmp_path: Path) -> None:
    scenes = [inspect_scene(raster(tmp_path / name, left)) for name, left in (("a.tif", 500_000), ("b.tif", 500_100))]
    with pytest.raises(LabelError, match="belongs to no scene"):
        match_labels(scenes, inspect_labels(raster(tmp_path / "far.tif", 600_000)))
    with pytest.raises(LabelError, match="no georeference"):
        match_labels(scenes, inspect_labels(raster(tmp_path / "bare.tif", place=False)))
    with pytest.raises(LabelError, match="elsewhere"):
        match_labels(scenes, inspect_labels(raster(tmp_path / "a_mask.tif", 600_000)))
