"""Loading a large table by path: seconds and peak memory, each figure from a process of its own. `python -m benchmarks.loading`.

A Parquet file of a million rows and a hundred columns is made (70 numbers, 10 whole numbers, 18 categories of 2 to 10 levels, a date, the
target); then its first page is read, all of it is read and made a data set, and it is checked as before a training.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.memory import peak

RESULTS = Path(__file__).parent / "results" / "loading.json"
ASKED = {"first_page_seconds": 2, "seconds": 30, "peak_mib": 3 * 1024, "check_seconds": 30, "check_peak_mib": 3 * 1024}
PAGE = 100


def make(path: Path, rows: int) -> None:
    """Write the file."""
    rng = np.random.default_rng(0)
    columns = {f"number_{place}": rng.normal(size=rows) for place in range(70)}
    columns |= {f"count_{place}": rng.integers(0, 1000, rows) for place in range(10)}
    for place in range(18):
        levels = [f"level {level}" for level in range(2 + place % 9)]
        columns[f"category_{place}"] = pa.DictionaryArray.from_arrays(rng.integers(0, len(levels), rows).astype(np.int32), levels)
    columns["since"] = np.datetime64("2001-01-01") + rng.integers(0, 7000, rows).astype("timedelta64[D]")
    columns["bought"] = np.where(columns["number_0"] + rng.normal(size=rows) > 0, 1, 0)
    plain = {name: column.cast(pa.string()) if isinstance(column, pa.Array) else column for name, column in columns.items()}
    pq.write_table(pa.table(plain), path)


def first_page(path: Path) -> dict[str, float]:
    """Read the rows that a screen shows first."""
    from influence.data.read import read_table

    began = time.perf_counter()
    assert len(read_table(path, rows=PAGE)) == PAGE
    return {"first_page_seconds": time.perf_counter() - began}


def whole(path: Path) -> dict[str, float]:
    """Read the table and make a data set of it, with every check."""
    from influence.data.read import read_table
    from influence.data.tabular import prepare

    began = time.perf_counter()
    tables = [read_table(path)]
    read = time.perf_counter() - began
    made = prepare(tables.pop(), target="bought", name="large")  # as the action does: nobody else holds the table
    took = time.perf_counter() - began
    busy = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "read_seconds": read,
        "prepare_seconds": took - read,
        "seconds": took,
        "cpu_seconds": busy.ru_utime + busy.ru_stime,
        "features": len(made.encoding["features"]),
        "train_rows": len(made.train),
    }


def check(path: Path) -> dict[str, float]:
    """Do all that *Check* does before a training: read, prepare, look for leaks and copies, and time a few batches."""
    from influence.actions import perform
    from influence.store import Project

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = perform("check", Project(Path(folder) / "project"), {"data": str(path), "target": "bought"})
    assert found["n"]["train"] > 0
    busy = resource.getrusage(resource.RUSAGE_SELF)
    return {"check_seconds": time.perf_counter() - began, "check_cpu_seconds": busy.ru_utime + busy.ru_stime}


def measured(task: str, path: Path) -> dict[str, float]:
    """Return what a process of its own says of a task."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loading", "--task", task, "--path", str(path)], capture_output=True, check=True
    )
    return dict(json.loads(done.stdout))


def _run(path: Path) -> dict[str, float]:
    checked = measured("check", path)
    checked["check_peak_mib"] = checked.pop("peak_mib")
    return measured("first_page", path) | measured("whole", path) | checked | {"load": os.getloadavg()[0]}


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--task", choices=("first_page", "whole", "check"))
    parser.add_argument("--path", type=Path)
    given = parser.parse_args()
    if given.task:
        result = {"first_page": first_page, "whole": whole, "check": check}[given.task](given.path)
        print(json.dumps(result | {"peak_mib": peak()}))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.parquet"
        make(path, given.rows)
        size = path.stat().st_size / 1e6
        runs = [_run(path) for _ in range(given.repeats)]
    found = {name: [round(run[name], 2) for run in runs] for name in runs[0]}
    report = {
        "rows": given.rows,
        "columns": 100,
        "file_mb": round(size),
        "runs": found,
        "asked": ASKED,
        "python": platform.python_version(),
    }
    for name, values in found.items():
        print(f"{name:20s} {min(values):10,.2f} to {max(values):,.2f}{f'  (asked: at most {ASKED[name]:,})' if name in ASKED else ''}")
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
