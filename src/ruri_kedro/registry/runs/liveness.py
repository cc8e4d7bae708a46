"""Which process did something that MLflow has a record of, and whether that process is surely dead.

A record of another machine, or of another container on this one, says nothing of its process: it may be alive.
"""

import json
import os
import socket
import uuid
from functools import cache
from pathlib import Path

from ruri_kedro.text.hashing import stable_id

PROCESS = "process"  # tag of a run and of a logged model
_CONTEXT = "MLFLOW_RUN_CONTEXT"  # MLflow's variable for the tags of each run and logged model from its first write on
_CLOCK = 10.0  # seconds by which two readings of the time at which a process started may differ


def this_process() -> str:
    """This process, as a text that no other process has."""
    import psutil

    return f"{_machine()}:{os.getpid()}:{psutil.Process().create_time():.0f}"


def is_dead(process: str | None) -> bool:
    """Whether the process of a record, as `this_process` wrote it, is dead; False where that cannot be known."""
    import psutil

    machine, boot, space, pid, start = (process or "").split(":") if (process or "").count(":") == 4 else [""] * 5
    here = _machine().split(":")
    if machine != here[0]:
        return False
    if boot != here[1]:  # the machine was started anew
        return True
    if space != here[2]:
        return False
    try:
        found = psutil.Process(int(pid))
        return found.status() == psutil.STATUS_ZOMBIE or abs(found.create_time() - float(start)) > _CLOCK
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, ValueError):
        return False


def tag_with_process() -> None:
    """Let MLflow put the tag of this process on each run and logged model that it makes from now on."""
    given = json.loads(os.environ.get(_CONTEXT) or "{}")
    os.environ[_CONTEXT] = json.dumps({**given, PROCESS: this_process()})


@cache
def _machine() -> str:
    """Machine, start of the machine, and container, kept apart by colons."""
    ident = _read("/etc/machine-id") or f"{uuid.getnode():x}"
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        space = ""
    names = (stable_id(socket.gethostname(), ident), stable_id(_read("/proc/sys/kernel/random/boot_id")))
    return ":".join([*(name[:12] for name in names), "".join(filter(str.isdigit, space))])


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError:
        return ""
