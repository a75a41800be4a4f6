"""Several methods forget the same rows, one after another, beside the same original and the same retrained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from influence.actions._opened import chosen, opened
from influence.actions.unlearn import requested, unlearn
from influence.errors import BadInput, Cancelled
from influence.registry import unlearning
from influence.store import Project
from influence.types import Report, ignore


def race(
    project: Project,
    methods: Sequence[str],
    ids: Sequence[Any] | None = None,
    selection: str | None = None,
    run: str | None = None,
    group: str | None = None,
    query: str = "",
    report: Report = ignore,
) -> dict[str, Any]:
    """Unlearn the same rows by each method at its default settings; `lanes`: of each method its result, or an `error` that says why not.

    A method that fails, however it does, does not stop the others. Rows and figures as of `unlearn`; `original` and `retrained` are runs.

    Raises:
        BadInput: no method or an unknown one, the same twice, or rows that cannot be used.
        Cancelled: somebody asked to stop; that ends the race.
    """
    if not methods or len(set(methods)) < len(methods):
        raise BadInput(f"A race needs different methods, each once; got {', '.join(methods) or 'none'}.")
    for name in methods:
        unlearning.make(name)
    it = opened(project, run)
    rows = requested(it, chosen(project, it, ids, selection, relabels=True))
    stored, lanes = project.put_selection(rows), []
    order = sorted(methods, key=lambda name: name != "retrain")  # first, so that it is trained once
    for place, name in enumerate(order):
        heard = _named(report, f"{name}, {place + 1} of {len(order)}")
        try:
            found = unlearn(project, name, None, stored, it.run.id, None, group, query, heard)
            lanes.append({"method": name, "error": "", **found, **_lane(project, found["run"])})
        except Cancelled:
            raise
        except Exception as error:  # whatever a method raises, somebody's own too: the others go on, and what they found is kept
            lanes.append({"method": name, "error": _why(error, name)})
    return {"original": it.run.id, "retrained": _retrained(lanes), "n_removed": len(rows), "lanes": lanes, **_references(project, lanes)}


def _why(error: Exception, method: str) -> str:
    """Return why a method failed; of an error that is no answer to what was asked for what it was, and how to see where."""
    if isinstance(error, BadInput):
        return str(error)
    what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(": .")
    return f"It stopped unexpectedly: {what}. Unlearn by {method} alone to see where."


def _named(report: Report, name: str) -> Report:
    return lambda event: report(replace(event, note=f"{name} {event.note}".strip()))


def _lane(project: Project, run: str) -> dict[str, Any]:
    return {"live": project.run(run).body.get("live", {})}


def _retrained(lanes: Sequence[Mapping[str, Any]]) -> str | None:
    return next((lane["retrained"] for lane in lanes if not lane["error"] and lane["retrained"]), None)


def _references(project: Project, lanes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the live metrics of the original and the retrained model: what doing nothing, and training anew, come to."""
    runs = [project.run(lane["run"]).body for lane in lanes if not lane["error"]]
    found: dict[str, Any] = max((body.get("references", {}) for body in runs), key=len, default={})
    return {"references": found}
