"""Pins: what somebody put aside as evidence, with a note of why. Each change is one step, which can be undone and done again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, bindparam, delete, func, select, update

from influence.digest import digest
from influence.errors import BadInput
from influence.store import catalogue
from influence.store.catalogue import Catalogue, now
from influence.store.formats import canonical

Kind: TypeAlias = Literal["rows", "pattern", "gap", "scores", "prediction", "preview", "comparison"]
NOTE, TITLE, SAID, ADDRESS = 2_000, 300, 4_000, 20_000
"""Characters of a note, a title, a sentence and an address at most."""
KEPT = ("selection", "kept")
"""Names in `made` of a selection and of a table that were kept for a pin: digests of what the other names say."""
MOST = 10_000
"""Pins of a project at most."""
STEPS = 1_000
"""Changes that can be undone at most."""
Change: TypeAlias = tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None]
"""A pin's id, its row before and its row after; None: there was or is none."""


@dataclass(frozen=True)
class Pin:
    """One finding that was put aside.

    `run`, `dataset`: the model it belongs to and the digest of its data. `made`: what it is computed from, digests and settings and never a
    picture, so that it is drawn from the same again. `said`: the sentence that was read, plain text. `page`, `address`: where it was found.
    `id`, `created` (UTC) and `place` are given when it is added.
    """

    kind: Kind
    run: str
    dataset: str
    title: str
    made: Mapping[str, Any]
    said: str = ""
    page: str = ""
    address: Mapping[str, str | list[str]] = field(default_factory=dict)
    note: str = ""
    id: str = ""
    created: str = ""
    place: int = 0

    @property
    def content(self) -> str:
        """Identity of what is pinned, wherever it was found and whatever the note says, and without what is only kept when it is pinned."""
        made = {name: value for name, value in self.made.items() if name not in KEPT}
        return digest({"kind": self.kind, "run": self.run, "made": json.loads(canonical(made))})


class Pins:
    """The pins of one project, the same for every page, browser and process; writers take turns."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def add(self, pin: Pin) -> Pin:
        """Add a pin after all others and return it; what is pinned already is returned as it is.

        Raises:
            BadInput: the note is too long, or there are as many pins as a project holds.
        """
        _fitting(pin.note)
        address = pin.address if len(canonical(pin.address)) <= ADDRESS else {k: v for k, v in pin.address.items() if k in ("run", "group")}
        pin = replace(pin, title=_cut(pin.title, TITLE), said=_cut(pin.said, SAID), address=address)
        with self._catalogue.write() as connection:
            there = self._one(connection, catalogue.pin.c.content == pin.content)
            if there:
                return there
            last = connection.execute(select(func.max(catalogue.pin.c.place))).scalar()
            if self.count() >= MOST:
                raise BadInput(f"A project holds at most {MOST:,} pins, and has as many. Remove some on Evidence.")
            made = replace(pin, id=secrets.token_hex(8), created=now(), place=(last or 0) + 1)
            _step(connection, f"pin {made.title}", [(made.id, None, _row(made))])
        return made

    def listed(self) -> list[Pin]:
        """Return all pins in their order."""
        with self._catalogue.read() as connection:
            rows = connection.execute(select(catalogue.pin.c.body).order_by(catalogue.pin.c.place, catalogue.pin.c.id))
            return [_read(row.body) for row in rows]

    def count(self) -> int:
        """Return how many pins there are."""
        with self._catalogue.read() as connection:
            return int(connection.execute(select(func.count()).select_from(catalogue.pin)).scalar_one())

    def find(self, content: str) -> Pin | None:
        """Return the pin of this content, or None."""
        with self._catalogue.read() as connection:
            return self._one(connection, catalogue.pin.c.content == content)

    def note(self, id: str, text: str) -> None:
        """Write why a pin is there.

        Raises:
            BadInput: the note is too long, or the pin is gone.
        """
        _fitting(text)
        with self._catalogue.write() as connection:
            pin = self._there(connection, [id])[0]
            if pin.note != text:
                _step(connection, f"the note of {pin.title}", [(id, _row(pin), _row(replace(pin, note=text)))])

    def remove(self, ids: Collection[str]) -> None:
        """Remove pins, as one step; those that are gone already stay gone."""
        with self._catalogue.write() as connection:
            gone = [pin for pin in self._among(connection, ids)]
            if gone:
                what = gone[0].title if len(gone) == 1 else f"{len(gone):,} pins"
                _step(connection, f"remove {what}", [(pin.id, _row(pin), None) for pin in gone])

    def swap(self, id: str, other: str) -> None:
        """Let two pins change places.

        Raises:
            BadInput: one of them is gone.
        """
        with self._catalogue.write() as connection:
            first, second = self._there(connection, [id, other])
            moved = [(first, second.place), (second, first.place)]
            _step(connection, f"move {first.title}", [(pin.id, _row(pin), _row(replace(pin, place=place))) for pin, place in moved])

    def undo(self) -> str:
        """Take the last step back and return what it was, or ""."""
        return self._turn(back=True)

    def redo(self) -> str:
        """Do the step again that was taken back last, and return what it was, or ""; a new step ends this."""
        return self._turn(back=False)

    def steps(self) -> tuple[str, str]:
        """Return what `undo` would take back and what `redo` would do again; "" for nothing."""
        with self._catalogue.read() as connection:
            found = [connection.execute(_next(back)).first() for back in (True, False)]
        return tuple(row.words if row else "" for row in found)  # type: ignore[return-value]

    def _turn(self, back: bool) -> str:
        with self._catalogue.write() as connection:
            step = connection.execute(_next(back)).first()
            if step is None:
                return ""
            _apply(connection, [(id, before if back else after) for id, before, after in json.loads(step.changes)])
            table = catalogue.pin_step
            connection.execute(update(table).where(table.c.seq == step.seq).values(undone=int(back)))
        return str(step.words)

    def _one(self, connection: Connection, wanted: Any) -> Pin | None:
        body = connection.execute(select(catalogue.pin.c.body).where(wanted).limit(1)).scalar()
        return None if body is None else _read(body)

    def _among(self, connection: Connection, ids: Collection[str]) -> list[Pin]:
        wanted = set(ids)
        rows = connection.execute(select(catalogue.pin.c.id, catalogue.pin.c.body)).all()
        return [_read(row.body) for row in rows if row.id in wanted]

    def _there(self, connection: Connection, ids: Sequence[str]) -> list[Pin]:
        found = [self._one(connection, catalogue.pin.c.id == id) for id in ids]
        if any(pin is None for pin in found):
            raise BadInput("This pin is gone: it was removed or undone elsewhere. Undo brings it back.")
        return [pin for pin in found if pin is not None]


def _fitting(note: str) -> None:
    if len(note) > NOTE:
        raise BadInput(f"A note has at most {NOTE:,} characters; got {len(note):,}. Shorten it.")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _row(pin: Pin) -> dict[str, Any]:
    return {"id": pin.id, "place": pin.place, "content": pin.content, "body": canonical(asdict(pin))}


def _read(body: str) -> Pin:
    return Pin(**json.loads(body))


def _step(connection: Connection, words: str, changes: Sequence[Change]) -> None:
    """Apply changes and keep them as one step; what was taken back before can no longer be done again."""
    table = catalogue.pin_step
    connection.execute(delete(table).where(table.c.undone == 1))
    _apply(connection, [(id, after) for id, _, after in changes])
    made = connection.execute(table.insert().values(words=words, changes=canonical(list(changes)), undone=0, created=now()))
    connection.execute(delete(table).where(table.c.seq <= made.inserted_primary_key[0] - STEPS))  # type: ignore[index]


def _apply(connection: Connection, changes: Sequence[tuple[str, Mapping[str, Any] | None]]) -> None:
    """Put rows in the place of those of these ids; None: there is none any more."""
    connection.execute(delete(catalogue.pin).where(catalogue.pin.c.id == bindparam("changed")), [{"changed": id} for id, _ in changes])
    rows = [dict(row) for _, row in changes if row is not None]
    if rows:
        connection.execute(catalogue.pin.insert(), rows)


def _next(back: bool) -> Any:
    """The step that is taken back next, or done again next."""
    table = catalogue.pin_step
    return select(table).where(table.c.undone == int(not back)).order_by(table.c.seq.desc() if back else table.c.seq).limit(1)
