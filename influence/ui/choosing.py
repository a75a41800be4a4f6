"""The current selection: making it, combining it, looking at it, undoing it. One per data set, the same on every page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions.clusters import in_training, with_groups
from influence.errors import BadInput
from influence.files import csv_text
from influence.finders import _sets
from influence.groups import MOST, Groups, group_name
from influence.registry import finders
from influence.store import Run
from influence.types import Scores, Selection, as_places
from influence.ui import kept, pictures, pinning, remaining, state, texts, whole, words

SAID = 400
"""Characters of a selection's rule in its sentence."""
VALUES = 6
"""Of a column with more groups than these the smaller ones are told together."""

HOW = {
    "Replace the selection": lambda new, old: new,
    "Add to the selection": lambda new, old: _sets.union(old, new) if old else new,
    "Keep only those in both": lambda new, old: _sets.intersection(old, new) if old else new,
    "Take out of the selection": lambda new, old: _sets.difference(old, new) if old else new,
}


def find(run: Run, finder: str, given: dict[str, Any], scores: Scores | None, how: str, digest: str = "") -> None:
    """Find rows and combine them with the current selection; what cannot be done is said in a sentence."""
    find_any(run, finder, [given], scores, how, digest)


def find_any(run: Run, finder: str, every: Sequence[dict[str, Any]], scores: Scores | None, how: str, digest: str = "") -> None:
    """Find the rows that a finder finds with any of several settings, as one step."""
    try:
        rows = state.dataset(run).train if finder != "pattern" else with_groups(state.project(), run.id, state.dataset(run).train)
        found = reduce(_sets.union, [finders.make(finder, given)(scores, rows) for given in every])
        found = in_training(run, found)
        reason = {**found.reason, "scores": digest} if digest and finder == "top_k" else dict(found.reason)
        _combined(run, Selection(found.ids, found.action, reason), how)
    except BadInput as error:
        st.session_state["choosing.error"] = str(error)


def _combined(run: Run, found: Selection, how: str) -> None:
    """Combine rows with the current selection; in one transaction, or what another tab adds in between would be lost."""
    with state.project().transaction():
        old = own(run)
        made = HOW[how](found, None if old and old.action == "relabel" else old)  # rows to remove do not join rows to relabel
        if len(made):
            # Ids may mean other rows in other data, so a selection says of which data its rows are.
            state.project().choose(Selection(made.ids, made.action, {**made.reason, "dataset": run.dataset}))
            return
    st.session_state["choosing.error"] = "No rows are left that way; the selection stays as it was. Combine them in another way."


def add(run: Run, ids: list[Any], key: str, scores: str = "") -> None:
    """Draw buttons that add ticked training rows to the selection and that pin them; `scores`: digest of those that they stand beside."""
    st.button(
        f"Add the {words.count(len(ids), 'ticked row')}", key=f"{key}.add", icon=":material/add:", on_click=find,
        args=(run, "rows", {"ids": "\n".join(map(str, ids))}, None, "Add to the selection"),
    )  # fmt: skip
    pinning.picked(run, ids, key, scores)


def own(run: Run) -> Selection | None:
    """Return the current selection if it names rows of this run's data."""
    chosen = state.selection()
    return chosen if chosen and places(run, chosen) is not None else None


def places(run: Run, selection: Selection) -> np.ndarray | None:
    """Return which training rows of the run are selected, (N,) bool, or None if the selection names rows of other data."""
    try:
        return state.dataset(run).train.mask(selection.ids)
    except BadInput:
        return None


def told() -> None:
    """Show what could not be done in the last step."""
    error = st.session_state.pop("choosing.error", "")
    if error:
        st.error(words.escaped(error), icon=":material/error:")


def replacing(n: int, key: str, **more: Any) -> bool:
    """Draw the button that makes n rows the selection, and say which rows it would replace; return whether it was pressed."""
    chosen = state.selection()
    what = f"Select these {words.count(n, 'row')}" + (f" instead of the {len(chosen):,} selected now" if chosen else "")
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            what, key=key, type="secondary" if chosen else "primary", icon=":material/checklist:", disabled=n == 0, **more
        )  # fmt: skip
        if chosen:
            st.caption("Undo at the current selection brings the old ones back.", width="content")
    return pressed


def review(run: Run, columns: tuple[str, ...], foretold: Callable[[Selection], None] = lambda _: None) -> Selection | None:
    """Show the current selection: how many rows, by what rule, and how they differ from all training rows; with undo and clear.

    `foretold`: draws what is predicted without them, below the first sentence.
    """
    selection = state.selection()
    if selection is None:
        st.caption("No rows are selected yet.")
        st.button("Undo", icon=":material/undo:", on_click=_undo, args=(run,), key="choosing.undo.empty", type="tertiary")
        return None
    mask = places(run, selection)
    if mask is None:
        st.warning("The current selection belongs to other data. Choose rows of this model's training data.", icon=":material/warning:")
        return None
    n, total = len(selection), remaining.seen(run)
    part = remaining.partly(run, selection)
    st.markdown(
        (f"{part} Selected: " if part else f"**{words.count(n, 'training row')}** of {total:,} ({words.percent(n / total)}): ")
        + f"{words.escaped(_short(str(selection.reason.get('words', selection.reason.get('rule', 'chosen')))))}."
        + (" They stay, with new labels." if selection.action == "relabel" else "")
    )
    _origins(selection)
    foretold(selection)
    wanted = {c: kept.groups(run.dataset, "train", c, run) for c in dict.fromkeys((_together(run), *columns)) if c}
    there = remaining.there(run)
    parts = [composition(groups, mask & there, c, there) for c, groups in wanted.items() if (mask & there).any()]
    if parts:
        table = pd.concat(parts, ignore_index=True)
        st.dataframe(
            table,
            hide_index=True,
            alt="How the selected rows differ from all training rows of the model, by group and target.",
            column_config=whole.shape(table)
            | {
                "selected share": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, color="blue"),
                "share of all": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, color="gray"),
            },
        )
    listing = {"id": selection.ids, **({"label": selection.labels} if selection.labels else {})}
    with st.container(horizontal=True):
        st.button("Undo", icon=":material/undo:", on_click=_undo, args=(run,), key="choosing.undo")
        nothing = Selection((), reason={"dataset": run.dataset})
        st.button("Clear", icon=":material/close:", on_click=state.project().choose, args=(nothing,), key="choosing.clear")
        st.download_button(
            "Download ids", lambda: csv_text(pd.DataFrame(listing)), "selection.csv", "text/csv", icon=":material/download:",
            key="choosing.csv",
        )  # fmt: skip
        pinning.chosen(run, selection, "choosing")
    return selection


def _together(run: Run) -> str:
    """Return how the protected columns are called together, "" if there are not several or too many."""
    data = state.dataset(run)
    return group_name(data.train, data.protected) if 1 < len(data.protected) <= MOST else ""


def _short(text: str) -> str:
    return text if len(text) <= SAID else text[:SAID] + "…"


def _origins(selection: Selection) -> None:
    """Say of each part of a selection that was joined from several where its rows come from."""
    parts = origins(selection.reason)
    if len(parts) > 1:
        with st.expander(f"Where these rows come from: {len(parts)} parts", icon=":material/account_tree:"):
            st.dataframe(pd.DataFrame(parts), hide_index=True, alt="The parts that the selection was joined from.")


def origins(reason: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a joined selection in order: how each was joined, its rule in words, and of pins how many rows they name."""
    if "of" not in reason:
        return [{"joined": "", "rows": str(reason.get("words", reason.get("rule", "chosen"))), "n": reason.get("n")}]
    first, second = reason["of"]
    rest = origins(second)
    return [*origins(first), {**rest[0], "joined": str(reason["rule"])}, *rest[1:]]


def current(run: Run) -> None:
    """Draw the current selection under its heading, and the way on to Plan."""
    st.subheader("Current selection", anchor=False)
    told()
    chosen = review(run, (state.group(), state.dataset(run).target))
    if chosen:
        doing = "Plan the correction of these labels" if chosen.action == "relabel" else "Plan the removal of these rows"
        state.link("plan", doing, ":material/arrow_forward:")


def rows(run: Run, selection: Selection) -> None:
    """Draw the first selected rows, with their pictures where they are images."""
    ids = np.asarray(selection.ids)[: pictures.PAGE]
    with st.expander(f"The first {len(ids)} of these rows" if len(ids) < len(selection) else "These rows", expanded=pictures.drawable(run)):
        listed(run, ids)


def listed(run: Run, ids: Sequence[Any] | np.ndarray) -> None:
    """Draw some training rows, the target first, with their pictures where they are images."""
    made, ids = state.dataset(run), np.asarray(ids)
    first = made.train.columns.iloc[as_places(ids, made.train.ids)].reset_index(drop=True)
    first = first[[made.target, *(name for name in first if name != made.target)]]
    if "id" not in first:
        first.insert(0, "id", ids)
    pictures.table(texts.readable(first), pictures.of_run(run, ids), "Training rows with their columns", texts.shape(made))


def _undo(run: Run) -> None:
    state.project().undo(run.dataset)


def composition(groups: Groups, mask: np.ndarray, column: str, there: np.ndarray | None = None) -> pd.DataFrame:
    """Return how often each group of a column occurs among the selected and among all rows; of many the smaller ones together.

    `mask`, `there`: which rows are selected, and which the model was made with (by default all), (N,) bool each.
    """
    table = pd.DataFrame({"column": column, "value": groups.names, "selected": groups.counts(mask), "all": groups.counts(there)})
    table = table[table["all"] > 0].reset_index(drop=True)
    n, total = max(1, mask.sum()), table["all"].sum()
    if len(table) > VALUES:
        first = table.sort_values(["selected", "all"], ascending=False, kind="stable").index[: VALUES - 1]
        rest = table.drop(first)
        last = pd.DataFrame([{"column": column, "value": f"{len(rest):,} others", **rest[["selected", "all"]].sum()}])
        table = pd.concat([table.loc[first.sort_values()], last], ignore_index=True)
    return table.assign(**{"selected share": table["selected"] / n, "share of all": table["all"] / total})
