"""The main job on Adult, by the commands that anybody can run: prints each figure and writes benchmarks/results/main_job.json.

Run: LETHE_DATA=... python -m benchmarks.main_job [--quick]. Every line names the command that made it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.data import DATA

ROOT = Path(__file__).resolve().parents[1]
QUERY = ["--query", "equal_opportunity_gap", "--query-set", "group=sex"]
FRESH = 8
ORDERS = {"metagradient": "recorded", "tracin": "tracin", "random": "random"}
KEPT = (
    "lds", "lds_low", "lds_high", "slope", "lds_measured", "lds_measured_low", "lds_measured_high",
    "noise_ceiling", "noise_ceiling_measured", "n", "seconds",
)  # fmt: skip


def command(project: Path, *args: str) -> dict[str, Any]:
    """Run one command with --json and return what it printed.

    Raises:
        SystemExit: the command failed.
    """
    called = [sys.executable, "-m", "influence", *args, "--project", str(project), "--json"]
    done = subprocess.run(called, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(called)}\n{done.stderr}")
    print("$ python -m influence", *args, flush=True)
    return json.loads(done.stdout)


def show(name: str, figures: dict[str, Any]) -> None:
    """Print figures on one line."""
    print(f"  {name}: " + ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items()), flush=True)


def trained(project: Path) -> dict[str, Any]:
    """Train twice; the weights must be equal bit for bit."""
    adult = ["train", str(DATA / "adult.parquet"), "--target", "income", "--protected", "sex", "--split", "split"]
    first, second = command(project, *adult), command(project, *adult)
    weights = [_weights(project, run["run"]) for run in (first, second)]
    found = {"n_train": first["n_train"], "holdout_accuracy": first["metrics"]["accuracy"], "bit_equal": weights[0] == weights[1]}
    found["seconds"] = first["seconds"]
    show("train", found)
    return found


def _weights(project: Path, run: str) -> str:
    from influence.store import Project

    return Project(project).run(run).body["checkpoints"][-1]["digest"]


def attributed(project: Path) -> dict[str, Any]:
    """Time the walk with the recorded trajectory and replayed, as multiples of a plain training."""
    found = {}
    for name, setting in (("recorded", "recompute=false"), ("replayed", "recompute=true")):
        out = project / f"{name}.parquet"
        got = command(project, "attribute", *QUERY, "--method", "metagradient", "--set", setting, "--out", str(out))
        found[name] = {
            "ratio": got["walk_seconds"] / got["train_seconds"],
            **{k: got[k] for k in ("walk_seconds", "train_seconds", "seconds", "replayed", "calibrated")},
            "peak_gib_of_any_command": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20,
        }
        show(name, found[name])
    for method in ("tracin", "random"):
        command(project, "attribute", *QUERY, "--method", method, "--out", str(project / f"{method}.parquet"))
    return found


def faithful(project: Path, subsets: int, fresh: int) -> dict[str, Any]:
    """Compare predictions with retraining."""
    found = {}
    for method in ("metagradient", "tracin"):
        for fraction in ("0.01", "0.1"):
            for truth, seeds in (("same", 2), ("fresh", fresh)):
                args = ["--method", method, "--fraction", fraction, "--subsets", str(subsets), "--truth", truth, "--seeds", str(seeds)]
                got = command(project, "fidelity", *QUERY, *args)
                found[f"{method} {fraction} {truth}"] = {k: got[k] for k in KEPT}
                show(f"{method} {fraction} {truth}", found[f"{method} {fraction} {truth}"])
    return found


def removed(project: Path, k: int) -> dict[str, Any]:
    """Remove the k best rows by each order and retrain with fresh seeds; asked on evaluation rows, measured on holdout rows."""
    from influence.actions._opened import asked, opened
    from influence.actions._retrained import answers
    from influence.store import Project
    from influence.types import Question

    it = opened(Project(project), None)
    train = it.dataset.train
    oriented = it.question([asked("equal_opportunity_gap", {"group": "sex"}), asked("accuracy_margin", {})])
    holdout = {"holdout": Question(oriented.queries, it.dataset.holdout)}
    losses = it.outputs("train").log_softmax(1).numpy()[np.arange(len(train)), train.y]
    orders = {name: pd.read_parquet(project / f"{file}.parquet").iloc[:, 1].to_numpy() for name, file in ORDERS.items()}
    orders["highest loss"] = losses
    masks = {"nothing": np.zeros(len(train), dtype=bool)}
    for name, scores in orders.items():
        masks[name] = np.isin(np.arange(len(train)), np.argsort(scores, kind="stable")[:k])
    found: dict[str, Any] = {}
    for name, mask in masks.items():
        got = answers(it, np.tile(mask, (FRESH, 1)), holdout, list(range(100, 100 + FRESH)))["holdout"]["measured"]
        gap, accuracy = got[:, 0], got[:, 1]
        means = {"gap": float(gap.mean()), "accuracy": float(accuracy.mean())}
        found[name] = {**means, "gap_sd": float(gap.std(ddof=1)), "accuracy_sd": float(accuracy.std(ddof=1))}
        base = found["nothing"]
        found[name]["gap_falls_by"] = 1 - means["gap"] / base["gap"]
        found[name]["accuracy_falls_by_points"] = 100 * (base["accuracy"] - means["accuracy"])
        show(f"without {k} rows by {name}, {FRESH} fresh seeds", found[name])
    return found


def main() -> None:
    """Run everything."""
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        found = {"train": trained(project), "attribute": attributed(project), "removal": removed(project, 100)}
        found["fidelity"] = faithful(project, 16 if quick else 64, 2 if quick else FRESH)
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / "main_job.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
