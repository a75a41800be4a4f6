"""What real retraining will cost, said before it begins, and what that rests on."""

from __future__ import annotations

from influence.actions._pace import estimate
from influence.store import Run
from influence.ui import state, words


def retrainings(run: Run, count: int) -> str:
    """Say how long so many retrainings of a run will take, and why one thinks so."""
    said, it = words.count(count, "real training"), estimate(state.project(), run, count)
    if it is None:
        return said
    about = words.about(it.seconds)
    told = {
        "own": f"{about}, as earlier ones of this model took",
        "kind": f"{about}, if they go side by side as those of another {words.title(run.body['model']['name'])} did",
        "alone": f"at most {about}, as if one went after another",
    }
    return f"{said}: {told[it.basis]}"
