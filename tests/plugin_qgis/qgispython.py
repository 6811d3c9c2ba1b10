"""A Python that has QGIS's bindings and pytest: tests of the plugin run in it, not in that of the toolkit."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SYSTEM = Path("/usr/bin/python3")
PACKAGES = ("pytest", "pytest-qt", "pytest-qgis", "PyQt6")


@functools.cache
def has_bindings() -> bool:
    if not SYSTEM.exists():
        return False
    return subprocess.run([SYSTEM, "-c", "import qgis.core"], capture_output=True, check=False).returncode == 0


def make_qgis_python(folder: Path) -> Path:
    """A virtual environment that sees the system's QGIS; its interpreter.

    Raises:
        subprocess.CalledProcessError: it cannot be made.
    """
    subprocess.run([SYSTEM, "-m", "venv", "--system-site-packages", folder], check=True, capture_output=True)
    python = folder / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    subprocess.run(command, check=True, capture_output=True)
    return python


@functools.cache
def shared_qgis_python() -> Path:
    """One such environment for all tests of this process; removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="geosynth-qgis-python-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_qgis_python(folder / "venv")


def offscreen(home: Path) -> dict[str, str]:
    """Environment variables for QGIS without a screen: none of this Python's, which would lead PROJ and Qt astray."""
    runtime = Path(tempfile.mkdtemp(prefix="runtime-", dir=home))
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(runtime),
        "QT_QPA_PLATFORM": "offscreen",
    }
