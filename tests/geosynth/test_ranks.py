import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from geosynth.errors import Cancelled, ModelError
from geosynth.events import Events
from geosynth.ranks import Rank, check_started_once, together


def good(rank: Rank, folder: Path) -> Callable[[], None]:
    return (folder / str(rank.number)).touch


def bad(rank: Rank, folder: Path) -> Callable[[], None]:
    raise OSError("the disk is gone")


def killed(rank: Rank, folder: Path) -> Callable[[], None]:
    return lambda: os._exit(9)


def killed_early(rank: Rank, folder: Path) -> Callable[[], None]:
    (folder / "signalled").touch()
    os._exit(9)


def hears(rank: Rank, folder: Path) -> Callable[[], None]:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    return (folder / "alive").touch


def slow(rank: Rank, folder: Path) -> Callable[[], None]:
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(600)
    return lambda: None


def dies(folder: Path) -> None:
    with together(2, slow_work, (folder,), Events()):
        os._exit(1)  # as if killed: nothing is cleaned up


def slow_work(rank: Rank, folder: Path) -> Callable[[], None]:
    (folder / "pid").write_text(str(os.getpid()))
    return lambda: time.sleep(600)


def test_one_process_needs_no_others(tmp_path: Path) -> None:
    with together(1, bad, (tmp_path,), Events()) as rank:
        assert (rank.number, rank.count) == (0, 1)


def test_the_others_do_their_part_and_end(tmp_path: Path) -> None:
    with together(3, good, (tmp_path,), Events()) as rank:
        assert (rank.number, rank.count) == (0, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert not multiprocessing.active_children()


def test_what_another_process_says_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="failed: the disk is gone"), together(2, bad, (tmp_path,), Events()):
        pytest.fail("the body must not run")
    with pytest.raises(ModelError, match="was killed"), together(2, killed, (tmp_path,), Events()):
        raise RuntimeError("Connection closed by peer")
    assert not multiprocessing.active_children()


def test_cancelled_while_the_others_get_ready(tmp_path: Path) -> None:
    events = Events(stop=[lambda: "enough" if (tmp_path / "pid").exists() else None])
    with pytest.raises(Cancelled), together(2, slow, (tmp_path,), events):
        pytest.fail("the body must not run")
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("prepare", ["killed", "killed_early"])
def test_a_failure_after_a_cancel_is_a_cancel(tmp_path: Path, prepare: str) -> None:
    signalled = tmp_path / "signalled"
    events = Events(stop=[lambda: "SIGTERM" if signalled.exists() else None])
    with pytest.raises(Cancelled), together(2, globals()[prepare], (tmp_path,), events):
        signalled.touch()
        raise RuntimeError("Connection closed by peer")


def test_the_others_leave_signals_to_the_first(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("no such signals")
    with together(2, hears, (tmp_path,), Events()):
        pass
    assert (tmp_path / "alive").exists()


@pytest.mark.parametrize(
    ("variables", "launcher"),
    [
        ({"WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}, "torchrun"),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "1"}, "srun"),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}, "mpirun"),
    ],
)
def test_one_of_several_is_refused(variables: dict[str, str], launcher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_started_once()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ModelError, match=rf"{launcher} started this command \d times.*--devices"):
        check_started_once()
    monkeypatch.setenv(next(iter(variables)), "1")
    check_started_once()


@pytest.mark.skipif(os.name == "nt", reason="looks for a process id")
def test_no_process_outlives_the_first(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("spawn").Process(target=dies, args=(tmp_path,))
    parent.start()
    parent.join()
    number = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("it is still there")
