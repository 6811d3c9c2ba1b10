"""Predictions by several threads, several processes, and on a cluster: always the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from prediction_world import SAW, files, predict, write_inputs

from geosynth.errors import Cancelled
from geosynth.events import Events
from geosynth.lineage import read_lineage


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def expected(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("expected") / "out"
    predict(inputs, out, threads=1)
    return files(out)


def test_other_threads(inputs: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    predict(inputs, tmp_path / "out", threads=3)
    assert files(tmp_path / "out") == expected
    assert {"high.tif", "confidence/high.tif", "probabilities/small.tif", "small.qml"} <= set(expected)
    assert read_lineage(tmp_path / "out") == SAW
    assert not any("pieces" in name or "tmp" in name for name in expected)


def test_two_processes(inputs: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []
    predict(inputs, tmp_path / "out", workers=2, events=Events([seen.append]))
    assert files(tmp_path / "out") == expected
    totals = [record["total"] for record in seen if record["event"] == "progress"]
    assert totals[0] == 3, "two pieces of the high scene, its third, the small scene"
    assert [record["event"] for record in seen].count("artifact") == 2


def test_a_dask_cluster_that_goes_on_with_what_was_begun_here(
    inputs: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    from distributed import LocalCluster

    seen = 0

    def stop() -> str | None:
        nonlocal seen
        seen += 1
        return "now" if seen > 50 else None

    with pytest.raises(Cancelled):
        predict(inputs, tmp_path / "out", events=Events(stop=[stop]))
    assert len(list((tmp_path / "out/.geosynth/pieces/high").glob("classes-*"))) in (1, 2)
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        predict(inputs, tmp_path / "out", scheduler=cluster.scheduler_address)
    assert files(tmp_path / "out") == expected
