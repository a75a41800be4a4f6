"""One worker process per project: a lock that it holds for life says whether it lives, and who it is."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

ACTIONS = "influence.actions"
"""The module whose `perform` workers call."""
LOCK = "worker.lock"
STARTING = "starting"
START = 15.0  # seconds that a new process may need until it holds the lock
GIVE_WAY = 1.0  # seconds after which a second worker believes that the first one lives
PROBE = 0.02  # seconds between tries for the lock

ROOT = Path(__file__).resolve().parents[2]
_started: list[subprocess.Popen[bytes]] = []


def holder(folder: Path) -> int | None:
    """Return the process id of the project's worker, 0 if it is just starting, or None if there is none."""
    with (folder / LOCK).open("a+") as file:
        if _locked(file, fcntl.LOCK_SH):
            return 0 if _starting(file) else None
        text = _text(file)
        return int(text) if text.isdecimal() else 0


def start(folder: Path) -> None:
    """Start a worker unless one lives or is starting."""
    _started[:] = [process for process in _started if process.poll() is None]  # reaps those that ended
    with (folder / LOCK).open("a+") as file:
        if not _locked(file, fcntl.LOCK_EX, patience=3 * PROBE) or _starting(file):
            return
        _write(file, STARTING)
    (folder / "logs").mkdir(exist_ok=True)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "influence.jobs.worker", "--project", str(folder), "--actions", ACTIONS]
    with (folder / "logs" / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
    _started.append(process)


def hold(folder: Path) -> IO[str] | None:
    """Take the lock for this process until it ends; None if another has it."""
    file = (folder / LOCK).open("a+")
    if not _locked(file, fcntl.LOCK_EX, patience=GIVE_WAY):
        file.close()
        return None
    _write(file, str(os.getpid()))
    return file


def kill(folder: Path, pid: int) -> None:
    """End the project's worker at once, if it still is this process."""
    if holder(folder) != pid:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 2.0
    while holder(folder) == pid and time.monotonic() < end:
        time.sleep(PROBE)


def _locked(file: IO[str], kind: int, patience: float = 0.0) -> bool:
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(PROBE)
        else:
            return True


def _starting(file: IO[str]) -> bool:
    return _text(file) == STARTING and time.time() - os.fstat(file.fileno()).st_mtime < START


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _write(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()
