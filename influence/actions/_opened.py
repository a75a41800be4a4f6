"""What most actions begin with: the run asked for, its data and its model; and what they end with: its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from influence import grads, training
from influence.actions._relabelling import REMOVALS, to_relabel
from influence.actions._scored import completed
from influence.data.dataset import Dataset, Role
from influence.errors import BadInput
from influence.loop import Bound, threads
from influence.registry import queries
from influence.store import Project, Run
from influence.types import Examples, Query, Question, Scores, Selection, Trained
from influence.workspace import Workspace


@dataclass(frozen=True)
class Opened:
    """A run with its data set and model, loaded when asked."""

    project: Project
    run: Run

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, memory-mapped."""
        return self.project.dataset(self.run.dataset)

    @cached_property
    def trained(self) -> Trained:
        """The model, without tensors."""
        return self.project.trained(self.run.id)

    @cached_property
    def bound(self) -> Bound:
        """The module at its final weights."""
        return training.load(self.trained)

    @cached_property
    def origin(self) -> Opened:
        """The run that this one's chain of removals began with."""
        run = self.run
        while run.kind == "unlearn" and run.parent:
            run = self.project.run(run.parent)
        return self if run is self.run else replace(self, run=run)

    @cached_property
    def workspace(self) -> Workspace:
        """Where methods keep costly state of this project: curvature, kernels of gradients, a half-finished walk."""
        return Workspace(self.project.path / "work")

    @cached_property
    def seen(self) -> np.ndarray:
        """Which training rows of the data set training saw, (N,): all but those that the run does without."""
        return ~np.isin(self.dataset.train.ids, self.trained.removed)

    def outputs(self, role: Role) -> torch.Tensor:
        """Return the model's outputs on a role's rows, (M, C)."""
        return self.answers(self.dataset.split(role))

    def answers(self, examples: Examples) -> torch.Tensor:
        """Return the model's outputs on examples, (M, C)."""
        with threads(self.trained.recipe.threads if self.trained.recipe else 1):
            return grads.outputs(self.bound, examples)

    def question(self, asked: Sequence[Query]) -> Question:
        """Return the question to the evaluation rows, oriented on this model.

        Raises:
            BadInput: a query does not fit the data.
        """
        return Question(tuple(asked), self.dataset.evaluation).oriented(self.outputs("evaluation"))

    def askable(self, candidates: Sequence[Query]) -> Question:
        """Return the question of those queries that these rows can answer; a gap needs two groups with enough rows of its kind.

        Raises:
            BadInput: none can be answered.
        """
        logits, kept = self.outputs("evaluation"), []
        for query in candidates:
            try:
                kept.append(query.oriented(logits, self.dataset.evaluation))
                kept[-1].measured(logits, self.dataset.evaluation)
            except BadInput:
                kept = [k for k in kept if type(k) is not type(query)]
        if not kept:
            raise BadInput("None of the standard questions can be asked of these evaluation rows: there are too few of them.")
        return Question(tuple(kept), self.dataset.evaluation)


def opened(project: Project, run: str | None) -> Opened:
    """Open a run (None: the newest made by train or import).

    Raises:
        BadInput: there is no such run.
    """
    return Opened(project, project.run(run))


def asked(query: str, given: Mapping[str, Any] | None, run: Run | None = None) -> Query:
    """Make a query from its name and settings; `class` stands for `class_`. A question about groups that names none is of the run's first.

    Raises:
        BadInput: an unknown query or setting.
    """
    return queries.make(query, completed(query, given, run))


def chosen(
    project: Project,
    opened: Opened,
    ids: Iterable[Any] | None,
    selection: str | None = None,
    labels: Sequence[Any] | None = None,
    relabels: bool = False,
) -> Selection:
    """Return the rows meant: those of `ids`, of a kept `selection` (digest), or of the current one of its data; checked against the data.

    `labels`: their new labels, one for each or one for all. `relabels`: the rows may be ones to relabel.

    Raises:
        BadInput: nothing is selected, an id is not among the training rows, or rows are to be relabelled where only removals are told of.
    """
    train = opened.dataset.train
    if ids is not None:
        given = list(ids)
        found = Selection(as_ids(train.ids, given), reason={"rule": "ids given", "dataset": opened.run.dataset})
        if labels is not None and len(labels) == len(given) != len(found):
            raise BadInput(f"{len(given) - len(found):,} of {len(given):,} ids are given twice. Give each row one new label.")
        if not len(found):
            raise BadInput("The list of ids is empty. Give at least one training row.")
    else:
        kept = project.current(opened.run.dataset) if selection is None else project.selection(selection)
        if kept is None or not len(kept):
            raise BadInput("No rows are selected. Choose rows first (the Influence or Plan page, or --ids IDS.csv).")
        found = kept
    if found.reason.get("dataset", opened.run.dataset) != opened.run.dataset:
        raise BadInput("The selected rows belong to other data than this model's. Choose rows of its training data.")
    train.mask(found.ids)
    found = found if labels is None else to_relabel(found, labels)
    if found.action == "relabel" and not relabels:
        raise BadInput(REMOVALS)
    return found


def as_ids(like: np.ndarray, ids: Iterable[Any]) -> tuple[Any, ...]:
    """Return ids in the type of the data's ids, without repeats, in order.

    Raises:
        BadInput: an id cannot be of that type.
    """
    try:
        return tuple(dict.fromkeys(map(_whole if like.dtype.kind in "iu" else str, ids)))
    except (ValueError, TypeError, OverflowError):
        raise BadInput(f"Ids must be like those of the data, for example {like[0]!r}; some given are not.") from None


def _whole(value: Any) -> int:
    number = int(value)
    if isinstance(value, float | np.floating) and number != value:
        raise ValueError(f"{value} is no whole number")
    return number


def ranking(scores: Scores, label: str | int, better: str) -> np.ndarray:
    """Return positions from the row whose removal is predicted to move the query most in its better direction (lower unless "higher")."""
    values = scores.column(label)
    return np.argsort(-values if better == "higher" else values, kind="stable")
