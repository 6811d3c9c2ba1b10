"""The loop that runs a child: it reads what comes, and leaves no process behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from geosynth_qgis.core.processes import identity
from geosynth_qgis.core.runner import Outcome, run

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups of POSIX systems")

SAY = """
import json
def say(said, **fields):
    print(json.dumps({'v': 1, 'seq': 1, 'task': '', 'event': said, **fields}), flush=True)
"""
PLUGIN = Path(__file__).parents[2] / "plugin_qgis"


def child(tmp_path: Path, code: str, name: str = "child.py") -> list[str]:
    path = tmp_path / name
    path.write_text(SAY + textwrap.dedent(code), encoding="utf-8")
    return [sys.executable, "-u", str(path)]


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether a process ends (one that nobody has reaped yet has ended)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not identity(pid):
            return True
        time.sleep(0.02)
    return False


def number_in(path: Path, seconds: float = 10.0) -> int:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.02)
    raise AssertionError(f"{path} was not written")


def test_events_lines_and_artifacts_of_a_good_run(tmp_path: Path) -> None:
    events, lines = [], []
    argv = child(
        tmp_path,
        """
        import sys
        say("hello", command="x"); print("chatter"); print("trouble", file=sys.stderr, flush=True)
        say("artifact", path="/a", kind="tileset"); say("done", message="3 tiles")
        """,
    )
    outcome = run(argv, on_event=lambda event: events.append(event.kind), on_line=lines.append)
    assert (outcome.state, outcome.message, outcome.code) == ("done", "3 tiles", 0)
    assert events == ["hello", "artifact", "done"] and sorted(lines) == ["chatter", "trouble"]
    assert [(entry.path, entry.kind) for entry in outcome.artifacts] == [("/a", "tileset")]


def test_a_failure_is_told_in_the_run_s_own_words(tmp_path: Path) -> None:
    argv = child(
        tmp_path, "say('error', message='is empty', where='a.tif', remedy='choose another'); raise SystemExit(1)"
    )
    outcome = run(argv)
    assert (outcome.state, outcome.message) == ("failed", "a.tif: is empty — choose another")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; sys.exit('Error: No such option: --x')", "No such option: --x"),
        ("import os; os.kill(os.getpid(), 9)", "stopped by signal 9"),
        ("raise SystemExit(3)", "exit code 3"),
        ("import geosynth_cli_missing", "geosynth_cli_missing"),
        ("import sys; sys.exit('/x/python: No module named geosynth_cli')", "no geosynth in this environment"),
    ],
)
def test_other_failures_say_what_is_known(tmp_path: Path, code: str, words: str) -> None:
    outcome = run(child(tmp_path, code))
    assert outcome.state == "failed" and words in outcome.message


@pytest.mark.parametrize("program", ["/nowhere/python", "/", ""])
def test_what_cannot_be_started_is_an_outcome(program: str) -> None:
    outcome = run([program, "-c", ""])
    assert outcome.state == "failed" and "cannot be started" in outcome.message


def test_another_protocol_is_stopped_at_once_with_words(tmp_path: Path) -> None:
    argv = child(tmp_path, "import time; print(json.dumps({'v': 2, 'event': 'hello'}), flush=True); time.sleep(60)")
    start = time.monotonic()
    outcome = run(argv)
    assert time.monotonic() - start < 5
    assert outcome.state == "failed" and "version 2" in outcome.message and "update the plugin" in outcome.message


def test_a_flood_of_garbage_is_survived_and_can_be_cancelled(tmp_path: Path) -> None:
    argv = child(
        tmp_path,
        """
        import os, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True: os.write(1, b"\\xff\\x00garbage" * 4096)
        """,
    )
    start = time.monotonic()
    outcome = run(argv, is_cancelled=lambda: time.monotonic() - start > 0.5)
    assert outcome.state == "cancelled" and time.monotonic() - start < 3.5


def test_a_good_run_is_not_lost_in_chatter(tmp_path: Path) -> None:
    seen = []
    argv = child(
        tmp_path,
        """
        for i in range(5000): print('x' * 100)
        for i in range(5000): say('log', message=str(i))
        say('done', message='m')
        """,
    )
    outcome = run(argv, on_event=seen.append)
    assert outcome.message == "m" and len(seen) == 5001


STUBBORN = """
    import os, signal, subprocess, sys, time
    worker = ("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
              "print('held', flush=True); time.sleep(300)")
    held = subprocess.Popen([sys.executable, "-c", worker])
    open(sys.argv[1], "w").write(str(held.pid))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("hello", command="x")
    time.sleep({seconds})
"""


def test_cancel_ends_the_whole_group_within_two_seconds(tmp_path: Path) -> None:
    """Neither the child nor its worker listens to anything."""
    pid_file = tmp_path / "pid"
    argv = [*child(tmp_path, STUBBORN.format(seconds=300)), str(pid_file)]
    asked: list[float] = []

    def is_cancelled() -> bool:
        if pid_file.exists() and not asked:
            asked.append(time.monotonic())
        return bool(asked)

    outcome = run(argv, is_cancelled=is_cancelled)
    assert time.monotonic() - asked[0] < 2.0
    assert outcome.state == "cancelled"
    assert gone(number_in(pid_file), 0.5)


def test_a_worker_that_is_left_over_does_not_outlive_its_leader(tmp_path: Path) -> None:
    """It holds the pipes, so their end never comes; the end of the leader is what counts."""
    pid_file = tmp_path / "pid"
    start = time.monotonic()
    outcome = run([*child(tmp_path, STUBBORN.format(seconds=0.2)), str(pid_file)])
    assert outcome.state == "done" and time.monotonic() - start < 10
    assert gone(number_in(pid_file), 0.5)


def test_a_child_that_listens_keeps_its_own_last_words(tmp_path: Path) -> None:
    argv = child(
        tmp_path,
        """
        import sys
        say("hello", command="x"); sys.stdin.read()
        say("cancelled", message="cancelled (the parent process went away) — run with --resume"); sys.exit(130)
        """,
    )
    start = time.monotonic()
    outcome = run(argv, is_cancelled=lambda: time.monotonic() - start > 0.3)
    assert outcome == Outcome(
        "cancelled", "cancelled (the parent process went away) — run with --resume", 130, None, (), ()
    )


def test_a_reader_that_fails_leaves_no_process(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def fail(_: object) -> None:
        raise KeyError("a bug in the panel")

    with pytest.raises(KeyError):
        run([*child(tmp_path, STUBBORN.format(seconds=300)), str(pid_file)], on_event=fail)
    assert gone(number_in(pid_file), 1.0)


def test_a_crash_of_qgis_stops_an_attached_child(tmp_path: Path) -> None:
    """The real session of the program: it stops at its next check when standard input closes."""
    pid_file = tmp_path / "pid"
    working = tmp_path / "working.py"
    working.write_text(
        textwrap.dedent(
            f"""
            import os, sys, time
            import click
            from geosynth_cli.session import session

            @click.command()
            @session
            def work(events):
                open({str(pid_file)!r}, "w").write(str(os.getpid()))
                while True:
                    events.check(); events.progress(1, None, "steps"); time.sleep(0.05)
            work()
            """
        ),
        encoding="utf-8",
    )
    argv = [sys.executable, str(working), "--progress", "jsonl", "--watch-stdin"]
    parent = (
        f"import sys; sys.path.insert(0, {str(PLUGIN)!r}); from geosynth_qgis.core.runner import run; run({argv!r})"
    )
    qgis = subprocess.Popen([sys.executable, "-c", parent])
    try:
        worker = number_in(pid_file, 20)
        assert identity(worker)
    finally:
        qgis.send_signal(signal.SIGKILL)
        qgis.wait()
    assert gone(worker, 5)


def test_an_identity_is_of_one_process_only() -> None:
    mine = identity(os.getpid())
    assert mine and mine == identity(os.getpid())
    other = subprocess.Popen([sys.executable, "-c", "pass"])
    deadline = time.monotonic() + 10
    while identity(other.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert identity(other.pid) == ""  # a zombie is no process any more
    other.wait()
    assert identity(other.pid) == ""


def test_events_reach_the_reader_while_the_child_runs(tmp_path: Path) -> None:
    times = []
    argv = child(tmp_path, "import time\nsay('progress', done=1, total=2)\ntime.sleep(1)\nsay('done', message='')")
    run(argv, on_event=lambda event: times.append((event.kind, time.monotonic())))
    assert times[1][1] - times[0][1] > 0.7
    assert json.dumps([kind for kind, _ in times]) == '["progress", "done"]'
