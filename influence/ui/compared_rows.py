"""Compare's part on forgotten rows: what each model still shows of them, and what an attack that looks at losses finds."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.charts import overlaid
from influence.charts.colours import PARTS, ROLES
from influence.store import Run
from influence.ui import comparing, kept, state, whole, words

FOUND = {"found_at_0.01": "found at 1 % false alarms", "found_at_0.001": "found at 0.1 %"}
ATTACK = "The loss attack takes rows of low loss for rows that the model was trained on."
CURVE = (
    "If forgetting went well, the unlearned model's curve is the retrained one's; one below it is no success either: those rows stand out."
)
REMOVED = (
    "On the removed rows themselves.",
    "The retrained model never saw them: an unlearned model should look like it, not worse and not better.",
)
RELABELLED = (
    "On the relabelled rows themselves, by their new labels.",
    "The retrained model learnt these: an unlearned model should look like it, not worse and not better.",
)


def forgotten(run: Run, found: dict[str, Any]) -> None:
    """Show each model on the removed rows, how its losses are spread, and what the attack finds."""
    _figures(run, found)
    rows = kept.table(found["tables"]["rows"])
    _losses(run, rows, found)
    if not comparing.relabelled(run):  # rows that stay are members of every training
        _attack(rows, found)


def _figures(run: Run, found: dict[str, Any]) -> None:
    table = kept.table(found["tables"]["forgetting"])
    said = table.assign(
        said=[f"{words.number(r.value)} ({words.interval(r.low, r.high)})" for r in table.itertuples()],
        metric=table["metric"].map(words.title),
    )
    wide = said.pivot_table(index=["metric", "n"], columns="role", values="said", aggfunc="first", sort=False).reset_index()
    shown = wide.fillna("itself")[["metric", *(r for r in ROLES if r in wide), "n"]].rename(columns={"random": "random removal"})
    st.dataframe(shown, hide_index=True, column_config=whole.shape(shown), alt="Each model on the removed rows, with 95 % intervals.")
    which, well = RELABELLED if comparing.relabelled(run) else REMOVED
    st.caption(which + comparing.well(found, well) + kept.units(run))


def _losses(run: Run, rows: pd.DataFrame, found: dict[str, Any]) -> None:
    """Draw how losses are spread, a picture per model on one scale."""
    roles = comparing.roles(found)
    called = {part: comparing.part_name(run, part) for part in PARTS}
    tints = {called[part]: tint for part, tint in PARTS.items()}
    parts = {role: {called[str(part)]: own[f"loss_{role}"].to_numpy() for part, own in rows.groupby("part")} for role in roles}
    edges = overlaid.edges_of(rows[[f"loss_{role}" for role in roles]].to_numpy().ravel(), int(rows["part"].value_counts().min()))
    top = max(overlaid.shares(values, edges).max() for own in parts.values() for values in own.values())
    axis = "loss (log scale)" if state.dataset(run).train.classes else "absolute error (log scale)"
    for start in range(0, len(roles), 2):
        for column, role in zip(st.columns(2), roles[start : start + 2], strict=False):
            with column:
                st.markdown(f"**{comparing.NAMES[role]}**")
                st.plotly_chart(
                    overlaid.losses(parts[role], tints, edges, axis, top), key=f"compare.losses.{role}", config={"displayModeBar": False},
                    alt=f"How the losses of {', '.join(called.values())} rows are spread under the model {comparing.NAMES[role]}",
                )  # fmt: skip
    well = comparing.well(
        found, f"If forgetting went well, {called['forgotten']} rows have the losses that they have under the retrained model."
    )
    if well:
        st.caption(well)


def _attack(rows: pd.DataFrame, found: dict[str, Any]) -> None:
    curves = {
        comparing.NAMES[role]: tuple(rows.loc[rows["part"] == part, f"loss_{role}"].to_numpy() for part in ("forgotten", "holdout"))
        for role in comparing.roles(found)
    }
    tints = {comparing.NAMES[role]: tint for role, tint in ROLES.items()}
    table = kept.table(found["tables"]["attack"])
    few = table["value"].isna().any()
    st.plotly_chart(
        overlaid.roc(curves, tints), key="compare.roc", config={"displayModeBar": False},
        alt="ROC curve of the loss attack by model; the table below holds the figures",
    )  # fmt: skip
    st.dataframe(_told(table), hide_index=True, alt="What the loss attack finds, by model.")
    n = table.iloc[0]
    rests = " A share found is told only where it rests on ten false alarms or more." if few else ""
    counted = f"n = {words.count(int(n['n']), 'forgotten row')} and {words.count(int(n['others']), 'holdout row')}."
    st.caption(f"{counted} {ATTACK}{comparing.well(found, CURVE)}{rests}")


def _told(table: pd.DataFrame) -> pd.DataFrame:
    """Return a line per model: the area under the curve, and what is found at few false alarms."""
    found = []
    for role, rows in table.groupby("role", sort=False):
        by = rows.set_index("metric")
        area = by.loc["attack_auc"]
        line = {"model": comparing.NAMES[str(role)], "area under the curve": words.number(area["value"])}
        line |= {"95 % low": words.number(area["low"]), "95 % high": words.number(area["high"])}
        for metric, name in FOUND.items():
            one = by.loc[metric]
            line[name] = f"{words.percent(one['value'])} ({words.percent(one['low'])} to {words.percent(one['high'])})"
            line[name] = line[name] if words.known(one["value"]) else words.TOO_FEW
        found.append(line)
    return pd.DataFrame(found)
