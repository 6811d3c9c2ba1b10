"""Which files are scenes and which are labels, and whose."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from geosynth.errors import LabelError, SceneError
from geosynth.scenes.finding import find_files, match_labels, name_apart
from geosynth.scenes.labels import Labels, inspect_labels
from geosynth.scenes.source import SceneInfo, inspect_scene


def raster(path: Path, left: float = 500_000, side: int = 20, *, place: bool = True) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
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


def stems(matched: list[tuple[Labels, ...]]) -> list[list[str]]:
    return [[Path(entry.path).stem for entry in entries] for entries in matched]


def inspected(scenes: list[Path], labels: list[Path]) -> tuple[list[SceneInfo], list[Labels]]:
    return [inspect_scene(path) for path in scenes], [entry for path in labels for entry in inspect_labels(path)]


def test_labels_called_like_a_scene_are_its_own_and_others_everybodys(tmp_path: Path) -> None:
    """All lie at the same place, so only names can tell; the order is that of giving."""
    scenes = [raster(tmp_path / name) for name in ("tile1.tif", "tile1_b.tif", "other.tif")]
    labels = [raster(tmp_path / "labels" / name) for name in ("tile1_mask.tif", "region.tif", "tile1_b_mask.tif")]
    assert stems(match_labels(*inspected(scenes, labels))) == [
        ["tile1_mask", "region"],
        ["region", "tile1_b_mask"],
        ["region"],
    ]


@pytest.mark.parametrize(
    ("scene", "label"),
    [
        ("images/{}.tif", "masks/{}.tif"),
        ("images/{}.tif", "masks/{}_label.tif"),
        ("images/{}.tif", "masks/mask_{}.tif"),
        ("{}_sat.tif", "{}_mask.tif"),
        ("image-{}.tif", "label-{}.tif"),
        ("{}.tif", "{}_instance_color_RGB.tif"),
        ("{}/images/x.tif", "{}/masks/x.tif"),
        ("images/{}/x.tif", "masks/{}/x_gt.tif"),
        ("{}/image.tif", "{}/mask.tif"),
    ],
)
def test_ways_in_which_downloaded_sets_call_their_masks(tmp_path: Path, scene: str, label: str) -> None:
    """Without georeference only the names are left. The third scene has no label and stays so."""
    scenes = [raster(tmp_path / scene.format(place), place=False) for place in ("1", "12", "2_1")]
    labels = [raster(tmp_path / label.format(place), place=False) for place in ("2_1", "1")]
    infos, entries = inspected(scenes, labels)
    matched = match_labels(name_apart(infos), entries)
    assert [[entry.path for entry in entries] for entries in matched] == [[str(labels[1])], [], [str(labels[0])]]


def test_masks_beside_their_images_are_told_by_their_names(tmp_path: Path) -> None:
    for name in ("1_sat.tif", "1_mask.tif", "mask_2.tif", "image_2.tif", "3.tif", "mask_4.tif"):
        raster(tmp_path / name)
    scenes, labels = find_files([tmp_path], [tmp_path])
    assert names(labels) == ["1_mask.tif", "mask_2.tif"]
    assert names(scenes) == ["1_sat.tif", "3.tif", "image_2.tif", "mask_4.tif"]


def test_labels_keep_the_order_they_are_given_in(tmp_path: Path) -> None:
    for name in ("b.gpkg", "a.gpkg", "z_mask.tif"):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / name).write_bytes(b"")
    scene = raster(tmp_path / "z.tif")
    assert names(find_files([scene], [tmp_path / "labels"])[1]) == ["z_mask.tif", "a.gpkg", "b.gpkg"]
    order = [tmp_path / "labels" / name for name in ("b.gpkg", "z_mask.tif", "a.gpkg")]
    assert find_files([scene], order)[1] == [str(path) for path in order]


def test_a_layer_is_named_behind_its_file_folder_or_pattern(tmp_path: Path) -> None:
    for name in ("b.gpkg", "a.gpkg"):
        (tmp_path / name).write_bytes(b"")
    scene = raster(tmp_path / "z.tif")
    found = find_files([scene], [f"{tmp_path}/b.gpkg|layername=roads", f"{tmp_path}/*.gpkg|layername=roofs"])[1]
    assert names(found) == ["b.gpkg|layername=roads", "a.gpkg|layername=roofs", "b.gpkg|layername=roofs"]


def test_a_file_geodatabase_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels" / "a.gdb").mkdir(parents=True)
    scene = raster(tmp_path / "z.tif")
    for given in (tmp_path / "labels" / "a.gdb", tmp_path / "labels"):
        assert names(find_files([scene], [given])[1]) == ["a.gdb"]


def test_labels_of_no_scene_are_an_error(tmp_path: Path) -> None:
    scenes = [inspect_scene(raster(tmp_path / name, left)) for name, left in (("a.tif", 500_000), ("b.tif", 500_100))]
    with pytest.raises(LabelError, match="belongs to no scene"):
        match_labels(scenes, inspect_labels(raster(tmp_path / "far.tif", 600_000)))
    with pytest.raises(LabelError, match="no georeference"):
        match_labels(scenes, inspect_labels(raster(tmp_path / "bare.tif", place=False)))
    with pytest.raises(LabelError, match="elsewhere"):
        match_labels(scenes, inspect_labels(raster(tmp_path / "a_mask.tif", 600_000)))


def test_a_label_of_two_scenes_called_alike_is_not_dealt_out(tmp_path: Path) -> None:
    scenes = [raster(tmp_path / name / "x.tif", place=False) for name in ("p", "q")]
    with pytest.raises(LabelError, match=r"several scenes are called like it .*no georeference"):
        match_labels(*inspected(scenes, [raster(tmp_path / "masks" / "x.tif", place=False)]))
