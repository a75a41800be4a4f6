"""How well do scores predict retraining? One fixed model, retrained without random sets of its rows (truth *same*).

    python -m benchmarks.truth digits adult --fractions 0.01,0.1

Per method: the linear datamodeling score (LDS; Park et al., arXiv:2303.14186, section 2), mean over the margins of 16 test rows, with a
95 % interval over sets of rows (bootstrap, on Fisher's scale), that of the test rows' mean loss, and the slope of realised on predicted
changes of the mean loss, for methods in the metric's unit. Real retrainings are kept under benchmarks/.cache; a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.truth.banks import same
from benchmarks.truth.settings import ASKED, SAME, Setting
from influence.evaluation._tables import Z
from influence.evaluation.fidelity import lds, rank_correlation
from influence.grads import outputs
from influence.registry import attribution
from influence.training import load, train
from influence.workspace import Workspace

RESULTS = Path(__file__).resolve().parents[1] / "results" / "truth.json"
METHODS = ("metagradient", "influence_function", "trak", "gradient_similarity", "tracin", "random")
RECORDED = 4096.0
"""MiB that a recorded training may take."""
DRAWS = 1000


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


def measured(setting: Setting, fractions: list[float], methods: list[str]) -> list[dict[str, Any]]:
    """Return the figures of each fraction and method."""
    model, rows, test, recipe, question = setting.parts()
    trained = train(model, rows, recipe, record=RECORDED)
    accuracy = float((outputs(load(trained), test).argmax(1).numpy() == test.y).mean())
    space, scores = Workspace(), {}
    for method in methods:
        began = time.perf_counter()
        values = attribution.make(method)(trained, rows, question, workspace=space).values
        scores[method] = values, time.perf_counter() - began
    found = []
    for fraction in fractions:
        out, real = same(setting.name, fraction)
        about = {"setting": setting.name, "fraction": fraction, "n": len(out), "rows": len(rows), "accuracy": accuracy}
        for method, (values, seconds) in scores.items():
            predicted = out.astype(np.float64) @ values
            unit = attribution.classes[method].calibrated
            found.append({**about, "method": method, "seconds": seconds, **_figures(predicted, real, unit)})
    return found


def _figures(predicted: np.ndarray, real: np.ndarray, unit: bool) -> dict[str, float | None]:
    margins = predicted[:, :ASKED].T, real[:, :ASKED].T
    draws = np.random.default_rng(0).integers(0, len(real), (DRAWS, len(real)))
    mean = float(np.nanmean(rank_correlation(*margins)))
    means = [np.nanmean(rank_correlation(margins[0][:, d], margins[1][:, d])) for d in draws]
    half = Z * float(np.std(np.arctanh(means)))  # on Fisher's scale, as `lds` does: percentiles of a bootstrap fall short of values near 1
    loss = lds(predicted[:, ASKED], real[:, ASKED])
    return {
        "lds": mean,
        "low": float(np.tanh(np.arctanh(mean) - half)),
        "high": float(np.tanh(np.arctanh(mean) + half)),
        "lds_loss": loss.lds,
        "lds_loss_low": loss.low,
        "lds_loss_high": loss.high,
        "slope_loss": loss.slope if unit else None,
    }


def _keep(found: dict[str, Any]) -> None:
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    key = ("setting", "fraction", "method")
    kept = [k for k in kept if any(k[part] != found[part] for part in key)] + [found]
    RESULTS.write_text(json.dumps(sorted(kept, key=lambda k: [str(k[part]) for part in key]), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
