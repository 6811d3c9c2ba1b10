"""Several processes that train one network: how they are started, find each other, and end together.

Process 0 is the one that was started by the user: it alone speaks, writes and hears signals. The others compute their
part of every batch; they end with it, however it ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from geosynth.errors import ModelError
from geosynth.events import Events

_SECONDS_TO_END = 20.0
"""How long the others may take to end when the body has."""


@dataclass(frozen=True)
class Rank:
    """Process ``number`` of ``count`` on this machine; they meet at ``port``."""

    number: int = 0
    count: int = 1
    port: int = 0


Prepare = Callable[..., Callable[[], None]]
"""Called with a ``Rank`` and more, in a process of its own; returns what to do once all are ready."""


_LAUNCHERS = {
    "torchrun": ("WORLD_SIZE", "TORCHELASTIC_RUN_ID"),
    "srun": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    "mpirun": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
}
"""What starts a program several times, how often it says it did, and what else it sets: a WORLD_SIZE alone may be left
over from something else. SLURM's batch script itself is no task of srun."""


def check_started_once() -> None:
    """Raise ModelError in one of several processes that a launcher started: each would train on its own."""
    for launcher, (size, mark) in _LAUNCHERS.items():
        times = os.environ.get(size, "")
        if mark in os.environ and times.isdecimal() and int(times) > 1:
            raise ModelError(
                f"{launcher} started this command {times} times",
                remedy="start it once: it starts the processes of --devices N itself, all on one machine",
            )


@contextmanager
def together(count: int, prepare: Prepare, arguments: tuple[Any, ...], events: Events) -> Iterator[Rank]:
    """Start processes 1 to ``count - 1``; the body is process 0, and is entered when all are ready.

    Args:
        count: processes in all; with 1 nothing is started.
        prepare: a function of a module, called as ``prepare(rank, *arguments)`` in each process.
        arguments: pickled.
        events: asked whether to stop while the others get ready, and when one fails: what stops this process may have
            ended that one.

    Raises:
        ModelError: another process failed.
        Cancelled: stopped.
    """
    if count == 1:
        yield Rank()
        return
    context = multiprocessing.get_context("spawn")
    me = Rank(0, count, _free_port())
    processes, ears = [], []
    try:
        for number in range(1, count):
            ear, mouth = context.Pipe(duplex=False)
            # No daemon: those may have no processes of their own, and batches may be made by some.
            process = context.Process(target=_beside, args=(prepare, replace(me, number=number), mouth, arguments))
            process.start()
            mouth.close()  # so that the ear hears when the process is gone
            processes.append(process)
            ears.append(ear)
        for ear in ears:
            while not ear.poll(0.2):
                events.check()
            _listen(ear, events)
        try:
            yield me
        except RuntimeError:  # what torch says when another process goes away
            events.check()
            for ear in ears:
                if ear.poll(2):
                    _listen(ear, events)
            raise
        for process in processes:
            process.join(_SECONDS_TO_END)
    finally:
        for process in processes:
            process.kill()
            process.join()
        _part()


def _listen(ear: Connection, events: Events) -> None:
    """Nothing when the process is ready; raises ModelError with what it says when it failed, or Cancelled."""
    try:
        said = ear.recv()
    except EOFError:
        said = "it was killed"
    if said is not None:
        events.check()
        raise ModelError(f"a process that trains with this one failed: {said}", remedy="run again with --resume")


def _beside(prepare: Prepare, rank: Rank, mouth: Connection, arguments: tuple[Any, ...]) -> None:
    """What process ``rank`` does."""
    leave_signals()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work = prepare(rank, *arguments)
        mouth.send(None)
        work()
    except Exception as error:
        mouth.send(str(error) or type(error).__name__)
        raise SystemExit(1) from None
    finally:
        _part()


def leave_signals() -> None:
    """Leave Ctrl-C and SIGTERM, which may be meant for all processes of a run, to the one the user started."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _part() -> None:
    """Leave the group, so that this process can be in another one later."""
    dist = sys.modules.get("torch.distributed")
    if dist is not None and dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
