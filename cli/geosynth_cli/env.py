"""geosynth env"""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

import click

from geosynth import __version__
from geosynth.events import PROTOCOL, Events
from geosynth_cli.session import session

PACKAGES = (
    "torch", "torchvision", "torchgeo", "lightning", "diffusers", "segmentation-models-pytorch", "torchmetrics",
    "rasterio", "shapely", "geopandas", "pyogrio", "pyproj", "numpy", "click", "rich",
)  # fmt: skip
OPTIONAL = {"distributed": "cluster", "transformers": "stable-diffusion", "peft": "stable-diffusion"}


@click.command("env", epilog="Example: geosynth env --json")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, for programs.")
@session
def command(events: Events, as_json: bool) -> str:
    """Show versions, device, memory, the event protocol and what is missing."""
    facts = environment()
    if as_json:
        return json.dumps(facts, indent=1)
    lines = [f"geosynth {facts['geosynth']} (event protocol {facts['protocol']})"]
    lines += [f"python {facts['python']} at {facts['executable']}, {facts['platform']}"]
    lines += [f"device: {facts['device']}; {facts['cores']} cores; memory {facts['memory_gb'] or '?'} GB"]
    lines += [f"{name} {number}" for name, number in facts["packages"].items() if number]
    lines += [f"missing: {entry}" for entry in facts["missing"]] or ["nothing is missing"]
    return "\n".join(lines)


def environment() -> dict[str, Any]:
    """The facts ``geosynth env`` shows, as JSON values."""
    packages = {name: _version(name) for name in (*PACKAGES, *OPTIONAL)}
    missing = [name for name in PACKAGES if packages[name] is None]
    missing += [
        f"{name} (optional: pip install 'geosynth-eo[{extra}]')"
        for name, extra in OPTIONAL.items()
        if packages[name] is None
    ]
    return {
        "geosynth": __version__,
        "protocol": PROTOCOL,
        "python": platform.python_version(),
        "executable": sys.executable,
        "base": str(files("geosynth") / "base"),  # a program that shows its classes need not start geosynth again
        "platform": platform.platform(),
        "device": _device() if packages["torch"] else "none (no torch)",
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "packages": packages,
        "missing": missing,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()}"
    return "cpu"


def _memory_gb() -> float | None:
    """Physical memory; None where the system does not say (Windows without psutil)."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None
