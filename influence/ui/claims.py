"""What may be claimed of a model that a method makes, said where the method is chosen as it is said of the run that is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from influence.actions._claims import KEPT, foretold
from influence.actions._opened import Opened
from influence.actions._relabelling import in_models_unit
from influence.actions._requests import requests
from influence.actions.unlearn import refuse, requested
from influence.data.refit import refusal
from influence.errors import BadInput
from influence.registry import described, unlearning
from influence.store import Run
from influence.store.formats import canonical
from influence.types import Selection
from influence.ui import costs, state, words


def short(run: Run, selection: Selection, name: str) -> str:
    """Return in two words what a method at its default settings lets one claim; "" if these rows are not for it."""
    level = _told(run, selection, name, {})[0]
    return level and f"{level}, {words.claim(level, after(run, selection)).name.lower()}"


def line(run: Run, selection: Selection, name: str, given: Mapping[str, Any]) -> str:
    """Return in a line what a method with these settings lets one claim, why no more, and how to come to more."""
    relabel, (level, why) = selection.action == "relabel", _told(run, selection, name, given)
    claim = f"Claim: {words.claim(level, after(run, selection)).name.lower()} ({level}). " if level else ""
    return f"{claim}{words.escaped(why)}{higher(run, name, why, relabel)}".strip()


def refused(run: Run, selection: Selection, name: str, given: Mapping[str, Any]) -> bool:
    """Whether a method with these settings cannot do it on these rows; `line` says why."""
    return not _told(run, selection, name, given)[0]


def after(run: Run, selection: Selection) -> tuple[str, ...]:
    """Return the kinds of requests that a model made of the run by this selection will have met."""
    return tuple(sorted({*requests(state.project(), run), selection.action}))


def higher(run: Run, name: str, why: str, relabel: bool) -> str:
    """Return how a retraining that keeps the preprocessing would come to the exact claim, if it can; `why`: what its claim says.

    One to `relabel` always keeps it.
    """
    can = not relabel and name == costs.FIRST and why.startswith(KEPT) and not refusal(state.dataset(run).encoding)
    return " For L2 choose Retrain with its setting Preprocessing at Refitted." if can else ""


def more(run: Run, selection: Selection) -> str:
    """Return how retraining, whose default settings may claim less, comes to the exact claim, or nothing."""
    return higher(run, costs.FIRST, _told(run, selection, costs.FIRST, {})[1], selection.action == "relabel")


def _told(run: Run, selection: Selection, name: str, given: Mapping[str, Any]) -> tuple[str, str]:
    made = unlearning.make(name, given)
    return _kept(run, selection, made, f"{state.project().path}/{run.id}/{selection.digest}/{canonical(described(made))}")


@st.cache_resource(show_spinner=False, max_entries=256)
def _kept(_run: Run, _selection: Selection, _made: Any, identity: str) -> tuple[str, str]:
    """Return level and reason; "" and the reason where the method cannot do it. Kept, since it reads every label and column."""
    it = Opened(state.project(), _run)
    try:
        refuse(it, _made, in_models_unit(it, requested(it, _selection)))
        return foretold(it, _selection, _made)
    except BadInput as error:
        return "", str(error)
