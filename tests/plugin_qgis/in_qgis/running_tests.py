"""Runs and jobs of Processing that are cancelled or go on without QGIS. Runs in QGIS's Python."""

import os
import time
from pathlib import Path

import pytest
from geosynth_qgis.core.jobs import JobProblem
from geosynth_qgis.core.processes import identity
from processing_fixtures import TILES, polygons, wait_for
from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsVectorLayer,
)


def members(group):
    """The processes of a group; zombies, which nobody has reaped yet, are none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(path.parent.name)
    return found


def test_cancel_leaves_no_process_behind(fake, project, tmp_path):
    """The worker of a run that goes without it, and holds its pipes: gone within two seconds all the same."""
    (fake / "steps").write_text("2000")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geosynth:train")
    context, feedback = QgsProcessingContext(), QgsProcessingFeedback(False)
    ended = []
    task = QgsProcessingAlgRunnerTask(
        algorithm, {"TILES": str(TILES), "OUTPUT": str(tmp_path / "o")}, context, feedback
    )
    task.executed.connect(lambda fine, results: ended.append((fine, results)))
    QgsApplication.taskManager().addTask(task)
    wait_for(lambda: (fake / "grandchild").exists() and (fake / "grandchild").read_text())
    worker = int((fake / "grandchild").read_text())
    group = os.getpgid(worker)
    assert group != os.getpgid(0) and identity(worker)
    start = time.monotonic()
    task.cancel()
    wait_for(lambda: ended)
    assert time.monotonic() - start < 2.5
    assert not ended[0][0] and not identity(worker)
    assert members(group) == []


def test_the_panel_s_runner_tells_a_cancelled_run_from_a_failed_one(fake, project, tmp_path):
    from geosynth_qgis.processing.running import RunningAlgorithm

    (fake / "steps").write_text("2000")
    ended, events = [], []
    running = RunningAlgorithm()
    running.finished.connect(lambda *told: ended.append(told))
    running.received.connect(events.append)
    running.start("train", {"TILES": str(TILES), "OUTPUT": str(tmp_path / "o")}, project)
    wait_for(lambda: any(event.kind == "metric" for event in events))
    running.cancel()
    wait_for(lambda: ended, 3)
    assert ended[0][0] == "cancelled" and "--resume" in ended[0][2].message
    ended.clear()
    running.start("train", {"TILES": str(tmp_path / "gone"), "OUTPUT": str(tmp_path / "o")}, project)
    wait_for(lambda: ended, 3)
    assert ended[0][0] == "failed" and "no folder" in ended[0][2].message


def test_what_the_panel_ran_is_in_the_history(fake, project, tmp_path):
    from geosynth_qgis.processing.running import RunningAlgorithm
    from processing.core.ProcessingLog import ProcessingLog

    ended = []
    running = RunningAlgorithm()
    running.finished.connect(lambda *told: ended.append(told))
    running.start("train", {"TILES": str(TILES), "STEPS": 77, "OUTPUT": str(tmp_path / "o")}, project)
    wait_for(lambda: ended)
    assert ended[0][0] == "done", ended
    assert any("geosynth:train" in entry.text and "77" in entry.text for entry in ProcessingLog.getLogEntries())


def test_a_detached_job_keeps_what_was_drawn(fake, project, tmp_path):
    from geosynth_qgis.processing.running import detached

    drawn = polygons(project)
    parameters = {"MODEL": "base", "FROM_MASKS": [drawn], "CLASS_FIELD": "class", "OUTSIDE": "grass",
                  "OUTPUT": str(tmp_path / "o")}  # fmt: skip
    job = detached("generate", parameters, "painting", project)
    (path,) = job.values["FROM_MASKS"]
    assert str(tmp_path / "profile") in path and QgsVectorLayer(path, "x", "ogr").featureCount() == 1
    wait_for(lambda: job.state() == "done")
    assert job.output == str(tmp_path / "o") and "made" in job.message()
    with pytest.raises(JobProblem, match="temporary"):
        detached("train", {"TILES": str(TILES), "OUTPUT": "TEMPORARY_OUTPUT"}, "", project)
    with pytest.raises(JobProblem, match="how many pairs"):
        detached("generate", {"MODEL": "base", "OUTPUT": str(tmp_path / "o")}, "", project)
