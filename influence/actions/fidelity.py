"""How true are a method's predictions? Retrain without random sets of rows and compare (linear datamodeling score, LDS).

No PyTorch at import: pages ask `kept`, `to_train` and `shares_of`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from influence.actions._bank import Shelf, answers, grow, missing
from influence.actions._scored import Described, place, scored, short
from influence.errors import BadInput
from influence.evaluation.fidelity import FEWEST_SETS, Fidelity, lds, noise_ceiling, recalibrated, slope
from influence.evidence import words
from influence.registry import attribution
from influence.store import Project
from influence.store.catalogue import now as clock
from influence.types import Question, Report, ignore

if TYPE_CHECKING:
    from influence.actions._opened import Opened

Truth = Literal["same", "fresh"]
FRESH = 1000
"""Fresh seeds begin this far above the run's own."""


def fidelity(
    project: Project,
    query: str,
    method: str = "metagradient",
    run: str | None = None,
    query_set: Mapping[str, Any] | None = None,
    set: Mapping[str, Any] | None = None,
    fraction: float = 0.01,
    fractions: Sequence[float] = (),
    subsets: int = 32,
    truth: Truth = "same",
    seeds: int = 2,
    seed: int = 0,
    report: Report = ignore,
) -> dict[str, Any]:
    """Compare summed scores with the changes that really happen when `subsets` random sets of a `fraction` of the rows are left out.

    `fractions`: several, instead of one; the figures of the first stand at the top of the result, those of all in `by_fraction`. The
    retrained models are kept, so that other questions and methods are judged by the same truth at no cost.

    Truth *same*: same seed, empty places. Truth *fresh*: `seeds` new seeds, in two banks of means; LDS against each bank, averaged, and its
    ceiling sqrt(r), r the rank correlation of the banks (Park et al., TRAK, arXiv:2303.14186, section 2, defines LDS).

    Raises:
        BadInput: fraction or subsets out of range, or the method is not open to this model.
    """
    from influence.actions._opened import asked, opened
    from influence.actions._retrained import recipe_of

    began = time.perf_counter()
    it = opened(project, run)
    shares = tuple(fractions) or (fraction,)
    plan = _plan(it, shares, subsets, truth, seeds, seed)
    scorer = attribution.make(method, set)
    recipe_of(it)
    question, found = scored(it, asked(query, query_set, it.run), scorer, report)
    truths, bank = _truth(it, plan, subsets, question, report)
    left = [_compared(it, found, size, subsets, seed, truths[size]) for size, _ in plan]
    facts = {"truth": truth, "subsets": subsets, "seeds": seeds if truth == "fresh" else 1, "seed": seed, "computed": clock()}
    results = [{"fraction": share, "removed": size, **facts, **r} for share, (size, _), r in zip(shares, plan, left, strict=True)]
    seconds = time.perf_counter() - began
    stored = project.put_json({"objects": bank["objects"]})
    with project.transaction():
        _note(project, it.run.id, found, results)
        project.record(
            "fidelity",
            inputs={"run": it.run.id, "question": question.digest, "scores": found["scores"]},
            settings={"query": found["query"], "method": found["method"], "fractions": list(shares), **facts},
            outputs={"bank": stored},
            measures={"by_fraction": results},
            seconds=seconds,
        )
    told = {name: bank[name] for name in ("models", "trained", "kept", "bytes")}
    return {**results[0], "by_fraction": results, "bank": told, "run": it.run.id, "seconds": seconds}


def kept(project: Project, run: str, query: Described, method: Described) -> list[dict[str, Any]]:
    """Return what was measured for a run, a question and a method, by fraction and truth; without the scores' own figures."""
    return list(project.noted(_name(project, run, query, method)) or [])


def in_words(result: Mapping[str, Any]) -> str:
    """Return a measurement in one line: the LDS of the smooth value, and where and how often it was measured."""
    truth = "same seed" if result["truth"] == "same" else "new seeds"
    share = words.percent(result["fraction"], 0 if result["fraction"] >= 0.01 else 2)
    return f"{lds_in_words(result)} at {share}, {truth}, {words.count(result['n'], 'retraining')}"


def lds_in_words(result: Mapping[str, Any], of: str = "lds") -> str:
    """Return an LDS with its interval: of the smooth value ("lds"), or of the metric as people read it ("lds_measured")."""
    if not words.known(result[of]):
        return str(result.get("note") or words.TOO_FEW)
    return f"LDS {words.number(result[of])} ({words.interval(result[f'{of}_low'], result[f'{of}_high'])})"


def _name(project: Project, run: str, query: Described, method: Described) -> str:
    return f"fidelity/{place(project, run, query)}/{short(method)}"


def _note(project: Project, run: str, found: Mapping[str, Any], results: list[dict[str, Any]]) -> None:
    """Keep the newest figures of each fraction and truth."""
    new = {(r["truth"], r["removed"]) for r in results}
    old = [r for r in kept(project, run, found["query"], found["method"]) if (r["truth"], r["removed"]) not in new]
    order = sorted(old + results, key=lambda r: (r["truth"] == "fresh", r["removed"]))
    project.note(_name(project, run, found["query"], found["method"]), order)


def to_train(
    project: Project, run: str, n: int, recipe_seed: int, shares: Sequence[float], subsets: int, truth: Truth, seeds: int = 2
) -> int:
    """Return how many models a measurement still has to train, of a run with n training rows: what it costs, in trainings."""
    shelves = [shelf for share in shares for shelf in _shelves(round(share * n), subsets, truth, seeds, 0, recipe_seed)]
    return missing(project, run, list(dict.fromkeys(shelves)))


Plan = list[tuple[int, list[tuple[Shelf, int]]]]


def _plan(it: Opened, shares: Sequence[float], subsets: int, truth: str, seeds: int, seed: int) -> Plan:
    """Return per fraction the number of rows left out, and which models are needed.

    Raises:
        BadInput: a number out of range.
    """
    n, own = int(it.seen.sum()), it.trained.recipe.seed if it.trained.recipe else 0
    sizes = [round(share * n) if 0 < share < 1 else 0 for share in shares]
    for share, size in zip(shares, sizes, strict=True):
        if not 0 < size < n:
            raise BadInput(f"fraction must leave out 1 to {n - 1} of {n} rows; {share:g} leaves out {size}.")
    if subsets < FEWEST_SETS:
        raise BadInput(f"subsets must be at least {FEWEST_SETS}: fewer retrainings say nothing; got {subsets}.")
    if truth not in ("same", "fresh"):
        raise BadInput(f"truth must be same or fresh; got {truth!r}.")
    if truth == "fresh" and seeds < 2:
        raise BadInput(f"Truth fresh needs two seeds or more, to tell what is chance; got {seeds}.")
    return [(size, _shelves(size, subsets, truth, seeds, seed, own)) for size in sizes]


def _shelves(size: int, subsets: int, truth: str, seeds: int, seed: int, own: int) -> list[tuple[Shelf, int]]:
    """Return the shelves of one fraction, with how many models of each."""
    starts = [own + FRESH + s for s in range(seeds)] if truth == "fresh" else [None]
    return [(Shelf(size, seed, start), subsets) for start in starts]


Changes = dict[str, list[np.ndarray]]


def _truth(it: Opened, plan: Plan, subsets: int, question: Question, report: Report) -> tuple[dict[int, Changes], dict[str, Any]]:
    """Train what is missing; return the real changes of the question's value per size and kind, and what the bank holds.

    Changes are one list (S,) for truth same, and for truth fresh two: the means over half of the seeds each. Fresh changes are counted from
    the run's own value, not from that of each seed's model of all rows: a shift of all sets alike moves no rank and no slope.
    """
    from influence.actions._retrained import now

    wanted = list(dict.fromkeys(shelf for _, shelves in plan for shelf in shelves))
    total, done, there = missing(it.project, it.run.id, wanted), 0, {}
    for shelf, count in wanted:
        new = missing(it.project, it.run.id, [(shelf, count)])
        there[shelf] = grow(it, shelf, count, report, done, total)
        done += new
    said = {shelf: answers(it, there[shelf], count, question) for shelf, count in wanted}
    whole = now(it, {"q": question})["q"]
    truths = {}
    for size, shelves in plan:
        changes: dict[str, list[np.ndarray]] = {"value": [], "measured": []}
        for kind, banks in changes.items():
            banks.extend(said[shelf][kind][:, 0] - whole[kind][0] for shelf, _ in shelves)
        truths[size] = {kind: _halves(banks) for kind, banks in changes.items()}
    parts = [digest for shelf in there.values() for digest, _ in shelf["parts"]]
    forms = sorted({shelf["kept"] for shelf in there.values()})
    size = sum(shelf["bytes"] for shelf in there.values())
    models = sum(count for _, count in wanted)
    return truths, {"objects": parts, "models": models, "trained": total, "kept": " and ".join(forms), "bytes": size}


def _halves(banks: list[np.ndarray]) -> list[np.ndarray]:
    half = len(banks) // 2
    return banks if len(banks) == 1 else [np.mean(banks[:half], axis=0), np.mean(banks[half:], axis=0)]


def _compared(it: Opened, found: Mapping[str, Any], size: int, subsets: int, seed: int, truth: Changes) -> dict[str, Any]:
    """Return the figures of one fraction; rank-only scores have no slope."""
    from influence.actions._retrained import random_sets

    scores = it.project.scores(found["scores"])
    left_out = random_sets(it.seen, size, subsets, seed)
    predicted = left_out.astype(np.float64) @ scores.values[:, 0]
    soft, hard = ([lds(predicted, bank) for bank in truth[kind]] for kind in ("value", "measured"))
    return {
        **_figures("lds", soft),
        **_figures("lds_measured", hard),
        **(_sizes(predicted, truth["value"]) if scores.calibrated else _NO_SIZES),
        **_ceiling("noise_ceiling", truth["value"]),
        **_ceiling("noise_ceiling_measured", truth["measured"]),
        "calibrated": scores.calibrated,
        "n": subsets,
        "note": soft[0].note,
    }


_NO_SIZES = dict.fromkeys(("slope", "slope_low", "slope_high", "calibration", "slope_after", "slope_after_low", "slope_after_high"))


def _figures(name: str, banks: list[Fidelity]) -> dict[str, float | None]:
    return {
        name: _mean([bank.lds for bank in banks]),
        f"{name}_low": _mean([bank.low for bank in banks]),
        f"{name}_high": _mean([bank.high for bank in banks]),
    }


def _ceiling(name: str, banks: list[np.ndarray]) -> dict[str, float | None]:
    """Return what chance leaves to reach, of two banks; the truth same has no chance in it."""
    return _figures(name, [noise_ceiling(*banks)]) if len(banks) == 2 else dict.fromkeys((name, f"{name}_low", f"{name}_high"))


def _sizes(predicted: np.ndarray, banks: list[np.ndarray]) -> dict[str, float | None]:
    """Return the slope of realised on predicted changes, and what is left of it after calibrating on every other set."""
    real = np.mean(banks, axis=0)
    before, (factor, after) = slope(predicted, real), recalibrated(predicted, real)
    figures = {"slope": before.slope, "slope_low": before.low, "slope_high": before.high, "calibration": factor}
    figures |= {"slope_after": after.slope, "slope_after_low": after.low, "slope_after_high": after.high}
    return {name: _number(value) for name, value in figures.items()}


def _mean(values: list[float]) -> float | None:
    return _number(float(np.mean(values)))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
