"""How the effect of removing rows is told: the metric people read, from what to what, on which rows, and how that came about.

Scores predict smooth versions of metrics. Those are never called by the metric's own name, and stand beneath it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from influence.store import Run
from influence.ui import state, words

ALIKE = 1e-4
"""Relative difference up to which a smooth version and what people read are one."""
ROLES = ("holdout", "evaluation")
NOT = "not retrained"


def differs(value: Mapping[str, float]) -> bool:
    """Whether what is predicted is a smooth version of what people read, and not that itself. `value`: value and measured."""
    return abs(value["value"] - value["measured"]) > ALIKE * max(1.0, abs(value["value"]))


def smooth(run: Run) -> str:
    """Say what smooth versions are, in a sentence."""
    if state.dataset(run).train.classes:
        return "Smooth version: probabilities stand in place of yes-or-no decisions."
    target = words.escaped(state.dataset(run).target)
    return f"Smooth version: errors squared ({target} squared) in place of their size."


def now(run: Run, result: Mapping[str, Any]) -> str:
    """Say what smooth versions are, and which one a question's scores predict, with its value now."""
    return f"{smooth(run)} Here: {words.escaped(result['label'])}, {words.number(result['value']['value'])} now."


def between(before: float, change: float) -> str:
    """Return a level before and after."""
    return f"{words.number(before)} → {words.number(before + change)}"


def became(note: Mapping[str, Any] | None, role: str) -> str:
    """Return what people read on a role's rows before and after a retraining; where there was none, that."""
    told = (note or {}).get("same", {}).get(role, {}).get("measured")
    return between(told["before"], told["change"]) if told else NOT if not note else "too few rows"


def of_which_pair(run: Run, query: Mapping[str, Any]) -> str:
    """Say that a gap between more than two groups can be of another pair on other rows; "" for any other question."""
    group, columns = query.get("given", {}).get("group", ""), state.dataset(run).train.columns
    several = " & " in group or (group in columns and columns[group].nunique() > 2)
    if not (several and query.get("name", "").endswith("_gap")):
        return ""
    return "Each gap is between the two groups that differ most among those rows; they can be others on holdout than on evaluation rows."


def realised(run: Run, result: Mapping[str, Any], note: Mapping[str, Any], rows: str, change: float) -> str:
    """Say what a retraining did: to the metric people read, first on the holdout rows, then beside what was predicted.

    `rows`: what it was retrained without. `change`: the predicted one of the smooth version, on the evaluation rows.
    """
    same, data = note["same"], state.dataset(run)
    on = {role: f"the {words.count(len(data.split(role)), f'{role} row')}" for role in ROLES}  # type: ignore[arg-type]
    parts = [
        f"from **{words.number(told['before'])}** to **{words.number(told['before'] + told['change'])}** on {on[role]}"
        for role in ROLES
        if (told := same.get(role, {}).get("measured"))
    ]
    first = next(role for role in ROLES if role in same)
    pair = of_which_pair(run, result.get("query") or {})
    how = f"Retrained without {rows}" if note["remedy"] == "remove" else f"Retrained with {rows} relabelled"
    said = [f"**{how}**, {words.escaped(result['measured_label'])} went {' and '.join(parts)}."]
    said += [pair] if pair else []
    if first != "holdout":
        said.append("Too few holdout rows can answer it.")
    if note["random"]:
        told = note["random"][first]["measured"]
        said.append(f"Without as many random rows: {between(told['before'], told['change'])}.")
    if fresh := note["fresh"].get(first, {}).get("measured"):
        spread = f" (95 % {words.interval(fresh['low'], fresh['high'])})" if fresh["low"] is not None else ""
        said.append(f"With {words.count(fresh['n'], 'new seed')}: {words.signed(fresh['change'])} on {on[first]}{spread}.")
    if result["calibrated"]:
        it = "Its smooth version" if differs(result["value"]) else "It"
        real = words.signed(same["evaluation"]["value"]["change"])
        said.append(f"{it} was predicted to change by {words.signed(change)} on {on['evaluation']}; it changed by {real}.")
    return " ".join(said)
