"""Which column of a table plays which part, checked against the table before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from influence.data.schema import nearest
from influence.errors import BadInput

FEWEST_ROWS = 20


@dataclass(frozen=True)
class Choices:
    """Names of columns by part. Protected columns are inputs unless they are dropped as well; audit columns never are."""

    target: str
    protected: tuple[str, ...] = ()
    audit: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    id: str = ""
    split: str = ""

    @property
    def groups(self) -> tuple[str, ...]:
        """Protected and audit columns, each once."""
        return tuple(dict.fromkeys(self.protected + self.audit))

    @property
    def _named(self) -> list[tuple[str, str]]:
        single = [("target", self.target), ("id column", self.id), ("split column", self.split)]
        many = {"protected column": self.protected, "audit column": self.audit, "column to leave out": self.drop}
        return [(part, name) for part, name in single if name] + [(part, name) for part, names in many.items() for name in names]

    def part(self, name: str) -> str:
        """Return the part of a column in one word: target, id, split, protected, audit, dropped or input."""
        single = {self.split: "split", self.id: "id", self.target: "target"}
        if name in single:
            return single[name]
        return "protected" if name in self.protected else "audit" if name in self.audit else "dropped" if name in self.drop else "input"

    def shown(self, names: Iterable[str]) -> list[str]:
        """Return the columns that people see beside each row: all but id, split and those only dropped."""
        return [name for name in names if self.part(name) not in ("id", "split", "dropped")]

    def candidates(self, names: Iterable[str]) -> list[str]:
        """Return the columns that may be inputs, in their order."""
        return [name for name in names if self.part(name) in ("input", "protected") and name not in self.drop + self.audit]

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
        if len(frame) < FEWEST_ROWS:
            raise BadInput(f"The table has {len(frame)} rows; at least {FEWEST_ROWS} are needed. Bring more rows.")

    def _refuse_double(self) -> None:
        parts: dict[str, list[str]] = {}
        for part, name in self._named:
            parts.setdefault(name, []).append(part)
        for name, given in parts.items():
            grouped = set(given) - {"column to leave out"}
            if len(grouped) > 1 or (len(set(given)) > 1 and grouped & {"target", "id column", "split column"}):
                raise BadInput(f"{name!r} is chosen as {' and as '.join(dict.fromkeys(given))}; it can be only one. Choose another column.")
