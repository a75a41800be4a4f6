"""Which column of a table plays which part, checked against the table before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from influence.data.kinds import FOR_TARGETS, split
from influence.data.schema import in_rows, nearest
from influence.errors import BadInput

FEWEST_ROWS = 20
ASIDE = ("weight", "group", "leak")
"""Kinds of columns that people see and models never do."""


@dataclass(frozen=True)
class Choices:
    """Names of columns by part. Protected columns are inputs unless they are dropped as well; audit columns never are.

    `kinds`: what columns are, by name, where that is not what their cells suggest (`influence.data.kinds`).
    """

    target: str
    protected: tuple[str, ...] = ()
    audit: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    id: str = ""
    split: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def groups(self) -> tuple[str, ...]:
        """Protected and audit columns, and those of the kind group, each once."""
        return tuple(dict.fromkeys(self.protected + self.audits))

    @property
    def audits(self) -> tuple[str, ...]:
        """Audit columns, and those of the kind group that are not protected."""
        given = [name for name, kind in self.kinds.items() if kind == "group" and name not in self.protected + self.drop]
        return tuple(dict.fromkeys((*self.audit, *given)))

    @property
    def _named(self) -> list[tuple[str, str]]:
        single = [("target", self.target), ("id column", self.id), ("split column", self.split)]
        many = {"protected column": self.protected, "audit column": self.audit, "column to leave out": self.drop}
        return [(part, name) for part, name in single if name] + [(part, name) for part, names in many.items() for name in names]

    def part(self, name: str) -> str:
        """Return the part of a column in one word: target, id, split, protected, audit, dropped, weight, leak or input."""
        single = {self.split: "split", self.id: "id", self.target: "target"}
        if name in single:
            return single[name]
        parts = {"protected": self.protected, "audit": self.audits, "dropped": self.drop}
        own = self.kinds.get(name, "")
        return next((part for part, names in parts.items() if name in names), own if own in ASIDE else "input")

    def shown(self, names: Iterable[str]) -> list[str]:
        """Return the columns that people see beside each row: all but id, split and those only dropped."""
        return [name for name in names if self.part(name) not in ("id", "split", "dropped")]

    def candidates(self, names: Iterable[str]) -> list[str]:
        """Return the columns that may be inputs, in their order."""
        never = {*self.drop, *self.audits, *(name for name, kind in self.kinds.items() if kind in ASIDE)}
        return [name for name in names if self.part(name) in ("input", "protected") and name not in never]

    def check(self, frame: pd.DataFrame) -> None:
        """Refuse what cannot be.

        Raises:
            BadInput: too few rows, a name that is not a column, or two parts for one column that exclude each other.
        """
        if not self.target:
            raise BadInput("No target is chosen; one column must be what the model predicts. Choose it.")
        for part, name in self._named:
            if name not in frame.columns:
                raise BadInput(f"The {part} {name!r} is not a column of the table. {nearest(name, frame.columns)}")
        self._refuse_double()
        self._refuse_kinds(frame)
        if len(frame) < FEWEST_ROWS:
            raise BadInput(f"The table has {in_rows(len(frame))}; at least {FEWEST_ROWS} are needed. Bring more rows.")

    def _refuse_double(self) -> None:
        parts: dict[str, list[str]] = {}
        for part, name in self._named:
            parts.setdefault(name, []).append(part)
        for name, given in parts.items():
            grouped = set(given) - {"column to leave out"}
            if len(grouped) > 1 or (len(set(given)) > 1 and grouped & {"target", "id column", "split column"}):
                raise BadInput(f"{name!r} is chosen as {' and as '.join(dict.fromkeys(given))}; it can be only one. Choose another column.")

    def _refuse_kinds(self, frame: pd.DataFrame) -> None:
        for name, given in self.kinds.items():
            kind, _ = split(given)
            if name not in frame.columns:
                raise BadInput(f"{name!r}, given the kind {kind}, is not a column of the table. {nearest(name, frame.columns)}")
            if name in (self.id, self.split) or (name == self.target and kind not in FOR_TARGETS):
                raise BadInput(
                    f"{name!r} is chosen as {self.part(name)} and can't be {kind} as well; a target can be {' or '.join(FOR_TARGETS)}. "
                    "Give it no kind."
                )
            if kind == "weight" and name in self.groups:
                raise BadInput(f"{name!r} is chosen to form groups and as a weight; it can be only one. Choose another column.")
