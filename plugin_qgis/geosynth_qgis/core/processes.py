"""Processes and their groups, on POSIX systems and on Windows."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess  # starting geosynth is what the plugin is for; argument lists, no shell  # nosec B404
import sys
from pathlib import Path
from typing import Any

WINDOWS = os.name == "nt"


def start_options(detached: bool = False) -> dict[str, Any]:
    """Arguments of ``Popen`` that give a child a process group of its own, so that all of it can be stopped.

    Args:
        detached: the child is to outlive this program.
    """
    if not WINDOWS:
        return {"start_new_session": True}
    # Numbers, because the names exist on Windows only.
    new_group, no_window, break_away = 0x200, 0x08000000, 0x01000000
    return {"creationflags": new_group | no_window | (break_away if detached else 0)}


def terminate_group(pid: int) -> None:
    """Ask a group to stop. On Windows there is no such request for programs without a window: nothing happens."""
    if not WINDOWS:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGTERM)


def kill_group(pid: int) -> None:
    """Stop a group, its leader and all that it started, at once. A group that is gone is fine.

    On Windows the leader must still be there: its children are found through it.
    """
    if not WINDOWS:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        return
    tool = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "taskkill.exe"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(  # a fixed program and a number  # nosec B603
            [str(tool), "/T", "/F", "/PID", str(int(pid))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=10,
            creationflags=0x08000000,
        )


def identity(pid: int) -> str:
    """What tells a process from a later one with the same number: when it started. Empty when it is not there."""
    if WINDOWS:
        return _windows_identity(pid)
    if sys.platform.startswith("linux"):
        try:
            # The name in brackets may hold spaces; the 20th field after it is the start, in ticks since boot.
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else f"{fields[19]}@{boot()}"
    try:
        found = subprocess.run(  # a fixed program and a number  # nosec B603
            ["/bin/ps", "-o", "stat=,lstart=", "-p", str(int(pid))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
            env={"LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    state, _, began = found.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else began.strip()


def boot() -> str:
    """What tells this start of the system from another; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _windows_identity(pid: int) -> str:
    import ctypes
    from ctypes import wintypes

    kernel: Any = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = wintypes.HANDLE
    kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    kernel.GetExitCodeProcess.argtypes = (wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD))
    kernel.GetProcessTimes.argtypes = (wintypes.HANDLE, *[ctypes.POINTER(wintypes.FILETIME)] * 4)
    kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return ""
    try:
        code = wintypes.DWORD()
        times = [wintypes.FILETIME() for _ in range(4)]
        still_active = 259
        if not kernel.GetExitCodeProcess(handle, ctypes.byref(code)) or code.value != still_active:
            return ""
        if not kernel.GetProcessTimes(handle, *map(ctypes.byref, times)):
            return ""
        return str((times[0].dwHighDateTime << 32) | times[0].dwLowDateTime)
    finally:
        kernel.CloseHandle(handle)
