"""How well do scores predict retraining? One fixed model, retrained without random sets of its rows (truth *same*).

    python -m benchmarks.truth digits adult --fractions 0.01,0.1

Per method: the linear datamodeling score (LDS; Park et al., arXiv:2303.14186, section 2), mean over the margins of test rows, with a
95 % interval over sets of rows (bootstrap, on Fisher's scale), that of the test rows' mean loss, and the slope of realised on predicted
changes of the mean loss, for methods in the metric's unit: as predicted, and after calibration, each half of the sets by the slope of the
other half. Real retrainings are kept under benchmarks/.cache; a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.truth.banks import same
from benchmarks.truth.lds import mean_lds
from benchmarks.truth.settings import SAME, Setting
from influence.evaluation.fidelity import lds, slope
from influence.grads import outputs
from influence.registry import attribution
from influence.training import load, train
from influence.workspace import Workspace

RESULTS = Path(__file__).resolve().parents[1] / "results" / "truth.json"
METHODS = ("metagradient", "influence_function", "trak", "gradient_similarity", "tracin", "random")
RECORDED = 4096.0
"""MiB that a recorded training may take."""


def main() -> int:
    """Measure the settings asked for, print them and write them down beside those measured before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("settings", nargs="+", choices=sorted(SAME))
    parser.add_argument("--fractions", default="0.01", help="shares of the rows left out, with commas between them")
    parser.add_argument("--methods", default=",".join(METHODS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.settings:
        for found in measured(SAME[name], [float(f) for f in given.fractions.split(",")], given.methods.split(",")):
            print(json.dumps(found), flush=True)
            _keep(found)
    return 0


def measured(setting: Setting, fractions: list[float], methods: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the figures of each method and fraction, as soon as they are there."""
    model, rows, test, recipe, question = setting.parts()
    truths = {fraction: same(setting.name, fraction) for fraction in fractions}
    trained = train(model, rows, recipe, record=RECORDED)
    accuracy = float((outputs(load(trained), test).argmax(1).numpy() == test.y).mean())
    space = Workspace()
    for method in methods:
        began = time.perf_counter()
        values = attribution.make(method)(trained, rows, question, workspace=space).values
        seconds = time.perf_counter() - began
        for fraction, (out, real) in truths.items():
            about = {"setting": setting.name, "fraction": fraction, "n": len(out), "rows": len(rows), "accuracy": accuracy}
            figures = _figures(out.astype(np.float64) @ values, real, attribution.classes[method].calibrated)
            yield {**about, "method": method, "margins": setting.asked, "seconds": seconds, **figures}


def _figures(predicted: np.ndarray, real: np.ndarray, unit: bool) -> dict[str, float | None]:
    x, y = predicted[:, -1], real[:, -1]
    loss = lds(x, y)
    halves = [(slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))]
    scaled = np.mean([slope(x[own] * slope(x[other], y[other]).slope, y[own]).slope for own, other in halves]) if unit else None
    return {
        **mean_lds(predicted[:, :-1], real[:, :-1]),
        "lds_loss": loss.lds,
        "lds_loss_low": loss.low,
        "lds_loss_high": loss.high,
        "slope_loss": loss.slope if unit else None,
        "slope_loss_calibrated": None if scaled is None else float(scaled),
    }


def _keep(found: dict[str, Any]) -> None:
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    key = ("setting", "fraction", "method")
    kept = [k for k in kept if any(k[part] != found[part] for part in key)] + [found]
    RESULTS.write_text(json.dumps(sorted(kept, key=lambda k: [str(k[part]) for part in key]), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
