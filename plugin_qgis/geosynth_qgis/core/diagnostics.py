"""Text to paste into a report of a problem."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence

from .environment import Handshake
from .events import PROTOCOL
from .runner import Outcome

_CREDENTIALS = re.compile(r"(\w+://)[^/@\s]+@")


def diagnostics(
    answer: Handshake | None,
    python: str,
    versions: Mapping[str, str],
    last: Outcome | None = None,
    argv: Sequence[str] = (),
    problem: str = "",
) -> str:
    """What helps to find out why something does not work; no credentials, and no home folder by name.

    Args:
        answer: of the last handshake.
        python: the chosen interpreter.
        versions: of QGIS, Qt, the plugin …
        last: how the last run ended.
        argv: what it was.
        problem: what the last handshake complained about.
    """
    lines = ["geosynth plugin: diagnostics", *(f"{name}: {number}" for name, number in versions.items())]
    lines += [f"system: {platform.platform()}", f"protocol of the plugin: {PROTOCOL}", f"interpreter: {python or '-'}"]
    if problem:
        lines.append(f"handshake: {problem}")
    if answer is not None:
        lines += answer.summary()
        lines += [f"{name} {number}" for name, number in sorted(answer.packages.items())]
    if argv:
        lines.append("command: " + " ".join(argv))
    if last is not None:
        lines += [f"last run: {last.state}, exit code {last.code}", last.message, *last.tail]
    return masked("\n".join(lines))


def masked(text: str) -> str:
    """Without user names and passwords in addresses, and with ~ for the home folder."""
    home = os.path.expanduser("~")
    text = _CREDENTIALS.sub(r"\1***@", text)
    return text.replace(home, "~") if len(home) > 3 else text
