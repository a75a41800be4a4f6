"""Options that say what data are and how they are read: those of train, check and import-model, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from influence.cli._options import Set, many
from influence.commands import kinds, known, pairs, reading

Data = Annotated[
    str,
    typer.Argument(
        help=f"A table; a folder, .zip or .npz of images; bundled:NAME, one of {known('data/bundled')}; or a table by name: sklearn:NAME, "
        "openml:NAME, hub:datasets/OWNER/NAME."
    ),
]
Target = Annotated[str, typer.Option(help="Column to predict; of images by default the class folder.")]
Protected = Annotated[list[str], many("--protected", "Protected column (a feature unless dropped); repeatable.")]
Audit = Annotated[list[str], many("--audit", "Column for people and finders, never seen by the model; repeatable.")]
Drop = Annotated[list[str], many("--drop", "Column to leave out; repeatable.")]
IdColumn = Annotated[str, typer.Option(help="Column of ids; default: the row number from 0.")]
Split = Annotated[str, typer.Option(help="Column that says train or test.")]
Eval = Annotated[str, typer.Option(help="Second file with the test rows.")]
Model = Annotated[str, typer.Option(help=f"Kind of model: {known('models')}; default: bag for texts, cnn for images, mlp for all else.")]

DataSet = Annotated[
    list[str],
    many(
        "--data-set",
        "KEY=VALUE setting of a bundled set, of images (size, channels) or texts (vocabulary, length, tokenizer); repeatable.",
    ),
]
Text = Annotated[str, typer.Option(help="Column of a table with the texts that the model reads.")]
Image = Annotated[str, typer.Option(help="Column of a table with paths of images (inside its folder) or their bytes.")]

Preprocessing = Annotated[
    str, typer.Option(help="JSON file by which a table's columns become inputs, instead of being fitted (docs/python.md).")
]
Kind = Annotated[
    list[str],
    many("--kind", "COL=KIND, what a column is: numeric, category, flag, ordered, date, text, id, weight, group, leak; repeatable."),
]
Sheet = Annotated[str, typer.Option(help="Sheet of an Excel file; default: the first that holds a table.")]
Sql = Annotated[str, typer.Option(help="Query, where DATA is a database's address (SQLAlchemy's URL).")]
Positive = Annotated[
    str,
    typer.Option(help="Favourable class, of which rates and gaps speak; default: what data or model say, else the last in sorted order."),
]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What columns are for, beside the target."""

    protected: Protected
    audit: Audit
    drop: Drop
    id: IdColumn = ""

    def args(self) -> dict[str, Any]:
        """Return them as actions take them."""
        return {"protected": self.protected, "audit": self.audit, "drop": self.drop, "id": self.id}


@dataclass(frozen=True, kw_only=True)
class Media:
    """How a bundled set, texts and images are read."""

    data_set: DataSet
    text: Text = ""
    image: Image = ""

    def args(self) -> dict[str, Any]:
        """Return it as actions take it.

        Raises:
            BadInput: as `pairs`.
        """
        return {"data_set": reading(self.data_set, image=self.image, text=self.text)}


@dataclass(frozen=True, kw_only=True)
class Tables:
    """How a table is read."""

    kind: Kind
    sheet: Sheet = ""
    sql: Sql = ""
    positive: Positive = ""

    def args(self) -> dict[str, Any]:
        """Return it as actions take it.

        Raises:
            BadInput: as `pairs`.
        """
        return {"kinds": kinds(self.kind), "sheet": self.sheet, "sql": self.sql, "positive": self.positive}


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is trained, on what."""

    data: Data
    target: Target = ""
    columns: Columns
    model: Model = ""
    set: Set
    media: Media
    eval: Eval = ""
    split: Split = ""

    def args(self) -> dict[str, Any]:
        """Return it as actions take it.

        Raises:
            BadInput: as `pairs`.
        """
        chosen = {"data": self.data, "target": self.target, "model": self.model, "set": pairs(self.set)}
        return {**chosen, **self.columns.args(), **self.media.args(), "eval": self.eval, "split": self.split}
