"""Doing the runs of an experiment: in the order of their priority, within a budget, here or elsewhere, resumable."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import current_process
from typing import Any

from geosynth.evaluation.arms import headline_arm, reference_arm
from geosynth.evaluation.experiment import ExperimentPlan, Job, RunResult, Trial
from geosynth.evaluation.planning import Run, Schedule, by_priority, fit, in_words
from geosynth.events import Events
from geosynth.folders import OutputFolder, canonical_json, write_whole
from geosynth.jobs import run_tasks

RunJob = Callable[[Job, Events], Trial]
"""Trains and tests one run; what ``workers`` or a cluster shall do must be picklable."""

SCHEDULE = "schedule.json"
"""In the state folder: which runs fitted into the budget, and the seconds that was judged by."""

_WORTH_TELLING = 60.0
"""Seconds that must be left before a line says how many there are."""


@dataclass(frozen=True)
class Machines:
    """Where runs are done: in this process, in ``workers`` processes, or on a dask cluster; and on how many GPUs.

    ``workers`` says how many are done at the same time, by which a budget is planned: on a cluster, too.
    """

    workers: int = 1
    scheduler: str | None = None
    gpus: int = 0


def run_experiment(
    jobs: Mapping[Run, Job],
    plan: ExperimentPlan,
    run: RunJob,
    out: OutputFolder,
    events: Events,
    *,
    budget: float | None = None,
    machines: Machines | None = None,
    keep: bool = False,
) -> tuple[list[RunResult], Schedule]:
    """Train and test what is planned; runs that are in the journal are not run again.

    Args:
        jobs: every run, see ``experiment.jobs``.
        plan: what they belong to.
        run: trains and tests one of them.
        out: claimed by the caller; the runs write under ``runs/``. What the first run of each arm wrote is left there
            for the report: the caller removes it.
        events: told the progress and each score, asked between runs whether to stop.
        budget: seconds for all runs. The first run of each arm is timed, the others are planned by that; a resumed
            experiment keeps its plan.
        machines: where to do them.
        keep: leave what the runs wrote.

    Returns:
        Results in the order of arms, then rows; what was run and what was left out.

    Raises:
        Cancelled: stopped by the user; finished runs are kept.
    """
    work = _Work(jobs, run, out, events, machines or Machines(), keep)
    reference, headline = (
        None if arm is None else arm.name for arm in (reference_arm(plan.arms), headline_arm(plan.arms))
    )
    rows: dict[str, list[int]] = {}
    for name, number in jobs:
        rows.setdefault(name, []).append(number)
    blocks = by_priority(rows, reference, headline)
    for known in work.results:
        work.tell(known)
    schedule = kept_schedule(out)
    if schedule is None and (budget is None or not blocks):
        schedule = fit(blocks, work.seconds_of, math.inf, {})
    if schedule is None:
        assert budget is not None
        schedule = _planned(work, blocks, budget * work.machines.workers, events)
        _keep_schedule(out, schedule, work.seconds)
        tell_left_out(schedule, jobs, budget, events)
    work.do(schedule.runs, schedule.runs)
    work.clean(())
    return [work.results[run] for run in jobs if run in work.results], schedule


def _planned(work: _Work, blocks: Sequence[Sequence[Run]], budget: float, events: Events) -> Schedule:
    """Time the first run of every arm that is likely to be done, and plan the others by that."""
    events.log("timing the first run of each arm, to plan the others")
    work.do(blocks[0], work.jobs)
    likely = fit(blocks, work.seconds_of, budget, work.took()).runs
    firsts = {name: (name, number) for name, number in reversed(likely)}
    work.do([run for run in likely if run in firsts.values()], work.jobs)
    return fit(blocks, work.seconds_of, budget, work.took())


def tell_left_out(schedule: Schedule, jobs: Iterable[Run], budget: float, events: Events) -> None:
    """Say what a budget leaves out, by arm."""
    for name in dict.fromkeys(arm for arm, _ in jobs):
        gone = [number for arm, number in schedule.left_out if arm == name]
        if gone:
            total = len(gone) + sum(arm == name for arm, _ in schedule.runs)
            events.log(f"left out, not within {in_words(budget)}: {len(gone)} of {total} runs of '{name}'")


class _Work:
    """Runs that are done and to be done, and how long they take."""

    def __init__(
        self, jobs: Mapping[Run, Job], run: RunJob, out: OutputFolder, events: Events, machines: Machines, keep: bool
    ) -> None:
        self.jobs, self.run, self.out, self.events = jobs, run, out, events
        self.machines, self.keep = machines, keep
        records = out.records()
        self.results = {key: RunResult.from_json(records[job.name]) for key, job in jobs.items() if job.name in records}
        self.seconds = _kept_seconds(out)
        self._began, self._count = time.monotonic(), 0

    def seconds_of(self, arm: str) -> float:
        """What a run of an arm takes: the mean of its own, else the longest there was."""
        names = [job.name for (name, _), job in self.jobs.items() if name == arm]
        own = [self.seconds[name] for name in names if name in self.seconds]
        return sum(own) / len(own) if own else max(self.seconds.values(), default=0.0)

    def took(self) -> dict[Run, float]:
        """What every finished run took."""
        return {run: self.seconds.get(self.jobs[run].name, 0.0) for run in self.results}

    def do(self, runs: Sequence[Run], planned: Iterable[Run]) -> None:
        """Do ``runs``; ``planned`` are all that will be done, now or later."""
        planned = list(planned)
        todo = [run for run in runs if run not in self.results]
        teachers = {self.jobs[run].teacher for run in todo} - {None}
        taught_by = [run for run in runs if self.jobs[run].folder in teachers]
        lost = [run for run in taught_by if run in self.results and not self.jobs[run].folder.is_dir()]
        self._progress(planned)
        alone = [*lost, *(run for run in todo if self.jobs[run].teacher is None)]
        taught = [run for run in todo if self.jobs[run].teacher is not None]
        for wave in (alone, taught):  # a teacher comes before those it teaches
            for job, trial in self._each([self.jobs[run] for run in wave]):
                run = (job.arm.name, job.seeds.number)
                self.results[run] = RunResult.of(job.arm.name, job.seeds, trial)
                self.out.record(job.name, asdict(self.results[run]))
                self.tell(run)
                self.clean(planned)
                self._progress(planned)
                self.events.check()

    def clean(self, planned: Iterable[Run]) -> None:
        """Remove what finished runs wrote, unless one that is planned still needs it, or the report will show it."""
        if self.keep:
            return
        needed = {self.jobs[run].teacher for run in planned if run not in self.results}
        firsts = {run[0]: run for run in reversed(list(self.jobs))}
        needed |= {self.jobs[run].folder for run in firsts.values()}
        for run in self.results:
            folder = self.jobs[run].folder
            if folder not in needed:
                shutil.rmtree(folder, ignore_errors=True)

    def _each(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Trial]]:
        for job in jobs:
            job.folder.parent.mkdir(exist_ok=True)
        if self.machines.workers == 1 and self.machines.scheduler is None:
            for job in jobs:
                self.events.check()
                began = time.monotonic()
                try:
                    with self.events.task(job.name):
                        trial = self.run(job, self.events)
                finally:  # an interrupted run goes on later; its time counts
                    self._spent(job, time.monotonic() - began)
                yield job, trial
        elif jobs:
            for number, trial, seconds in run_tasks(
                _Elsewhere(self.run, self.machines.gpus),
                list(enumerate(jobs)),
                _NoProgress(self.events),
                workers=self.machines.workers,
                scheduler=self.machines.scheduler,
            ):
                self._spent(jobs[number], seconds)
                yield jobs[number], trial

    def _spent(self, job: Job, seconds: float) -> None:
        self.seconds[job.name] = self.seconds.get(job.name, 0.0) + seconds
        self._count += 1
        write_whole(self.out.state / "log" / "seconds.json", canonical_json(self.seconds), self.out.temporary)

    def tell(self, run: Run) -> None:
        """Say how well a run did."""
        self.events.metric(f"mean_iou {run[0]}", self.results[run].mean_iou, run[1])

    def _progress(self, planned: Sequence[Run]) -> None:
        done = sum(run in self.results for run in planned)
        self.events.progress(done, len(planned), "runs")
        if self._count and done < len(planned):
            left = (time.monotonic() - self._began) / self._count * (len(planned) - done)
            if left > _WORTH_TELLING:
                self.events.log(f"{done} of {len(planned)} runs done, about {in_words(left)} left")


@dataclass(frozen=True)
class _Elsewhere:
    """Does a run in another process: gives its number, what came of it, and the seconds it took."""

    run: RunJob
    gpus: int

    def __call__(self, task: tuple[int, Job]) -> tuple[int, Trial, float]:
        number, job = task
        if self.gpus > 1:
            _take_gpu(self.gpus)
        began = time.monotonic()
        trial = self.run(job, Events())
        return number, trial, time.monotonic() - began


def _take_gpu(count: int) -> None:
    """Let this worker process see one GPU, the next one's another: before torch looks for them."""
    identity: tuple[int, ...] = current_process()._identity
    if identity and "GEOSYNTH_GPU" not in os.environ:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        devices = seen.split(",") if seen else [str(number) for number in range(count)]
        os.environ["GEOSYNTH_GPU"] = os.environ["CUDA_VISIBLE_DEVICES"] = devices[(identity[-1] - 1) % len(devices)]


class _NoProgress(Events):
    """Passes on everything but the progress, which would count a part of the runs only."""

    def __init__(self, outer: Events) -> None:
        super().__init__()
        self.outer = outer

    def check(self) -> None:
        self.outer.check()

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """The outer one is told by whoever knows all runs."""

    def log(self, message: str, level: str = "info") -> None:
        self.outer.log(message, level)


def _kept_seconds(out: OutputFolder) -> dict[str, float]:
    path = out.state / "log" / "seconds.json"
    seconds: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return seconds


def kept_schedule(out: OutputFolder) -> Schedule | None:
    """What was planned to fit into the budget of an experiment; None without a budget, or before it is planned."""
    path = out.state / SCHEDULE
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Schedule(*(tuple((name, number) for name, number in content[part]) for part in ("runs", "left_out")))


def _keep_schedule(out: OutputFolder, schedule: Schedule, seconds: Mapping[str, float]) -> None:
    content = {**asdict(schedule), "seconds": dict(seconds)}
    write_whole(out.state / SCHEDULE, canonical_json(content), out.temporary)
