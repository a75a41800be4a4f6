"""Which labels are wrong? Every score of labels, and cleanlab, on labels of which a tenth was flipped to another class at random.

    python -m benchmarks.mislabelled [setting ...]

Fashion-MNIST is what the default was chosen on (docs/decisions/007-wrong-labels.md); digits and MNIST judge it. Per score the area under
the ROC curve and the share of wrong labels among the first rows, over three draws of flips; scores never see which rows were flipped.
cleanlab ranks by our out-of-sample probabilities, and by its own five-fold cross-validation of the same model (`CleanLearning`). Asked
for: AUC >= .99 of the default on digits and on MNIST. Writes benchmarks/results/mislabelled.json and docs/images/mislabelled.svg.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import roc_auc_score

from benchmarks.truth.settings import SAME, digits, examples, mnist
from influence.actions.mislabelled import DEFAULT
from influence.grads import outputs
from influence.mislabelled.out_of_sample import OutOfSample
from influence.registry import mislabelled, models
from influence.training import load, train
from influence.types import Architecture, Examples, Recipe, ignore
from influence.workspace import Workspace

RESULTS = Path(__file__).parent / "results" / "mislabelled.json"
PLOT = Path(__file__).parents[1] / "docs" / "images" / "mislabelled.svg"
FLIPPED, SEEDS, ASKED = 0.1, 3, 0.99
FIRST = np.linspace(0, 0.3, 61)
"""Shares of the rows that are looked at first, of the detection curves."""
BESIDE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("own_influence, first checkpoint", "own_influence", {"first": 1}),
    ("out_of_sample, the recipe's epochs", "out_of_sample", {"epochs": "recipe"}),
    ("out_of_sample, normalised margin", "out_of_sample", {"by": "normalised margin"}),
)
"""Settings that are no default."""


def fashion() -> Examples:
    """The first 5,000 rows of Fashion-MNIST."""
    return examples(*mnist(5000, 1, "fashion_mnist")[:2], 10)


def numbers(n: int) -> Examples:
    """The first rows of MNIST."""
    return examples(*mnist(n, 1)[:2], 10)


@dataclass(frozen=True)
class Setting:
    """Rows, and whose model and recipe (a name in `settings.SAME`) they are trained with. `judged`: whether the default must reach .99."""

    rows: Callable[[], Examples]
    like: str
    judged: bool = False


SETTINGS = {
    "fashion": Setting(fashion, "mnist_mlp"),
    "fashion, long": Setting(fashion, "digits"),
    "digits": Setting(lambda: digits()[0], "digits", True),
    "mnist": Setting(lambda: numbers(5000), "mnist_mlp", True),
    "mnist 20k": Setting(lambda: numbers(20_000), "mnist_mlp", True),
}


class AsEstimator(ClassifierMixin, BaseEstimator):
    """A model and its recipe as scikit-learn has them, so that cleanlab can train it."""

    def __init__(self, model: Architecture, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe

    def fit(self, x: np.ndarray, y: np.ndarray) -> AsEstimator:
        """Train."""
        self.classes_ = np.arange(self.model.outputs)
        self.trained_ = train(self.model, examples(x, y, self.model.outputs), self.recipe)
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return probabilities, (N, C)."""
        rows = examples(x, np.zeros(len(x)), self.model.outputs)
        return torch.softmax(outputs(load(self.trained_), rows).double(), 1).numpy()

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the most probable class, (N,)."""
        return self.predict_proba(x).argmax(1)


def flip(rows: Examples, seed: int) -> tuple[Examples, np.ndarray]:
    """Return the rows with a tenth of their labels turned into another class, and which, (N,) bool."""
    rng, n = np.random.default_rng(seed), len(rows)
    at = rng.choice(n, round(FLIPPED * n), replace=False)
    wrong = np.zeros(n, dtype=bool)
    wrong[at] = True
    y = rows.y.copy()
    y[at] = (y[at] + rng.integers(1, rows.outputs, len(at))) % rows.outputs
    return replace(rows, y=y), wrong


def judged(scores: np.ndarray, wrong: np.ndarray, began: float | None, said: np.ndarray | None = None) -> dict[str, Any]:
    """Return what is measured of scores, and of rows that were `said` to be wrong; `began` is None for what others had computed."""
    found = np.concatenate([[0.0], np.cumsum(wrong[np.argsort(-scores, kind="stable")])]) / wrong.sum()
    curve = found[np.round(FIRST * len(wrong)).astype(int)]
    out = {"auc": float(roc_auc_score(wrong, scores)), "curve": curve.round(4).tolist()}
    if began is not None:
        out["seconds"] = time.perf_counter() - began
    if said is not None:
        out |= {"said": int(said.sum()), "precision": float(wrong[said].mean()), "recall": float(said[wrong].mean())}
    return out


def ours(model: Architecture, rows: Examples, recipe: Recipe, wrong: np.ndarray, workspace: Workspace) -> dict[str, Any]:
    """Judge the registered scores, each with its defaults, and those beside."""
    trained, found = train(model, rows, recipe), {}
    for name, kind, given in (*((name, name, {}) for name in mislabelled.classes), *BESIDE):
        began, score = time.perf_counter(), mislabelled.make(kind, given)
        values = score(trained, rows, workspace=workspace).column()
        shared = given.get("by") == "normalised margin"
        found[name] = judged(values, wrong, None if shared else began, score.labels(trained, rows, workspace=workspace) != rows.y)
    return found


def theirs(model: Architecture, rows: Examples, recipe: Recipe, wrong: np.ndarray, workspace: Workspace) -> dict[str, Any]:
    """Judge cleanlab: on our out-of-sample probabilities, and by its own cross-validation."""
    from cleanlab.classification import CleanLearning
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    found: dict[str, Any] = {}
    p = OutOfSample().probabilities(train(model, rows, recipe), rows, ignore, workspace)
    said = np.asarray(find_label_issues(rows.y, p, n_jobs=1))
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        found[f"cleanlab {method}, our probabilities"] = judged(-get_label_quality_scores(rows.y, p, method=method), wrong, None, said)
    began, peer = time.perf_counter(), CleanLearning(AsEstimator(model, recipe), seed=0, find_label_issues_kwargs={"n_jobs": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = peer.find_label_issues(rows.x, rows.y)
    issue = table["is_label_issue"].to_numpy(dtype=bool)
    found["cleanlab, own cross-validation"] = judged(-table["label_quality"].to_numpy(), wrong, began, issue)
    return found


def measured(name: str, seed: int) -> dict[str, Any]:
    """Measure one draw of flips in a setting."""
    setting, like = SETTINGS[name], SAME[SETTINGS[name].like]
    rows, wrong = flip(setting.rows(), seed)
    model = replace(models.make(like.model, like.given), inputs=rows.shape, outputs=rows.outputs)
    recipe, workspace = Recipe(**{**like.recipe, "seed": seed}), Workspace()
    return {**ours(model, rows, recipe, wrong, workspace), **theirs(model, rows, recipe, wrong, workspace)}


def summary(by_seed: dict[str, Any]) -> dict[str, Any]:
    """Return mean and 95 % interval (Student's t over draws of flips) of each score's AUC, and its mean curve."""
    out = {}
    for name in next(iter(by_seed.values())):
        runs = [found[name] for found in by_seed.values()]
        auc = np.array([run["auc"] for run in runs])
        half = stats.t.ppf(0.975, len(auc) - 1) * auc.std(ddof=1) / np.sqrt(len(auc)) if len(auc) > 1 else float("nan")
        means = {key: float(np.mean([run[key] for run in runs])) for key in runs[0] if key not in ("auc", "curve")}
        curve = np.mean([run["curve"] for run in runs], 0).tolist()
        out[name] = {
            "auc": auc.mean(),
            "low": auc.mean() - half,
            "high": np.minimum(1.0, auc.mean() + half),
            "n": len(auc),
            **means,
            "curve": curve,
        }
    return out


def told(name: str, found: dict[str, Any]) -> bool:
    """Print a setting's figures; return whether what was asked for is reached."""
    for score, it in sorted(found.items(), key=lambda item: -item[1]["auc"]):
        at = [it["curve"][int(np.argmin(abs(FIRST - k)))] for k in (0.05, 0.1, 0.15, 0.2)]
        said = f"; says {it['said']:.0f}, precision {it['precision']:.3f}, recall {it['recall']:.3f}" if "said" in it else ""
        print(f"{name}: {score}: AUC {it['auc']:.4f} ({it['low']:.4f} to {it['high']:.4f}), n = {it['n']}; {it.get('seconds', 0):.0f} s")
        print(f"    found in the first 5, 10, 15, 20 %: {', '.join(f'{x:.3f}' for x in at)}{said}", flush=True)
    if not SETTINGS[name].judged:
        return True
    reached = found[DEFAULT]["auc"] >= ASKED
    print(f"{name}: AUC of {DEFAULT} {found[DEFAULT]['auc']:.4f}, asked for {ASKED}: {'reached' if reached else 'MISSED'}")
    return bool(reached)


def plot(kept: dict[str, Any]) -> None:
    """Draw the detection curves of the settings that judge."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "lethe"
    from matplotlib import pyplot as plt

    names = [name for name in SETTINGS if name in kept and SETTINGS[name].judged]
    if not names:
        return
    figure, axes = plt.subplots(1, len(names), figsize=(4.2 * len(names), 3.9), sharey=True, squeeze=False)
    shown = [*mislabelled.classes, "cleanlab, own cross-validation"]
    for axis, name in zip(axes[0], names, strict=True):
        found = summary(kept[name]["seeds"])
        for place, score in enumerate(shown):
            style = "--" if score.startswith("cleanlab") else "-"
            axis.plot(100 * FIRST, 100 * np.array(found[score]["curve"]), style, color=f"C{place}", label=score.replace("_", " "))
        axis.plot(100 * FIRST, 100 * np.minimum(FIRST / FLIPPED, 1), ":", color="grey", label="best possible")
        axis.set(
            title=f"{name.replace('mnist', 'MNIST')}: {kept[name]['rows']:,} rows",
            xlabel="rows looked at first, %",
            xlim=(0, 30),
            ylim=(0, 101),
        )
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("wrong labels found, %")
    axes[0][-1].legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> int:
    """Measure the settings asked for, print each figure and write it down; exit code 1 if what was asked for is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("settings", nargs="*", default=list(SETTINGS), metavar="setting", help=", ".join(SETTINGS))
    parser.add_argument("--again", action="store_true", help="measure anew what is written down")
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    reached = True
    for name in given.settings:
        it = kept.setdefault(name, {"rows": len(SETTINGS[name].rows()), "flipped": FLIPPED, "default": DEFAULT, "seeds": {}})
        for seed in map(str, range(SEEDS)):
            if given.again or seed not in it["seeds"]:
                it["seeds"][seed] = measured(name, int(seed))
                RESULTS.write_text(json.dumps(kept) + "\n", encoding="utf-8")
        reached &= told(name, summary(it["seeds"]))
    plot(kept)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
