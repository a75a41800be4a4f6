"""Requests to delete rows, one after another: those that earlier ones removed stay out, unless somebody is told that they come back."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from influence.store import Run
from influence.types import Selection
from influence.ui import choosing, remaining, state, words


def origin(run: Run) -> Run:
    """Return the run that this one's chain of requests began with."""
    while run.kind == "unlearn" and run.parent:
        run = state.project().run(run.parent)
    return run


def nothing_left(run: Run, selection: Selection) -> bool:
    """Say so if the model was already made without all of the selected rows, and where it can be seen."""
    if remaining.left(run, selection):
        return False
    all_of_them = "The selected row was" if len(selection) == 1 else f"All {len(selection):,} selected rows were"
    st.info(f"{all_of_them} already removed from this model.", icon=":material/info:")
    with st.container(horizontal=True):
        state.link("compare", "Compare it with the other models", run=run.id)
        state.link("run", "Run on the original", run=origin(run).id)
    return True


def returning(run: Run, selection: Selection, key: str) -> None:
    """Warn where a model made from this one has had rows removed that what is made here would hold again; offer to go on there."""
    found = [(made, _back(run, made, selection)) for made in _made_from(run)]
    # Of several the newest, which comes first, and rather one of which the selection is not gone, too.
    made, rows = max(found, key=lambda each: (len(each[1]), remaining.left(each[0], selection) > 0), default=(run, set()))
    if not rows:
        return
    others = len(set().union(*(each for _, each in found))) - len(rows)
    further = f" So would {words.count(others, 'row')} removed in other models." if others else ""
    st.warning(
        f"{words.count(len(rows), 'row')} that {'was' if len(rows) == 1 else 'were'} removed in “{words.escaped(words.run_name(made))}” "
        f"would be back. Run the request on that model to keep them out.{further}",
        icon=":material/warning:",
    )
    if st.button("Run it on that model", key=f"{key}.there", icon=":material/arrow_forward:"):
        _take_along(made, selection)
        state.go("run", run=made.id)


def _made_from(run: Run) -> list[Run]:
    """Return the models that requests made from this one, one request after another; without those trained for comparison."""
    runs = state.project().runs()
    parents = {each.id: each.parent for each in runs}

    def below(each: str | None) -> bool:
        while each is not None and each != run.id:
            each = parents.get(each)
        return each is not None

    return [each for each in runs if each.kind == "unlearn" and not each.body.get("yardstick") and below(each.parent)]


def _back(run: Run, made: Run, selection: Selection) -> set[object]:
    """Return the rows that `made` is without, and what comes of the selection here would not be."""
    out = set(selection.ids) if selection.action == "remove" else set()
    return set(made.body.get("removed", ())) - set(run.body.get("removed", ())) - out


def _take_along(made: Run, selection: Selection) -> None:
    """Let the selection be one of that model's data, too: another fit of the preprocessing makes other data of the same rows."""
    if selection.reason.get("dataset") != made.dataset and choosing.places(made, selection) is not None:
        state.project().choose(replace(selection, reason={**selection.reason, "dataset": made.dataset}))


def again(run: Run) -> None:
    """Say that a model made by unlearning takes further requests, and where predictions are."""
    st.info(
        "This model was made by unlearning. A further request begins here, so that the rows removed before stay out. "
        "Predictions follow a training by its recipe: they stand on Plan of the model that was trained so.",
        icon=":material/info:",
    )
    state.link("plan", "See predictions on the original", run=origin(run).id)
    remaining.without(run)
