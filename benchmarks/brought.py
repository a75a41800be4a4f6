"""A model trained by a plain PyTorch program outside Lethe, brought with its record: does it answer the same, and are its scores true?

Run: LETHE_DATA=... python -m benchmarks.brought. Writes benchmarks/results/brought.json.

The program below knows nothing of Lethe but `Recorder` and `save_data`. It prepares Adult by itself (pandas' dummies), shuffles with
PyTorch's own generator, and trains an MLP with dropout and a cosine schedule, by SGD with momentum and by AdamW.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

import influence
from benchmarks.data import DATA
from influence.actions import perform
from influence.store import Project

RESULTS = Path(__file__).parent / "results" / "brought.json"
EPOCHS, BATCH, SUBSETS = 5, 256, 32
SHOWN = ("lds", "lds_low", "lds_high", "slope", "lds_measured", "n")


RULES: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=1e-4),
    "adamw": partial(torch.optim.AdamW, lr=2e-3, weight_decay=1e-2),
}


def program(folder: Path, rule: str) -> np.ndarray:
    """Prepare, train and record, as somebody would; return the probabilities of all rows, (N,)."""
    table = pd.read_parquet(DATA / "adult.parquet")
    y = (table["income"].astype(str).str.contains(">50K")).to_numpy().astype(np.int64)
    test = (table["split"] == "test").to_numpy()
    inputs = pd.get_dummies(table.drop(columns=["income", "split"]), dtype=float)
    x = ((inputs - inputs[~test].mean()) / inputs[~test].std().replace(0, 1)).to_numpy(dtype=np.float32)
    influence.save_data(folder / "data", x, y, test, columns=table[["sex", "race", "age"]], classes=["<=50K", ">50K"], protected=["sex"])
    rows, target, ids = torch.from_numpy(x[~test]), torch.from_numpy(y[~test]), np.flatnonzero(~test)
    torch.manual_seed(11)
    model = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 64), torch.nn.GELU(), torch.nn.Dropout(0.1), torch.nn.Linear(64, 2))
    optimizer = RULES[rule](model.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-len(rows) // BATCH))
    recorder = influence.Recorder(model, optimizer, ids)
    for _ in range(EPOCHS):
        for places in torch.randperm(len(rows)).split(BATCH):
            with recorder.step(places):
                loss = F.cross_entropy(model(rows[places]), target[places])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
    recorder.save(folder / "model", probe=rows[:32], classes=["<=50K", ">50K"])
    model.eval()
    with torch.no_grad():
        return model(torch.from_numpy(x)).softmax(1)[:, 1].numpy()


def measured(folder: Path, rule: str) -> dict[str, Any]:
    """Bring the model, compare its answers, and check the metagradient against retraining without 1 % of the rows."""
    began = time.perf_counter()
    said = program(folder, rule)
    trained = time.perf_counter() - began
    project = Project(folder / "project")
    result = perform("import_model", project, {"path": str(folder / "model"), "data": str(folder / "data")})
    table = pd.read_parquet(result["predictions"])
    found: dict[str, Any] = {
        "n": len(said),
        "program seconds": trained,
        "import seconds": result["seconds"],
        "largest difference of a probability": float(np.abs(table["p_>50K"].to_numpy() - said[table["id"]]).max()),
        "checks": {check["check"]: [check["verdict"], check["found"]] for check in result["checks"]},
        "accuracy": result["metrics"]["intervals"]["accuracy"],
        "record bytes": sum(path.stat().st_size for path in (folder / "model").iterdir()),
    }
    for query, given in (("loss", {}), ("equal_opportunity_gap", {"group": "sex"}), ("demographic_parity_gap", {"group": "sex"})):
        asked = {"query": query, "query_set": given, "method": "metagradient", "fraction": 0.01, "subsets": SUBSETS}
        told = perform("fidelity", project, asked)
        found[f"LDS at 1 %, {query}"] = {name: told[name] for name in SHOWN}
    return found


def main() -> None:
    """Measure and write it down."""
    torch.set_num_threads(1)
    found = {}
    for rule in RULES:
        with tempfile.TemporaryDirectory() as folder:
            found[rule] = measured(Path(folder), rule)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
