"""The fewest rows of Adult that halve the equal-opportunity gap between women and men at 0.3 points of accuracy at most, beside peers.

    LETHE_DATA=... python -m benchmarks.budget [--project DIR] [--only adult|scale]

The command `budget` is asked on the evaluation rows; everything is judged on the holdout rows, which it never sees, by models retrained
with five fresh seeds. Beside it: as many random rows, another set for each seed; fairlearn's ExponentiatedGradient with
TruePositiveRateParity over a logistic regression, fitted on the training rows; and fairlearn's ThresholdOptimizer on the probabilities of
the five models with all rows, fitted on the evaluation rows. All have the same features. Intervals (95 %) are bootstraps over holdout
rows, the same draws for all, and of the changes against the same kind of model left as it is. `scale`: a million rows of random scores.
Writes benchmarks/results/budget.json and docs/images/budget.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog
from sklearn.base import BaseEstimator, ClassifierMixin

from benchmarks.data import DATA
from benchmarks.main_job import command, show
from influence.actions._opened import Opened, opened
from influence.finders._programme import Programme, smallest, whole
from influence.grads import outputs
from influence.loop import threads
from influence.store import Project
from influence.training import bound_at, train_many
from influence.types import Examples

RESULTS = Path(__file__).parent / "results" / "budget.json"
PLOT = Path(__file__).parents[1] / "docs" / "images" / "budget.svg"
QUERY = ["--query", "equal_opportunity_gap", "--query-set", "group=sex"]
SEEDS, FIRST, DRAWS, LOSS, BOUND = 5, 5000, 2000, 0.003, 0.01


def adult(folder: Path) -> dict[str, Any]:
    """Ask for the budget and judge it, and all beside it."""
    if not (folder / "catalogue.sqlite").exists():
        command(folder, "train", str(DATA / "adult.parquet"), "--target", "income", "--protected", "sex", "--split", "split")
    it = opened(Project(folder), None)
    now = command(folder, "attribute", *QUERY, "--kept")["value"]["measured"]
    asked = [*QUERY, "--target", f"{now / 2:.6f}", "--max-accuracy-loss", str(LOSS), "--seeds", "0"]
    began = time.perf_counter()
    got = command(folder, "budget", *asked)
    seconds = time.perf_counter() - began
    found: dict[str, Any] = {name: got[name] for name in ("taken", "least", "predicted", "frontier", "spared", "target", "retrainings")}
    found |= {"evaluation_gap": now, "seconds": seconds}
    show("budget", {"rows": len(got["ids"]), "at least": got["least"], "seconds": seconds})
    for label, entry in got["predicted"].items():
        show(f"predicted {label}", {k: entry[k] for k in ("measured_before", "measured_change", "measured_low", "measured_high")})
    return {**found, "rows": len(got["ids"]), "holdout": judged(it, predictions(it, it.dataset.train.mask(got["ids"])))}


def predictions(it: Opened, gone: np.ndarray) -> dict[str, np.ndarray]:
    """Return what each way predicts of the holdout rows, 1 where the positive class, (S, M) by name."""
    nothing, rng = np.zeros_like(gone), np.random.default_rng(0)
    random = [np.isin(np.arange(len(gone)), rng.choice(len(gone), gone.sum(), replace=False)) for _ in range(SEEDS)]
    sets = {"all rows": [nothing] * SEEDS, "budget": [gone] * SEEDS, "random rows": random}
    holdout, evaluation = it.dataset.holdout, it.dataset.evaluation
    models = {name: _models(it, np.stack(rows)) for name, rows in sets.items()}
    found = {name: np.stack([outputs(bound, holdout).argmax(1).numpy() for bound in bounds]) for name, bounds in models.items()}
    p = {role: [outputs(b, rows).softmax(1).numpy() for b in models["all rows"]] for role, rows in (("e", evaluation), ("h", holdout))}
    found["ThresholdOptimizer"] = np.stack([_threshold(*both, evaluation, holdout) for both in zip(p["e"], p["h"], strict=True)])
    return found | _reductions(it.dataset.train, holdout)


def _models(it: Opened, gone: np.ndarray) -> list[Any]:
    recipe = it.trained.recipe
    assert recipe is not None
    with threads(recipe.threads):
        thetas = train_many(it.trained.model, it.dataset.train, recipe, 1 - gone.astype(np.float32), [FIRST + s for s in range(SEEDS)])
        return [bound_at(it.trained.model, recipe, theta) for theta in thetas]


class _Given(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose probabilities are its input."""

    classes_ = np.array([0, 1])

    def fit(self, x: np.ndarray, y: np.ndarray) -> _Given:
        """Nothing is left to fit."""
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return them."""
        return np.asarray(x, dtype=np.float64)


def _threshold(fitted_on: np.ndarray, p: np.ndarray, evaluation: Examples, holdout: Examples) -> np.ndarray:
    from fairlearn.postprocessing import ThresholdOptimizer

    way = ThresholdOptimizer(
        estimator=_Given(), constraints="true_positive_rate_parity", objective="accuracy_score", prefit=True, predict_method="predict_proba"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        way.fit(fitted_on.astype(np.float64), evaluation.y, sensitive_features=_sex(evaluation))
        return np.asarray(way.predict(p.astype(np.float64), sensitive_features=_sex(holdout), random_state=0))


def _reductions(train: Examples, holdout: Examples) -> dict[str, np.ndarray]:
    from fairlearn.reductions import ExponentiatedGradient, TruePositiveRateParity
    from sklearn.linear_model import LogisticRegression

    x, after = np.asarray(train.x), np.asarray(holdout.x)
    plain = LogisticRegression(max_iter=500)
    way = ExponentiatedGradient(LogisticRegression(max_iter=500), TruePositiveRateParity(difference_bound=BOUND))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain.fit(x, train.y)
        way.fit(x, train.y, sensitive_features=_sex(train))
    mixed = [np.asarray(way.predict(after, random_state=s)) for s in range(SEEDS)]
    return {"logistic regression": plain.predict(after)[None], "ExponentiatedGradient": np.stack(mixed)}


def _sex(rows: Examples) -> np.ndarray:
    return rows.columns["sex"].astype(str).to_numpy()


def judged(it: Opened, found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return gap and accuracy of each way on the holdout rows, means over its models, with bootstrapped intervals, and the changes."""
    y, women = it.dataset.holdout.y, _sex(it.dataset.holdout) == "Female"
    draws = np.random.default_rng(0).multinomial(len(y), np.full(len(y), 1 / len(y)), DRAWS).astype(np.float64)
    weights = np.concatenate([np.ones((1, len(y))), draws])
    of = {name: np.mean([_measured(said, y, women, weights) for said in models], 0) for name, models in found.items()}
    told = {}
    for name, values in of.items():
        base = of["logistic regression" if name in ("logistic regression", "ExponentiatedGradient") else "all rows"]
        told[name] = {metric: _interval(values[i]) for i, metric in enumerate(("gap", "accuracy"))}
        told[name] |= {f"{metric}_change": _interval(values[i] - base[i]) for i, metric in enumerate(("gap", "accuracy"))}
        each = np.array([_measured(said, y, women, weights[:1])[:, 0] for said in found[name]])
        told[name] |= {"models": len(each), "sd": each.std(0, ddof=1).tolist() if len(each) > 1 else None}
        told[name]["gap_falls_by"] = 1 - values[0][0] / base[0][0]
        show(name, {k: [round(x, 4) for x in v] if isinstance(v, list) else v for k, v in told[name].items()})
    return told


def _measured(said: np.ndarray, y: np.ndarray, women: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return gap and accuracy for each weighting of the rows, (2, W)."""
    rates = [(weights[:, who] @ said[who]) / weights[:, who].sum(1) for who in (women & (y == 1), ~women & (y == 1))]
    return np.stack([abs(rates[1] - rates[0]), (weights @ (said == y)) / len(y)])


def _interval(values: np.ndarray) -> list[float]:
    """Return the value and the 95 % percentile interval of its bootstrap."""
    return [float(values[0]), *np.quantile(values[1:], [0.025, 0.975]).tolist()]


def scale(n: int = 1_000_000) -> dict[str, Any]:
    """Time the linear programme of n rows with heavy-tailed scores, and HiGHS on all rows at once."""
    rng = np.random.default_rng(0)
    gain = rng.standard_t(3, n) * 1e-5
    cost = 3 * gain + rng.standard_t(3, n) * 1e-4
    it = Programme(gain, cost, 0.5 * np.sort(gain)[-n // 50 :].sum(), 1e-6 * n, 0.1 * n)
    began = time.perf_counter()
    x = smallest(it)
    middle = time.perf_counter()
    rows = whole(it)
    rounded = time.perf_counter()
    a = np.stack([-gain / abs(gain).mean(), cost / abs(cost).mean(), np.ones(n)])
    b = [-it.wanted / abs(gain).mean(), it.allowed / abs(cost).mean(), it.most]
    truth = linprog(np.ones(n), A_ub=a, b_ub=b, bounds=(0, 1), method="highs-ds")
    assert x is not None
    assert rows is not None
    found = {"rows": n, "sum": float(x.sum()), "whole": float(rows[0].sum()), "bound": rows[1], "highs_sum": float(truth.fun)}
    found |= {"seconds": middle - began, "seconds_whole": rounded - middle, "highs_seconds": time.perf_counter() - rounded}
    found["load"] = os.getloadavg()[0]
    show("scale", found)
    return found


def plot(kept: dict[str, Any]) -> None:
    """Draw the frontier, and gap and accuracy of all ways on the holdout rows."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "lethe"
    from matplotlib import pyplot as plt

    it = kept["adult"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    for allowed in dict.fromkeys(point["allowed"] for point in it["frontier"]):
        points = [point for point in it["frontier"] if point["allowed"] == allowed]
        name = "any loss of accuracy" if allowed is None else f"at most {100 * allowed:.2f} points"
        left.plot([p["k"] for p in points], [p["value"] for p in points], "--" if allowed is None else "-", label=name)
    left.axhline(it["target"], color="grey", ls=":")
    left.axvline(it["rows"], color="grey", ls=":")
    left.set(xlabel="rows removed", ylabel="predicted gap, evaluation rows", xscale="log", title="Frontier")
    left.legend(fontsize=8)
    for name, of in it["holdout"].items():
        (x, *xs), (y, *ys) = of["gap"], of["accuracy"]
        right.errorbar(x, y, xerr=[[x - xs[0]], [xs[1] - x]], yerr=[[y - ys[0]], [ys[1] - y]], fmt="o", label=name, alpha=0.8)
    right.set(xlabel="equal-opportunity gap, holdout rows", ylabel="accuracy", title="Really retrained or fitted")
    right.legend(fontsize=8, loc="lower right")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.tight_layout()
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Measure what is asked for, print each figure and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--project", type=Path, help="where the model is kept, or made; default: a folder for this time")
    parser.add_argument("--only", choices=("adult", "scale"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if given.only != "scale":
        with tempfile.TemporaryDirectory() as folder:
            kept["adult"] = adult(given.project or Path(folder) / "project")
    if given.only != "adult":
        kept["scale"] = scale()
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if "adult" in kept:
        plot(kept)


if __name__ == "__main__":
    main()
