"""Keep a model that was made to forget as a run of the project, with its claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from influence.actions import _steps
from influence.actions._claims import claimed
from influence.actions._new_run import new_run
from influence.actions._opened import Opened
from influence.actions._prices import PREPARED, YARDSTICK
from influence.actions._refit import Refit
from influence.actions._relabelling import corrected
from influence.registry import described
from influence.store import Project
from influence.types import Selection, Trained


def preparing(it: Opened, method: str) -> str:
    """Return the name under which it is kept what a method's preparation cost and how many requests it served."""
    return f"{PREPARED}{it.run.id}/{method}"


def yardstick_of(it: Opened, selection: Selection) -> str:
    """Return the name under which the model retrained without these rows is kept."""
    return f"{YARDSTICK}{it.run.id}/{selection.digest}"


def kept_as_run(
    project: Project,
    it: Opened,
    selection: Selection,
    made: Trained,
    unlearner: Any,
    seconds: float,
    extra: Mapping[str, Any],
    yardstick: bool = False,
    given: Refit | None = None,
    steps: _steps.Kept | None = None,
) -> tuple[str, dict[str, Any]]:
    """Keep the new model; `yardstick`: it is found again when other methods forget the same rows; `given`: what it was made from.

    `steps`: what was kept on the way. A `step` among the `extra` facts says at which of a method's steps the model was taken.
    """
    if made.claim == "L1" and made.final.digest == it.trained.final.digest:
        made = replace(made, claim="L0")  # whatever was tried, the model is the one that saw the rows
    taken = {"step": extra["step"]} if "step" in extra else {}
    relabel = selection.action == "relabel"
    given = corrected(it, selection) if relabel else given
    dataset = it.dataset if given is None else given.dataset
    claim, note = claimed(it, selection, unlearner, made.claim, given)
    note = " ".join(filter(None, [note, extra.get("told")]))  # what a method says at its end belongs to what may be claimed
    stored, final = project.put_selection(selection), project.put_state(made.final.load())
    # rows that the model was without are not forgotten, or corrected, again
    name, n = type(unlearner).id, len(set(selection.ids if relabel else made.removed) - set(it.trained.removed))
    what = f"with {n:,} rows relabelled" if relabel else f"without {n:,} rows"
    return new_run(
        project,
        "unlearn",
        dataset,
        made,
        settings={
            "method": described(unlearner),
            "selection": stored,
            "reason": dict(selection.reason),
            "n": n,
            **({"action": "relabel"} if relabel else {}),
            **taken,
        },
        extra={
            "method": described(unlearner),
            "selection": stored,
            "n_removed": 0 if relabel else n,
            **({"n_relabelled": n} if relabel else {}),
            "claim": claim,
            "weights_claim": made.claim,
            "claim_note": note,
            "groups": it.run.body.get("groups", []),
            "source": it.run.body.get("source", {}),
            **extra,
        },
        seconds=seconds,
        parent=it.run.id,
        name=f"{name} {what}" + (f", step {taken['step']['at']:,}" if taken else ""),
        notes=lambda run: (
            ({yardstick_of(it, selection): {"run": run, "seconds": seconds}} if yardstick else {})
            | ({preparing(it, name): {key: extra[key] for key in ("prepare_seconds", "served")}} if "served" in extra else {})
            | (steps.notes(run, final) if steps else {})
        ),
    )
