"""What a folder of Hugging Face says of a model that is brought: how its texts are read, and what its outputs stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from influence.actions._checks import Check, checked
from influence.data.arrays import is_arrays
from influence.data.dataset import ROLES, Dataset
from influence.data.read import read_table
from influence.errors import BadInput
from influence.exchange.huggingface import Brought, Card, card_of, is_recorded, read_model
from influence.exchange.matching import AUTO
from influence.exchange.record import Record, read_record

NAME = "huggingface"


@dataclass(frozen=True)
class Folder:
    """A folder with a config.json: a model, or the record of its training."""

    card: Card

    @cached_property
    def brought(self) -> Brought | None:
        """The model, if the folder is not the record of a training."""
        return None if is_recorded(self.card) else read_model(self.card)

    def begun(self) -> Record:
        """Return the record; of a model alone it holds nothing yet, as its answers are asked when its inputs are known."""
        return read_record(self.card.folder) if self.brought is None else Record(())

    def read(self, data: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        """Return how a table's texts are read, and fill in `asked["data_set"]`; None for data that say so themselves.

        Raises:
            BadInput: nothing says which column holds the texts, or what the model predicts.
        """
        given = asked["data_set"]
        if self.card.what == "images":
            asked["data_set"] = self.card.pixels | given
            return None
        if not given.get("text"):
            if is_arrays(data) or data.startswith("bundled:"):
                return None
            raise BadInput("The model reads texts. Name the column that holds them: --text COL.")
        if not asked["target"]:
            raise BadInput("No target column was given; name the column that the model predicts (--target COL).")
        asked["data_set"] = {"length": self.card.length} | given
        table = read_table(data)
        if asked["target"] not in table:
            raise BadInput(
                f"The target {asked['target']!r} is not a column of the table. There are: {', '.join(list(table.columns)[:20])}."
            )
        made = self.card.reading(asked["target"], table[asked["target"]], str(given.get("tokenizer", "")))
        return made | ({"length": self.card.length} if self.brought is None else {})  # as wide as its batches were: dropout draws by it

    def answering(self, record: Record, dataset: Dataset) -> Record:
        """Return the record with the answers of the library's own model to the first rows, if the folder is a model's.

        The classes of texts stand in the model's order already, spelt as in the data.

        Raises:
            BadInput: the texts hold tokens that the model does not have.
        """
        self._refuse_tokens(dataset)
        if self.brought is not None:
            return self.brought.record(dataset.train.x)  # type: ignore[arg-type]
        return replace(record, classes=()) if dataset.encoding.get("kind") == "text" else record

    def _refuse_tokens(self, dataset: Dataset) -> None:
        known = self.card.told.get("vocab_size")
        if dataset.encoding.get("kind") != "text" or not isinstance(known, int):
            return
        largest = max(int(np.max(dataset.split(role).x, initial=0)) for role in ROLES) - 1  # type: ignore[arg-type]
        if largest >= known:
            raise BadInput(
                f"The tokenizer makes token {largest:,}, and the model has {known:,}, from 0. Bring the one that it was trained with."
            )

    def architecture(self, model: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the architecture and its settings, unless another was asked for."""
        if model not in (AUTO, NAME):
            return model, dict(given)
        return NAME, {"config": self.card.config, "normalised": self.card.normalised, **given}

    def checks(self, dataset: Dataset) -> list[Check]:
        """Say what is known of the order of the classes, and which tensors of the file were not used."""
        found = []
        classes = dataset.train.classes
        if classes:
            named = f"{', '.join(classes[:8])}, as id2label in config.json has them"
            said = named if self.card.classes else f"config.json does not name them; they were taken as {', '.join(classes[:8])}"
            mend = "" if self.card.classes else "See that the order is right: the accuracy tells."
            found.append(checked("Order of the outputs", "good" if self.card.classes else "none", f"{said}.", mend))
        spare = self.brought.spare if self.brought else ()
        if spare:
            told = f"{len(spare)} tensors of the file have no place in the model, such as {spare[0]!r}."
            found.append(checked("Weights without a place", "doubtful", told, "See that config.json and the weights are of one model."))
        return found


def opened(path: str) -> Folder | None:
    """Return what a folder's config.json says, or None if there is none.

    Raises:
        BadInput: it cannot be used.
    """
    card = card_of(path)
    return None if card is None else Folder(card)
