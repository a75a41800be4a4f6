"""TracIn's time per checkpoint as a multiple of one plain training epoch, beside Captum's, and the largest difference from Captum.

Run: python -m benchmarks.tracin_speed [--threads 1]. Writes benchmarks/results/tracin_speed.json; exit code 1 if a requirement is missed:
at most 1.3 epochs, and equal within 1e-4 relative. TracIn is timed whole (loading the checkpoint, the question's gradient on 500 rows, the
sweep); the epoch is a plain `torch.optim` loop with the same batch size and threads. Medians of five interleaved runs; Captum runs once.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import captum
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from influence.attribution.captum_tracin import CaptumTracIn
from influence.attribution.tracin import TracIn
from influence.baseline import plain_training
from influence.registry import models
from influence.training import load, train
from influence.types import Examples, Question, Recipe

RESULTS = Path(__file__).parent / "results" / "tracin_speed.json"
N, M, CLASSES, RUNS = 5000, 500, 10, 5
MOST_EPOCHS, MOST_DIFFERENCE = 1.3, 1e-4
CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "mlp": ("mlp", {"hidden": "256,128"}, (784,)),
    "cnn": ("cnn", {}, (1, 8, 8)),
}


@dataclass(frozen=True)
class MeanLoss:
    """Mean cross-entropy of the evaluation rows."""

    better: Literal["lower", "higher", "neither"] = "lower"
    labels: tuple[str, ...] = ("loss",)

    def oriented(self, logits: torch.Tensor, examples: Examples) -> MeanLoss:
        """Nothing depends on the model."""
        return self

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Return the mean, (1,)."""
        return F.cross_entropy(logits, torch.from_numpy(np.array(examples.y)))[None]

    measured = value


def rows(n: int, shape: tuple[int, ...], seed: int) -> Examples:
    """Random inputs and labels: how long it takes does not depend on what they are."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, *shape)).astype(np.float32), rng.integers(0, CLASSES, n)
    return Examples(x, y, np.arange(n), pd.DataFrame({"label": y}), tuple(map(str, range(CLASSES))))


def seconds(work: Callable[[], Any]) -> float:
    """Time one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(name: str, batch: int, threads: int) -> dict[str, Any]:
    """Return the figures of one model and batch size."""
    kind, given, shape = CASES[name]
    train_rows, asked = rows(N, shape, 0), Question((MeanLoss(),), rows(M, shape, 1))
    model = replace(models.make(kind, given), inputs=shape, outputs=CLASSES)
    recipe = Recipe(batch_size=batch, epochs=1, checkpoints=1, threads=threads)
    trained = train(model, train_rows, recipe)
    ours, theirs = TracIn(batch=batch), CaptumTracIn(batch=batch)
    scores = ours(trained, train_rows, asked).values
    plain_training(trained, train_rows)
    pairs = [(plain_training(trained, train_rows), seconds(lambda: ours(trained, train_rows, asked))) for _ in range(RUNS)]
    epoch, tracin = (statistics.median(times) for times in zip(*pairs, strict=True))
    began = time.perf_counter()
    peer = theirs(trained, train_rows, asked).values
    captum_seconds = time.perf_counter() - began
    return {
        "model": name,
        "parameters": len(load(trained).flat),
        "batch": batch,
        "epoch_seconds": epoch,
        "tracin_seconds": tracin,
        "ratio": tracin / epoch,
        "ratios": sorted(ours / plain for plain, ours in pairs),
        "captum_seconds": captum_seconds,
        "captum_ratio": captum_seconds / epoch,
        "largest_relative_difference": float(np.abs(scores - peer).max() / np.abs(peer).max()),
    }


def main() -> int:
    """Measure all cases, print them and write them down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    found = []
    for name in CASES:
        for batch in (64, 256):
            found.append(measure(name, batch, threads))
            print(
                "{model} ({parameters:,} parameters), batch {batch}: epoch {epoch_seconds:.3f} s, tracin {tracin_seconds:.3f} s = "
                "{ratio:.2f} epochs; Captum {captum_seconds:.2f} s = {captum_ratio:.0f} epochs; "
                "largest relative difference {largest_relative_difference:.0e}".format(**found[-1]),
                flush=True,
            )
    versions = {
        "torch": torch.__version__,
        "captum": captum.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    setting = {"rows": N, "evaluation_rows": M, "runs": RUNS, "threads": threads, **versions}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"setting": setting, "cases": found}, indent=1) + "\n", encoding="utf-8")
    return int(any(case["ratio"] > MOST_EPOCHS or case["largest_relative_difference"] > MOST_DIFFERENCE for case in found))


if __name__ == "__main__":
    sys.exit(main())
