"""Commands killed without warning, and finished afterwards.

Each runs in a process forked from one that has the libraries loaded already, so that a kill hits the work and not the
imports. One such server serves all tests of a run, so it loads what all of them need.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOADED = [
    "geosynth.diffusion.train",
    "geosynth.diffusion.generate",
    "geosynth.diffusion.wholescene",
    "geosynth.evaluation.study",
    "geosynth.segmentation.training",
    "geosynth.segmentation.prediction",
    "geosynth.tiling",
    "geosynth.tilesetwriter",
    "segmentation_models_pytorch",
]


def survives_kills(
    command: Callable[[Path, Path], None],
    inputs: Path,
    folder: Path,
    content: Callable[[Path], Any],
    kills: int,
    earliest: float,
) -> None:
    """Kill ``command(inputs, out)`` at ``kills`` random moments, and compare ``content(out)`` with a whole run's.

    A run is gone on with and killed again until it comes to its end; then the next begins from nothing. All kills find
    the work unfinished: one that would come too late is none. ``earliest`` is the share of a whole run's time before
    which nobody is killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)

    def finished(out: Path, within: float = 120) -> bool:
        """Whether the work was done before it was killed."""
        process = context.Process(target=command, args=(inputs, out))
        process.start()
        process.join(timeout=within)
        done = process.exitcode is not None
        process.kill()
        process.join()
        assert not done or process.exitcode == 0
        return done

    assert finished(folder / "warm-up")  # the first one waits for the fork server
    began = time.monotonic()
    assert finished(folder / "whole")
    seconds = time.monotonic() - began
    expected = content(folder / "whole")
    moments, left = random.Random(0), kills
    while left:
        out, before, done = folder / f"killed-{left}", left, False
        while left and not (done := finished(out, moments.uniform(earliest, 1) * seconds)):
            left -= 1
        assert done or finished(out)
        assert content(out) == expected, f"kills {kills - before + 1} to {kills - left}"
        shutil.rmtree(out)
