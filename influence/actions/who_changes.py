"""Predict who else changes without some rows: every metric of every group, and the evaluation rows that move most."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from influence.actions import _anew, preview
from influence.actions._calibration import anew, fit, holm, of_way, p_value, reach, units
from influence.actions._measures import RATES, tables, within
from influence.actions._movers import movers
from influence.actions._opened import Opened, chosen, opened
from influence.actions._scored import short
from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.evaluation.fairness import GAPS
from influence.groups import FEWEST
from influence.store import Project, Run
from influence.types import Event, Report, ignore

VERSION = 4
"""What an older version predicted lacks the p-values that pages read, or was stepped otherwise: it is made again."""
STEP = {"products": 8, "rows": 1000, "turns": 3}
"""How the step in weights is found: `Settled.step`, with the curvature read anew on the way."""


def key(run: str, ids: Sequence[Any], group: str, prepared: Mapping[str, Any] | None) -> str:
    """Return the name under which what is predicted without these rows is kept; `prepared`: the preview that gave figures, if any."""
    by = {"rows": sorted(map(str, ids)), "group": group, "scores": prepared["scores"] if prepared else "", "version": VERSION}
    by |= {"most": prepared["most"]} if prepared else {}  # how it was calibrated, from the same scores
    return f"who/{run}/{short(by)}"


def kept(project: Project, run: Run, ids: Sequence[Any], group: str) -> dict[str, Any] | None:
    """Return what was predicted without these rows, or None."""
    found: dict[str, Any] | None = project.noted(key(run.id, ids, group, preview.kept(project, run.id, group)))
    return found


def who_changes(
    project: Project, ids: Sequence[Any] | None = None, run: str | None = None, group: str | None = None, report: Report = ignore
) -> dict[str, Any]:
    """Predict every metric of every group, trained anew without rows (`ids`, or the current selection), and which predictions move most.

    The outputs on all evaluation rows are predicted by one step in the weights; every metric follows from them. What a prepared preview
    has is taken from its scores, which are more exact, for as many rows as it has bands. The 90 % intervals hold the
    metric of one model that is trained anew, from another seed, without the rows, on these evaluation rows. They allow for chance, from 16
    trainings with new seeds, and for wrong predictions, from 16 without other sets of rows; both are made once per model.

    Raises:
        BadInput: no rows or all of them, or the model cannot be trained again.
    """
    began = time.perf_counter()
    it = opened(project, run)
    rows = chosen(project, it, ids).without(it.trained.removed)
    if it.trained.recipe is None:
        raise BadInput("This model has no recipe, so it cannot be trained again to see how far predictions hold. Choose one trained here.")
    by = (it.run.body.get("groups") or [""])[0] if group is None else group
    gone = it.dataset.train.mask(rows.ids) & it.seen
    if not gone.any() or (gone == it.seen).all():
        raise BadInput(f"{int(gone.sum()):,} of the {int(it.seen.sum()):,} rows that training saw are selected. Select some, but not all.")
    trained, prepared = _anew.grow(it, report), preview.kept(project, it.run.id, by)
    now, moved = it.outputs("evaluation").numpy(), _moved(it, np.concatenate([_calibrating(it), gone[None]]), report)
    seeds, without = _anew.outputs(project, it.run.id, "seeds"), _anew.outputs(project, it.run.id, "without")
    found = foretold(it.dataset, by, now, moved, seeds, without, _scored(it, prepared, gone))
    seconds = time.perf_counter() - began
    note = {
        "run": it.run.id,
        "group": by,
        "n": int(gone.sum()),
        "n_evaluation": len(now),
        "metrics": project.put_table(found),
        "moved": project.put_table(movers(it.dataset, now, moved[-1], seeds)),
        "seeds": _anew.COUNT,
        "without": _anew.COUNT,
        "trained": trained,
        "seconds": seconds,
    }
    with project.transaction():
        project.note(key(it.run.id, rows.ids, by, prepared), note)
        project.record(
            "who_changes",
            inputs={
                "run": it.run.id,
                "dataset": it.run.dataset,
                "selection": project.put_selection(rows),
                **({"scores": prepared["scores"]} if prepared else {}),
            },
            settings={"group": by, "models": _anew.COUNT, "seed": _anew.SEED, **STEP},
            outputs={"metrics": note["metrics"], "moved": note["moved"]},
            measures={},
            seconds=seconds,
        )
    return note


def place_of(query: Mapping[str, Any], classes: bool) -> tuple[str, str] | None:
    """Return metric and group ("" for all) by which measures tell what a query reads, or None where they do not."""
    if query["name"] == "group_rate":
        return RATES[query["given"].get("of", "positives")], query["given"].get("which", "")
    if query["name"] in (*GAPS, "group_loss_gap", "worst_group_loss"):
        return query["name"], ""
    overall = {"loss": ("mae", "loss"), "accuracy_margin": ("r2", "accuracy"), "accuracy": ("r2", "accuracy")}
    return (overall[query["name"]][classes], "") if query["name"] in overall else None


def by_chance(project: Project, run: Run, group: str) -> pd.DataFrame:
    """Return every metric of the kept models from new seeds on all rows: columns metric, group, mean, sd, n; empty if there are none."""
    if not _anew.held(project, run.id):
        return pd.DataFrame(columns=["metric", "group", "mean", "sd", "n"])
    dataset = project.dataset(run.dataset)
    lines = pd.concat([pd.DataFrame(_lines(z, dataset, group)) for z in _anew.outputs(project, run.id, "seeds")], ignore_index=True)
    return lines.groupby(["metric", "group"])["value"].agg(mean="mean", sd="std", n="count").reset_index()


Scored: TypeAlias = dict[tuple[str, str], tuple[dict[str, float], float, float]]
"""Of metrics, by metric and group: the fit of realised on predicted changes, and of the asked rows the predicted change and the reach."""


def _scored(it: Opened, note: dict[str, Any] | None, gone: np.ndarray) -> Scored:
    """Return what a prepared preview predicts by scores: more exact than a step in the weights, for the few metrics that it has."""
    if note is None or not note["calibration"] or preview.unbanded(note, int(gone.sum())):
        return {}
    note, values = preview.in_units(note, it.dataset), it.project.scores(note["scores"]).values
    sums, found = values[gone].sum(0), {}
    reached = float(preview.reached(note, sums, int(gone.sum())))
    for i, label in enumerate(note["labels"]):
        fits, place = note["calibration"][label], place_of(note["queries"][label], bool(it.dataset.train.classes))
        if place:
            change = preview.hard(label, note["before"][label]["value"], fits["value"], sums[i])
            found[place] = {name: float(x) for name, x in of_way(fits["measured"], sums[i]).items()}, float(change), reached
    return found


def _calibrating(it: Opened) -> np.ndarray:
    return _anew.sets(it) & it.seen


def _moved(it: Opened, sets: np.ndarray, report: Report) -> np.ndarray:
    """Return by how much outputs on the evaluation rows are predicted to change without each of R sets of rows (R, N): (R, M, C).

    Those of the calibrating sets, all but the last, are kept.
    """
    name = f"anew/{it.run.id}/moved/{short({'step': STEP, 'version': VERSION})}"
    digest = it.project.noted(name)
    if digest is not None and it.project.objects.find(digest) is not None:
        return np.concatenate([np.asarray(it.project.array(digest)), _stepped(it, sets[-1:], report)])
    found = _stepped(it, sets, report)
    it.project.note(name, it.project.put_array(found[:-1]))
    return found


def _stepped(it: Opened, sets: np.ndarray, report: Report) -> np.ndarray:
    from influence import grads
    from influence.loop import threads
    from influence.training import load
    from influence.unlearning._response import Settled, by_id

    train, found = by_id(it.dataset.train), []
    places = np.argsort(it.dataset.train.ids, kind="stable")
    assert it.trained.recipe is not None
    with threads(it.trained.recipe.threads):
        settled, bound = Settled.at(it.trained, train, it.workspace, report), load(it.trained)
        start = bound.flat.clone()
        before = grads.outputs(bound, it.dataset.evaluation).numpy()
        for k, gone in enumerate(sets):
            report(Event("step", k, len(sets), "predicted by a step in the weights"))
            forget, retained = train.take(gone[places]), train.take((it.seen & ~gone)[places])
            bound.flat.copy_(start + settled.step(forget, retained, **STEP))
            found.append(grads.outputs(bound, it.dataset.evaluation).numpy() - before)
    return np.stack(found)


def foretold(
    dataset: Dataset, group: str, now: np.ndarray, moved: np.ndarray, seeds: np.ndarray, without: np.ndarray, scored: Scored
) -> pd.DataFrame:
    """Return every metric of every group of ten rows: metric, group ("": all rows or a gap), n, now, value, low, high (90 %), chance, p.

    `now`: outputs of the model (M, C). `moved`: predicted changes of these without the calibrating sets, and at last without the rows.
    `seeds`: outputs of models from new seeds (S, M, C); `without`: of those retrained without the calibrating sets. `scored`: what
    scores predict of some metrics. `chance`: standard deviation over the seeds. `p`: of the metric as it is now under what is predicted,
    adjusted over all lines (Holm). Metrics that some of these models lack are left out.
    """
    lines = [(line["metric"], line["group"], int(line["n"])) for line in _lines(now, dataset, group)]
    start, over, real, expected = (
        np.array([[line["value"] for line in _lines(z, dataset, group)] for z in several])
        for several in (now[None], seeds, without, now + moved)
    )
    usable = np.isfinite(np.concatenate([start, over, real, expected])).all(0)
    usable &= np.array([n >= FEWEST for _, _, n in lines])
    lines = [line for line, u in zip(lines, usable, strict=True) if u]
    start, over, real, expected = (part[:, usable] for part in (start, over, real, expected))
    tried, asked = (expected - start)[:-1], (expected - start)[-1]
    unit = units(tried)
    far, reached, found = reach(tried, unit), reach(asked, unit), []
    for i, (metric, name, n) in enumerate(lines):
        by_step = (fit(tried[:, i], (real - start)[:, i], far), float(asked[i]), float(reached))
        fitted, expected_change, moves = scored.get((metric, name), by_step)
        value, low, high = anew(fitted, over[:, i], expected_change, moves)
        least, most = within(metric)
        ends = (float(np.clip(end, least, most)) for end in (value, low, high))
        told = dict(zip(("value", "low", "high"), ends, strict=True))
        p = p_value(fitted, over[:, i], expected_change, moves, float(start[0, i]))
        found.append({"metric": metric, "group": name, "n": n, "now": start[0, i], **told, "chance": float(over[:, i].std(ddof=1)), "p": p})
    table = pd.DataFrame(found)
    return table.assign(p=holm(table["p"].to_numpy())) if len(table) else table


def _lines(logits: np.ndarray, dataset: Dataset, group: str) -> list[dict[str, Any]]:
    utility, fairness = tables(logits, dataset, "evaluation", group)
    parts = [utility, *([fairness[group]] if group in fairness else [])]
    return [{str(k): v for k, v in line.items()} for line in pd.concat(parts, ignore_index=True).to_dict("records")]
