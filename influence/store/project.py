"""A project: one folder with everything that was loaded, trained, asked, chosen and done."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, or_, select

from influence.errors import BadInput
from influence.store import catalogue, ledger
from influence.store.catalogue import Catalogue, now
from influence.store.formats import canonical
from influence.store.ledger import Record
from influence.store.objects import Objects
from influence.store.pins import Pins
from influence.store.values import Values
from influence.types import Selection, Trained

CATALOGUE = "catalogue.sqlite"
STARTS = ("train", "import")
"""Kinds of run that a person starts from; one that was made by unlearning is never taken for them."""


@dataclass(frozen=True)
class Run:
    """A model in the project and how it came to be.

    `kind`: train, import or unlearn. `created`: UTC. `dataset`: digest. `parent`: the run it was made from. `body`: model, recipe, claim,
    checkpoints, trajectory, removed, and what the action added.
    """

    id: str
    kind: str
    name: str
    created: str
    dataset: str
    parent: str | None
    body: Mapping[str, Any]


class Project(Values):
    """A project folder, opened or made.

    Raises:
        BadInput: the folder holds other things, cannot be written, or was made by a newer version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        _admit(self.path)
        self.catalogue = Catalogue(self.path / CATALOGUE)
        self.pins = Pins(self.catalogue)
        super().__init__(Objects(self.path / "objects"))

    def __repr__(self) -> str:
        return f"Project({str(self.path)!r})"

    def table_path(self, digest: str) -> Path:
        """Return the Parquet file of a kept table."""
        return self.objects.path(digest, "parquet")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything that is added within appears together, or not at all."""
        with self.catalogue.write():
            yield

    def add_run(self, kind: str, dataset: str, body: Mapping[str, Any], parent: str | None = None, name: str = "") -> Run:
        """Add a run.

        Raises:
            BadInput: there is no such parent.
        """
        if parent is not None:
            self.run(parent)
        made = Run(f"{kind}-{secrets.token_hex(4)}", kind, name, now(), dataset, parent, json.loads(canonical(body)))
        with self.catalogue.write() as connection:
            connection.execute(catalogue.run.insert().values(**{**vars(made), "body": canonical(body)}))
        return made

    def runs(self) -> list[Run]:
        """Return all runs, newest first."""
        with self.catalogue.read() as connection:
            return [_run(row) for row in connection.execute(select(catalogue.run).order_by(catalogue.run.c.seq.desc()))]

    def run(self, id: str | None = None) -> Run:
        """Return a run (None: the newest made by train or import, never an unlearned one).

        Raises:
            BadInput: there is no such run.
        """
        table = catalogue.run.c
        wanted = select(catalogue.run).where(table.kind.in_(STARTS) if id is None else table.id == id).order_by(table.seq.desc()).limit(1)
        with self.catalogue.read() as connection:
            row = connection.execute(wanted).first()
            known = [] if row else connection.execute(select(table.id).order_by(table.seq.desc()).limit(5)).scalars().all()
        if row is None:
            sentence = "This project has no trained model yet." if id is None else f"There is no run {id!r} in this project."
            raise BadInput(f"{sentence} {'The newest are: ' + ', '.join(known) + '.' if known else 'Train a model first.'}")
        return _run(row)

    def trained(self, run: str | None = None) -> Trained:
        """Return the model of a run (None: as `run` says); its weights load from the project when asked.

        Raises:
            BadInput: there is no such run.
        """
        return self.rebuilt(self.run(run).body)

    def record(
        self,
        kind: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        measures: Mapping[str, Any] | None = None,
        seconds: float = 0.0,
    ) -> Record:
        """Add a record to the ledger; digests among `outputs` must be objects of the project, and `check` looks for them."""
        named = {"inputs": inputs, "settings": settings, "outputs": outputs, "measures": measures}
        with self.catalogue.write() as connection:
            return ledger.append(connection, kind, {**{name: part or {} for name, part in named.items()}, "seconds": seconds})

    def records(self) -> list[Record]:
        """Return all records, oldest first."""
        with self.catalogue.read() as connection:
            return ledger.read(connection)

    def check(self, deep: bool = False) -> list[str]:
        """Return what does not hold, as sentences; empty: the chain, its runs and its objects are whole (`deep`: to the byte)."""
        with self.catalogue.read() as connection:
            return ledger.check(connection, self.objects, deep)

    def note(self, key: str, value: Any) -> None:
        """Keep a small JSON fact under a name; the last one wins."""
        with self.catalogue.write() as connection:
            connection.execute(delete(catalogue.noted).where(catalogue.noted.c.key == key))
            connection.execute(catalogue.noted.insert().values(key=key, value=canonical(value), created=now()))

    def noted(self, key: str) -> Any:
        """Return the fact of this name, or None."""
        with self.catalogue.read() as connection:
            text = connection.execute(select(catalogue.noted.c.value).where(catalogue.noted.c.key == key)).scalar()
        return None if text is None else json.loads(text)

    def notes(self, prefix: str) -> dict[str, Any]:
        """Return the facts whose names begin so, by name."""
        table = catalogue.noted.c
        wanted = select(table.key, table.value).where(table.key.startswith(prefix, autoescape=True)).order_by(table.key)
        with self.catalogue.read() as connection:
            return {row.key: json.loads(row.value) for row in connection.execute(wanted).all()}

    def choose(self, selection: Selection) -> None:
        """Make this the current selection of the data set that its reason names; of all of them if it names none."""
        digest, dataset = self.put_selection(selection), str(selection.reason.get("dataset") or "")
        with self.catalogue.write() as connection:
            last = connection.execute(_latest(dataset)).first()
            if last is None or last.digest != digest:
                _take(connection, dataset, digest, last.seq if last else None)

    def current(self, dataset: str = "") -> Selection | None:
        """Return the current selection of a data set ("": the one that was chosen last, of whichever), or None."""
        with self.catalogue.read() as connection:
            last = connection.execute(_latest(dataset)).first()
        return self.selection(last.digest) if last and last.digest else None

    def chosen_at(self, dataset: str = "") -> str:
        """Return when the current selection was made current, "" if there is none."""
        with self.catalogue.read() as connection:
            last = connection.execute(_latest(dataset)).first()
        return str(last.created) if last and last.digest else ""

    def undo(self, dataset: str = "") -> Selection | None:
        """Go back to the selection before the current one, and return it; the history keeps both."""
        table = catalogue.selection
        with self.catalogue.write() as connection:
            last = connection.execute(_latest(dataset)).first()
            if last is not None and last.digest is not None:
                before = connection.execute(select(table).where(table.c.seq == last.back)).first()
                _take(connection, dataset or last.dataset, before.digest if before else None, before.back if before else None)
        return self.current(dataset)

    def close(self) -> None:
        """Close the catalogue's connections; the next call opens new ones."""
        self.catalogue.close()


def _admit(path: Path) -> None:
    """Make the folder, or see that it is a project or empty.

    Raises:
        BadInput: it is neither, or cannot be made.
    """
    if path.exists() and not path.is_dir():
        raise BadInput(f"{path} is a file; a project is a folder. Choose another path.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        inside = [entry.name for entry in path.iterdir()]
    except OSError as error:
        raise BadInput(f"{path} cannot be made or read: {error.strerror}. Choose another folder.") from error
    if inside and CATALOGUE not in inside:
        raise BadInput(f"{path} holds other things and is no project. Choose a new or an empty folder, or a project's.")


def _latest(dataset: str) -> Any:
    """Select the newest step in the choice of rows, of a data set or of any (""), with the data set that it is of (null: all)."""
    step, of = catalogue.selection, catalogue.selection_of.c
    steps = select(step, of.dataset).outerjoin(catalogue.selection_of, of.seq == step.c.seq).order_by(step.c.seq.desc()).limit(1)
    return steps.where(or_(of.dataset == dataset, of.dataset.is_(None))) if dataset else steps


def _take(connection: Connection, dataset: str | None, digest: str | None, back: int | None) -> None:
    """Add a step in the choice of rows of a data set."""
    step = connection.execute(catalogue.selection.insert().values(digest=digest, back=back, created=now()))
    if dataset:
        connection.execute(catalogue.selection_of.insert().values(seq=step.lastrowid, dataset=dataset))


def _run(row: Row[Any]) -> Run:
    return Run(row.id, row.kind, row.name, row.created, row.dataset, row.parent, json.loads(row.body))
