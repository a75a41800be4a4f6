"""Whether the holdout rows had no part in how a run came to be. No PyTorch at import: pages look here."""

from __future__ import annotations

from collections.abc import Sequence

from influence.store import Project, Run

UNTOUCHED = "No question ever saw the holdout rows."


def touched(project: Project, run: Run) -> str:
    """Return in a sentence why holdout figures of a run can flatter it; "" if nothing was chosen by them.

    They can where it, or a model that it was made from, is a step that was taken as the result, or one of several models made for one
    request: Run and Compare show the holdout figures of each, and the best of many looks better on these rows than it is.
    """
    runs, made, whose = project.runs(), run, "This model"
    while not (why := _chosen(runs, made)):
        if not made.parent:
            return ""
        made, whose = project.run(made.parent), "A model that this one was made from"
    return f"{whose} is {why}: the holdout rows are not untouched, and figures on them can look better than on others."


def _chosen(runs: Sequence[Run], made: Run) -> str:
    """Return among what a person chose a model who could see holdout figures of each; "" if there was no choice.

    Models of the same weights are one, and one beside the model retrained for comparison, which every request has, is no choice.
    """
    if at := step(made):
        return f"{at} of its unlearning, chosen by a person who could see holdout figures of every kept step"
    if made.kind != "unlearn":
        return ""
    request = (made.parent, made.body["selection"])
    asked = [run for run in runs if run.kind == "unlearn" and (run.parent, run.body["selection"]) == request and not run.body.get("random")]
    yardstick = {_weights(run) for run in asked if run.body.get("yardstick")}
    models = {_weights(run) for run in asked}
    few = len(models - yardstick) < 2
    return "" if few else f"one of {len(models):,} made for the same request; whoever chose among them could see holdout figures of each"


def _weights(run: Run) -> str:
    return str(run.body["checkpoints"][-1]["digest"])


def step(run: Run) -> str:
    """Return at which step of how many a run was taken: "step 10 of 20"; "" if it is a result."""
    taken = run.body.get("step")
    return f"step {taken['at']:,} of {taken['of']:,}" if taken else ""
