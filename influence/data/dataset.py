"""A data set: three roles of rows, and how raw columns became what the model sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

from influence.digest import digest
from influence.errors import BadInput
from influence.groups import named
from influence.types import Examples

Role: TypeAlias = Literal["train", "evaluation", "holdout"]
ROLES: tuple[Role, Role, Role] = ("train", "evaluation", "holdout")
"""Training rows; rows of which questions are asked; rows that no question sees and on which achievements are reported."""


@dataclass(frozen=True)
class Dataset:
    """Examples by role, and what is known of their columns.

    `protected`, `audit`: names of columns in every `Examples.columns`; protected ones may be inputs, audit ones never are.
    `encoding`: JSON that turns raw columns into x again (`influence.data.encoding`), and the target's classes, or its mean and sd.
    `columns`: JSON, one entry per raw column: an `influence.data.schema.Column` and its part (target, input, left out, …).
    `source`: JSON, where the rows come from. `simulated`: some labels or rows were made by us.
    `planted`: ids of training rows that are known to be faulty, where that is known.
    """

    name: str
    train: Examples
    evaluation: Examples
    holdout: Examples
    target: str
    protected: tuple[str, ...] = ()
    audit: tuple[str, ...] = ()
    encoding: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[Mapping[str, Any]] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    simulated: bool = False
    planted: tuple[Any, ...] = ()
    notes: str = ""

    def split(self, role: Role) -> Examples:
        """Return the examples of one role."""
        return {"train": self.train, "evaluation": self.evaluation, "holdout": self.holdout}[role]

    def favouring(self, positive: str) -> Dataset:
        """Return the same data with `positive` for the favourable class, of which rates and gaps speak unless a question names another.

        "" leaves it as it is, which is the last in sorted order where nobody said anything.

        Raises:
            BadInput: there is no such class, or the target is a number.
        """
        classes = self.train.classes
        if not positive:
            return self
        if not classes:
            raise BadInput(f"{positive!r} is to be the favourable class, and the target {self.target!r} is a number. Leave it out.")
        if positive not in classes:
            raise BadInput(
                f"The favourable class {positive!r} is none of the classes of {self.target!r}: {named(classes)}. Choose one of them."
            )
        stated = "" if positive == classes[-1] else positive  # said or not, the last one is the same data
        train, evaluation, holdout = (replace(self.split(role), positive=stated) for role in ROLES)
        return replace(self, train=train, evaluation=evaluation, holdout=holdout)

    @cached_property
    def digest(self) -> str:
        """Identity by content: everything but where it was read from, so that one file under two paths is one data set."""
        return digest(
            {
                "name": self.name,
                "rows": {role: self.split(role).digest for role in ROLES},
                "roles": {"target": self.target, "protected": self.protected, "audit": self.audit},
                "encoding": self.encoding,
                "columns": self.columns,
                "simulated": self.simulated,
                "planted": self.planted,
                "notes": self.notes,
            }
        )
