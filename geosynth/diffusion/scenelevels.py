"""A scene from noise to data: the unit of work is some rows of windows of one noise level."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import batched
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geosynth.devices import autocast, cpu_threads
from geosynth.diffusion.canvas import Canvas, Windows, canvas_noise, runs, shift_at
from geosynth.diffusion.codes import encode
from geosynth.diffusion.generator import Generator, cached_generator
from geosynth.diffusion.pipeline import guided
from geosynth.diffusion.process import Process
from geosynth.diffusion.samplers import Stepper
from geosynth.legend import UNKNOWN
from geosynth.noise import generator_for

_ROWS = 8
"""Rows of windows a task, at most: a stopped run loses no more, and each task computes the row above it once more."""
_WAIT = 0.01
"""Seconds between two looks at whether the level before is done."""


@dataclass(frozen=True)
class ScenePlan:
    """A scene to make, for any process that sees the folders.

    Attributes:
        model, model_hash: the generator.
        canvas: where the states are.
        window: side of the windows, pixels.
        overlap: pixels two of them share, at least.
        multiple: windows are moved by multiples of it.
        given: whether the canvas holds a given mask.
        seed, sampler, steps, guidance: as in a request.
        batch: windows a forward pass; a batch of another size rounds differently.
        device: cpu, cuda or mps.
        precision: 32 or bf16.
    """

    model: str
    model_hash: str
    canvas: Canvas
    window: int
    overlap: int
    multiple: int
    given: bool
    seed: int
    sampler: str
    steps: int
    guidance: float
    batch: int
    device: str
    precision: str = "32"

    def layout(self, level: int) -> tuple[Windows, Windows]:
        """The rows and the columns of windows at a level."""
        down, right = shift_at(level, self.window - self.overlap, self.multiple)
        return (
            Windows.along(self.canvas.height, self.window, self.overlap, down),
            Windows.along(self.canvas.width, self.window, self.overlap, right),
        )

    def missing(self, workers: int) -> list[Rows]:
        """What is left to do, level after level; each level has something to do for every worker."""
        done = self.canvas.done
        tasks = []
        for level in range(self.canvas.levels):
            count = len(self.layout(level)[0].starts)
            left = [row for row in range(count) if not done[level, row]]
            most = max(1, min(_ROWS, -(-count // workers)))
            tasks += [Rows(self, level, first, stop) for first, stop in runs(left, most)]
        return tasks


@dataclass(frozen=True)
class Rows:
    """One unit of work: the rows of windows ``first`` .. ``stop`` - 1 of a level."""

    plan: ScenePlan
    level: int
    first: int
    stop: int


_ONE_AT_A_TIME = Lock()  # the number of threads belongs to the process


def advance(rows: Rows) -> int:
    """Bring the pixels of some rows of windows to the next level, when the level before is done; returns the level.

    Rows that are done stay as they are: the next level may have begun to write over what they were made of.
    """
    plan, level = rows.plan, rows.level
    done = plan.canvas.done
    if done[level, rows.first : rows.stop].all():
        return level
    before = len(plan.layout(level - 1)[0].starts) if level else 0
    while not done[level - 1, :before].all():
        time.sleep(_WAIT)  # tasks are started in order, so another process has what is missing
    with _ONE_AT_A_TIME, cpu_threads(1), torch.no_grad():
        _Advancing(plan, level).run(rows.first, rows.stop)
    return level


class _Advancing:
    """One level of a plan, with the files it reads and writes."""

    def __init__(self, plan: ScenePlan, level: int) -> None:
        self.plan, self.level = plan, level
        self.generator: Generator = cached_generator(plan.model, plan.model_hash)
        self.pipeline = self.generator.pipeline.to(plan.device)
        self.process: Process = self.pipeline.process
        self.noise_level = Stepper(self.process, plan.sampler, plan.steps).levels[level]
        self.rows, self.cols = plan.layout(level)
        self.given = plan.canvas.given if plan.given else None
        self.done = plan.canvas.done

    def run(self, first: int, stop: int) -> None:
        canvas, level = self.plan.canvas, self.level
        after = canvas.state(level + 1)
        kept = canvas.answer(level) if canvas.remembers else None
        answers: dict[int, Tensor] = {}  # by row of windows, as long as a band needs them
        for number in range(first, stop):
            top, bottom = self.rows.band(number)
            touching = self.rows.touching(top, bottom)
            answers = {row: answer for row, answer in answers.items() if row in touching}
            band = torch.zeros(canvas.channels, bottom - top, canvas.width)
            for row in touching:
                if row not in answers:
                    answers[row] = self._answers(row)
                start = self.rows.starts[row]
                begin, end = max(top, start), min(bottom, start + self.plan.window)
                weights = torch.from_numpy(self.rows.weights[row][begin - start : end - start])
                band[:, begin - top : end - top] += answers[row][:, begin - start : end - start] * weights[:, None]
            after[:, top:bottom] = self._step(number, top, bottom, band).numpy()
            if kept is not None:
                kept[:, top:bottom] = band.numpy()
        for written in (after, kept):
            if isinstance(written, np.memmap):
                written.flush()  # on the disk before it is said to be
        self.done[level, first:stop] = 1
        if isinstance(self.done, np.memmap):
            self.done.flush()

    def _state(self, level: int, top: int, left: int, height: int, width: int) -> Tensor:
        """A window of the state that ``level`` starts from, float32 (C, height, width)."""
        canvas = self.plan.canvas
        if level == 0:
            return canvas_noise(self.plan.seed, canvas.channels, top, left, height, width)
        values = canvas.state(level)[:, top : top + height, left : left + width]
        return torch.from_numpy(np.array(values, np.float32))

    def _answers(self, row: int) -> Tensor:
        """What the network says of a row of windows, averaged where they share pixels: (C, window, width)."""
        size, top = self.plan.window, self.rows.starts[row]
        strip = torch.zeros(self.plan.canvas.channels, size, self.plan.canvas.width)
        for numbers in batched(range(len(self.cols.starts)), self.plan.batch):
            lefts = [self.cols.starts[number] for number in numbers]
            for number, left, answer in zip(numbers, lefts, self._ask(top, lefts), strict=True):
                strip[:, :, left : left + size] += answer * torch.from_numpy(self.cols.weights[number])
        return strip

    def _ask(self, top: int, lefts: Sequence[int]) -> Iterator[Tensor]:
        """The network's answers to windows of one row, one after the other."""
        size, bands = self.plan.window, self.generator.bands
        states = torch.stack([self._state(self.level, top, left, size, size) for left in lefts])
        noise = torch.stack(
            [canvas_noise(self.plan.seed, self.plan.canvas.channels, top, left, size, size) for left in lefts]
        )
        clean = torch.zeros(len(lefts), dtype=torch.bool)
        if self.given is not None:
            mask = torch.from_numpy(np.stack([self.given[top : top + size, left : left + size] for left in lefts]))
            known = mask != UNKNOWN
            clean = known.flatten(1).all(dim=1)
            bits = encode(mask, self.generator.classes, self.generator.bit_size)
            # Beside unknown pixels the known ones are as noisy as the rest, for a side has one level (Lugmayr et al.
            # 2022 paint what is missing in this way).
            noisy = self.process.mix(bits, noise[:, bands:], torch.full((len(lefts),), self.noise_level))
            given = torch.where(clean[:, None, None, None], bits, noisy)
            states[:, bands:] = torch.where(known[:, None], given, states[:, bands:])
        answers = torch.empty_like(states)
        for mask_given in (True, False):
            some = clean == mask_given
            if some.any():
                with autocast(self.plan.device, self.plan.precision):
                    answers[some] = guided(
                        self.pipeline.denoiser,
                        states[some].to(self.plan.device),
                        noise[some].to(self.plan.device),
                        self.noise_level,
                        False,
                        mask_given,
                        guidance=self.plan.guidance,
                    ).cpu()
        return iter(answers)

    def _step(self, number: int, top: int, bottom: int, answer: Tensor) -> Tensor:
        """The state after the answer, for a band of pixels: (C, bottom - top, width)."""
        plan, level = self.plan, self.level
        place = (top, 0, bottom - top, plan.canvas.width)
        stepper = Stepper(self.process, plan.sampler, plan.steps)
        if stepper.remembers and level:  # it looks back one step: show it that step again
            before: Any = plan.canvas.answer(level - 1)[:, top:bottom]
            said = torch.from_numpy(np.array(before, np.float32))
            stepper.step(level - 1, said[None], self._state(level - 1, *place)[None])
        generators = [generator_for("canvas step", plan.seed, level, number)]
        return stepper.step(level, answer[None], self._state(level, *place)[None], generators)[0]


def state_rows(plan: ScenePlan, top: int, bottom: int) -> NDArray[np.float32]:
    """Rows of the finished scene: network values and bits, float32 (C, bottom - top, width)."""
    return np.array(plan.canvas.state(plan.canvas.levels)[:, top:bottom], np.float32)
