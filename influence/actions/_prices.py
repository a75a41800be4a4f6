"""What a method that forgets would cost, told before one commits: as earlier requests took, or as its steps are counted.

Seconds come from what this model's own training took. A count is a lower bound where a method does more than its passes (it looks for a
step size, or looks at the removed rows as well): it says how much more in its own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from influence.evidence import words
from influence.registry import described, unlearning
from influence.store import Project, Run
from influence.types import Examples, Selection, Trained

ALIKE = 4
"""Requests whose numbers of rows differ by no more than this factor cost about the same."""
PREPARED = "prepared/"
"""How the notes begin of what a method made once for a model."""
YARDSTICK = "retrained/"
"""How the notes begin of a run retrained without a selection's rows."""


TRAINING = {"unlearn": "its retraining, for comparison", "import": "its training run again here"}
"""What the seconds of a training are, of models that were not trained here: by the kind of run."""


class Price(NamedTuple):
    """Seconds and share of a training (None: not known), what they rest on ("": nothing), and whether they are a bound from below."""

    seconds: float | None
    share: float | None
    basis: str
    least: bool = False


class Once(NamedTuple):
    """What a method makes once per model: whether it makes something, the seconds that takes (None: not known), requests served.

    `estimated`: it was not made yet, and the seconds are what other models let one expect.
    """

    needed: bool
    seconds: float | None = None
    served: int = 0
    estimated: bool = False


def price(
    project: Project, run: Run, trained: Trained, train: Examples, selection: Selection, name: str, given: Mapping[str, Any] | None = None
) -> Price:
    """Return what a method with these settings, by default its own, would cost for these rows of a run's model."""
    (whole, basis), made = _training(project, run, trained), unlearning.make(name, given)
    if name == "retrain":
        return _of(1.0, whole, basis)
    if callable(getattr(made, "share", None)):  # of others a setting is called so
        return _of(made.share(trained, train, selection), whole, "the shards that hold these rows")
    if found := _measured(project, run, made, whole, len(selection)):
        return found
    if (expected := getattr(made, "expected", None)) is not None:
        return _of(expected(trained, train), whole, "a count of operations", least=True)
    count = _counted(made, trained, train, selection)
    return Price(None, None, "") if count is None else _of(count[0], whole, count[1], least=True)


def once(project: Project, run: Run, name: str) -> Once:
    """Return what a method makes once for all requests of a run's model."""
    if not hasattr(unlearning.classes[name], "prepare"):
        return Once(False)
    note = project.noted(f"{PREPARED}{run.id}/{name}") or {}
    if note.get("prepare_seconds"):
        return Once(True, note["prepare_seconds"], int(note.get("served", 0)))
    return Once(True, _prepared_elsewhere(project, run, name), estimated=True)


def training_seconds(run: Run) -> float | None:
    """Return how long training the model took; of an unlearned one, its retraining: its own seconds are the method's.

    Of one that was brought with its training, those of the training run again to see that it ends there; None without.
    """
    found = run.body.get({"unlearn": "retrain_seconds", "import": "train_seconds"}.get(run.kind, "seconds"))
    return float(found) if found else None


def retrained(project: Project, run: Run, selection: Selection) -> bool:
    """Whether a run's model was retrained without these rows and is kept, so that it need not be for the next method on them."""
    return project.noted(f"{YARDSTICK}{run.id}/{selection.digest}") is not None


def _prepared_elsewhere(project: Project, run: Run, name: str) -> float | None:
    """Return what preparing would take if it were the mean share of a training that it was for other models of the architecture."""
    whole, others, shares = training_seconds(run), {r.id: r for r in project.runs() if _kind(r) == _kind(run)}, []
    for key, note in project.notes(PREPARED).items():
        id, _, method = key.removeprefix(PREPARED).partition("/")
        theirs = training_seconds(others[id]) if id in others and method == name else None
        if theirs and note.get("prepare_seconds"):
            shares.append(note["prepare_seconds"] / theirs)
    return whole * sum(shares) / len(shares) if whole and shares else None


def _kind(run: Run) -> str | None:
    return run.body.get("model", {}).get("name")


def _training(project: Project, run: Run, trained: Trained) -> tuple[float | None, str]:
    """Return the seconds of a training: of retrainings of this model where there are some, else of its own; None of a brought model."""
    again = {r.body["retrained"]: r.body["retrain_seconds"] for r in project.runs() if r.parent == run.id and r.body.get("retrained")}
    if again:
        return sum(again.values()) / len(again), words.count(len(again), "retraining") + " of this model"
    if not trained.recipe:
        return None, "this model's own training"
    return training_seconds(run), TRAINING.get(run.kind, "this model's own training")


def _of(share: float, whole: float | None, basis: str, least: bool = False) -> Price:
    return Price(None if whole is None else share * whole, share, basis, least)


def _measured(project: Project, run: Run, made: Any, whole: float | None, n: int) -> Price | None:
    """Return the mean over earlier requests at the same settings: of this model, else of others of its architecture.

    Of these, those of as many rows as `n` or so, where there are any.
    """
    asked = _as_set(described(made))
    earlier = [
        r for r in project.runs()
        if r.kind == "unlearn" and r.parent and _as_set(r.body.get("method", {})) == asked and "step" not in r.body
        and r.body.get("seconds") and r.body.get("retrain_seconds")
    ]  # fmt: skip
    own, alike = [r for r in earlier if r.parent == run.id], [r for r in earlier if _kind(r) == _kind(run)]
    found, whose = (own, "of this model") if own else (alike, "of other models of its kind")
    near = [r for r in found if n / ALIKE <= _size(r) <= n * ALIKE]
    found, whose = (near, whose) if near else (found, f"{whose}, of another number of rows")
    if not found:
        return None
    told = _mean(found, whole, f"{{}} {whose}")
    return told._replace(seconds=sum(r.body["seconds"] for r in found) / len(found)) if own else told


def _size(run: Run) -> int:
    """Return how many rows a run removed or relabelled."""
    return int(run.body.get("n_relabelled") or run.body.get("n_removed") or 0)


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
        epochs = made.epochs or recipe.epochs
        return passes(seen - gone, replace(recipe, epochs=epochs)) / whole, f"{epochs:,} of {recipe.epochs:,} epochs"
    own = shortened(trained, train, made.epochs, made.batch_size, made.seed)
    parts: list[Any] = [range(len(train)), range(seen - gone), range(len(selection))]
    steps = made.steps(Request(trained, parts[0], parts[1], parts[2], own))
    tried = 0 if made.lr else min(steps, max(5, steps // 10))  # of the search for a step size, one try
    rows = min(1.0, own.batch_size / recipe.batch_size)  # a larger step costs at least as much as one of the training
    return rows * (steps + tried) / whole, f"{own.epochs:,} of {recipe.epochs:,} epochs" + (", a try of a step size" if tried else "")
