"""Tiling again: the same bytes however it is done, interrupted runs, and what an earlier result must not lose."""

from __future__ import annotations

import os
import signal
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from tiling_world import WORLD, hashes, plan, scene

from geosynth.errors import Cancelled, OutputError, TilesetError
from geosynth.events import Events
from geosynth.scenes.source import SceneReader
from geosynth.tiling import TilingPlan, tile_scenes


def test_the_same_request_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=100)
    tile_scenes(plan(paths), tmp_path / "one", Events())
    tile_scenes(plan(paths), tmp_path / "two", Events(), workers=2)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    again = tile_scenes(plan(paths), tmp_path / "one", Events())
    assert again.nothing_to_do
    assert again.tiles == 9
    with pytest.raises(OutputError, match="different seed"):
        tile_scenes(plan(paths, seed=1), tmp_path / "one", Events())


def test_a_dask_cluster_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr("geosynth.cutting._TILES", 6)
    paths = scene(tmp_path, "a", side=100)
    tile_scenes(plan(paths), tmp_path / "one", Events())
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        tile_scenes(plan(paths), tmp_path / "two", Events(), scheduler=cluster.scheduler_address)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_worker_costs_no_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geosynth.cutting._TILES", 6)
    paths = scene(tmp_path, "a", side=800)
    base = plan(paths, size=16)
    tile_scenes(base, tmp_path / "one", Events())
    said: list[str] = []
    killed: list[int] = []

    def kill_one(event: dict[str, Any]) -> None:
        said.append(str(event.get("message")))
        workers = [child for child in active_children() if child.pid is not None]
        if event["event"] == "progress" and event["done"] > 20 and workers and not killed:
            killed.append(workers[0].pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    tile_scenes(base, tmp_path / "two", Events([kill_one]), workers=2)
    assert killed
    assert [line for line in said if "a worker process died" in line]
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geosynth.cutting._TILES", 6)  # a column of tiles a task
    paths = scene(tmp_path, "a")
    asked = iter(range(100))
    stop = Events(stop=[lambda: "enough" if next(asked) > 2 else None])
    with pytest.raises(Cancelled):
        tile_scenes(plan(paths), tmp_path / "out", stop)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").iterdir()}
    assert 0 < len(written) < 36
    tile_scenes(plan(paths), tmp_path / "out", Events(), rerun="resume")
    assert all(path.stat().st_mtime_ns == before for path, before in written.items())
    tile_scenes(plan(paths), tmp_path / "whole", Events())
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")


def test_nothing_to_keep_is_an_error(tmp_path: Path) -> None:
    paths = scene(tmp_path, "a", side=30)
    with pytest.raises(TilesetError, match="no scene holds a whole tile of 32 pixels"):
        tile_scenes(plan(paths), tmp_path / "out", Events())
    empty = scene(tmp_path, "b", side=64, nodata=0)
    with rasterio.open(empty[0], "r+") as dataset:
        dataset.write(np.zeros((3, 64, 64), np.uint8))
    with pytest.raises(TilesetError, match=r"b\.tif: no tile was kept \(4 nodata\)"):
        tile_scenes(plan(empty), tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()
    good = scene(tmp_path, "c", side=64)
    tile_scenes(plan(good), tmp_path / "out", Events())
    before = hashes(tmp_path / "out")
    with pytest.raises(TilesetError, match="no tile was kept"):
        tile_scenes(plan(empty), tmp_path / "out", Events(), rerun="overwrite")
    assert hashes(tmp_path / "out") == before


def test_a_run_that_keeps_nothing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which tiles are kept is estimated before: should all of them turn out otherwise, the folder goes."""
    empty = scene(tmp_path, "b", side=64, nodata=0)
    with rasterio.open(empty[0], "r+") as dataset:
        dataset.write(np.zeros((3, 64, 64), np.uint8))
    monkeypatch.setattr("geosynth.tiling.kept_tiles", lambda *_: np.ones((2, 2), bool))
    with pytest.raises(TilesetError, match="no tile was kept"):
        tile_scenes(plan(empty), tmp_path / "out", Events())
    assert not (tmp_path / "out").exists()


def test_a_scene_that_moved_is_another_request(tmp_path: Path) -> None:
    image, label = scene(tmp_path, "a", side=64, crs=None, transform=None)
    label.unlink()
    place = tmp_path / "a.tfw"
    asked = TilingPlan((image,), size=32, legend=WORLD)
    for left in (10, 20):
        place.write_text(f"1\n0\n0\n-1\n{left}\n5\n")
        if left == 10:
            tile_scenes(asked, tmp_path / "out", Events())
    with pytest.raises(OutputError, match="different scenes"):
        tile_scenes(asked, tmp_path / "out", Events())


def test_large_scenes_are_cut_in_pieces_of_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = scene(tmp_path, "a", side=200)
    tile_scenes(plan(paths, overlap=8), tmp_path / "whole", Events())
    seen: list[int] = []
    read = SceneReader.read

    def counting(self: SceneReader, row: int, col: int, height: int, width: int) -> Any:
        seen.append(height * width)
        return read(self, row, col, height, width)

    monkeypatch.setattr(SceneReader, "read", counting)
    monkeypatch.setattr("geosynth.cutting._BYTES", 200 * 100 * 5)
    monkeypatch.setattr("geosynth.cutting._HEIGHT", 64)
    tile_scenes(plan(paths, overlap=8), tmp_path / "parts", Events())
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "parts")
    assert len(seen) > 4
    assert max(seen) <= 200 * 110


def test_a_buffer_that_leaves_nothing_deletes_nothing(tmp_path: Path) -> None:
    paths, out = scene(tmp_path, "a", side=128), tmp_path / "out"
    tile_scenes(plan(paths), out, Events())
    before = hashes(out)
    with pytest.raises(TilesetError, match="no tile was kept"):
        tile_scenes(plan(paths, buffer=1000), out, Events(), rerun="overwrite")
    assert hashes(out) == before
