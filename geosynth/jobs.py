"""Many small idempotent tasks: here, or on a dask cluster.

A task takes paths and numbers, writes its files to disk and returns a small record; doing it twice gives the same
bytes. Open GDAL handles cannot cross processes, so tasks open what they read. Each worker computes with one thread:
several processes with several threads each fight over the cores.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any

from geosynth.errors import GeosynthError
from geosynth.events import Events

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
        GeosynthError: the first error of a task, or a worker died.
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
    # spawn, everywhere: forked children would inherit this process's threads' locks and GDAL handles.
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    pool = ProcessPoolExecutor(min(workers, len(tasks)), mp_context=get_context("spawn"), initializer=_become_worker)
    try:
        queue = iter(tasks)
        running: set[Future[Any]] = {pool.submit(function, task) for task in islice(queue, 2 * workers)}
        while running:
            finished, running = wait_for(running, timeout=0.5, return_when=FIRST_COMPLETED)
            if not finished:
                events.check()
            for future in finished:
                result = future.result()
                running |= {pool.submit(function, task) for task in islice(queue, 1)}
                yield result
    except BrokenProcessPool:
        events.check()  # workers die of a Ctrl-C that was meant for the run
        raise GeosynthError(
            "a worker process died (out of memory, or killed)",
            remedy="run again with --resume, perhaps fewer --workers",
        ) from None
    finally:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
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


def _on_cluster(
    function: Callable[[Any], Any], tasks: Sequence[Any], events: Events, _: int, scheduler: str | None
) -> Iterator[Any]:
    try:
        from distributed import Client, wait
    except ImportError:
        raise GeosynthError("dask is not installed", remedy="pip install 'geosynth-eo[cluster]'") from None
    try:
        client = Client(scheduler, timeout="10s")
    except OSError:
        raise GeosynthError(f"no dask scheduler answers at {scheduler}", remedy="check --scheduler") from None
    with client:
        futures = client.map(function, tasks, pure=False)
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
        finally:
            client.cancel(futures)
