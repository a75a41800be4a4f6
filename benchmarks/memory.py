"""The peak memory of a process."""

from __future__ import annotations

from pathlib import Path


def peak() -> float:
    """Return the highest resident memory of this process so far, MiB; `ru_maxrss` would count what the parent had when it started this."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
