"""Make a model forget rows, beside the same model retrained without them."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from influence import training
from influence.actions import _steps
from influence.actions._aside import Aside
from influence.actions._bands import bands
from influence.actions._monitor import group_sizes, margins, monitor, watched
from influence.actions._opened import Opened, chosen, opened
from influence.actions._refit import REFITTED, Refit, refit
from influence.actions._relabelling import in_models_unit
from influence.actions._unlearned import kept_as_run, preparing, yardstick_of
from influence.errors import BadInput
from influence.loop import Bound
from influence.registry import settings, unlearning
from influence.store import Project
from influence.types import Event, Report, Selection, ignore
from influence.unlearning._descent import Descent
from influence.unlearning._rows import ALREADY, ONLY_REMOVES, sides
from influence.unlearning._stride import Stride


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
    labels: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Unlearn `ids`, a kept `selection` (digest) or the current one, as a new run; the retrained model is made first, as the yardstick.

    With `labels`, one for each row or one for all, the rows stay and their labels are corrected: the new run stands on data that say so.

    Events carry the live metrics; the first ones also those of the original and the retrained model, `original:*` and `retrained:*`,
    between which values those of kept oracles lie, `oracles_low:*` and `oracles_high:*`, and how many rows each group has, `n:*`. States
    that an approximate method went through are kept for `roll_back`. Methods that watch the retained rows guard the groups of `group`, too.
    The model that `retrain` makes as it is set by default is trained once, as everybody's yardstick.

    Raises:
        BadInput: unknown rows or only such as were removed before, a method that is not open to this model, or a selection it cannot use.
    """
    it = opened(project, run)
    rows = requested(it, chosen(project, it, ids, selection, labels, relabels=True))
    asked = in_models_unit(it, rows)
    by = (it.run.body.get("groups") or [""])[0] if group is None else group
    unlearner = unlearning.make(method, _guarding(method, set or {}, by))
    refuse(it, unlearner, asked)
    count, gone = it.trained.recipe.threads if it.trained.recipe else 1, it.trained.removed
    look = monitor(it.dataset, rows, query, by, count, removed=gone)
    given = refit(it, rows) if getattr(unlearner, "preprocessing", "kept") == REFITTED else Refit(it.dataset, it.trained)
    original = look(training.load(it.trained))
    _tell(report, {"original": original, "n": group_sizes(it.dataset, query, by)})
    is_truth = unlearner == unlearning.make("retrain")  # then it is its own yardstick, and the model is not trained twice
    if is_truth and (known := _known(project, it, rows)):
        return _again(project, it, rows, unlearner, known, {"original": original, "retrained": _seen(project, known, look)}, report)
    retrained = None if is_truth else _oracle(project, it, rows, look, report)
    references = {"original": original}
    if retrained and retrained["run"]:
        truth = margins(it.dataset, rows, training.load(project.trained(retrained["run"])), count)
        look = monitor(it.dataset, rows, query, by, count, truth, gone)
        references = {"original": look(training.load(it.trained)), "retrained": retrained["metrics"]}
        _tell(report, {**references, **bands(project, retrained["run"], watched(it.dataset, rows, gone), truth)})
    look = look if given.dataset is it.dataset else monitor(given.dataset, rows, query, by, count, removed=gone)
    prepared = _prepared(project, it, unlearner, given, report)
    with _steps.keeping(project, look, report, _leaves_states(unlearner)) as steps:
        said: dict[str, str] = {}
        heard = _hearing(steps.report, said)
        made = unlearner(given.trained, given.dataset.train, asked, monitor=steps.look, report=heard, workspace=it.workspace)
        seconds = steps.worked
        paid = {"retrained": retrained["run"], "retrain_seconds": retrained["seconds"]} if retrained else {"retrain_seconds": seconds}
        seen = {"live": look(training.load(made)), "references": references, "watched": {"query": query, "group": by}}
        told = {**paid, **prepared, **seen, "told": said.get(type(unlearner).id, "")}
        new, body = kept_as_run(project, it, rows, made, unlearner, seconds, told, yardstick=is_truth, given=given, steps=steps)
    _steps.fade(project)
    return _result(new, body, prepared)


def requested(it: Opened, selection: Selection) -> Selection:
    """Return what a request asks of a model: the selected rows without those that it was made without.

    Raises:
        BadInput: none is left, or all that the model has are to be removed.
    """
    rows = selection.without(it.trained.removed)
    if not len(rows):
        raise BadInput(ALREADY.format(n=len(selection)))
    if rows.action != "relabel" and not (it.seen & ~it.dataset.train.mask(rows.ids)).any():
        raise BadInput(f"All {int(it.seen.sum()):,} training rows of this model are selected; a model needs some. Select fewer.")
    return rows


def refuse(it: Opened, unlearner: Any, rows: Selection) -> None:
    """Refuse what a method cannot do before anything is trained; `rows`: with labels as the model knows them.

    Raises:
        BadInput: it is not open to this model, does not relabel, or its settings do not fit these rows.
    """
    if reason := unlearner.unavailable(it.trained):
        raise BadInput(reason)
    if rows.action == "relabel" and not getattr(unlearner, "relabels", False):
        raise BadInput(ONLY_REMOVES.format(action=rows.action))
    if rows.action == "relabel" and getattr(unlearner, "preprocessing", "kept") == REFITTED:
        raise BadInput("Other labels leave the rows where they are, so that preprocessing need not be fitted again. Set it to kept.")
    if rows.action == "remove":
        sides(it.trained, it.dataset.train, rows)
    if hasattr(unlearner, "refuse"):
        unlearner.refuse(it.trained, it.dataset.train, rows)


def _guarding(method: str, given: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Return the settings with the watched groups as those to guard, if the method guards any and the settings name none."""
    able = any(each.name == "guard" for each in settings(unlearning.classes[method])) if method in unlearning.classes else False
    return {**({"guard": group} if able and group else {}), **given}


def _result(run: str, body: Mapping[str, Any], prepared: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": run,
        "claim": body["claim"],
        "claim_note": body["claim_note"],
        "metrics": body["metrics"],
        "evaluation_metrics": body["evaluation_metrics"],
        "seconds": body["seconds"],
        **prepared,
        "retrain_seconds": body["retrain_seconds"],
        "retrained": body.get("retrained", run),
        "n_removed": body["n_removed"],
        **({"n_relabelled": body["n_relabelled"]} if "n_relabelled" in body else {}),
    }


def _tell(report: Report, references: Mapping[str, Mapping[str, float]]) -> None:
    """Tell the live metrics of other models: the original, the retrained one, and oracles; and on how many rows those of groups rest."""
    told = {f"{role}:{name}": value for role, found in references.items() for name, value in found.items()}
    report(Event("retrained" if "retrained" in references else "original", 1, 1, metrics=told))


def _hearing(report: Report, said: dict[str, str]) -> Report:
    """Return the same report, which also keeps what each stage said last."""

    def hear(event: Event) -> None:
        said[event.stage] = event.note
        report(event)

    return hear


def _leaves_states(unlearner: Any) -> bool:
    """Whether states are kept: not of a method that trains anew, nor of a certified one, whose noise known states would undo."""
    return isinstance(unlearner, Descent | Stride) and not hasattr(unlearner, "assumptions")


def _again(
    project: Project,
    it: Opened,
    selection: Selection,
    unlearner: Any,
    known: Mapping[str, Any],
    references: Mapping[str, Mapping[str, float]],
    report: Report,
) -> dict[str, Any]:
    """Return the retraining that was made before: its run, or if that stands in no list, a run of the same weights that does."""
    run = project.run(known["run"])
    _tell(report, references)
    if not run.body.get("yardstick"):
        return _result(run.id, run.body, {})
    told = {"retrain_seconds": known["seconds"], "live": references["retrained"], "references": references}
    return _result(*kept_as_run(project, it, selection, project.trained(run.id), unlearner, known["seconds"], told, yardstick=True), {})


def _prepared(project: Project, it: Opened, unlearner: Any, given: Refit, report: Report) -> dict[str, Any]:
    """Make what serves every request of this model, if the method has such; return what it cost, once, and how many requests it served."""
    if not hasattr(unlearner, "prepare"):
        return {}
    name = preparing(it, type(unlearner).id)
    known = project.noted(name) or {"prepare_seconds": 0.0, "served": 0}
    importlib.import_module("torch._dynamo")  # two seconds that PyTorch takes at a process's first forward-mode pass: no part of a request
    began, heard = time.perf_counter(), Aside(report)
    unlearner.prepare(given.trained, given.dataset.train, it.workspace, report=lambda event: heard(replace(event, stage="prepare")))
    spent = time.perf_counter() - began - heard.seconds
    project.note(name, {**known, "prepare_seconds": known["prepare_seconds"] + spent})  # paid, whether or not the request is served
    return {"prepare_seconds": known["prepare_seconds"] + spent, "served": known["served"] + 1}


def _known(project: Project, it: Opened, selection: Selection) -> dict[str, Any] | None:
    """Return run and seconds of the model retrained without these rows, if it was."""
    found: dict[str, Any] | None = project.noted(yardstick_of(it, selection))
    return found


def _seen(project: Project, known: Mapping[str, Any], look: Callable[[Bound], dict[str, float]]) -> dict[str, float]:
    """Return the live metrics of a kept yardstick."""
    return look(training.load(project.trained(known["run"])))


def _oracle(
    project: Project, it: Opened, selection: Selection, look: Callable[[Bound], dict[str, float]], report: Report
) -> dict[str, Any]:
    """Return run, seconds and live metrics of the model retrained without the rows (truth same), made once per run and selection."""
    known = _known(project, it, selection)
    if known is not None:
        return {**known, "metrics": _seen(project, known, look)}
    oracle = unlearning.make("retrain")
    if oracle.unavailable(it.trained):
        return {"run": None, "seconds": None, "metrics": {}}
    began, heard = time.perf_counter(), Aside(report)
    rows = in_models_unit(it, selection)
    made = oracle(it.trained, it.dataset.train, rows, report=lambda event: heard(replace(event, stage="retrain for comparison")))
    seconds = time.perf_counter() - began - heard.seconds
    new, _ = kept_as_run(project, it, selection, made, oracle, seconds, {"yardstick": True}, yardstick=True)
    return {"run": new, "seconds": seconds, "metrics": look(training.load(made))}
