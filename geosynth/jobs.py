"""Many small idempotent tasks: here, or on a dask cluster.

A task takes paths and numbers, writes its files to disk and returns a small record; doing it twice gives the same
bytes. Open GDAL handles cannot cross processes, so tasks open what they read. Each worker computes with one thread:
several processes with several threads each fight over the cores.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any

from geosynth.errors import GeosynthError
from geosynth.events import Events

_DEATHS = 3
"""So often workers may die before it is no accident."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GDAL_NUM_THREADS")


def run_tasks[Task, Record](
    function: Callable[[Task], Record],
    tasks: Sequence[Task],
    events: Events,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    unit: str = "tasks",
) -> Iterator[Record]:
    """Run ``function`` on every task and yield the records as they come, in any order.

    Args:
        function: importable by name (it may run in another process or on another machine).
        tasks: picklable arguments.
        events: told the progress, asked whether to stop between tasks.
        workers: local processes; 1 runs in this process.
        scheduler: address of a dask scheduler, for example ``tcp://host:8786``; overrides ``workers``.
        unit: what a task is, for the progress.

    Raises:
        Cancelled: the user stopped it; started tasks are waited for or dropped, no process is left behind.
        GeosynthError: the first error of a task, or workers died three times. The tasks of a worker that died are
            done again.
    """
    source = _on_cluster if scheduler else _in_processes if workers > 1 and len(tasks) > 1 else _here
    events.progress(0, len(tasks), unit)
    events.check()
    for done, record in enumerate(source(function, tasks, events, workers, scheduler), start=1):
        events.progress(done, len(tasks), unit)
        yield record
        events.check()


def _here(function: Callable[[Any], Any], tasks: Sequence[Any], *_: Any) -> Iterator[Any]:
    yield from map(function, tasks)


def _in_processes(
    function: Callable[[Any], Any], tasks: Sequence[Any], events: Events, workers: int, _: Any
) -> Iterator[Any]:
    queue, deaths = deque(tasks), 0
    with _one_thread_each():
        while queue:
            pool = ProcessPoolExecutor(
                # spawn, everywhere: forked children would inherit this process's threads' locks and GDAL handles.
                min(workers, len(queue)),
                mp_context=get_context("spawn"),
                initializer=_become_worker,
            )
            running: dict[Future[Any], Any] = {}
            try:
                while queue or running:
                    while queue and len(running) < 2 * workers:
                        running[pool.submit(function, queue[0])] = queue[0]  # a broken pool refuses: it stays queued
                        queue.popleft()
                    finished, _ = wait_for(running, timeout=0.5, return_when=FIRST_COMPLETED)
                    if not finished:
                        events.check()
                    for future in finished:
                        result = future.result()
                        del running[future]
                        yield result
            except BrokenProcessPool:
                events.check()  # workers die of a Ctrl-C that was meant for the run
                deaths += 1
                if deaths == _DEATHS:
                    raise GeosynthError(
                        "worker processes die again and again (out of memory, or killed)",
                        remedy="run again with --resume, perhaps fewer --workers",
                    ) from None
                events.warn("a worker process died (out of memory, or killed); its tasks are done again")
                queue.extendleft(reversed(running.values()))
            finally:
                for process in list((pool._processes or {}).values()):
                    process.terminate()
                pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Within it, processes that are started compute with one thread each."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _become_worker() -> None:
    """Leave interrupts to the parent, and end when it ends: an orphan would hold memory and write into the folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


@dataclass(frozen=True)
class _Plainly:
    """A function whose errors of ours cross to another machine whole: dask drops one whose origin it cannot pickle."""

    function: Callable[[Any], Any]

    def __call__(self, task: Any) -> Any:
        failure: GeosynthError
        try:
            return self.function(task)
        except GeosynthError as error:
            failure = error
        failure.__cause__ = failure.__context__ = None
        raise failure


def _on_cluster(
    function: Callable[[Any], Any], tasks: Sequence[Any], events: Events, _: int, scheduler: str | None
) -> Iterator[Any]:
    try:
        from distributed import Client, KilledWorker, wait
    except ImportError:
        raise GeosynthError("dask is not installed", remedy="pip install 'geosynth-eo[cluster]'") from None
    try:
        client = Client(scheduler, timeout="10s")
    except OSError:
        raise GeosynthError(f"no dask scheduler answers at {scheduler}", remedy="check --scheduler") from None
    with client:
        futures = client.map(_Plainly(function), tasks, pure=False)
        try:
            pending = set(futures)
            while pending:
                try:
                    finished, pending = wait(list(pending), timeout=0.5, return_when="FIRST_COMPLETED")
                except TimeoutError:
                    events.check()
                    continue
                for future in finished:
                    yield future.result()
        except KilledWorker:
            raise GeosynthError(
                "workers of the cluster die again and again (out of memory, or killed)",
                remedy="see their logs, then run again with --resume",
            ) from None
        except CancelledError:
            raise GeosynthError(
                f"the dask scheduler at {scheduler} went away", remedy="run again with --resume"
            ) from None
        finally:
            client.cancel(futures)
