import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from geosynth.errors import Cancelled, GeosynthError, SceneError
from geosynth.events import Events
from geosynth.jobs import run_tasks
from geosynth.rasters import open_raster


def square(number: int) -> int:
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise SceneError("is cut off", where="three.tif", remedy="copy it")
    return number


def fail_as_gdal_does(number: int) -> int:
    with open_raster(f"no such raster {number}.tif"):
        return number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once_at_three(task: tuple[str, int]) -> int:
    folder, number = task
    died = Path(folder) / "died"
    if number == 3 and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def process_of(folder: str) -> str:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(0.2)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once(workers: int) -> None:
    seen: list[dict[str, Any]] = []
    results = list(run_tasks(square, range(7), Events([seen.append]), workers=workers, unit="squares"))
    assert sorted(results) == [n * n for n in range(7)]
    assert (seen[-1]["done"], seen[-1]["total"], seen[-1]["unit"]) == (7, 7, "squares")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_arrives_whole(workers: int) -> None:
    with pytest.raises(SceneError, match=r"three.tif: is cut off — copy it"):
        list(run_tasks(fail_at_three, range(6), Events(), workers=workers))


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_workers_that_die_again_and_again_are_reported() -> None:
    with pytest.raises(GeosynthError, match="die again and again"):
        list(run_tasks(die_at_three, range(6), Events(), workers=2))


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_worker_that_dies_while_results_are_written_loses_nothing(tmp_path: Path) -> None:
    results = []
    for result in run_tasks(die_once_at_three, [(str(tmp_path), n) for n in range(20)], Events(), workers=2):
        results.append(result)
        time.sleep(0.1)  # the pool breaks meanwhile
    assert sorted(results) == list(range(20))


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    tasks = [(str(tmp_path), number) for number in range(9)]
    results = list(run_tasks(die_once_at_three, tasks, Events([said.append]), workers=2))
    assert sorted(results) == list(range(9))
    assert [event["message"] for event in said if event["event"] == "log"] == [
        "a worker process died (out of memory, or killed); its tasks are done again"
    ]


def test_cancel_leaves_no_process_behind(tmp_path: Path) -> None:
    answers = iter([None, None])
    events = Events(stop=[lambda: next(answers, "enough")])
    with pytest.raises(Cancelled):
        list(run_tasks(process_of, [str(tmp_path)] * 40, events, workers=2))
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def die_in_its_process(task: tuple[str, int]) -> int:
    """Like ``die_once_at_three``, with time for the cluster to hand out more."""
    time.sleep(0.05)
    return die_once_at_three(task)


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_dask_cluster_gives_the_same_though_a_worker_is_killed(tmp_path: Path) -> None:
    from distributed import LocalCluster

    tasks = [(str(tmp_path), number) for number in range(12)]
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        results = list(run_tasks(die_in_its_process, tasks, Events(), scheduler=cluster.scheduler_address))
    assert sorted(results) == list(range(12))
    assert (tmp_path / "died").exists()


def test_an_error_of_a_cluster_s_task_arrives_whole() -> None:
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        pytest.raises(SceneError, match=r"no such raster 7.tif: cannot be read .* — check"),
    ):
        list(run_tasks(fail_as_gdal_does, [7], Events(), scheduler=cluster.scheduler_address))


def test_no_dask_scheduler() -> None:
    with pytest.raises(GeosynthError, match="no dask scheduler"):
        list(run_tasks(square, range(5), Events(), scheduler="tcp://127.0.0.1:1"))
