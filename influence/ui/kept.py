"""What pages read often, kept by content digest: never a key over data, always over its identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import _measures, preview
from influence.actions.agreement import compared
from influence.data.dataset import Role
from influence.groups import Groups, edges_of, groups_of
from influence.store import Run
from influence.types import Scores
from influence.ui import state, words

BINS = 4
"""Into how many groups a column of numbers is cut, as the measures of fairness do."""


@st.cache_resource(show_spinner=False, max_entries=32)
def scores(digest: str, _path: str = "") -> Scores:
    """Return kept scores."""
    return state.project().scores(digest)


@st.cache_resource(show_spinner=False, max_entries=64)
def table(digest: str) -> pd.DataFrame:
    """Return a kept table; do not change it."""
    return state.project().table(digest)


@st.cache_resource(show_spinner=False, max_entries=32)
def order(digest: str, label: str, better: str) -> np.ndarray:
    """Return positions from the row whose removal is predicted to help most."""
    values = scores(digest).column(label)
    return np.argsort(-values if better == "higher" else values, kind="stable")


@st.cache_resource(show_spinner=False, max_entries=16)
def curves(_note: dict[str, Any], digest: str, label: str, better: str, last: int, calibration: str) -> dict[str, pd.DataFrame]:
    """Return predicted curves up to `last` rows by kind ("value", "measured"); `calibration` names the note's content."""
    ks = np.unique(np.concatenate([np.arange(0, min(50, last) + 1), np.linspace(0, last, 120).astype(int)]))
    ranked = order(digest, label, better)
    return {kind: preview.curves(_note, scores(digest), ranked, ks.tolist(), kind) for kind in ("value", "measured")}


@st.cache_resource(show_spinner=False, max_entries=16)
def agreement(digests: tuple[str, ...], _found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how far the methods with these scores agree."""
    return compared(state.project(), _found)


def units(run: Run, what: str = "Errors") -> str:
    """Say that errors, or `what`, of a numeric target are in its own unit; nothing for classes."""
    said = _measures.own_unit(state.dataset(run), words.escaped, what)
    return f" {said}" if said else ""


def favourable(run: Run) -> str:
    """Say of which class rates and gaps speak; nothing where there are no classes."""
    found = state.dataset(run).evaluation.favourable
    return f" Rates and gaps speak of the class “{words.escaped(found)}”." if found else ""


@st.cache_resource(show_spinner=False, max_entries=64)
def groups(dataset: str, role: Role, column: str, _run: Run) -> Groups:
    """Return the groups that a column forms of a role's rows; numbers are cut where those of the evaluation rows are, as in all tables."""
    data = state.dataset(_run)
    return groups_of(data.split(role), column, edges=edges_of(data.evaluation, column, BINS))
