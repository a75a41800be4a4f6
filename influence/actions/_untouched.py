"""Whether the holdout rows had no part in how a run came to be. No PyTorch at import: pages look here."""

from __future__ import annotations

from influence.store import Project, Run

UNTOUCHED = "No question ever saw the holdout rows."


def touched(project: Project, run: Run) -> str:
    """Return in a sentence why holdout figures of a run can flatter it; "" if nothing was chosen by them.

    They can where it, or a model that it was made from, is a step that was taken as the result: Run shows the holdout figures of every kept
    step, and the best of many looks better on these rows than it is.
    """
    made = run
    while "step" not in made.body:
        if not made.parent:
            return ""
        made = project.run(made.parent)
    whose = "This model" if made.id == run.id else "A model that this one was made from"
    return (
        f"{whose} is {step(made)} of its unlearning, chosen by a person who could see holdout figures of every kept step: the holdout "
        "rows are not untouched, and figures on them can look better than on others."
    )


def step(run: Run) -> str:
    """Return at which step of how many a run was taken: "step 10 of 20"; "" if it is a result."""
    taken = run.body.get("step")
    return f"step {taken['at']:,} of {taken['of']:,}" if taken else ""
