#!/usr/bin/python3
"""Stands for an interpreter that has geosynth: speaks the protocol, trains nothing, and starts a grandchild.

How it behaves is told by files beside it: ``protocol`` (a number), ``steps`` (of a run), ``grandchild`` (it writes the
process id of its child there).
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def told(name, default):
    try:
        return int((HERE / name).read_text())
    except OSError:
        return default


class Speaker:
    def __init__(self, arguments):
        self.file = Path(arguments[arguments.index("--events") + 1]) if "--events" in arguments else None
        self.seq, self.v = 0, told("protocol", 1)

    def say(self, kind, **fields):
        self.seq += 1
        line = json.dumps({"v": self.v, "seq": self.seq, "task": fields.pop("task", ""), "event": kind, **fields})
        print(line, flush=True)
        if self.file is not None:
            with self.file.open("a") as stream:
                stream.write(line + "\n")


def main():
    arguments = sys.argv[sys.argv.index("geosynth_cli") + 1 :]
    command = arguments[0]
    speaker = Speaker(arguments)
    speaker.say("hello", command=command, version="0.1.0", pid=os.getpid())
    if command == "env":
        facts = {"geosynth": "0.1.0", "protocol": speaker.v, "python": "3.12.1", "device": "cpu", "cores": 2}
        facts |= {"memory_gb": 8.0, "packages": {"torch": "2.6"}, "missing": [], "base": str(HERE / "base")}
        speaker.say("done", message=json.dumps(facts))
        return 0
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append("SIGTERM"))
    cancel = arguments[arguments.index("--cancel-file") + 1] if "--cancel-file" in arguments else None
    child = subprocess.Popen(["sleep", "300"])
    (HERE / "grandchild").write_text(str(child.pid))
    steps = told("steps", 10)
    for step in range(steps):
        speaker.say("progress", task=command, done=step, total=steps, unit="steps")
        speaker.say("metric", task=command, name="loss_image", value=1 / (step + 1), step=step)
        time.sleep(0.05)
        if stopped or (cancel and Path(cancel).exists()):
            # It goes without its child, as a training whose workers hang: whoever cancels must see to them.
            speaker.say("cancelled", message="cancelled (asked to) — run the same command with --resume to go on")
            return 130
    child.kill()
    child.wait()
    out = arguments[arguments.index("--out") + 1] if "--out" in arguments else "nothing"
    speaker.say("done", message=f"made {out}")
    return 0


sys.exit(main())
