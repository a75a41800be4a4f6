"""Whether the holdout rows had no part in how a run came to be. No PyTorch at import: pages look here."""

from __future__ import annotations

from influence.store import Project, Run

UNTOUCHED = "No question ever saw the holdout rows."


def touched(project: Project, run: Run) -> str:
    """Return in a sentence why holdout figures of a run can flatter it; "" if nothing was chosen by them.

    They can where it, or a model that it was made from, is a step that was taken as the result, or one of several models made for one
    request: Run and Compare show the holdout figures of each, and the best of many looks better on these rows than it is.
    """
    made, whose = run, "This model"
    while not (why := _chosen(project, made)):
        if not made.parent:
            return ""
        made, whose = project.run(made.parent), "A model that this one was made from"
    return f"{whose} is {why}: the holdout rows are not untouched, and figures on them can look better than on others."


def _chosen(project: Project, made: Run) -> str:
    """Return among what a person chose a model who could see holdout figures of each; "" if there was no choice.

    One model beside the one that is retrained for comparison, which every request has, is none.
    """
    if at := step(made):
        return f"{at} of its unlearning, chosen by a person who could see holdout figures of every kept step"
    if made.kind != "unlearn" or made.body.get("yardstick"):
        return ""
    asked = [
        run for run in project.runs()
        if (run.parent, run.body.get("selection")) == (made.parent, made.body["selection"]) and not run.body.get("yardstick")
        and "step" not in run.body
    ]  # fmt: skip
    alone = sum(run.body["method"]["name"] != "retrain" for run in asked) < 2
    return "" if alone else f"one of {len(asked):,} made for the same request; whoever chose among them could see holdout figures of each"


def step(run: Run) -> str:
    """Return at which step of how many a run was taken: "step 10 of 20"; "" if it is a result."""
    taken = run.body.get("step")
    return f"step {taken['at']:,} of {taken['of']:,}" if taken else ""
