"""How far a run is, and how long it will still take."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from .events import Event
from .words import tr

_STEP = re.compile(r"(\d+)/(\d+) ")
_SOONEST = 3.0
"""Seconds of a task before its remaining time is guessed."""


class ProgressTracker:
    """Follows the events of one run.

    A command of several steps names its tasks ``3/7 train``: the fraction is then that of all of them.
    The remaining time is that of the current task, from the rate since it was first seen: a resumed task starts in
    the middle, and what was done before says nothing about today's speed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._task: str | None = None
        self._unit = ""
        self._done = 0.0
        self._total: float | None = None
        self._first = (0.0, 0.0)  # when, and how far the task was then
        self._latest = 0.0
        self.metrics: dict[str, list[tuple[float, float]]] = {}

    def update(self, event: Event) -> None:
        """Take an event in; those that say nothing about progress are passed over."""
        if event.kind == "progress":
            self._progress(event)
        elif event.kind == "metric":
            self._metric(event)

    def _progress(self, event: Event) -> None:
        done = event.number("done") or 0.0
        unit = event.text("unit")
        now = self._clock()
        if event.task != self._task or unit != self._unit or done < self._done:
            self._first = (now, done)
        self._task, self._unit, self._done, self._total = event.task, unit, done, event.number("total")
        self._latest = now

    def _metric(self, event: Event) -> None:
        value = event.number("value")
        if value is None:
            return  # a loss that is not finite has no place on a curve
        series = self.metrics.setdefault(event.text("name"), [])
        step = event.number("step")
        series.append((float(len(series)) if step is None else step, value))

    @property
    def fraction(self) -> float | None:
        """Share of the run that is done, 0..1; None while that is not known."""
        if self._task is None or not self._total:
            return None
        share = min(1.0, max(0.0, self._done / self._total))
        step = _STEP.match(self._task)
        if step and 0 < int(step[1]) <= int(step[2]):
            return (int(step[1]) - 1 + share) / int(step[2])
        return share

    @property
    def seconds_left(self) -> float | None:
        """Of the current task; None while that cannot be said."""
        began, start = self._first
        spent, made = self._latest - began, self._done - start
        if not self._total or made <= 0 or spent < _SOONEST:
            return None
        since = self._clock() - self._latest
        return max(0.0, (self._total - self._done) * spent / made - since)

    def line(self) -> str:
        """``train: 120 of 4000 steps, about 12 min left``; empty before the first progress."""
        if self._task is None:
            return ""
        numbers = {"task": self._task or tr("working"), "done": f"{self._done:g}", "unit": self._unit}
        if self._total is None:
            text = tr("{task}: {done} {unit}").format(**numbers)
        else:
            text = tr("{task}: {done} of {total} {unit}").format(total=f"{self._total:g}", **numbers)
        left = self.seconds_left
        if left is None or self._done == self._total:
            return text
        return tr("{progress}, about {duration} left").format(progress=text, duration=duration(left))


def duration(seconds: float) -> str:
    """For people: ``20 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return tr("{seconds} s").format(seconds=max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 90:
        return tr("{minutes} min").format(minutes=minutes)
    return tr("{hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)
