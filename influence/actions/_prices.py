"""What a method that forgets would cost, told before one commits: as earlier requests took, or as its steps are counted.

Seconds come from what this model's own training took. A count is a lower bound where a method does more than its passes (it looks for a
step size, or looks at the removed rows as well): it says how much more in its own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from influence.evidence import words
from influence.registry import described, unlearning
from influence.store import Project, Run
from influence.types import Examples, Selection, Trained


class Price(NamedTuple):
    """Seconds and share of a training (None: not known), what they rest on ("": nothing), and whether they are a bound from below."""

    seconds: float | None
    share: float | None
    basis: str
    least: bool = False


class Once(NamedTuple):
    """What a method makes once per model: whether it makes something, the seconds that it took (None: not made yet), requests served."""

    needed: bool
    seconds: float | None = None
    served: int = 0


def price(project: Project, run: Run, trained: Trained, train: Examples, selection: Selection, name: str) -> Price:
    """Return what a method at its default settings would cost for these rows of a run's model."""
    (whole, basis), cls = _training(project, run, trained), unlearning.classes[name]
    if name == "retrain":
        return _of(1.0, whole, basis)
    if callable(getattr(cls, "share", None)):  # of others a setting is called so
        return _of(cls().share(trained, train, selection), whole, "the shards that hold these rows")
    if found := _measured(project, run, name, whole):
        return found
    if (expected := getattr(cls(), "expected", None)) is not None:
        return _of(expected(trained, train), whole, "a count of operations", least=True)
    count = _counted(cls(), trained, train, selection)
    return Price(None, None, "") if count is None else _of(count[0], whole, count[1], least=True)


def once(project: Project, run: Run, name: str) -> Once:
    """Return what a method makes once for all requests of a run's model."""
    note = project.noted(f"prepared/{run.id}/{name}") or {}
    return Once(hasattr(unlearning.classes[name], "prepare"), note.get("prepare_seconds") or None, int(note.get("served", 0)))


def _training(project: Project, run: Run, trained: Trained) -> tuple[float | None, str]:
    """Return the seconds of a training: of retrainings of this model where there are some, else of its own; None of a brought model."""
    again = {r.body["retrained"]: r.body["retrain_seconds"] for r in project.runs() if r.parent == run.id and r.body.get("retrained")}
    if again:
        return sum(again.values()) / len(again), words.count(len(again), "retraining") + " of this model"
    if not trained.recipe:
        return None, "this model's own training"
    if run.kind == "unlearn":  # its own seconds are those of a method
        return run.body.get("retrain_seconds"), "its retraining, for comparison"
    return run.body.get("seconds"), "this model's own training"


def _of(share: float, whole: float | None, basis: str, least: bool = False) -> Price:
    return Price(None if whole is None else share * whole, share, basis, least)


def _measured(project: Project, run: Run, name: str, whole: float | None) -> Price | None:
    """Return the mean over earlier requests at the same settings: of this model, else of others of its architecture."""
    usual = described(unlearning.classes[name]())
    earlier = [
        r for r in project.runs()
        if r.kind == "unlearn" and r.parent and _as_set(r.body.get("method", {})) == _as_set(usual) and "step" not in r.body
        and r.body.get("seconds") and r.body.get("retrain_seconds")
    ]  # fmt: skip
    own = [r for r in earlier if r.parent == run.id]
    if own:
        told = _mean(own, whole, "{} of this model")
        return told._replace(seconds=sum(r.body["seconds"] for r in own) / len(own))
    kind = run.body.get("model", {}).get("name")
    alike = [r for r in earlier if r.body.get("model", {}).get("name") == kind]
    return _mean(alike, whole, "{} of other models of its kind") if alike else None


def _as_set(method: Mapping[str, Any]) -> tuple[str, Any]:
    """Return a method's name and settings, but for the groups to guard: they are those that one watches."""
    return str(method.get("name")), {k: v for k, v in dict(method.get("given", {})).items() if k != "guard"}


def _mean(found: Sequence[Run], whole: float | None, basis: str) -> Price:
    share = sum(r.body["seconds"] / r.body["retrain_seconds"] for r in found) / len(found)
    return _of(share, whole, basis.format(words.count(len(found), "request")))


def _counted(made: Any, trained: Trained, train: Examples, selection: Selection) -> tuple[float, str] | None:
    """Return a method's steps as a share of the training's, and how they were counted; None if it takes none or the training's are unknown.

    Only numbers of rows are looked at, so that ranges stand for the rows.
    """
    from influence.unlearning._descent import Descent, Request, passes, shortened
    from influence.unlearning.noisy_finetune import NoisyFinetune

    recipe, seen = trained.recipe, len(train) - len(trained.removed)
    if recipe is None or not isinstance(made, Descent | NoisyFinetune):
        return None
    gone = len(selection) if selection.action == "remove" else 0
    whole = passes(seen, recipe)
    if isinstance(made, NoisyFinetune):
        return passes(seen - gone, recipe) / whole, f"{recipe.epochs:,} of {recipe.epochs:,} epochs"
    own = shortened(trained, train, made.epochs, made.batch_size, made.seed)
    rows: list[Any] = [range(len(train)), range(seen - gone), range(len(selection))]
    steps = made.steps(Request(trained, rows[0], rows[1], rows[2], own))
    tried = min(steps, max(5, steps // 10))  # of the search for a step size, one try
    return (steps + tried) / whole, f"{own.epochs:,} of {recipe.epochs:,} epochs, a try of a step size"
