"""What the models of one method are worth, beside oracles: how they forget, what they keep, what they cost.

Forgetting: KLOM of the removed rows and its null band (models relabelled), how many of the models are told from oracles one by one
(`verification`'s verdict), and the mean of their margins' places among the oracles'. Utility: accuracy beside the oracles', with a 95 %
interval over originals. The average gap is that of Jia et al. (arXiv:2304.04934, section 5): mean distance to retraining of forget,
retained and test accuracy and of the attack's success, in points.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from sklearn.svm import SVC

from benchmarks.unlearning.cells import Cell, Out
from influence.registry import method_verification, verification
from influence.verification._pool import Pool
from influence.verification._verdict import grains, judged, measured, overall, relabelled

ATTACKED = 500
"""Rows of each kind that the attack learns from."""


def figures(cell: Cell, found: Out) -> dict[str, Any]:
    """Return every figure of one method's models, by name."""
    own, oracles = (Pool(out, cell.rows) for out in (found, cell.oracles))
    return {**_forgetting(own, oracles), **_told(cell, found), **_utility(own, oracles), "average_gap": _gap(cell, own, oracles)}


def _forgetting(own: Pool, oracles: Pool) -> dict[str, Any]:
    a, b = own.margins("forget"), oracles.margins("forget")
    places = (a.mean(0) - b.mean(0)) / np.maximum(b.std(0, ddof=1), 1e-9)
    klom: Any = method_verification.make("klom")
    verdict = judged(relabelled(klom, a, b), klom.side, a.shape[1])
    tests = {"klom": verdict.value, "klom_null": verdict.null_high, "epsilon": method_verification.make("epsilon")(a, b)}
    return {**tests, "margin_shift": float(places.mean()), "margin_error": float(np.abs(a.mean(0) - b.mean(0)).mean())}


def _told(cell: Cell, found: Out) -> dict[str, Any]:
    """Return in how many of the models the verdict on one model tells it from the oracles."""
    measures = [verification.make(name) for name in verification.classes]
    sides = {type(m).id: m.side for m in measures}
    outside = 0
    for k in range(len(found["forget"])):
        pool = Pool({part: np.concatenate([out[k : k + 1], cell.oracles[part]]) for part, out in found.items()}, cell.rows)  # type: ignore[misc]
        outside += overall(measured(measures, pool), sides, grains(measures, pool))["verdict"] == "outside"
    return {"told": outside / len(found["forget"]), "models": len(found["forget"])}


def _utility(own: Pool, oracles: Pool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in ("forget", "retained", "unseen"):
        a, b = 100 * own.scores(part), 100 * oracles.scores(part)  # type: ignore[arg-type]
        low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95) if np.ptp(a) + np.ptp(b) > 0 else (0.0, 0.0)
        found |= {f"{part}_accuracy": float(a.mean()), f"{part}_change": float(a.mean() - b.mean())}
        found |= {f"{part}_low": float(low), f"{part}_high": float(high)}
    return found


def _gap(cell: Cell, own: Pool, oracles: Pool) -> dict[str, float]:
    """Return mean and 95 % interval over originals of the average gap to the mean oracle."""
    theirs = np.mean([_four(cell, oracles, k) for k in range(len(oracles.outputs["forget"]))], axis=0)
    gaps = np.array([np.abs(_four(cell, own, k) - theirs).mean() for k in range(len(own.outputs["forget"]))])
    half = float(stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else float("nan")
    return {"mean": float(gaps.mean()), "low": float(gaps.mean()) - half, "high": float(gaps.mean()) + half}


def _four(cell: Cell, pool: Pool, k: int) -> np.ndarray:
    """Return forget, retained and test accuracy and the attack's success on model k, in points."""
    chance = {part: np.exp(pool.log_chances(part)[k])[:, None] for part in ("forget", "retained", "unseen")}  # type: ignore[arg-type]
    members, others = (chance[part][:ATTACKED] for part in ("retained", "unseen"))
    n = min(len(members), len(others))
    x, y = np.concatenate([members[:n], others[:n]]), np.repeat([1, 0], n)
    attack = SVC(C=3, kernel="rbf", gamma="auto").fit(x, y)  # Jia et al.'s: success is a forgotten row taken for one never seen
    accuracy = [
        float((pool.outputs[part][k].argmax(1) == np.asarray(cell.rows[part].y)).mean()) for part in ("forget", "retained", "unseen")
    ]
    return 100 * np.array([*accuracy, float((attack.predict(chance["forget"]) == 0).mean())])
