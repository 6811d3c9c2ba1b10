import json
from pathlib import Path

import pytest

from geosynth.descriptions import DESCRIPTIONS, description_hash, kind_of, misfit


def folder(path: Path, *names: str, command: str | None = None) -> Path:
    """A folder with empty files, and what an interrupted ``command`` leaves."""
    path.mkdir()
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("")
    if command is not None:
        (path / ".geosynth").mkdir(exist_ok=True)
        (path / ".geosynth" / "request.json").write_text(json.dumps({"command": command}))
    return path


def test_kinds(tmp_path: Path) -> None:
    for kind, name in DESCRIPTIONS.items():
        assert kind_of(folder(tmp_path / kind, name, command="whatever")) == kind
    assert kind_of(folder(tmp_path / "empty")) is None
    assert kind_of(folder(tmp_path / "readme", "readme.txt")) is None
    assert kind_of(tmp_path / "nowhere") is None
    assert kind_of(folder(tmp_path / "begun", command="train")) == "unfinished train"
    assert kind_of(folder(tmp_path / "damaged", ".geosynth/request.json")) == "unfinished run"
    assert kind_of(folder(tmp_path / "classes", ".geosynth/complete", command="predict")) == "class rasters"
    assert kind_of(folder(tmp_path / "robbed", ".geosynth/complete", command="tile")) is None


@pytest.mark.parametrize(
    ("names", "command", "wanted", "what", "remedy"),
    [
        ((), None, "tileset", "not a tileset (it has no tileset.json)", "geosynth tile"),
        (("geosynth.json",), None, "tileset", "is a generator, not a tileset", "geosynth tile"),
        (("segmenter.json",), None, "generator", "is a segmenter, not a generator", "geosynth train"),
        ((), "segment", "segmenter", "an unfinished run, not yet a segmenter", "--resume"),
        ((), "generate", "tileset", "an unfinished run, not yet a tileset", "--resume"),
        ((), "train", "segmenter", "an unfinished run of train, not a segmenter", "geosynth segment"),
        ((".geosynth/complete",), "predict", "tileset", "is class rasters, not a tileset", "geosynth tile"),
    ],
)
def test_what_is_wrong_and_what_to_do(
    tmp_path: Path, names: tuple[str, ...], command: str | None, wanted: str, what: str, remedy: str
) -> None:
    found = misfit(folder(tmp_path / "x", *names, command=command), wanted)
    assert found[0] == what
    assert remedy in found[1]


def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert misfit(tmp_path / "file", "tileset")[0] == "is a file, not a folder"
    assert misfit(tmp_path / "nowhere", "tileset")[0] == "no such folder"


def test_a_description_does_not_hash_its_hash() -> None:
    assert description_hash({"a": 1, "b": 2, "hash": "x"}) == description_hash({"b": 2, "a": 1})
    assert description_hash({"a": 1}) != description_hash({"a": 2})
