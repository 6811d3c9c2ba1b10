"""Several processes that train one network: how they are started, find each other, and end together.

Process 0 is the one that was started by the user: it alone speaks and writes. The others compute their part of every
batch; they end with it, however it ends.
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


@contextmanager
def together(count: int, prepare: Prepare, arguments: tuple[Any, ...], events: Events) -> Iterator[Rank]:
    """Start processes 1 to ``count - 1``; the body is process 0, and is entered when all are ready.

    Args:
        count: processes in all; with 1 nothing is started.
        prepare: a function of a module, called as ``prepare(rank, *arguments)`` in each process.
        arguments: pickled.
        events: asked, while the others get ready, whether to stop.

    Raises:
        ModelError: another process failed.
        Cancelled: stopped while they got ready.
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
            _listen(ear)
        try:
            yield me
        except RuntimeError as error:  # what torch says when another process goes away
            for ear in ears:
                if ear.poll(2):
                    _listen(ear)
            raise error
        for process in processes:
            process.join(_SECONDS_TO_END)
    finally:
        for process in processes:
            process.kill()
            process.join()
        _part()


def _listen(ear: Connection) -> None:
    """Nothing when the process is ready; raises ModelError with what it says when it failed."""
    try:
        said = ear.recv()
    except EOFError:
        said = "it was killed"
    if said is not None:
        raise ModelError(f"a process that trains with this one failed: {said}", remedy="run again with --resume")


def _beside(prepare: Prepare, rank: Rank, mouth: Connection, arguments: tuple[Any, ...]) -> None:
    """What process ``rank`` does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; number 0 answers it
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
