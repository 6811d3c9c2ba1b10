"""Jobs go on without the program that started them, and are found again."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
from geosynth_qgis.core.jobs import Job, JobProblem, JobStore
from geosynth_qgis.core.processes import boot, identity

PLUGIN = Path(__file__).parents[2] / "plugin_qgis"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="scripts as programs")


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "prøfile" / "jobs")


@pytest.fixture
def python(tmp_path: Path) -> str:
    """Started like an interpreter with geosynth; its command trains for so many steps of 50 ms, in the real session."""
    script = tmp_path / "my python"
    script.write_text(
        textwrap.dedent(
            f"""\
            #!{sys.executable}
            import os, subprocess, sys, time
            import click
            from geosynth_cli.session import session
            del sys.argv[1:7]

            @click.command()
            @click.argument("name")
            @click.option("--steps", type=int)
            @click.option("--worker", type=click.Path())
            @session
            def train(events, name, steps, worker):
                if worker:
                    held = subprocess.Popen([sys.executable, "-c", "import signal, time; "
                        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"])
                    open(worker, "w").write(str(held.pid))
                print("chatter", flush=True)
                for step in range(steps):
                    events.check()
                    events.progress(step, steps, "steps")
                    time.sleep(0.05)
                return "trained"
            train()
            """
        ),
        encoding="utf-8",
    )
    script.chmod(0o755)
    return str(script)


def wait(job: Job, *states: str, seconds: float = 20) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state = job.state()
        if state in states:
            return state
        time.sleep(0.05)
    raise AssertionError(f"{job.state()}: {job.tail()}")


def test_a_job_runs_to_its_end_and_says_so(store: JobStore, python: str, tmp_path: Path) -> None:
    job = store.start(python, ["train", "--steps", "4"], title="a", output=str(tmp_path / "o"), values={"STEPS": 4})
    assert job.state() in ("starting", "running") and job.message() == ""
    wait(job, "done")
    assert job.message() == "trained" and "chatter" in job.tail()
    events, offset = job.read()
    assert events[0].kind == "hello" and events[-1].kind == "done"
    assert job.read(offset) == ([], offset)
    assert [(entry.id, entry.values["STEPS"]) for entry in store.jobs()] == [(job.id, 4)]
    store.remove(job)
    assert store.jobs() == [] and not job.folder.exists()


def test_forgetting_a_job_takes_its_inputs_and_nothing_else(store: JobStore, python: str, tmp_path: Path) -> None:
    drawn, mine = store.inputs / "a1" / "b2" / "drawn.gpkg", tmp_path / "mine.gpkg"
    drawn.parent.mkdir(parents=True)
    drawn.touch()
    mine.touch()
    (store.inputs / "other").mkdir()
    values = {"FROM_MASKS": [f"{drawn}|layername=drawn", str(mine)], "MODEL": "base"}
    job = store.start(python, ["train", "--steps", "1"], title="", output="", values=values)
    wait(job, "done")
    store.remove(store.jobs()[0])
    assert mine.exists() and [path.name for path in store.inputs.iterdir()] == ["other"]


def test_another_qgis_finds_it_goes_on_reading_and_cancels_it(store: JobStore, python: str, tmp_path: Path) -> None:
    """Started by a program that is gone by then."""
    code = (
        f"import sys; sys.path.insert(0, {str(PLUGIN)!r}); from geosynth_qgis.core.jobs import JobStore;"
        f"JobStore({str(store.folder)!r}).start({python!r}, ['train', '--steps', '2000'], title='t', output='')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    (job,) = store.jobs()
    assert wait(job, "running") == "running"
    with pytest.raises(JobProblem):
        store.remove(job)
    _, offset = job.read()
    time.sleep(0.3)
    events, _ = job.read(offset)
    assert events and all(event.kind == "progress" for event in events)
    start = time.monotonic()
    job.stop()
    assert time.monotonic() - start < 2
    assert job.state() == "cancelled" and "--resume" in job.message()
    assert identity(job.pid) == ""


def test_stopping_ends_its_workers_too(store: JobStore, python: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "worker"
    job = store.start(python, ["train", "--steps", "2000", "--worker", str(pid_file)], title="", output="")
    wait(job, "running")
    while not pid_file.exists() or not pid_file.read_text():
        time.sleep(0.02)
    start = time.monotonic()
    job.stop()
    assert time.monotonic() - start < 2
    deadline = time.monotonic() + 1
    while identity(int(pid_file.read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert identity(int(pid_file.read_text())) == ""


def test_one_that_was_killed_is_dead_and_one_that_could_not_start_failed(store: JobStore, python: str) -> None:
    job = store.start(python, ["train", "--steps", "2000"], title="", output="")
    wait(job, "running")
    job.kill()
    assert wait(job, "dead") == "dead" and "without a word" in job.message()
    wrong = store.start(python, ["train", "--stepz", "1"], title="", output="")
    assert wait(wrong, "failed") == "failed" and "--stepz" in wrong.message()


def test_another_process_with_its_number_is_left_alone(store: JobStore, python: str) -> None:
    job = store.start(python, ["train", "--steps", "1"], title="", output="")
    wait(job, "done")
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        path = job.folder / "job.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "pid": other.pid}))
        (taken,) = store.jobs()
        assert not taken.alive()
        taken.stop(0.1)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.skipif(not boot(), reason="the system does not say when it was started")
def test_a_group_of_before_the_last_start_of_the_system_is_left_alone(store: JobStore, python: str) -> None:
    """Its number may lead another group by then, whose leader is gone."""
    job = store.start(python, ["train", "--steps", "1"], title="", output="")
    wait(job, "done")
    sleep = "import time; time.sleep(60)"
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {sleep!r}]).pid)"
    leader = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert leader.stdout is not None
    left = int(leader.stdout.readline())
    leader.wait()
    try:
        replace(job, pid=leader.pid, born="1@another-boot").kill()
        time.sleep(0.2)
        assert identity(left)
        replace(job, pid=leader.pid, born=f"1@{boot()}").kill()
        deadline = time.monotonic() + 2
        while identity(left) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not identity(left)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(left, 9)


@pytest.mark.parametrize("program", ["/nowhere/python", "/etc/hostname"])
def test_what_cannot_be_started_leaves_nothing(store: JobStore, program: str) -> None:
    with pytest.raises(JobProblem, match="cannot be started"):
        store.start(program, ["train"], title="", output="")
    assert store.jobs() == [] and list(store.folder.glob("*")) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, python: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JobProblem, match="cannot be started"):
        JobStore(tmp_path / "file" / "jobs").start(python, ["train"], title="", output="")


def test_what_cannot_be_read_is_no_job(store: JobStore) -> None:
    for number, text in enumerate(("", "{", "[]", "{}", '{"title": 1}')):
        (store.folder / str(number)).mkdir(parents=True)
        (store.folder / str(number) / "job.json").write_text(text)
    assert store.jobs() == []
