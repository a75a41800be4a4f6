"""Rows that help nobody, on the Suspects page: who they are, what is predicted without them, and what retraining says."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import helps_nobody
from influence.charts.colours import GREY, HELPFUL
from influence.charts.forest import forest
from influence.errors import BadInput
from influence.finders.helps_nobody import harmful
from influence.registry import attribution, described, finders
from influence.store import Run
from influence.types import as_places
from influence.ui import asking, choosing, costs, jobs, kept, scored, state, words

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
    by, rows = words.escaped(found["group"]), words.count(len(at), "row")
    st.markdown(
        f"Without each of **{found['harmful']:,}** of {found['n']:,} training rows the loss of every group by {by} is predicted to fall; "
        f"of those the {rows} are taken from which the least favoured group gains most. They were chosen by the evaluation rows, and "
        "flatter there: the holdout rows have the last word."
    )
    if not scores.calibrated:
        st.caption("These scores rank only: whether a loss falls is their sign, by how much they cannot say.")
    realised = state.project().noted(helps_nobody.realised_key(run.id, found["group"], train.ids[train.mask(chosen.ids)], SEEDS))
    if realised:
        _realised(realised)
    order = harmful(scores)[: min(SHOWN, len(at))]
    first = pd.DataFrame({"id": scores.ids[order], "score": scores.values[order].max(1).astype(float)})
    title = "least favoured group's change" if scores.calibrated else "rank score"
    scored.ticked(
        run, first, train.columns.iloc[as_places(scores.ids[order], train.ids)], "nobody", found["scores"],
        "Training rows that help nobody, with their columns.", {"score": st.column_config.NumberColumn(title, format="%.3g")},
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        how = st.selectbox("Then", list(choosing.HOW), key="nobody.how", width=260)
        st.button(f"Choose these {rows}", key="nobody.choose", icon=":material/checklist:", on_click=choosing.find,
                  args=(run, "helps_nobody", given, scores, how))  # fmt: skip
    job = jobs.run_button(
        f"Retrain without them, with {SEEDS} new seeds", "helps_nobody", {**args, "seeds": SEEDS}, "nobody.check", primary=False,
        cost=costs.retrainings(run, 3 * SEEDS), icon=":material/model_training:",
    )  # fmt: skip
    jobs.follow(job, key="nobody.check.follow")


def _realised(realised: dict[str, Any]) -> None:
    role = "holdout" if "holdout" in realised else "evaluation"
    rows = [
        {"group": label, "of": name, "value": told[kind]["change"], **{part: told[kind][part] for part in ("low", "high", "n")}}
        for label, told in realised[role].items()
        for kind, name in (("found", OWN), ("random", RANDOM))
    ]  # fmt: skip
    worse = [row["group"] for row in rows if row["of"] == OWN and row["low"] > 0]
    better = [row["group"] for row in rows if row["of"] == OWN and row["high"] < 0]
    said = f"worse beyond its interval: **{words.escaped(', '.join(worse))}**" if worse else "no group is worse beyond its interval"
    also = f"; better beyond it: {words.escaped(', '.join(better))}" if better else "; none is better beyond it either"
    st.markdown(f"**Really retrained** without them, on the {role} rows: {said}{also}.")
    st.plotly_chart(
        forest(pd.DataFrame(rows), {OWN: HELPFUL, RANDOM: GREY}, "group", "of", f"change of the loss on {role} rows", line=0.0),
        key="nobody.chart", config={"displayModeBar": False}, alt=f"Change of each group's loss on the {role} rows: {said}.",
    )  # fmt: skip
    seeds = next(iter(realised[role].values()))["found"]["seeds"]
    st.caption(f"Mean over {seeds} fresh seeds, each beside a model of that seed with all rows; 95 % intervals over rows and seeds.")
