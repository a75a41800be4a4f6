"""The removal curve on the Influence page: do rows removed by influence do more than others?"""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import removal_curve
from influence.actions.preview import is_gap
from influence.charts.removal import removal
from influence.data.dataset import Role
from influence.repeatable import no_recipe
from influence.store import Run
from influence.ui import asking, costs, effects, jobs, kept, state, whole, words

ROLES: dict[Role, str] = {"evaluation": "evaluation rows", "holdout": "holdout rows"}


def curve(run: Run, result: dict[str, Any]) -> None:
    """Draw the curve of a question and a method, or the button that asks for it."""
    st.subheader("Removal curve", anchor=False)
    found = removal_curve.kept(state.project(), run.id, result["query"], result["method"])
    if found is None:
        _ask(run, result)
        return
    points = kept.table(found["points"])
    predicted = kept.table(found["predicted"]) if found["predicted"] else None
    st.markdown(sentence(found, points) + kept.units(run, "Predictions" if found["query"]["name"] == "prediction" else "Errors"))
    roles = {role: name for role, name in ROLES.items() if (points["role"] == role).any()}
    for column, (role, name) in zip(st.columns(len(ROLES), gap="large"), roles.items(), strict=False):
        own, beside = points[points["role"] == role], _comparable(found, points, predicted) if role == "evaluation" else None
        column.caption(f"{found['measured_label']}, {words.count(len(state.dataset(run).split(role)), name[:-1])}")
        column.plotly_chart(
            removal(own, beside, found["measured_label"]), key=f"removal.{role}", config={"displayModeBar": False},
            alt=f"{found['measured_label']} on {name} by share of rows removed, in three orders; the table below holds the same figures.",
        )  # fmt: skip
    with st.expander("Read as a table"):
        wide = points.pivot_table(index=["role", "k"], columns="order", values="value").reset_index()
        st.dataframe(
            wide,
            hide_index=True,
            column_config=whole.shape(wide),
            alt="The metric after retraining by role, number of rows removed and order; random: mean of three.",
        )


def _comparable(found: dict[str, Any], points: pd.DataFrame, predicted: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return what is predicted with shares of the rows, if it is what people read, so that both can stand on one axis; else None."""
    if predicted is None or is_gap(found["label"]):
        return None
    start = float(points[(points["role"] == "evaluation") & (points["k"] == 0)]["value"].iloc[0])
    apart = abs(float(predicted["value"].iloc[0]) - start)
    return predicted.assign(share=predicted["k"] / found["n"]) if apart <= effects.ALIKE * max(1.0, abs(start)) else None


def _ask(run: Run, result: dict[str, Any]) -> None:
    reason = no_recipe(asking.trained(run.id, str(state.project().path)), "A removal curve", "another model")
    if reason:
        st.caption(words.escaped(reason))
        return
    st.caption(
        "Really retrained without the first 0.2 % to 10 % of the rows: by influence, by training loss, and at random. Influence is worth "
        "something if it does more than the other two, on rows that no question was asked of, too."
    )
    args = {
        "run": run.id, "query": result["query"]["name"], "query_set": result["query"]["given"], "method": result["method"]["name"],
        "set": result["method"]["given"],
    }  # fmt: skip
    cost = costs.retrainings(run, removal_curve.retrainings())
    job = jobs.run_button(
        "Draw the removal curve", "removal_curve", args, "removal.draw", cost=cost, primary=False, icon=":material/timeline:"
    )
    jobs.follow(job, key="removal.follow")


def sentence(found: dict[str, Any], points: pd.DataFrame) -> str:
    """Say what came of the best share on the holdout rows (the evaluation rows where those cannot answer): in each order."""
    role = "holdout" if (points["role"] == "holdout").any() else "evaluation"
    own = points[points["role"] == role]
    start = float(own[own["k"] == 0]["value"].iloc[0])
    by = own[(own["order"] == "influence") & (own["k"] > 0)].set_index("k")["value"]
    k = int(by.idxmax() if found["better"] == "higher" else by.idxmin())
    at = own[own["k"] == k].groupby("order")["value"].mean()
    name, share = words.escaped(found["measured_label"]), f"{words.count(k, 'row')} ({words.percent(k / found['n'])})"
    return (
        f"On the {role} rows {name} is {words.number(start)}. Without the {share} that come first by influence it becomes "
        f"**{words.number(at['influence'])}**; without as many of the largest training loss {words.number(at['loss'])}, at random "
        f"{words.number(at['random'])}. That share is the best of those tried, so it flatters a little."
    )
