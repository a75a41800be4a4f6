"""One prediction: the log-odds of a class for one evaluation row (read as its probability), or the predicted number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch

from influence.errors import BadInput
from influence.groups import place_of
from influence.queries._groups import log_odds
from influence.registry import option, queries
from influence.types import Examples


@queries
@dataclass(frozen=True)
class Prediction:
    """What the model says of one evaluation row: the log-odds of a class, read as its probability, or the predicted number.

    On the command line `class_` may be written `class`.
    """

    id: str = option("", "Id of an evaluation row")
    class_: str = option("", "Class whose log-odds are asked; default: the favourable one")
    numeric: bool = False

    better: ClassVar[Literal["lower", "higher", "neither"]] = "neither"

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the value."""
        return (f"{'Prediction' if self.numeric else 'Log-odds of ' + (self.class_ or 'the favourable class')} for row {self.id}",)

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""
        return f"{'Prediction' if self.numeric else 'Probability of ' + (self.class_ or 'the favourable class')} for row {self.id}"

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Prediction:
        """Fix the class, and see that there is such a row."""
        self._row(examples)
        numeric = not examples.classes
        return replace(self, class_="" if numeric else examples.classes[place_of(self.class_, examples)], numeric=numeric)

    def _row(self, examples: Examples) -> int:
        found = np.flatnonzero(examples.ids.astype(str) == str(self.id))
        if not len(found):
            shown = ", ".join(map(str, examples.ids[:3]))
            what = f"There is no evaluation row with id {str(self.id)!r}" if self.id else "No evaluation row was given"
            raise BadInput(f"{what}; their ids are like {shown}. Choose one of them.", missing="" if self.id else "id=ID")
        return int(found[0])

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Log-odds of the class, or the predicted number, (1,)."""
        row = logits[self._row(examples)]
        if not examples.classes:
            return row.reshape(1)
        return log_odds(row[None], torch.tensor([place_of(self.class_, examples)]))

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Probability of the class, or the predicted number, (1,)."""
        value = self.value(logits, examples)
        return value.sigmoid() if examples.classes else value
