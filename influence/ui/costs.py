"""What real retraining will cost, said before it begins, and what that rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from influence.actions import _prices
from influence.actions._pace import estimate
from influence.registry import Registry, unlearning
from influence.store import Run
from influence.types import Selection
from influence.ui import state, words

FIRST = "retrain"
"""The honest baseline among the methods that forget: offered first, and trained once for all."""


def training_seconds(run: Run) -> float | None:
    """Return how long training the model took; of an unlearned one, its retraining."""
    return _prices.training_seconds(run)


def told(run: Run, kind: Registry, name: str, given: Mapping[str, Any]) -> str:
    """Say what a method costs with these settings: in trainings and seconds where it says how many, else in its own words."""
    made, took = kind.make(name, given), training_seconds(run)
    count = getattr(made, "trainings", 0)
    if not count:
        said = str(getattr(made, "cost", "")).rstrip(".")
        return f"{said}; training this model took {words.duration(took)}" if took else said
    if getattr(made, "side_by_side", False):
        return f"At most {retrainings(run, count)}"
    return f"The time of at most {words.count(count, 'training')}" + (f": {words.about(count * took)}" if took else "")


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


def of_method(run: Run, name: str, selection: Selection, given: Mapping[str, Any] | None = None) -> str:
    """Return what a method with these settings costs for these rows: in trainings and seconds where that is known, else in its words."""
    project = state.project()
    told = _prices.price(project, run, project.trained(run.id), state.dataset(run).train, selection, name, given)
    if told.share is None or name == FIRST:
        return str(getattr(unlearning.classes[name], "cost", "")).rstrip(".")
    how, share = "At least" if told.least else "About", told.share
    trainings = f"{words.percent(share, 0)} of a training" if share < 2 else f"{share:,.1f} trainings"
    took = "" if told.seconds is None else f", {words.duration(told.seconds)}"
    return f"{how} {trainings}{took}; rests on {told.basis}{_before(_prices.once(project, run, name))}"


def _before(it: _prices.Once) -> str:
    """Return what has to be made before, once per model, if it was not made yet."""
    if not it.estimated:
        return ""
    return f"; and {'' if it.seconds is None else words.about(it.seconds) + ' of '}preparation, once for all requests to this model"


def prepared(body: Mapping[str, Any]) -> str:
    """Return what took the method of an unlearned run what it makes once for all requests to a model, in words; "" if it makes nothing."""
    if not body.get("prepare_seconds"):
        return ""
    served = f" ({body['served']:,} so far)" if body.get("served") else ""
    return f"preparation took {words.duration(body['prepare_seconds'])}, once for all requests to the model before it{served}"


def offered(run: Run, selection: Selection) -> list[str]:
    """Return the methods that are open to the model and can do what is selected: the baseline first, those with a reservation last."""
    trained, relabel = state.project().trained(run.id), selection.action == "relabel"
    fit = [name for name, cls in unlearning.classes.items() if not relabel or getattr(cls, "relabels", False)]
    open_ones = [name for name in fit if not unlearning.classes[name]().unavailable(trained)]
    return sorted(open_ones, key=lambda name: (name != FIRST, bool(reservation(name))))


def reservation(name: str) -> str:
    """Return why a method is not recommended, or ""."""
    return str(getattr(unlearning.classes[name], "reservation", ""))


def whole(run: Run, name: str, selection: Selection, given: Mapping[str, Any] | None = None) -> str:
    """Return what a method with these settings costs on this model with the retraining beside it."""
    truth = unlearning.make(name, given) == unlearning.make(FIRST)
    return f"{of_method(run, name, selection, given)}. {training(run)}{'' if truth else beside(run, selection)}"


def training(run: Run) -> str:
    """Say how long training the model took, where that is known."""
    took = training_seconds(run)
    return "Its training time is not known here." if took is None else f"Training took {words.duration(took)} in all."


def beside(run: Run, selection: Selection) -> str:
    """Say, with a space before, that a method's run retrains the model as well; "" where it cannot, or the retrained one is kept."""
    return " For comparison the model is retrained as well, once." if retrains(run, selection) else ""


def retrains(run: Run, selection: Selection) -> bool:
    """Whether the first method that forgets these rows retrains the model as well."""
    closed = unlearning.classes[FIRST]().unavailable(state.project().trained(run.id))
    return not closed and not _prices.retrained(state.project(), run, selection)
