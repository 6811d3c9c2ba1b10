from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from geosynth import demo
from geosynth.demo import DemoSize, made_up_scene, run_demo
from geosynth.errors import OutputError, TilesetError
from geosynth.events import Cancelled, Events
from geosynth.folders import file_hash
from geosynth.legend import load_legend
from geosynth.tiling import TilingPlan
from geosynth.world import Landscape
from geosynth.world.scene import write_scene


def test_a_half_written_scene_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_SCENE", (96, 128))
    monkeypatch.setattr(demo, "_STRIP", (96, 64))
    whole = made_up_scene(tmp_path / "whole")

    def interrupted(landscape: Landscape, folder: Path, name: str, *window: int) -> Path:
        path = write_scene(landscape, folder, name, *window)
        if name == "next":
            path.write_bytes(path.read_bytes()[:1000])
            raise Cancelled("cancelled (test)")
        return path

    with monkeypatch.context() as patch:
        patch.setattr(demo, "write_scene", interrupted)
        with pytest.raises(Cancelled):
            made_up_scene(tmp_path / "scenes")
    with pytest.raises(OutputError, match="unfinished"):
        made_up_scene(tmp_path / "scenes")
    again = made_up_scene(tmp_path / "scenes", "resume")
    assert [file_hash(path) for path in again] == [file_hash(path) for path in whole]
    before = again[2].stat().st_mtime_ns
    assert made_up_scene(tmp_path / "scenes")[2].stat().st_mtime_ns == before  # kept


def test_a_file_is_no_place_for_a_demo(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        run_demo(tmp_path / "file", Events())
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What would be trained, predicted and so on: noted, not done."""
    calls: list[tuple[str, Any]] = []

    def note(name: str) -> Any:
        return lambda *arguments, **_: calls.append((name, arguments))

    for name in ("train_generator", "generate", "train_segmenter", "vectorize", "evaluate"):
        monkeypatch.setattr(demo, name, note(name))

    def predict(segmenter: Path, scenes: list[Path], out: Path, events: Events, **_: Any) -> list[Path]:
        calls.append(("predict", (scenes, out)))
        return [out / path.name for path in scenes]

    monkeypatch.setattr(demo, "predict_scenes", predict)
    return calls


def scene_plan(*scenes: Path, labels: tuple[Path, ...]) -> TilingPlan:
    legend = load_legend("world")
    return TilingPlan(tuple(map(str, scenes)), tuple(map(str, labels)), size=64, legend=legend, block=1, val=0.2)


def test_scenes_too_small_to_be_split_are_refused_before_training(
    tmp_path: Path, trained: list[tuple[str, Any]]
) -> None:
    scene = write_scene(Landscape(1), tmp_path / "mine", "place", 0, 0, 64, 64)
    plan = scene_plan(scene, labels=(scene.with_name("place_mask.tif"),))
    with pytest.raises(TilesetError, match=r"no labelled tiles in split=t.*larger scenes"):
        run_demo(tmp_path / "out", Events(), plan=plan)
    assert trained == []


def test_a_folder_of_scenes_is_predicted_file_by_file(tmp_path: Path, trained: list[tuple[str, Any]]) -> None:
    for name, col in (("a", 0), ("b", 256)):
        write_scene(Landscape(1), tmp_path / "mine", name, 0, col, 192, 256)
    plan = scene_plan(tmp_path / "mine", labels=(tmp_path / "mine",))
    made = run_demo(tmp_path / "out", Events(), plan=plan, size=DemoSize(seeds=1))
    scenes, out = next(arguments for name, arguments in trained if name == "predict")
    assert [path.name for path in scenes] == ["a.tif", "b.tif"]
    assert out == tmp_path / "out" / "classes"
    assert [path for what, path in made.entries if what == "class raster"] == [out / "a.tif", out / "b.tif"]


def test_scenes_that_are_called_alike_are_predicted_apart(tmp_path: Path, trained: list[tuple[str, Any]]) -> None:
    labels = []
    for name, col in (("a", 0), ("b", 256)):
        write_scene(Landscape(1), tmp_path / name, "image", 0, col, 192, 256)
        labels.append(tmp_path / f"{name}_labels.tif")
        shutil.move(tmp_path / name / "image_mask.tif", labels[-1])
    plan = scene_plan(*(tmp_path / name / "image.tif" for name in "ab"), labels=tuple(labels))
    run_demo(tmp_path / "out", Events(), plan=plan, size=DemoSize(seeds=1))
    folders = [arguments[1].name for name, arguments in trained if name == "predict"]
    assert folders == ["image", "b_image"]
