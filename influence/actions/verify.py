"""Verify that a model forgot: is it as models that never saw the rows are? No PyTorch at import: pages look here."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.actions import _oracles, _original, _reruns
from influence.actions._oracles import STEPS as STEPS
from influence.actions._reruns import closed as closed
from influence.actions._verified import RELABELLED as RELABELLED
from influence.actions._verified import RELEARN as RELEARN
from influence.actions._verified import RELEARNT as RELEARNT
from influence.actions._verified import SAID as SAID
from influence.actions._verified import as_unusual as as_unusual
from influence.actions._verified import asked as asked
from influence.actions._verified import attack_in_words as attack_in_words
from influence.actions._verified import blind as blind
from influence.actions._verified import fairness_in_words as fairness_in_words
from influence.actions._verified import in_words as in_words
from influence.actions._verified import measured_on as measured_on
from influence.actions._verified import method_in_words as method_in_words
from influence.actions._verified import original_in_words as original_in_words
from influence.actions._verified import relearned_in_words as relearned_in_words
from influence.actions._verified import said as said
from influence.actions._verified import said_of as said_of
from influence.actions._verified import tested as tested
from influence.actions._verified import told as told
from influence.errors import BadInput
from influence.store import Project, Run
from influence.store.catalogue import now
from influence.types import Event, Report, ignore

if TYPE_CHECKING:
    from influence.actions._opened import Opened
    from influence.verification._pool import Pool

ORACLES = 64
"""Oracles by default: enough for bands at 5 %, and for a chance value of 1 in 65."""
FEWEST, FEWEST_RUNS = 2, 5
VERSION = 6
"""Of what is kept: a verdict that says less, or was reckoned otherwise, is asked for again."""


def verify(project: Project, run: str | None = None, oracles: int = ORACLES, runs: int = 0, report: Report = ignore) -> dict[str, Any]:
    """Judge a run that does without rows beside `oracles` models trained anew without them, each from its own seed.

    With `runs` also its method: the recipe and the method again from so many other seeds (`method`, by id as `measures`); without, by those
    that are kept, so that a later look at the model does not lose what is known of its method.

    `measures`: by id `label`, `unit`, `value`, `null_low`, `null_high` (the oracles' band), `middle` (of the oracles), `n` removed rows,
    `chance`, `verdict` ("inside", "outside", "too few"), and the values of the `oracles`; `relearn` is that of `relearned`. `overall`: the
    same verdict of all measures together, corrected for how many they are; `original`: that of the model before any removal, beside the
    same oracles (each measure's `original` is its value; {} and None if its target is of another unit). `attack`: what the
    likelihood-ratio attack finds of the removed rows at rates of false alarms. `fairness`: figures of all holdout rows and of groups,
    beside the oracles (`rows`, `overall`). `relearned`: the loss on removed rows by step of learning them again (`original`, `judged`,
    `low`, `middle`, `high` of the oracles), the steps `needed` and their
    `index`, judged over oracles; {} of models in shards. `trained`: how many oracles were trained now; the rest was kept.

    Raises:
        BadInput: the run saw all its rows, its model cannot be trained again, too few oracles or runs are asked for, or the run can't tell
            of its method.
    """
    from influence.actions._opened import opened

    began = time.perf_counter()
    it = opened(project, run or newest(project))
    _refuse(it, oracles, runs)
    known = _oracles.held(it)
    _oracles.grow(it, oracles, report)
    report(Event("measure", 0, 1))
    said = _oracles.pooled(it, oracles)
    result = {
        "run": it.run.id,
        **_beside(it, said),
        "method": {},
        "oracles": oracles,
        "kept": _oracles.held(it),
        "forgot": len(_oracles.forgotten(it)),
        "relabelled": it.run.body.get("n_relabelled", 0),
        "removed": len(set(it.trained.removed) - set(it.origin.trained.removed)),
        "runs": 0,
        "trained": max(0, oracles - known),
        "n": {part: len(rows) for part, rows in _oracles.parts(it).items()},
        "claim": it.run.body.get("claim", ""),
    }
    if runs:
        earlier = kept(project, it.run.id) or {}  # what is known of the model and of its method stays, however the next runs end
        _keep(it, {**result, **{name: earlier.get(name, result[name]) for name in ("method", "runs")}}, began)
        _reruns.grow(it, runs, report)
    if (count := runs or _reruns.held(it)) >= FEWEST_RUNS:
        beside = said if oracles >= FEWEST_RUNS else _oracles.pooled(it, FEWEST_RUNS)
        result |= {"method": _reruns.told(it, count, {part: out[1:] for part, out in beside.items()}), "runs": count}
    result = _keep(it, result, began)
    report(Event("measure", 1, 1))
    return result


def _refuse(it: Opened, oracles: int, runs: int) -> None:
    """Refuse what can't be verified before anything is trained.

    Raises:
        BadInput: as of `verify`.
    """
    _oracles.recipe_of(it)
    if not it.dataset.train.mask(_oracles.forgotten(it)).any():
        raise BadInput(f"Run {it.run.id} does without none of its training rows: there is nothing to verify. Choose an unlearned run.")
    if oracles < FEWEST:
        raise BadInput(f"{oracles} oracles were asked for; it takes at least {FEWEST}, and 19 for a verdict at 5 %.")
    if runs and runs < FEWEST_RUNS:
        raise BadInput(
            f"{runs} runs of the method were asked for; it takes at least {FEWEST_RUNS} to be told from oracles. Or ask for none."
        )
    if runs and oracles < FEWEST_RUNS:
        raise BadInput(f"{oracles} oracles were asked for; a method is judged beside at least {FEWEST_RUNS}. Ask for more, or for no runs.")
    if runs and (reason := _reruns.closed(it.project, it.run)):
        raise BadInput(reason)


def _keep(it: Opened, found: dict[str, Any], began: float) -> dict[str, Any]:
    """Note what was found with its time, leave a record of it, and return it."""
    result = {**found, "seconds": time.perf_counter() - began, "computed": now()}
    with it.project.transaction():
        it.project.note(name_of(it.run.id), result)
        it.project.record(
            "verify",
            inputs={"run": it.run.id, "dataset": it.run.dataset},
            settings={"oracles": result["oracles"], "runs": result["runs"]},
            outputs={"oracles": _oracles.key(it)},
            measures={
                "overall": result["overall"],
                **{name: {k: each[k] for k in ("value", "verdict")} for name, each in result["measures"].items()},
            },
            seconds=result["seconds"],
        )
    return result


def _beside(it: Opened, said: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return all that is told of the run's model beside the oracles, from what they say of each part's rows, the model first."""
    from influence.actions import _judged_groups, _relearning
    from influence.verification._pool import Pool
    from influence.verification._verdict import at_rates
    from influence.verification.rmia import at_rates as attacked

    pool = Pool(said, _oracles.parts(it))  # type: ignore[arg-type]
    again = _oracles.relearned(it, len(said["forget"]) - 1)
    relearned = {} if again is None else _relearning.told(it, again)
    was, unseen = _original.said(it), pool.rows["unseen"]
    found, verdict = _judge(pool, again)
    before: dict[str, Any] = {}
    saw: dict[str, Any] = {}
    if was is not None:
        outputs = {part: np.concatenate([was[part][None], out[1:]]) for part, out in said.items()}
        learnt = None if again is None else np.concatenate([[relearned["original"]], again[1:]])
        before, saw = _judge(Pool(outputs, pool.rows), learnt)  # type: ignore[arg-type]
    return {
        "measures": {name: {**each, "original": before[name]["value"] if before else None} for name, each in found.items()},
        "overall": verdict,
        "original": saw,
        "attack": at_rates(attacked(pool), "both", len(unseen)),
        "fairness": _judged_groups.told(it, said["unseen"], unseen, None if was is None else was["unseen"]),
        "relearned": relearned,
    }


def _judge(pool: Pool, again: np.ndarray | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return each measure of the pool's first model beside the others, and the verdict of all; `again`: how they learn the rows again."""
    from influence.actions import _relearning
    from influence.registry import verification
    from influence.verification._verdict import grains, judged, measured, overall

    measures: list[Any] = [verification.make(name) for name in verification.classes]
    values, kinds = measured(measures, pool), {type(m).id: m for m in measures}
    if again is not None:
        values["relearn"], kinds["relearn"] = again.mean(1), _relearning.Relearn()
    n = len(pool.rows["forget"])
    found = {
        name: {**_facts(m), **asdict(judged(values[name], m.side, n, *_within(m))), "oracles": values[name][1:].tolist()}
        for name, m in kinds.items()
    }
    return found, overall(values, {name: m.side for name, m in kinds.items()}, grains(measures, pool))


def _within(measure: Any) -> list[tuple[float, float]]:
    return [measure.within] if hasattr(measure, "within") else []


def _facts(measure: Any) -> dict[str, str]:
    return {"label": measure.label, "unit": measure.unit, "side": measure.side}


def newest(project: Project) -> str:
    """Return the newest run that forgot rows and was asked for: models that others are only compared with stand in no list.

    Raises:
        BadInput: there is none.
    """
    found = next((run.id for run in project.runs() if run.kind == "unlearn" and not run.body.get("yardstick")), None)
    if found is None:
        raise BadInput("No model of this project was made to forget rows yet. Run `unlearn` first.")
    return found


def kept(project: Project, run: str) -> dict[str, Any] | None:
    """Return what was found of a run, or None."""
    found: dict[str, Any] | None = project.noted(name_of(run))
    return found


def refused(project: Project, run: Run) -> str:
    """Return why a run's model cannot be verified, or ""."""
    first = run
    while first.parent:
        first = project.run(first.parent)
    return _oracles.closed(project.trained(first.id), project.trained(run.id))


def held(project: Project, run: Run) -> int:
    """Return how many oracles are known to be kept for a run: those beside which it, or another that forgot the same rows, was judged."""
    alike = [
        r for r in project.runs() if (r.parent, r.dataset, r.body.get("selection")) == (run.parent, run.dataset, run.body.get("selection"))
    ]
    return max((found["kept"] for r in alike if (found := kept(project, r.id))), default=0)


def name_of(run: str) -> str:
    """Return the name of the note of a run's verdict."""
    return f"verified/{run}/{VERSION}"
