"""Take a state that unlearning went through as its result, instead of the last one."""

from __future__ import annotations

from typing import Any

from influence import training
from influence.actions import _steps
from influence.actions._opened import opened
from influence.actions._unlearned import kept_as_run
from influence.errors import BadInput
from influence.registry import unlearning
from influence.store import Project, Run
from influence.types import Event, Report, Trained, ignore

CARRIED = ("retrained", "retrain_seconds", "references", "watched", "prepare_seconds")
"""What holds for every model that forgot the same rows."""


def roll_back(project: Project, run: str, step: int, report: Report = ignore) -> dict[str, Any]:
    """Make a new run of the state kept at a `step` of an unlearned run, which stays as it is: same original, same rows, claim L1.

    Raises:
        BadInput: there is no such run, or no state is kept of that step.
    """
    it = opened(project, run)
    held = {each["step"]: each for each in _steps.held(project, it.run.id)}
    if step not in held:
        raise BadInput(f"No state of step {step} is kept of run {it.run.id}. {_instead(it.run, list(held))}")
    at, body = held[step], it.run.body
    original = opened(project, it.run.parent)
    bound = training.load(it.trained).load(project.state(at["digest"]))
    final = training.checkpoint(bound.state(), step, it.trained.final.lr)
    made = Trained(it.trained.model, (final,), it.trained.recipe, "L1", None, it.trained.removed)
    unlearner = unlearning.make(body["method"]["name"], body["method"]["given"])
    told = {key: body[key] for key in CARRIED if key in body}
    told |= {"live": at["metrics"], "step": {"at": step, "of": at["of"], "run": it.run.id}}
    report(Event("roll_back", 0, 1))
    selection = project.selection(body["selection"])
    new, result = kept_as_run(project, original, selection, made, unlearner, at["seconds"], told)
    report(Event("roll_back", 1, 1))
    shared = {key: result.get(key) for key in ("claim", "claim_note", "metrics", "n_removed", "retrained", "retrain_seconds")}
    return {"run": new, **shared, "seconds": at["seconds"], "step": step, "of": at["of"]}


def _instead(run: Run, held: list[int]) -> str:
    """Say of which steps states are kept, or why of none."""
    if held:
        return f"There are: {', '.join(map(str, held))}."
    if taken := run.body.get("step"):
        return f"It was taken at step {taken['at']} of run {taken['run']}; roll {taken['run']} back instead."
    return "None are: it was trained anew, or they were dropped."
