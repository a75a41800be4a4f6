"""Verify that a model forgot: is it as models that never saw the rows are? No PyTorch at import: pages look here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from influence.actions import _oracles, _reruns
from influence.errors import BadInput
from influence.evidence import words
from influence.store import Project, Run
from influence.store.catalogue import now
from influence.types import Event, Report, ignore

ORACLES = 64
"""Oracles by default: enough for bands at 5 %, and for a chance value of 1 in 65."""
FEWEST, FEWEST_RUNS = 2, 5
VERSION = 2
"""Of what is kept: a verdict that says less is asked for again."""


def verify(project: Project, run: str | None = None, oracles: int = ORACLES, runs: int = 0, report: Report = ignore) -> dict[str, Any]:
    """Judge a run that does without rows beside `oracles` models trained anew without them, each from its own seed.

    With `runs` also its method: the recipe and the method again from so many other seeds (`method`, by id as `measures`).

    `measures`: by id `label`, `unit`, `value`, `null_low`, `null_high` (the oracles' band), `n` removed rows, `chance`, `verdict`
    ("inside", "outside", "too few"), and the values of the `oracles`. `overall`: the same verdict of all measures together, corrected for
    how many they are. `trained`: how many oracles were trained now; the rest was kept.

    Raises:
        BadInput: the run saw all its rows, its model cannot be trained again, or fewer than two oracles are asked for.
    """
    from influence.actions._opened import opened
    from influence.registry import verification
    from influence.verification._pool import Pool
    from influence.verification._verdict import grains, judged, measured
    from influence.verification._verdict import overall as together

    began = time.perf_counter()
    it = opened(project, run or newest(project))
    _oracles.recipe_of(it)
    if not it.dataset.train.mask(_oracles.forgotten(it)).any():
        raise BadInput(f"Run {it.run.id} does without none of its training rows: there is nothing to verify. Choose an unlearned run.")
    if oracles < FEWEST:
        raise BadInput(f"{oracles} oracles were asked for; it takes at least {FEWEST}, and 19 for a verdict at 5 %.")
    if 0 < runs < FEWEST_RUNS:
        raise BadInput(
            f"{runs} runs of the method were asked for; it takes at least {FEWEST_RUNS} to be told from oracles. Or ask for none."
        )
    known = _oracles.held(it)
    _oracles.grow(it, oracles, report)
    if runs:
        _reruns.grow(it, runs, report)
    report(Event("measure", 0, 1))
    said = _oracles.pooled(it, oracles)
    pool = Pool(said, _oracles.parts(it))  # type: ignore[arg-type]
    measures = [verification.make(name) for name in verification.classes]
    values, sides = measured(measures, pool), {type(m).id: m.side for m in measures}
    n = len(pool.rows["forget"])
    found = {
        type(m).id: {
            "label": m.label,
            "unit": m.unit,
            "side": m.side,
            **asdict(judged(values[type(m).id], m.side, n)),
            "oracles": values[type(m).id][1:].tolist(),
        }
        for m in measures
    }
    result = {
        "run": it.run.id,
        "measures": found,
        "overall": together(values, sides, grains(measures, pool)),
        "method": _reruns.told(it, runs, {part: out[1:] for part, out in said.items()}) if runs else {},
        "oracles": oracles,
        "kept": _oracles.held(it),
        "forgot": len(_oracles.forgotten(it)),
        "runs": runs,
        "trained": max(0, oracles - known),
        "n": {part: len(rows) for part, rows in pool.rows.items()},
        "claim": it.run.body.get("claim", ""),
        "seconds": time.perf_counter() - began,
        "computed": now(),
    }
    with project.transaction():
        project.note(name_of(it.run.id), result)
        project.record(
            "verify",
            inputs={"run": it.run.id, "dataset": it.run.dataset},
            settings={"oracles": oracles, "runs": runs},
            outputs={"oracles": _oracles.key(it)},
            measures={"overall": result["overall"], **{name: {k: each[k] for k in ("value", "verdict")} for name, each in found.items()}},
            seconds=result["seconds"],
        )
    report(Event("measure", 1, 1))
    return result


def newest(project: Project) -> str:
    """Return the newest run that forgot rows.

    Raises:
        BadInput: there is none.
    """
    found = next((run.id for run in project.runs() if run.kind == "unlearn"), None)
    if found is None:
        raise BadInput("No model of this project was made to forget rows yet. Run `unlearn` first.")
    return found


def kept(project: Project, run: str) -> dict[str, Any] | None:
    """Return what was found of a run, or None."""
    found: dict[str, Any] | None = project.noted(name_of(run))
    return found


def held(project: Project, run: Run) -> int:
    """Return how many oracles are known to be kept for a run: those beside which it, or another that forgot the same rows, was judged."""
    alike = [
        r for r in project.runs() if (r.parent, r.dataset, r.body.get("selection")) == (run.parent, run.dataset, run.body.get("selection"))
    ]
    return max((found["kept"] for r in alike if (found := kept(project, r.id))), default=0)


def name_of(run: str) -> str:
    """Return the name of the note of a run's verdict."""
    return f"verified/{run}/{VERSION}"


def as_unusual(chance: float, oracles: int) -> str:
    """Return how many of the oracles are as unusual as the model judged: the chance value counts the model itself, too."""
    count = round(chance * (oracles + 1)) - 1
    return f"{count:,}" if count else "none"


def in_words(result: Mapping[str, Any]) -> str:
    """Return the verdict of all measures together in a sentence."""
    of, count = result["overall"], words.count(result["oracles"], "model")
    if of["verdict"] == "too few":
        return f"Too few to say: {count} trained without the rows; a verdict at 5 % takes 19."
    unusual = f"{as_unusual(of['chance'], result['oracles'])} of these are as unusual"
    if of["verdict"] == "inside":
        return f"This model can't be told from {count} that never saw the rows: {unusual}."
    apart = [each["label"].lower() for each in result["measures"].values() if each["verdict"] == "outside"]
    where = f" It differs in: {', '.join(apart)}." if apart else ""
    return f"This model can be told from {count} that never saw the rows: {unusual}.{where}"
