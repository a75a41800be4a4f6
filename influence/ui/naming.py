"""The door for a deletion request on Plan: rows named by their ids, typed or in a file, and which of them are not there to remove."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from influence.commands import id_column
from influence.data.dataset import Role
from influence.errors import BadInput
from influence.finders.rows import parts, spellings
from influence.store import Run
from influence.ui import choosing, state, words
from influence.ui.uploaded import safe

MOST = 20
"""Megabytes of a file of ids."""
FIRST = 5
"""Ids that are shown of those that are not there."""
Known = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Named:
    """Ids that were named: of training rows that are there, and of three kinds that are not."""

    there: tuple[str, ...]
    removed: tuple[str, ...]
    unused: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def missing(self) -> dict[str, tuple[str, ...]]:
        """The ids that are not there, by what is said of them."""
        told = {
            "not in the data at all": self.unknown,
            "only among evaluation or holdout rows, on which the model was never trained": self.unused,
            "already removed from this model": self.removed,
        }
        return {said: ids for said, ids in told.items() if ids}


def by_ids(run: Run) -> None:
    """Draw the field and the upload for ids of rows; what they name becomes the selection, and what is not there is told."""
    with st.expander("Rows by their ids", icon=":material/badge:", expanded=state.selection() is None):
        with st.form("plan.ids", border=False):
            typed = st.text_area("Ids, separated by commas, spaces or new lines", key="plan.ids.typed", height=100)
            about = f"A table or text file with a heading: its column id, or its first column. Up to {MOST} MB; it is not kept."
            file = st.file_uploader("Or a file of ids", key="plan.ids.file", max_upload_size=MOST, help=about)
            st.form_submit_button("Look these rows up", icon=":material/search:")
        try:
            given = _given(run, typed or "", file)
        except BadInput as error:
            st.error(words.escaped(error), icon=":material/error:")
            return
        if given:
            _told(run, sorted_out(given, _known(run, "train"), _others(run), run.body.get("removed", ())))


def sorted_out(given: Sequence[str], train: Known, others: Known, removed: Sequence[Any]) -> Named:
    """Return which of the named ids are those of training rows that are there, and which are not there, and why; each once."""
    gone = {str(i) for i in removed}
    lots: dict[str, list[str]] = {"there": [], "removed": [], "unused": [], "unknown": []}
    for name in dict.fromkeys(given):
        found = "train" if name in train else "unused" if name in others else "unknown"
        if found == "train":
            found = "removed" if str(train[name][0]) in gone else "there"
        lots[found].append(name)
    return Named(**{lot: tuple(names) for lot, names in lots.items()})


def _given(run: Run, typed: str, file: Any) -> list[str]:
    """Return the ids that were typed and those of the file.

    Raises:
        BadInput: the file holds no ids, or its heading is one.
    """
    known = _known(run, "train"), _others(run)
    found = parts(typed, *known) if typed.strip() else []
    if file is None:
        return found
    heading, ids = _read(file)
    if any(heading in names for names in known):
        raise BadInput(
            f"The first line of {file.name!r} is the id {heading}, so the file has no heading. Put a line before it, such as id."
        )
    st.caption(words.escaped(f"{words.count(len(ids), 'id')} in the column “{heading}” of {file.name}."))
    return [*found, *(name if any(name in names for names in known) else name.strip() for name in map(str, ids))]


def _read(file: Any) -> tuple[str, list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / safe(file.name)
        path.write_bytes(file.getbuffer())
        return id_column(path, MOST * 1_000_000)


def _told(run: Run, named: Named) -> None:
    """Draw what was found of the ids, and the button that selects those that are there."""
    n = len(named.there)
    for said, ids in named.missing.items():
        first = ", ".join(ids[:FIRST]) + (" …" if len(ids) > FIRST else "")
        st.warning(f"{words.count(len(ids), 'id')}: {said} ({words.escaped(first)}).", icon=":material/warning:")
    if not n:
        st.caption("None of these ids is that of a row that this model was trained on, so there is nothing to remove.")
        return
    st.button(
        f"Go on with the {n:,} that {'is' if n == 1 else 'are'} there" if named.missing else f"Select these {words.count(n, 'row')}",
        key="plan.ids.select", icon=":material/checklist:", on_click=choosing.find,
        args=(run, "rows", {"ids": "\n".join(named.there)}, None, "Replace the selection"),
    )  # fmt: skip


def _others(run: Run) -> Known:
    return {**_known(run, "evaluation"), **_known(run, "holdout")}


def _known(run: Run, role: Role) -> Known:
    return _spelled(run.dataset, role, run)


@st.cache_resource(show_spinner=False, max_entries=6)
def _spelled(digest: str, role: Role, _run: Run) -> Known:
    return spellings(state.dataset(_run).split(role).ids.tolist())
