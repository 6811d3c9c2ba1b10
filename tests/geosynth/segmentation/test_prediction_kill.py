"""Killed without warning at any moment, a prediction goes on with what it had and ends with the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from prediction_world import files, predict, write_inputs

KILLS = 5


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    inputs = write_inputs(tmp_path)
    context = multiprocessing.get_context("forkserver")
    # One fork server serves all tests of a run, with what the first of them asks for: the other kill tests' rooms too.
    rooms = ("segmentation.prediction", "diffusion.train", "diffusion.generate", "tiling", "tilesetwriter")
    context.set_forkserver_preload([f"geosynth.{room}" for room in rooms] + ["segmentation_models_pytorch"])

    def start(out: Path) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=predict, args=(inputs, out))
        process.start()
        return process

    def finish(out: Path) -> float:
        began = time.monotonic()
        process = start(out)
        process.join(timeout=120)
        assert process.exitcode == 0
        return time.monotonic() - began

    finish(tmp_path / "warm-up")  # the first one waits for the fork server
    seconds = finish(tmp_path / "whole")
    expected = files(tmp_path / "whole")
    moments = random.Random(0)
    hit = 0
    for number in range(KILLS):
        out = tmp_path / f"killed-{number}"
        process = start(out)
        process.join(timeout=moments.uniform(0.2, 1) * seconds)
        hit += process.exitcode is None
        process.kill()
        process.join()
        finish(out)
        assert files(out) == expected, f"kill {number}"
        shutil.rmtree(out)
    assert hit >= KILLS // 3
