import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from geosynth.errors import OutputError
from geosynth.folders import canonical_json, claim, file_hash, keep_apart


def make(path: Path, request: dict[str, int], rerun: str = "refuse", *, finish: bool = True) -> str:
    with claim(path, request, rerun) as out:  # type: ignore[arg-type]
        if out.complete:
            return "nothing to do"
        out.write("result.txt", str(request))
        out.record("task", {"files": 1})
        if finish:
            out.finish()
        return "made"


def test_rules_of_a_rerun(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert make(out, {"a": 1}) == "made"
    assert make(out, {"a": 1}) == "nothing to do"
    assert make(out, {"a": 1}, "resume") == "nothing to do"
    assert make(out, {"a": 1}, "overwrite") == "made"  # repairs what was damaged
    with pytest.raises(OutputError, match=r"another request.*different a"):
        make(out, {"a": 2})
    with pytest.raises(OutputError, match="another request"):
        make(out, {"a": 2}, "resume")
    assert make(out, {"a": 2}, "overwrite") == "made"
    assert (out / "result.txt").read_text() == "{'a': 2}"


def test_a_partial_run_is_resumed_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, {"a": 1}, finish=False)
    with pytest.raises(OutputError, match=r"unfinished.*--resume"):
        make(out, {"a": 1})
    assert make(out, {"a": 1}, "resume") == "made"
    assert make(out, {"a": 1}) == "nothing to do"


def test_a_folder_of_somebody_else_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for rerun in ("refuse", "resume", "overwrite"):
        with pytest.raises(OutputError, match="not made by geosynth"):
            make(tmp_path, {"a": 1}, rerun)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_and_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        make(tmp_path / "file", {"a": 1})
    with pytest.raises(OutputError, match="cannot be written"):
        make(tmp_path / "file" / "below", {"a": 1})


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        make(tmp_path / "out", {"a": 1})


def test_two_runs_cannot_write_at_once(tmp_path: Path) -> None:
    with (
        claim(tmp_path / "out", {"a": 1}),
        pytest.raises(OutputError, match="another run"),
        claim(tmp_path / "out", {"a": 1}, "resume"),
    ):
        pass


def test_half_written_files_are_swept_away(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, {"a": 1}, finish=False)
    (out / ".geosynth" / "tmp" / "tile.tif.99.part").write_text("half")
    make(out, {"a": 1}, "resume")
    assert not list(out.rglob("*.part"))


def test_what_may_differ_is_in_the_log_only(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path / name, {"a": 1})
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    differing = [f for f in files if file_hash(tmp_path / "a" / f) != file_hash(tmp_path / "b" / f)]
    assert all(path.is_relative_to(".geosynth/log") for path in differing)
    run = json.loads((tmp_path / "a" / ".geosynth" / "log" / "runs.jsonl").read_text())
    assert run["pid"] == os.getpid()


def test_canonical_json_does_not_depend_on_order() -> None:
    assert canonical_json({"b": 1, "a": [1, 2]}) == canonical_json({"a": [1, 2], "b": 1})
    with pytest.raises(ValueError):
        canonical_json({"a": float("nan")})


def test_killed_before_anything_was_written_the_folder_is_new(tmp_path: Path) -> None:
    (tmp_path / "out" / ".geosynth").mkdir(parents=True)
    (tmp_path / "out" / ".geosynth" / "lock").touch()
    assert make(tmp_path / "out", {"a": 1}) == "made"


def test_an_interrupted_overwrite_is_never_taken_for_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    make(out, {"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _unlink_then_die(Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            make(out, {"a": 2}, "overwrite")
    with pytest.raises(OutputError, match="unfinished"):
        make(out, {"a": 1})
    assert make(out, {"a": 2}, "overwrite") == "made"
    assert make(out, {"a": 2}) == "nothing to do"


def _unlink_then_die(unlink: Callable[..., None]) -> Callable[..., None]:
    def first(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        raise KeyboardInterrupt

    return first


def test_overwrite_repairs_what_was_damaged(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, {"a": 1})
    (out / "result.txt").unlink()
    assert make(out, {"a": 1}, "overwrite") == "made"
    assert (out / "result.txt").exists()


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with claim(tmp_path / "out", {"a": 1}) as out:
        monkeypatch.setattr("geosynth.folders.os.fsync", full)
        with pytest.raises(OutputError, match=r"tile.tif: cannot be written \(No space left on device\)"):
            out.write("tile.tif", b"pixels")
        assert not (out.path / "tile.tif").exists()


def test_an_output_may_not_hold_an_input(tmp_path: Path) -> None:
    (tmp_path / "in" / "tiles").mkdir(parents=True)
    keep_apart(tmp_path / "out", tmp_path / "in")
    keep_apart(tmp_path / "in" / "tiles" / "model", tmp_path / "in" / "tiles")
    for out in (tmp_path / "in" / "tiles", tmp_path / "in", tmp_path / "in" / "x" / ".." / "tiles"):
        with pytest.raises(OutputError, match="would be overwritten"):
            keep_apart(out, tmp_path / "in" / "tiles")
