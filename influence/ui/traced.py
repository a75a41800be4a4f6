"""What is said of a trace on the page Trace: its sentence, the figures of its rows and what they are of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import trace
from influence.store import Run
from influence.types import SIGN
from influence.ui import kept, predicted, rails, state, words

MOVED = "Places up (+) or down in this rail since the row was changed; new: it was not in it."


def sentence(run: Run, result: dict[str, Any]) -> str:
    """Say what one sees: the strongest row of each side, and whether influential rows are the similar ones."""
    scores, name = kept.scores(result["scores"]), words.escaped(result["measured_label"])
    first = {side: trace.rail(scores.column(), side, 1) for side in ("proponents", "opponents")}
    changes = {side: float(scores.column()[at[0]]) for side, at in first.items() if len(at)}
    value = result["value"]["value"]
    reached = [value + change for change in changes.values()] if result["calibrated"] else []
    now, *new = words.numbers(*(float(predicted.without(run, z)) for z in (value, *reached)))
    parts = [
        _strongest(run, result, words.escaped(scores.ids[first[side][0]]), side, change, new[k] if new else "", now)
        for k, (side, change) in enumerate(changes.items())
    ]
    said = "; ".join(parts) if parts else "no training row moves it"
    ranks = "" if result["calibrated"] else " These scores rank only; they are in no unit."
    head = f"{_instead(run, result)} By" if "before" in result else f"**{name}** is {now}, by"
    return (
        f"{head} {words.title(result['method']['name'])} over {words.count(result['n'], 'training row')}: {said}.{ranks} "
        f"Are influential rows the similar ones? Of the {result['top']} strongest, **{result['shared']}** are among the {result['top']} "
        f"most alike (by chance {words.number(result['chance'], 1)})."
    )


def _strongest(run: Run, result: dict[str, Any], id: str, side: str, change: float, new: str, now: str) -> str:
    way = "lower" if side == "proponents" else "raise"
    if not result["calibrated"]:
        return f"removing row **{id}** would {way} it most"
    size = f"({words.signed(change * scale(run, result))} in {_of(run)})"
    if new == now:  # a probability so near 0 or 1 that no digit shows it
        return f"removing row **{id}** alone is predicted to {way} it most, by too little to be seen in {now} {size}"
    return f"removing row **{id}** alone is predicted to {way} it most, to {new} {size}"


def _instead(run: Run, result: dict[str, Any]) -> str:
    """Say what the model says of the changed row, and how far that is from what it says of the row as it is."""
    was, now = (float(it["value"]["value"]) for it in (result["before"], result))
    before, after = words.numbers(*(float(predicted.without(run, z)) for z in (was, now)))
    size = f"({words.signed((now - was) * predicted.unit(run))} in {_of(run)})"
    if not state.dataset(run).evaluation.classes:
        target = words.escaped(state.dataset(run).target)
        return f"Changed, the model says {target} = **{after}** instead of {before} {size}."
    name = words.escaped(result["query"]["given"]["class_"])
    moved = "stays" if now == was else "rises from" if now > was else "falls from"
    between = f"stays {before}" if now == was else f"{moved} {before} to **{after}** {size}"
    if result["says"] == result["query"]["given"]["class_"]:
        return f"Changed, the model still says **{name}**: its probability {between}."
    says = f"**{words.escaped(result['says'])}** with probability **{words.number(result['p'])}** instead of **{name}**"
    return f"Changed, the model says {says}: the probability of {name}, whose rows stand below, {between}."


def _of(run: Run) -> str:
    """Return what figures in the question's unit are of: the log-odds of a class, or the target by its name."""
    return "log-odds" if state.dataset(run).evaluation.classes else words.escaped(state.dataset(run).target)


def figures(run: Run, result: dict[str, Any], at: np.ndarray) -> pd.DataFrame:
    """Return id and score of rows, and what the model would say without each, if scores are in the question's unit."""
    scores = kept.scores(result["scores"])
    values = scores.column()[at].astype(float)
    table = pd.DataFrame({"id": scores.ids[at], "score": values * scale(run, result)})
    return table.assign(without=predicted.without(run, result["value"]["value"] + values)) if result["calibrated"] else table


def read(run: Run, result: dict[str, Any]) -> str:
    """Say what the figures are of, and why they have no interval."""
    if not result["calibrated"]:
        return "Scores rank only: they are in no unit."
    given = result["query"]["given"].get("class_")
    of = f"the log-odds of **{words.escaped(given)}**" if given else words.escaped(state.dataset(run).target)
    return (
        f"Change: of {of}, if this row alone is removed; without: what the model would then say, to first order. One row's figure has no "
        "interval; how true such predictions are is measured below."
    )


def scale(run: Run, result: dict[str, Any]) -> float:
    """Return what scores are multiplied by to be in the target's own unit; those that only rank stay as they are."""
    return predicted.unit(run) if result["calibrated"] else 1.0


def shape(run: Run, result: dict[str, Any], tables: list[pd.DataFrame]) -> dict[str, Any]:
    """Return how figures of training rows are shown; `tables`: those of the rails, in which one sees of each row which way it goes."""
    unit, name = "change" if result["calibrated"] else "rank score", _of(run)
    now = float(predicted.without(run, result["value"]["value"]))
    digits = words.apart(now, [v for table in tables if "without" in table for v in table["without"]])
    is_now = f"What the model is predicted to say without this row alone; with it, it says {now:,.{digits}f}."
    return {
        "score": rails.NUMBER(unit, format="%.3g", width=76, help=f"{SIGN}{f', in {name}' if result['calibrated'] else ''}."),
        "without": rails.NUMBER("without", format=f"%.{digits}f", width=56 + 7 * digits, help=is_now),
        "moved": st.column_config.TextColumn("moved", width=64, help=MOVED),
        "alike": rails.NUMBER("alike", format="%.3f", width=64, help=words.title(result["alike"])),
    }
