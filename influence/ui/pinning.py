"""Pins on pages: the one button that puts something aside as evidence, with a note of why, and what each kind is computed from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import pandas as pd
import streamlit as st

from influence.actions._effects import OWN
from influence.digest import digest
from influence.errors import BadInput
from influence.registry import finders
from influence.store import Run
from influence.store.pins import NOTE, Kind, Pin
from influence.types import Selection
from influence.ui import state, words

Keep: TypeAlias = Selection | pd.DataFrame | None
HERE = "page.shown"
"""Where the main script says which page is shown."""
RESERVED = ("page", "label", "icon", "help", "job")
"""Names that no link to a page carries."""
MARKED = re.compile(r"\\(.)|\*\*", re.DOTALL)
TICKED = 50
"""Patterns that are pinned at once."""
NAMES: dict[Kind, str] = {
    "rows": "rows", "pattern": "pattern", "gap": "gap", "scores": "scores", "prediction": "trace", "preview": "prediction",
    "comparison": "comparison",
}  # fmt: skip
"""What the buttons call each kind."""


def button(run: Run, kind: Kind, title: str, made: Mapping[str, Any], said: str = "", *, keep: Keep = None, place: str = "") -> None:
    """Draw the button that pins one thing; where it is pinned already, the link to it.

    `made`: digests and settings that it is computed from. `said`: the sentence on the page, with its Markdown. `keep`: a selection, or a
    table that `made` says how to compute, which is put into the project when it is pinned. `place`: where on the page it stands, if the
    same thing can be pinned in several places.
    """
    made = {**made, "rows": keep.digest} if isinstance(keep, Selection) else made
    buttons([(Pin(kind, run.id, run.dataset, title, made, plain(said)), keep)], place)


def buttons(every: Sequence[tuple[Pin, Keep]], place: str = "") -> None:
    """Draw the button that pins all of these that are not pinned yet; once they are, a field for a note of why, and the link to them."""
    _drawn(every, digest([place, *(pin.content for pin, _ in every)])[:16])


@st.fragment
def _drawn(every: Sequence[tuple[Pin, Keep]], key: str) -> None:
    """Draw it by itself: what is pinned shows at once, and only then the whole page that there is one pin more."""
    there = [(pin, keep, state.project().pins.find(pin.content)) for pin, keep in every]
    new = [(pin, keep) for pin, keep, found in there if found is None]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        ids = [found.id for _, _, found in there if found]
        fresh = st.session_state.get(f"pin.fresh.{key}") and not new
        if new or fresh:  # one button, so that the keyboard stays where it was, before the field for the note
            label, icon, do, given = ("Unpin", "keep_off", _unpinned, ids) if fresh else (_called(new), "keep", _pinned, new)
            about = f"Put aside as evidence, for the report: {words.escaped(new[0][0].title)}" if new else "Take it back"
            st.button(label, key=f"pin.{key}", icon=f":material/{icon}:", type="tertiary", on_click=do, args=(given, key), help=about)
        if fresh:
            st.text_input(
                "Note: why is this here?", max_chars=NOTE, key=f"pin.note.{key}", placeholder="It stands in the report.", width=420,
                on_change=_noted, args=(ids, key),
            )  # fmt: skip
        if not new:
            state.link("evidence", "Pinned", ":material/keep:", help="On Evidence, where the note can be changed")
    if st.session_state.pop(f"pin.again.{key}", False):
        st.rerun()


def _called(new: Sequence[tuple[Pin, Keep]]) -> str:
    """Return what the button that pins these says."""
    name, n = NAMES[new[0][0].kind], len(new)
    return f"Pin these {name}" if name.endswith("s") else f"Pin this {name}" if n == 1 else f"Pin these {n} {name}s"


def _pinned(wanted: Sequence[tuple[Pin, Keep]], key: str) -> None:
    project = state.project()
    for pin, keep in wanted:
        made = dict(pin.made)
        if isinstance(keep, Selection):
            made["selection"] = project.put_selection(keep)
        elif keep is not None:
            made["kept"] = project.put_table(keep)
        try:
            project.pins.add(replace(pin, made=made, page=page(), address=address()))
        except BadInput as error:
            st.toast(words.escaped(error), icon=":material/error:")
            return
    st.session_state[f"pin.fresh.{key}"] = st.session_state[f"pin.again.{key}"] = True


def _unpinned(ids: Sequence[str], key: str) -> None:
    state.project().pins.remove(ids)
    st.session_state.pop(f"pin.fresh.{key}")
    st.session_state[f"pin.again.{key}"] = True


def _noted(ids: Sequence[str], key: str) -> None:
    try:
        for id in ids:
            state.project().pins.note(id, st.session_state[f"pin.note.{key}"])
    except BadInput as error:
        st.toast(words.escaped(error), icon=":material/error:")
    else:
        st.toast("The note is saved.", icon=":material/check:")
        st.session_state.pop(f"pin.fresh.{key}")


def page() -> str:
    """Return the name of the page that is shown."""
    return str(st.session_state.get(HERE, ""))


def address() -> dict[str, Any]:
    """Return the address that is shown, by name; several values of one name as a list."""
    found = {name: st.query_params.get_all(name) for name in st.query_params if name not in RESERVED}
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def plain(text: str) -> str:
    """Return a sentence of a page without its Markdown."""
    return MARKED.sub(lambda found: found[1] or "", text)


def picked(run: Run, ids: Sequence[Any], place: str, scores: str = "") -> None:
    """Draw the button that pins ticked training rows; `scores`: digest of those that they stand beside."""
    try:
        rows = finders.make("rows", {"ids": "\n".join(map(str, ids))})(None, state.dataset(run).train)
    except BadInput:
        return
    chosen(run, rows, place, scores)


def chosen(run: Run, rows: Selection, place: str, scores: str = "") -> None:
    """Draw the button that pins a selection of training rows."""
    said = str(rows.reason.get("words", rows.reason.get("rule", "chosen")))
    button(run, "rows", said[:1].upper() + said[1:], {"scores": scores} if scores else {}, keep=rows, place=place)


def gap(run: Run, group: str, positive: str, metric: str, gap: str, table: pd.DataFrame, sentence: str) -> None:
    """Draw the button that pins a gap between groups with the picture of them; `table`: the measures by group that tell of both."""
    made = {"group": group, "positive": positive, "metric": metric, "gap": gap}
    here = table[((table["metric"] == gap) & (table["group"] == "")) | ((table["metric"] == metric) & (table["group"] != ""))]
    button(run, "gap", f"{words.title(gap)} by {group}", made, sentence, keep=here.reset_index(drop=True))


def scores(run: Run, result: Mapping[str, Any], finding: str) -> None:
    """Draw the button that pins the histogram of a question's scores."""
    title = f"Scores for {result['labels'][0]}, by {words.title(result['method']['name'])}"
    button(run, "scores", title, {"scores": result["scores"], "query": result["query"], "method": result["method"]}, finding)


def patterns(run: Run, result: Mapping[str, Any], table: pd.DataFrame) -> None:
    """Draw the button that pins patterns, those of the rows of `table`."""
    same = {k: result[k] for k in ("table", "query", "method", "better", "calibrated", "label")} | {"remedy": result["settings"]["remedy"]}
    same |= {} if state.dataset(run).train.classes else {"units": OWN}
    buttons([
        (Pin("pattern", run.id, run.dataset, row.rule, {**same, "conditions": row.conditions}), None)
        for row in table.head(TICKED).itertuples()
    ])  # fmt: skip


def prediction(run: Run, result: Mapping[str, Any], sentence: str) -> None:
    """Draw the button that pins a traced prediction with the rows that speak for it and against it."""
    made = {k: result[k] for k in ("scores", "similar", "query", "method")}
    button(run, "prediction", f"What speaks for and against: {result['measured_label']}", made, sentence)


def preview(run: Run, group: str, scores: str, rows: Selection, place: str) -> None:
    """Draw the button that pins what is predicted without some rows; `scores`: digest of those of the prepared preview."""
    said = str(rows.reason.get("words", rows.reason.get("rule", "chosen rows")))
    button(run, "preview", f"Predicted without {said}", {"group": group, "scores": scores}, keep=rows, place=place)


def comparison(run: Run, table: str, metric: str, column: str) -> None:
    """Draw the button that pins a metric of the compared models; `table`: digest of the measures by model."""
    title = f"{words.title(metric)} by model{f' and {column}' if column else ''}, holdout rows"
    button(run, "comparison", title, {"table": table, "metric": metric, "column": column})
