"""Make a model forget rows, beside the same model retrained without them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from influence import training
from influence.actions._monitor import monitor
from influence.actions._new_run import new_run
from influence.actions._opened import Opened, chosen, opened
from influence.actions._refit import REFITTED, Refit, refit
from influence.data.refit import is_fitted
from influence.errors import BadInput
from influence.loop import Bound
from influence.registry import described, unlearning
from influence.store import Project
from influence.types import Event, Report, Selection, Trained, ignore

BROUGHT = "Preprocessing brought: it may have been fitted with the removed rows, so the claim is L1 although the weights never saw them."
KEPT = "Preprocessing kept: the encoder was fitted with the removed rows, so the claim is L1 although the weights never saw them."


def unlearn(
    project: Project,
    method: str = "retrain",
    ids: Sequence[Any] | None = None,
    selection: str | None = None,
    run: str | None = None,
    set: Mapping[str, Any] | None = None,
    group: str | None = None,
    query: str = "",
    report: Report = ignore,
) -> dict[str, Any]:
    """Unlearn `ids`, a kept `selection` (digest) or the current one, as a new run; the retrained model is made first, as the yardstick.

    Events carry the live metrics; the first ones also carry those of the original and the retrained model, `original:*` and `retrained:*`.

    Raises:
        BadInput: unknown rows, a method that is not open to this model, or a selection it cannot use.
    """
    it = opened(project, run)
    rows = chosen(project, it, ids, selection)
    if len(rows) == len(it.dataset.train):
        raise BadInput(f"All {len(rows):,} training rows are selected; a model needs some. Select fewer.")
    unlearner = unlearning.make(method, set)
    if unlearner.unavailable(it.trained):
        raise BadInput(unlearner.unavailable(it.trained))
    by = (it.run.body.get("groups") or [""])[0] if group is None else group
    count = it.trained.recipe.threads if it.trained.recipe else 1
    look = monitor(it.dataset, rows, query, by, count)
    given = refit(it, rows) if getattr(unlearner, "preprocessing", "kept") == REFITTED else Refit(it.dataset, it.trained)
    original = look(training.load(it.trained))
    report(Event("original", 1, 1, metrics={f"original:{k}": v for k, v in original.items()}))
    is_truth = unlearner == unlearning.make("retrain")  # then it is its own yardstick, and the model is not trained twice
    retrained = None if is_truth else _oracle(project, it, rows, look, report)
    if retrained is not None:
        report(Event("retrained", 1, 1, metrics={f"retrained:{k}": v for k, v in retrained["metrics"].items()}))
    look = look if given.dataset is it.dataset else monitor(given.dataset, rows, query, by, count)
    prepared = _prepared(project, it, unlearner, given, report)
    looked = Timed(look)
    began = time.perf_counter()
    made = unlearner(given.trained, given.dataset.train, rows, monitor=looked, report=report, workspace=it.workspace)
    seconds = time.perf_counter() - began - looked.seconds
    truth = {"retrained": retrained["run"], "retrain_seconds": retrained["seconds"]} if retrained else {"retrain_seconds": seconds}
    found = {**truth, **prepared, "live": look(training.load(made))}
    new, body = _keep(project, it, rows, made, unlearner, seconds, found, yardstick=is_truth, given=given)
    return {
        "run": new,
        "claim": body["claim"],
        "claim_note": body["claim_note"],
        "metrics": body["metrics"],
        "evaluation_metrics": body["evaluation_metrics"],
        "seconds": seconds,
        **prepared,
        "retrain_seconds": body["retrain_seconds"],
        "retrained": body.get("retrained", new),
        "n_removed": body["n_removed"],
    }


def _prepared(project: Project, it: Opened, unlearner: Any, given: Refit, report: Report) -> dict[str, Any]:
    """Make what serves every request of this model, if the method has such; return what it cost, once, and how many requests it served."""
    if not hasattr(unlearner, "prepare"):
        return {}
    name = _preparing(it, type(unlearner).id)
    known = project.noted(name) or {"prepare_seconds": 0.0, "served": 0}
    began = time.perf_counter()
    unlearner.prepare(given.trained, given.dataset.train, it.workspace, report=lambda event: report(replace(event, stage="prepare")))
    spent = time.perf_counter() - began
    project.note(name, {**known, "prepare_seconds": known["prepare_seconds"] + spent})  # paid, whether or not the request is served
    return {"prepare_seconds": known["prepare_seconds"] + spent, "served": known["served"] + 1}


def _preparing(it: Opened, method: str) -> str:
    """Return the name under which it is kept what a method's preparation cost and how many requests it served."""
    return f"prepared/{it.run.id}/{method}"


class Timed:
    """A monitor that says how long its looks took: they are for the eye, no part of what unlearning costs."""

    def __init__(self, look: Callable[[Bound], dict[str, float]]) -> None:
        self.look, self.seconds = look, 0.0

    def __call__(self, bound: Bound) -> dict[str, float]:
        """Look."""
        began = time.perf_counter()
        found = self.look(bound)
        self.seconds += time.perf_counter() - began
        return found


def _noted(it: Opened, selection: Selection) -> str:
    """Return the name under which the model retrained without these rows is kept."""
    return f"retrained/{it.run.id}/{selection.digest}"


def _oracle(
    project: Project, it: Opened, selection: Selection, look: Callable[[Bound], dict[str, float]], report: Report
) -> dict[str, Any]:
    """Return run, seconds and live metrics of the model retrained without the rows (truth same), made once per run and selection."""
    known = project.noted(_noted(it, selection))
    if known is not None:
        return {**known, "metrics": look(training.load(project.trained(known["run"])))}
    oracle = unlearning.make("retrain")
    if oracle.unavailable(it.trained):
        return {"run": None, "seconds": None, "metrics": {}}
    began = time.perf_counter()
    made = oracle(it.trained, it.dataset.train, selection, report=lambda event: report(replace(event, stage="retrain for comparison")))
    seconds = time.perf_counter() - began
    new, _ = _keep(project, it, selection, made, oracle, seconds, {"yardstick": True}, yardstick=True)
    return {"run": new, "seconds": seconds, "metrics": look(training.load(made))}


def _keep(
    project: Project,
    it: Opened,
    selection: Selection,
    made: Trained,
    unlearner: Any,
    seconds: float,
    extra: Mapping[str, Any],
    yardstick: bool = False,
    given: Refit | None = None,
) -> tuple[str, dict[str, Any]]:
    """Keep the new model; `yardstick`: it is found again when other methods forget the same rows; `given`: what it was made from."""
    dataset = it.dataset if given is None else given.dataset
    claim, note = _claim(made, it.dataset.encoding, given)
    stored = project.put_selection(selection)
    name, n = (
        type(unlearner).id,
        len(set(made.removed) - set(it.trained.removed)),
    )  # rows that the model was without are not forgotten again
    return new_run(
        project,
        "unlearn",
        dataset,
        made,
        settings={"method": described(unlearner), "selection": stored, "reason": dict(selection.reason), "n": n},
        extra={
            "method": described(unlearner),
            "selection": stored,
            "n_removed": n,
            "claim": claim,
            "weights_claim": made.claim,
            "claim_note": note,
            "groups": it.run.body.get("groups", []),
            "source": it.run.body.get("source", {}),
            **extra,
        },
        seconds=seconds,
        parent=it.run.id,
        name=f"{name} without {n:,} rows",
        notes=lambda run: (
            ({_noted(it, selection): {"run": run, "seconds": seconds}} if yardstick else {})
            | ({_preparing(it, name): {key: extra[key] for key in ("prepare_seconds", "served")}} if "served" in extra else {})
        ),
    )


def _claim(made: Trained, encoding: Mapping[str, Any], given: Refit | None) -> tuple[str, str]:
    """Return the level of the claim, and why it is no higher, or what it rests on: preprocessing counts like weights."""
    if made.claim != "L2" or not is_fitted(encoding):
        return made.claim, ""
    if given is not None and given.note:
        return given.claim, given.note
    return "L1", BROUGHT if "brought" in encoding else KEPT
