"""Of the training rows those that a model was made with: earlier requests removed others, and what is selected may name some of them."""

from __future__ import annotations

import numpy as np
import streamlit as st

from influence.store import Run
from influence.types import Selection
from influence.ui import state, words


def seen(run: Run) -> int:
    """Return how many training rows the model was made with: all but those that earlier requests removed."""
    return int(run.body["n"]["train"]) - len(run.body.get("removed", ()))


def there(run: Run) -> np.ndarray:
    """Return which training rows the model was made with, (N,) bool."""
    return ~np.isin(state.dataset(run).train.ids, list(run.body.get("removed", ())))


def still(run: Run, selection: Selection) -> Selection:
    """Return the selection without the rows that the model was already made without: what a request asks of it."""
    return selection.without(run.body.get("removed", ()))


def left(run: Run, selection: Selection) -> int:
    """Return how many of the selected rows the model was not already made without."""
    return len(still(run, selection))


def partly(run: Run, selection: Selection) -> str:
    """Say how many of the selected rows the model still has, if earlier requests removed some; else ""."""
    n, total = left(run, selection), seen(run)
    if n == len(selection):
        return ""
    of = f"of the {len(selection):,} selected rows"
    if not n:
        return f"**None {of}** is still in the model."
    return f"**{n:,} {of}** {'is' if n == 1 else 'are'} still in the model: {words.percent(n / total)} of its {total:,} training rows."


def briefly(selection: Selection) -> str:
    """Return how many rows are selected, and of a model that is without some of them how many are left, in a few words."""
    run = state.current_run()
    n = left(run, selection) if run else len(selection)
    return f"{words.count(n, 'row')} selected" if n == len(selection) else f"{n:,} of {words.count(len(selection), 'selected row')} left"


def without(run: Run) -> None:
    """Say where what is told of the training rows counts some that the model was made without."""
    removed = len(run.body.get("removed", ()))
    if removed:
        st.caption(f"This model was made without {words.count(removed, 'row')} of the training rows looked at here.")
