"""Rows that help nobody, on the Suspects page: who they are, what is predicted without them, and what retraining says."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import helps_nobody
from influence.actions._measures import unit_of
from influence.charts.colours import GREY, GROUPS
from influence.charts.forest import forest
from influence.errors import BadInput
from influence.finders.helps_nobody import harmful
from influence.registry import attribution, described, finders
from influence.store import Run
from influence.types import Scores, as_places
from influence.ui import asking, choosing, costs, jobs, kept, retraining, scored, state, words

SEEDS, SHOWN = 5, 100
OWN, RANDOM = "without these rows", "without as many random rows"


def section(run: Run) -> None:
    """Draw the rows that help nobody by the group column, and the check by retraining."""
    group, method = state.group(), asking.recommended(run)
    if not group or not method:
        st.info(
            "Rows that help nobody are told by the losses of groups. Bring a group column, or name one on Load.", icon=":material/info:"
        )
        return
    share = st.select_slider(
        "At most this share of the training rows", [0.005, 0.01, 0.02, 0.05], 0.02, key="nobody.share", persist_state="session",
        format_func=lambda part: words.percent(part),
    )  # fmt: skip
    found = helps_nobody.kept(state.project(), run.id, group, described(attribution.make(method)))
    args = {"run": run.id, "group": group, "method": method, "share": share}
    if found is None:
        price = costs.told(run, attribution, method, {}) + "; all groups in one walk"
        job = jobs.run_button("Look for rows that help nobody", "helps_nobody", args, "nobody.look", cost=price, icon=":material/search:")
        jobs.follow(job, key="nobody.follow")
        return
    _results(run, found, share, args)


def _results(run: Run, found: dict[str, Any], share: float, args: dict[str, Any]) -> None:
    scores, train = kept.scores(found["scores"]), state.dataset(run).train
    given = {"share": share, "scores": found["scores"]}
    try:
        chosen = finders.make("helps_nobody", given)(scores, train)
    except BadInput as error:
        st.info(words.escaped(error), icon=":material/info:")
        return
    at = as_places(list(chosen.ids), train.ids)
    rows = words.count(len(at), "row")
    st.markdown(
        f"Without each of **{found['harmful']:,}** of {found['n']:,} training rows the loss {_asked(run, found)} is predicted to fall; "
        f"of those the {rows} are taken from which the least favoured group gains most. They were chosen by the evaluation rows, and "
        "flatter there: the holdout rows have the last word."
    )
    if not scores.calibrated:
        st.caption("These scores rank only: whether a loss falls is their sign, by how much they cannot say.")
    realised = state.project().noted(helps_nobody.realised_key(run.id, found["group"], train.ids[train.mask(chosen.ids)], SEEDS))
    if realised:
        _realised(helps_nobody.in_units(realised, state.dataset(run)), found["labels"], bool(train.classes))
    _rows(run, found, scores, given, len(at))
    if retraining.impossible(run):
        return
    job = jobs.run_button(
        f"Retrain without them, with {SEEDS} new seeds", "helps_nobody", {**args, "seeds": SEEDS}, "nobody.check", primary=False,
        cost=costs.retrainings(run, 3 * SEEDS), icon=":material/model_training:",
    )  # fmt: skip
    jobs.follow(job, key="nobody.check.follow")


def _rows(run: Run, found: dict[str, Any], scores: Scores, given: dict[str, Any], n: int) -> None:
    """Draw the first of the n rows, and the button by which all of them become the selection."""
    train, rows = state.dataset(run).train, words.count(n, "row")
    order = harmful(scores)[: min(SHOWN, n)]
    unit = unit_of(state.dataset(run), "group_loss").value if scores.calibrated else 1.0
    first = pd.DataFrame({"id": scores.ids[order], "score": scores.values[order].max(1).astype(float) * unit})
    title = "least favoured group's change" if scores.calibrated else "rank score"
    scored.ticked(
        run, first, train.columns.iloc[as_places(scores.ids[order], train.ids)], "nobody", found["scores"],
        "Training rows that help nobody, with their columns.", {"score": st.column_config.NumberColumn(title, format="%.3g")},
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        how = st.selectbox("Then", list(choosing.HOW), key="nobody.how", width=260)
        st.button(f"Choose these {rows}", key="nobody.choose", icon=":material/checklist:", on_click=choosing.find,
                  args=(run, "helps_nobody", given, scores, how))  # fmt: skip


def _asked(run: Run, found: dict[str, Any]) -> str:
    """Say of which groups the loss was asked: with too few evaluation rows, or too many groups, not of every one."""
    asked, by = len(found["labels"]), words.escaped(found["group"])
    every = len(kept.groups(run.dataset, "evaluation", found["group"], run).names)
    return f"of every group by {by}" if asked == every else f"of each of the {asked} largest of {every:,} groups by {by}"


def _realised(realised: dict[str, Any], asked: list[str], classes: bool) -> None:
    """Say which groups' losses changed without the rows; `classes`: of a numeric target losses are squared errors."""
    role = "holdout" if "holdout" in realised else "evaluation"
    loss = "loss" if classes else "mean squared error"
    rows = [
        {"group": label, "of": name, "value": told[kind]["change"], **{part: told[kind][part] for part in ("low", "high", "n")}}
        for label, told in realised[role].items()
        for kind, name in (("found", OWN), ("random", RANDOM))
    ]  # fmt: skip
    worse = [row["group"] for row in rows if row["of"] == OWN and row["low"] > 0]
    better = [row["group"] for row in rows if row["of"] == OWN and row["high"] < 0]
    said = f"worse beyond its interval: **{words.escaped(', '.join(worse))}**" if worse else "no group is worse beyond its interval"
    also = f"; better beyond it: {words.escaped(', '.join(better))}" if better else "; none is better beyond it either"
    st.markdown(f"**Retrained** without them, on the {role} rows: {said}{also}.")
    st.plotly_chart(
        forest(pd.DataFrame(rows), {OWN: GROUPS[0], RANDOM: GREY}, "group", "of", f"change of the {loss} on {role} rows", line=0.0),
        key="nobody.chart", config={"displayModeBar": False}, alt=f"Change of each group's {loss} on the {role} rows: {said}.",
    )  # fmt: skip
    seeds = next(iter(realised[role].values()))["found"]["seeds"]
    few = ", ".join(words.escaped(label) for label in asked if label not in realised[role])
    left = f" Too few {role} rows to say: {few}." if few else ""
    st.caption(
        f"Mean over {seeds} new seeds, each beside a model of that seed with all rows; 95 % intervals over rows and seeds, of each group "
        f"by itself.{left}"
    )
