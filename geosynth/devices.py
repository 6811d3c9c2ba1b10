"""Where to compute, what that place is good at, and which one a run was begun on.

Device, threads and precision decide the last bits of a result, so they are kept with a run from its start.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from geosynth.errors import ModelError
from geosynth.events import Events
from geosynth.folders import STATE, OutputFolder, canonical_json, write_whole


def choose_device(name: str) -> str:
    """``auto`` to the accelerator there is, else the CPU; other names are checked.

    Raises:
        ModelError: this machine lacks the device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if available[device])
    if not available.get(name, False):
        raise ModelError(f"no device '{name}' here", remedy="give --device cpu or auto")
    return name


def has_fast_bfloat16(device: str) -> bool:
    """Whether bf16 autocast pays: on CUDA devices, and on CPUs with AVX-512 bf16 instructions."""
    if device == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported())
    return device == "cuda"


def check_devices(device: str, devices: int, batch: int) -> None:
    """Raise ModelError where ``devices`` processes cannot share batches of ``batch``, each on a device of its own.

    Processes on a CPU share its cores.
    """
    there = {"cpu": devices, "cuda": torch.cuda.device_count()}.get(device, 1)
    if devices > there:
        raise ModelError(
            f"{devices} devices are wanted, and there {'is' if there == 1 else 'are'} {there}",
            remedy=f"give --devices {there}, and --overwrite where a run was begun on more",
        )
    if devices > batch:
        raise ModelError(f"a batch of {batch} is too small for {devices} devices", remedy="give a larger --batch")


def decided_precision(asked: str, device: str) -> str:
    """``32`` or ``bf16`` as asked; ``auto`` is bf16 where the device is fast at it.

    Raises:
        ModelError: it is none of the three.
    """
    if asked not in ("auto", "32", "bf16"):
        raise ModelError(f"no precision '{asked}'", remedy="give auto, 32 or bf16")
    if asked != "auto":
        return asked
    return "bf16" if has_fast_bfloat16(device) else "32"


def autocast(device: str, precision: str) -> torch.autocast:
    """A context in which networks compute in bf16, their weights as they are; none of it for ``precision`` 32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Computes with ``number`` CPU threads inside, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_ONE_AT_A_TIME = Lock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes with one CPU thread inside: tasks whose bytes must not depend on how many run side by side.

    Tasks of one process (a dask worker may run several) take turns: the number of threads belongs to the process.
    """
    with _ONE_AT_A_TIME, cpu_threads(1):
        yield


def begun_machine(path: str | PathLike[str]) -> dict[str, Any] | None:
    """How the run that was begun in an output folder computes; None where none was begun."""
    file = _machine_file(Path(path) / STATE)
    if not file.is_file():
        return None
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return kept


def kept_machine(folder: OutputFolder, asked: Mapping[str, Any], events: Events) -> dict[str, Any]:
    """How this run computes: ``asked`` at its start, and from then on what was asked at its start.

    Raises:
        ModelError: it was begun on another device.
    """
    kept = begun_machine(folder.path)
    if kept is None:
        write_whole(_machine_file(folder.state), canonical_json(dict(asked)), folder.temporary)
        return dict(asked)
    if kept["device"] != asked["device"]:
        raise ModelError(
            f"was begun on {kept['device']}", where=folder.path, remedy=f"resume with --device {kept['device']}"
        )
    other = [f"{name} {value}" for name, value in kept.items() if asked[name] != value]
    if other:
        events.warn(f"going on with {', '.join(other)}, as the run was begun")
    return kept


def _machine_file(state: Path) -> Path:
    return state / "machine.json"
