"""What exact gradient products cost: in plain training epochs, and beside Captum, in one run and for equal scores.

Run: python -m benchmarks.speed [--threads 1] [--only mlp cnn]. Writes benchmarks/results/speed.json; exit code 1 if something asked for
is missed. Seconds are those of the processor, so that other work on the machine counts less; the load is written down.

- *sweep*: <grad l_i, v> of all rows for one direction (a question's gradient), by every kind, against one plain `torch.optim` epoch of the
  same batch size; medians of interleaved runs. Captum: `TracInCP.influence(aggregate=True)` for the same question, the fastest of its
  settings whose scores are right; it is timed with the question's gradient, and so are we where the two are compared.
- *matrix*: <grad f_q, grad l_i> of 64 queries and all rows, with self-influence beside it. Captum: `aggregate=False`.

Where Captum has no fast setting it takes one backward pass through the batch per row; it is then timed on the first 64 rows, in one
batch and in batches of 8, and the time multiplied: `rows` says of how many.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from influence.grads import Rows, products, self_influence, sweep
from influence.loop import Bound, cat, threads
from influence.registry import models

RESULTS = Path(__file__).parent / "results" / "speed.json"
QUERIES, CLASSES, RUNS, FEW, EQUAL = 64, 10, 5, 64, 1e-4
KINDS = ("auto", "forward", "backward")
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...], int, float, float]] = {
    "mlp": ({"hidden": "256,128"}, (784,), 5000, 1.0, 50),
    "cnn": ({}, (1, 8, 8), 5000, 1.2, 2),
    "resnet9": ({"width": 16}, (3, 32, 32), 512, 1.2, 0),
    "transformer": ({}, (32,), 1024, 1.2, 5),
}
"""Settings, shape of an input, rows; asked for: epochs at most, times faster than Captum at least."""
MATRIX = {"mlp": (float("inf"), 150), "cnn": (2.0, 1.5)}
"""Of the matrix: epochs at most, times faster than Captum at least."""


class Case:
    """One model with its rows (random: how long it takes does not depend on what they are), queries and a question."""

    def __init__(self, name: str) -> None:
        given, shape, n, self.most, self.faster = CASES[name]
        self.name = name
        model = replace(models.make(name, given), inputs=shape, outputs=CLASSES)
        self.bound, self.trained = Bound(model), Bound(model)
        self.bound.module.eval()
        torch.manual_seed(0)
        draw = (lambda k: torch.randint(1, 4096, (k, *shape))) if name == "transformer" else (lambda k: torch.randn(k, *shape))
        self.x, self.y = draw(n), torch.randint(0, CLASSES, (n,))
        self.asked, self.labels = draw(QUERIES), torch.randint(0, CLASSES, (QUERIES,))

    def epoch(self, batch: int) -> None:
        """Train as anybody would."""
        net = self.trained.module.train()
        rule = torch.optim.SGD(net.parameters(), 1e-4, 0.9, weight_decay=1e-4)
        for at in torch.randperm(len(self.y)).split(batch):
            rule.zero_grad()
            F.cross_entropy(net(self.x[at]), self.y[at]).backward()
            rule.step()

    def direction(self) -> torch.Tensor:
        """Return the gradient of the queries' summed loss, (1, P)."""
        loss = F.cross_entropy(self.bound.module(self.asked), self.labels, reduction="sum")
        return cat(torch.autograd.grad(loss, self.bound.params))[None]

    def swept(self, v: torch.Tensor, batch: int, kind: Any = "auto") -> np.ndarray:
        """Return our scores of one question, (N,)."""
        return sweep(self.bound, self.x, self.y, "cross_entropy", v, batch, kind)[:, 0]

    def matrix(self) -> np.ndarray:
        """Return our scores of all queries, (Q, N)."""
        return products(self.bound, Rows(self.asked, self.labels, "cross_entropy"), Rows(self.x, self.y, "cross_entropy"))


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Time one call, in seconds of the processor: what else runs on the machine counts less."""
    began = time.process_time()
    out = work()
    return time.process_time() - began, out


def interleaved(works: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Return the times of RUNS rounds of all works, in turn, after one round to warm up."""
    for work in works.values():
        work()
    rounds = [{name: seconds(work)[0] for name, work in works.items()} for _ in range(RUNS)]
    return {name: [times[name] for times in rounds] for name in works}


def captum(case: Case, batch: int, fast: bool, aggregate: bool) -> tuple[float, int, np.ndarray]:
    """Return the seconds that Captum takes for all rows, of how many rows they were measured, and its scores of these."""
    from captum.influence import TracInCP

    net = case.bound.module
    n = len(case.y) if fast else FEW
    reduction = "sum" if fast else "none"
    peer = TracInCP(
        net,
        DataLoader(TensorDataset(case.x[:n], case.y[:n]), batch),
        ["held"],  # the module holds its weights already
        checkpoints_load_func=lambda module, checkpoint: 1.0,
        loss_fn=nn.CrossEntropyLoss(reduction=reduction),
        batch_size=batch,
        sample_wise_grads_per_batch=fast,
    )
    given = DataLoader(TensorDataset(case.asked, case.labels), batch) if aggregate else (case.asked, case.labels)
    took, scores = seconds(lambda: peer.influence(given, aggregate=True) if aggregate else peer.influence(given))
    for p in net.parameters():
        p.__dict__.pop("sample_grad", None)
    return took * len(case.y) / n, n, scores.detach().numpy()


def best_of_captum(case: Case, batch: int, aggregate: bool, ours: np.ndarray) -> dict[str, Any]:
    """Try Captum's settings and return what was found of each, and the fastest whose scores are right."""
    tried = []
    for fast, size in ((True, batch), (False, FEW), (False, 8)):
        try:
            took, n, scores = captum(case, size, fast, aggregate)
        except Exception as error:
            tried.append({"sample_wise": fast, "batch": size, "failed": f"{type(error).__name__}: {error}"[:160]})
            continue
        difference = relative(ours[..., :n].reshape(scores.shape), scores)
        tried.append({"sample_wise": fast, "batch": size, "seconds": took, "rows": n, "difference": difference})
    right = [found for found in tried if found.get("difference", 1.0) <= EQUAL]
    return {"tried": tried, "best": min(right, key=lambda found: found["seconds"]) if right else None}


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference as a share of the largest score."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def of_sweep(case: Case, batch: int) -> dict[str, Any]:
    """Measure the sweep by every kind, and Captum."""
    v = case.direction()
    works: dict[str, Callable[[], Any]] = {"epoch": lambda: case.epoch(batch)}
    works |= {kind: (lambda kind=kind: case.swept(v, batch, kind)) for kind in KINDS}
    works["question"] = lambda: case.swept(case.direction(), batch)
    times = interleaved(works)
    ours = case.swept(v, batch)
    found = {
        "epoch_seconds": statistics.median(times["epoch"]),
        "epochs": {kind: statistics.median(a / b for a, b in zip(times[kind], times["epoch"], strict=True)) for kind in works},
        "kinds_differ_by": max(relative(case.swept(v, batch, kind), ours) for kind in KINDS),
        "captum": best_of_captum(case, batch, aggregate=True, ours=ours),
    }
    peer = found["captum"]["best"]
    found["times_faster"] = peer and peer["seconds"] / statistics.median(times["question"])
    found["met"] = found["epochs"]["question"] <= case.most and (not peer or found["times_faster"] >= case.faster)
    return found


def of_matrix(case: Case, batch: int) -> dict[str, Any]:
    """Measure the products of all queries with all rows, self-influence, and the peers."""
    own = lambda: self_influence(case.bound, case.x, case.y, "cross_entropy")  # noqa: E731
    times = interleaved({"epoch": lambda: case.epoch(batch), "matrix": case.matrix, "self-influence": own})
    ours, epochs = case.matrix(), times["epoch"]
    found: dict[str, Any] = {
        "seconds": statistics.median(times["matrix"]),
        "epochs": {k: statistics.median(a / b for a, b in zip(times[k], epochs, strict=True)) for k in ("matrix", "self-influence")},
        "captum": best_of_captum(case, batch, aggregate=False, ours=ours),
    }
    peer, (most, faster) = found["captum"]["best"], MATRIX[case.name]
    found["times_faster"] = peer and peer["seconds"] / found["seconds"]
    found["met"] = found["epochs"]["matrix"] <= most and bool(peer) and found["times_faster"] >= faster
    return found


def main() -> int:
    """Measure all cases, print them and write them down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=list(CASES))
    given, found = parser.parse_args(), []
    warnings.simplefilter("ignore")
    with threads(given.threads):
        for case in map(Case, given.only):
            for batch in (64, 256):
                measured: dict[str, Any] = {"model": case.name, "parameters": len(case.bound.flat), "rows": len(case.y), "batch": batch}
                measured |= {"load": os.getloadavg()[0], "sweep": of_sweep(case, batch)}
                if case.name in MATRIX:
                    measured["matrix"] = of_matrix(case, batch)
                found.append(measured)
                tell(measured)
    packages = {name: version(name) for name in ("torch", "captum")}
    setting = {"queries": QUERIES, "runs": RUNS, "threads": given.threads, "python": platform.python_version(), **packages}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"setting": setting, "cases": found}, indent=1) + "\n", encoding="utf-8")
    return int(not all(part["met"] for case in found for part in (case["sweep"], case.get("matrix")) if part))


def tell(case: dict[str, Any]) -> None:
    """Print one case in a few lines."""
    print("{model} ({parameters:,} parameters, {rows:,} rows), batch {batch}, load {load:.1f}".format(**case))
    for what in ("sweep", "matrix"):
        if what in case:
            part = case[what]
            epochs = ", ".join(f"{kind} {ratio:.2f}" for kind, ratio in part["epochs"].items() if kind != "epoch")
            print(f"  {what} in epochs: {epochs}{'' if part['met'] else '   MISSED'}")
            for peer in part["captum"]["tried"]:
                of = "failed: {failed}" if "failed" in peer else "{seconds:.2f} s (of {rows} rows), difference {difference:.0e}"
                print("    Captum, sample-wise {sample_wise}, batch {batch}: ".format(**peer) + of.format(**peer))
            print(f"    times faster than Captum: {part['times_faster'] and round(part['times_faster'], 1)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
