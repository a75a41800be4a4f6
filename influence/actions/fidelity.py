"""How true are a method's predictions? Retrain without random sets of rows and compare (linear datamodeling score, LDS)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from influence.actions._opened import Opened, asked, opened
from influence.actions._retrained import answers, now, random_sets
from influence.digest import digest
from influence.errors import BadInput
from influence.evaluation.fidelity import lds, noise_ceiling
from influence.registry import attribution, described
from influence.store import Project
from influence.types import Question, Report, ignore


def fidelity(
    project: Project,
    query: str,
    method: str = "metagradient",
    run: str | None = None,
    query_set: Mapping[str, Any] | None = None,
    set: Mapping[str, Any] | None = None,
    fraction: float = 0.01,
    subsets: int = 32,
    truth: Literal["same", "fresh"] = "same",
    seeds: int = 2,
    seed: int = 0,
    report: Report = ignore,
) -> dict[str, Any]:
    """Compare summed scores with the changes that really happen when `subsets` random sets of a `fraction` of the rows are left out.

    What the retrained models said is kept, so that another method is judged by the same truth at no cost.

    Truth *same*: same seed, empty places. Truth *fresh*: `seeds` new seeds, in two banks of means; LDS against each bank, averaged, and its
    ceiling sqrt(r), r the rank correlation of the banks (Park et al., TRAK, arXiv:2303.14186, section 2, defines LDS).

    Raises:
        BadInput: fraction or subsets out of range, or the method is not open to this model.
    """
    began = time.perf_counter()
    it = opened(project, run)
    n = len(it.dataset.train)
    size = round(fraction * n) if 0 < fraction < 1 else 0
    if not (0 < size < n) or subsets < 4 or truth not in ("same", "fresh") or (truth == "fresh" and seeds < 2):
        raise BadInput(
            f"fraction must leave out 1 to {n - 1} of {n} rows, subsets be at least 4, truth same or fresh (with 2 seeds or more); "
            f"got {fraction}, {subsets}, {truth}, {seeds}."
        )
    scorer = attribution.make(method, set)
    if scorer.unavailable(it.trained):
        raise BadInput(scorer.unavailable(it.trained))
    question = it.question([asked(query, query_set)])
    scores = scorer(it.trained, it.dataset.train, question, report)
    left_out = random_sets(n, size, subsets, seed)
    predicted = left_out.astype(np.float64) @ scores.values[:, 0]
    bank = digest([it.trained.digest, question.digest, fraction, subsets, truth, seeds if truth == "fresh" else 0, seed])
    found = project.noted(f"bank/{bank}")
    if found is None:
        found = _same(it, left_out, question, report) if truth == "same" else _fresh(it, left_out, question, seeds, report)
        project.note(f"bank/{bank}", {kind: [bank.tolist() for bank in banks] for kind, banks in found.items()})
    result = _compared(predicted, found, scores.calibrated)
    seconds = time.perf_counter() - began
    with project.transaction():
        project.record(
            "fidelity",
            inputs={"run": it.run.id, "question": question.digest},
            settings={
                "query": described(question.queries[0]),
                "method": described(scorer),
                "fraction": fraction,
                "subsets": subsets,
                "truth": truth,
                "seeds": seeds,
                "seed": seed,
            },
            outputs={},
            measures=result,
            seconds=seconds,
        )
    return {**result, "truth": truth, "fraction": fraction, "removed": size, "subsets": subsets, "run": it.run.id, "seconds": seconds}


def _same(it: Opened, left_out: np.ndarray, question: Question, report: Report) -> dict[str, list[np.ndarray]]:
    before = now(it, {"q": question})["q"]
    real = answers(it, left_out, {"q": question}, report=report)["q"]
    return {kind: [real[kind][:, 0] - before[kind][0]] for kind in real}


def _fresh(it: Opened, left_out: np.ndarray, question: Question, seeds: int, report: Report) -> dict[str, list[np.ndarray]]:
    """Return, per kind, two banks of mean changes over half of the seeds each, (S,)."""
    sets = np.concatenate([np.zeros((1, left_out.shape[1]), dtype=bool), left_out])
    start = 1000 + (it.trained.recipe.seed if it.trained.recipe else 0)
    own = [start + s for s in range(seeds) for _ in sets]
    real = answers(it, np.tile(sets, (seeds, 1)), {"q": question}, own, report)["q"]
    changes = {kind: real[kind][:, 0].reshape(seeds, len(sets)) for kind in real}
    changes = {kind: c[:, 1:] - c[:, :1] for kind, c in changes.items()}
    half = seeds // 2
    return {kind: [c[:half].mean(0), c[half:].mean(0)] for kind, c in changes.items()}


def _compared(predicted: np.ndarray, banks: Mapping[str, Any], calibrated: bool) -> dict[str, Any]:
    found = {kind: [np.asarray(bank, dtype=float) for bank in banks[kind]] for kind in ("value", "measured")}
    soft = [lds(predicted, bank) for bank in found["value"]]
    hard = [lds(predicted, bank) for bank in found["measured"]]
    return {
        "lds": _mean(s.lds for s in soft),
        "lds_low": _mean(s.low for s in soft),
        "lds_high": _mean(s.high for s in soft),
        "slope": _mean(s.slope for s in soft) if calibrated else None,
        "lds_measured": _mean(s.lds for s in hard),
        "lds_measured_low": _mean(s.low for s in hard),
        "lds_measured_high": _mean(s.high for s in hard),
        "noise_ceiling": _number(noise_ceiling(*found["value"])) if len(soft) == 2 else None,
        "noise_ceiling_measured": _number(noise_ceiling(*found["measured"])) if len(soft) == 2 else None,
        "calibrated": calibrated,
        "n": len(predicted),
    }


def _mean(values: Any) -> float | None:
    return _number(float(np.mean(list(values))))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
