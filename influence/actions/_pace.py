"""What a retraining costs: the seconds that each took when several went side by side, as earlier ones showed. No PyTorch: pages look here.

How much going side by side saves depends on the model and the machine: little for a large model, which fills the processor by itself, most
of the time for a small one, and nothing where PyTorch cannot put it side by side (batch statistics). So it is not guessed. The note
`pace/<run>` adds up the `models` and `seconds` of all retrainings of a run, with the seconds that one training took `alone`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from influence.actions._prices import training_seconds
from influence.store import Project, Run


class Estimate(NamedTuple):
    """Seconds, and what they rest on: retrainings of this model, those of others of its kind, or one training alone (a bound)."""

    seconds: float
    basis: Literal["own", "kind", "alone"]


def noted(project: Project, run: Run, models: int, seconds: float) -> None:
    """Add to what is known of a run that so many models were retrained in so many seconds."""
    with project.transaction():  # another process may count at the same time
        before = project.noted(_name(run.id)) or {"models": 0, "seconds": 0.0}
        counted = {"models": before["models"] + models, "seconds": before["seconds"] + seconds}
        project.note(_name(run.id), {**counted, "alone": training_seconds(run), "kind": _kind(run)})


def estimate(project: Project, run: Run, count: int) -> Estimate | None:
    """Return how long `count` retrainings of a run will take; None if not even one training was timed."""
    own, alone = project.noted(_name(run.id)), training_seconds(run)
    if own:
        return Estimate(count * own["seconds"] / own["models"], "own")
    if not alone:
        return None
    alike = [note for note in project.notes("pace/").values() if note["kind"] == _kind(run) and note["alone"]]
    if alike:
        share = sum(note["seconds"] for note in alike) / sum(note["models"] * note["alone"] for note in alike)
        return Estimate(count * alone * share, "kind")
    return Estimate(count * alone, "alone")


def _name(run: str) -> str:
    return f"pace/{run}"


def _kind(run: Run) -> str | None:
    name: str | None = run.body.get("model", {}).get("name")
    return name
