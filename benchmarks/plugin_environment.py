"""Does the plugin's "Create an environment …" work for real, when it is killed and cancelled in the middle, too?

    python benchmarks/plugin_environment.py FOLDER

Makes an environment from this checkout in FOLDER (several gigabytes; it stays), in three goes: the first is ended
with SIGKILL, as in a crash of QGIS, the second is cancelled, the third goes on to the end. Both ends come while the
installer puts files down. Of the installer no process may be left 2 s later. Imports of the plugin only its core,
which knows no Qt. Linux: it looks for processes in /proc. Needs the network.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "plugin_qgis"))

from geosynth_qgis.core.creation import CreationPlan, create, plan_environment  # noqa: E402
from geosynth_qgis.core.interpreters import find_interpreters, probe  # noqa: E402

PUTS_FILES_DOWN = "Installing collected packages"
"""What pip says after the downloads."""
WITHIN = 2.0
"""Seconds after which no process may be left."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new or empty")
    parser.add_argument("--python", help="makes the environment; else the newest that the plugin finds")
    parser.add_argument("--accelerator", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--after", type=float, default=10, help="seconds of putting files down before either end")
    parser.add_argument("--first-go", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    python = probe(arguments.python, "given") if arguments.python else next(iter(find_interpreters()), None)
    if python is None:
        parser.error("no Python that could be started")
    plan = plan_environment(arguments.folder, python, accelerator=arguments.accelerator, source=str(ROOT))
    if arguments.first_go:
        create(plan, on_line=lambda line: print(line, flush=True))
        return
    print(plan.text(), flush=True)
    began = time.monotonic()
    killed(plan, arguments.after)
    cancelled(plan, arguments.after)
    resumed = time.monotonic()
    outcome = create(plan)
    now = time.monotonic()
    print(f"{outcome.state}: {gigabytes(plan.folder):.1f} GB, {now - resumed:.0f} s, all three {now - began:.0f} s")
    print(outcome.message)
    raise SystemExit(outcome.state != "done")


def killed(plan: CreationPlan, after: float) -> None:
    """The first go, in a process that is killed."""
    began = time.monotonic()
    with subprocess.Popen([sys.executable, *sys.argv, "--first-go"], stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or not any(line.startswith(PUTS_FILES_DOWN) for line in process.stdout):
            raise SystemExit("killed: it ended before it put files down")
        time.sleep(after)
        there, wished = working(plan), time.monotonic()
        process.kill()
        told("killed", plan, there, wished, wished - began)


def cancelled(plan: CreationPlan, after: float) -> None:
    """The second go, cancelled as by the button."""
    began = time.monotonic()
    due = wished = float("inf")
    there: list[int] = []

    def listen(line: str) -> None:
        nonlocal due
        if line.startswith(PUTS_FILES_DOWN):
            due = time.monotonic() + after

    def ends() -> bool:
        nonlocal there, wished
        if not there and time.monotonic() > due:
            there, wished = working(plan), time.monotonic()
        return bool(there)

    outcome = create(plan, on_line=listen, is_cancelled=ends)
    if outcome.state != "cancelled":
        raise SystemExit(f"it is to be cancelled, and is {outcome.state}: {outcome.message}")
    told("cancelled", plan, there, wished, wished - began)


def told(what: str, plan: CreationPlan, there: list[int], wished: float, after: float) -> None:
    """Print how an end went.

    Raises:
        SystemExit: there was nothing to end, or something is left.
    """
    while (left := working(plan)) and time.monotonic() - wished < WITHIN:
        time.sleep(0.01)
    gone = time.monotonic() - wished
    print(
        f"{what} after {after:.0f} s: {gigabytes(plan.folder):.1f} GB there; processes of the installer before"
        f" {len(there)}, {gone:.2f} s later {len(left)}",
        flush=True,
    )
    if left or not there:
        raise SystemExit(f"{what}: {there} before, {left} left")


def working(plan: CreationPlan) -> list[int]:
    """Processes of the installer: they have the temporary folder below the new environment."""
    mark = f"TMPDIR={plan.folder}{os.sep}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if any(variable.startswith(mark) for variable in entry.read_bytes().split(b"\0")):
                found.append(int(entry.parent.name))
        except OSError:
            continue  # it is gone, or somebody else's
    return found


def gigabytes(folder: Path) -> float:
    """What a folder takes up on the disk."""
    entries = (os.lstat(Path(where) / name) for where, _, names in os.walk(folder) for name in names)
    return sum(entry.st_blocks for entry in entries) * 512 / 1e9


if __name__ == "__main__":
    main()
