"""The parts of the Compare page: the claim, the metrics by model, predicted against realised, forgetting, and flips."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import preview
from influence.actions._effects import SAID as SMOOTH
from influence.charts.agreement import agreement
from influence.charts.colours import ROLES
from influence.charts.forest import forest
from influence.store import Run
from influence.ui import jobs, kept, pictures, pinning, state, trust, words

ROWS = 1000
"""Rows without pictures that are listed."""
FIRST = ("equal_opportunity_gap", "demographic_parity_gap", "group_loss_gap", "accuracy", "r2", "loss", "mae")


def choose() -> Run | None:
    """Return the unlearned run to compare: the current one, or the one chosen among those made from it."""
    current = state.need_run()
    if current.kind == "unlearn":
        return current
    made = [r for r in state.project().runs() if r.parent == current.id]
    made = [r for r in made if not r.body.get("yardstick")] + [r for r in made if r.body.get("yardstick")]
    if not made:
        st.info(
            "Nothing was unlearned from this model yet. Choose rows on Plan, unlearn them on Run, then compare here.",
            icon=":material/info:",
        )
        state.link("plan", "Plan a removal")
        return None
    names = {r.id: words.run_name(r) for r in made}
    chosen = st.selectbox("Compare with the original", list(names), **state.shared("compare.which", names.__getitem__))
    return next(r for r in made if r.id == chosen)


def kept_comparison(run: Run) -> dict[str, Any] | None:
    """Return the comparison made for this run and group column, or None."""
    found: dict[str, Any] | None = state.project().noted(f"compare/{run.id}/{state.group()}")
    older = found is not None and "units" not in found and not state.dataset(run).train.classes  # in units of the model's own
    return None if older else found


def claim(run: Run) -> None:
    """Say how the model came to be, what may be claimed, and what it cost."""
    body, level = run.body, words.claim(run.body["claim"])
    cost = f"It took {words.duration(body['seconds'])}"
    whole = body.get("retrain_seconds")
    if whole and body["method"]["name"] != "retrain":
        cost += f", {words.percent(body['seconds'] / whole, 0)} of the {words.duration(whole)} that retraining took"
    if body.get("served"):
        cost += f"; preparation took {words.duration(body['prepare_seconds'])}, once for all requests ({body['served']:,} so far)"
    st.markdown(
        f"**{words.title(body['method']['name'])}** without **{words.count(body['n_removed'], 'training row')}**. {cost}. "
        f"Claim level **{body['claim']}, {level.name.lower()}**: {level.meaning} {body.get('claim_note', '')}"
    )


def metrics(run: Run, found: dict[str, Any]) -> None:
    """Show every metric by model with intervals and n: the main gap as a figure, all of them as a table."""
    table = kept.table(found["tables"]["metrics"])
    here = table[table["column"].isin(("", state.group()))]
    overall = here[here["group"] == ""]
    shown = [m for m in FIRST if m in set(overall["metric"])]
    for column, metric in zip(st.columns(min(4, len(shown)) or 1), shown[:4], strict=False):
        _tile(column, overall[overall["metric"] == metric].set_index("role"), metric)
    metrics = list(dict.fromkeys(here["metric"]))
    start = metrics.index("true_positive_rate") if "true_positive_rate" in metrics else 0
    metric = st.selectbox("Show", metrics, start, **state.shared("compare.metric", words.title))
    rows = here[here["metric"] == metric].assign(name=lambda t: t["group"].replace("", "all groups"))
    st.plotly_chart(
        forest(rows, ROLES, by="name", colour="role", axis=f"{words.title(metric)}, holdout rows, with 95 % intervals"),
        key="compare.forest", config={"displayModeBar": False},
        alt=f"{words.title(metric)} by model and group, with 95 % intervals; the table below holds the figures",
    )  # fmt: skip
    pinning.comparison(run, found["tables"]["metrics"], metric, state.group())
    with st.expander("Every metric as a table"):
        st.dataframe(_wide(here), hide_index=True, alt="Every metric of every model with 95 % intervals and n.")


def _tile(column: Any, rows: pd.DataFrame, metric: str) -> None:
    after = "unlearned" if "unlearned" in rows.index else "retrained"
    if "original" not in rows.index or after not in rows.index:
        return
    old, new = rows.loc["original"], rows.loc[after]
    kind = {"higher": "normal", "lower": "inverse"}.get(new["better"], "off")
    change = f"{new['value'] - old['value']:+.3f}" if words.known(new["value"] - old["value"]) else None
    unclear = words.known(old["low"]) and old["low"] <= new["value"] <= old["high"]  # the same verdict as in the report
    column.metric(words.title(metric), words.number(new["value"]), change, delta_color="off" if unclear else kind, border=True)
    was = f"was {words.number(old['value'])} ({words.interval(old['low'], old['high'])}), now {words.interval(new['low'], new['high'])}"
    column.caption(f"95 %: {was}; n = {int(new['n']):,}{'; no clear change' if unclear else ''}")


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    said = table.assign(
        said=[f"{words.number(r.value)} ({words.interval(r.low, r.high)})" for r in table.itertuples()],
        name=[words.title(r.metric) + (f", {r.group}" if r.group else "") for r in table.itertuples()],
    )
    wide = said.pivot_table(index=["name", "n"], columns="role", values="said", aggfunc="first", sort=False).reset_index()
    return wide[["name", *(r for r in ROLES if r in wide), "n"]]


def changes(run: Run, found: dict[str, Any]) -> None:
    """Show what was predicted for the removed rows beside what came true."""
    if "change" not in found["tables"]:
        _unpredicted(run, found)
        return
    trusted(found["runs"]["original"], found["group"], "compare.trust")
    table = kept.table(found["tables"]["change"])
    here = table[table["rows"] == "evaluation"]
    apart = here["label"] == "R²"
    st.plotly_chart(
        agreement(_as_read(here[~apart])),
        key="compare.agreement",
        config={"displayModeBar": False},
        alt="Predicted against realised change of every metric; the table below holds the figures",
    )
    truth = here[here["role"] == "retrained"].dropna(subset=["predicted_measured_low"])  # an approximate method's misses are not the bands'
    inside = truth["measured"].between(truth["predicted_measured_low"], truth["predicted_measured_high"])
    held = (
        f"{int(inside.sum())} of {len(truth)} changes of the retrained model lie within their 95 % bands"
        if len(truth)
        else "No bands to check"
    )
    held += ": one model's, so not so many independent checks"
    without = " The figure leaves out R², which is in no unit." if apart.any() else ""
    st.caption(f"{held} (evaluation rows, n = {len(state.dataset(run).evaluation):,}).{without}")
    st.dataframe(_beside(table, "measured"), hide_index=True)
    smooth = table[table["label"] != table["measured_label"]]
    if len(smooth):
        with st.expander("The same of what scores predict"):
            st.caption(SMOOTH)
            st.dataframe(_beside(smooth, "value"), hide_index=True)


def _as_read(table: pd.DataFrame) -> pd.DataFrame:
    """Return changes of metrics as people read them, by the names of the picture."""
    parts = {f"predicted_{part}": table[f"predicted_measured_{part}"] for part in ("change", "low", "high")}
    return table.assign(label=table["measured_label"], value=table["measured"], **parts)


def trusted(original: str, group: str, key: str) -> None:
    """Draw how well the original model's preview predicts retraining, for the metric that stands first on Plan."""
    note = preview.kept(state.project(), original, group)
    if note is None:
        return
    label = trust.labels(note)[0]
    st.caption(f"Predictions for {words.escaped(label)}:")
    trust.of_preview(state.project().run(original), note, label, key)


def _beside(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return one row per metric: what was predicted, and what came true of each model, on evaluation and on holdout rows.

    `kind`: "measured" as people read it, "value" of its smooth version.
    """
    prefix, name = ("predicted_measured_", "measured_label") if kind == "measured" else ("predicted_", "label")
    said = table.assign(
        metric=table[name],
        predicted=[
            f"{words.signed(change)} ({words.interval(low, high)})"
            for change, low, high in zip(*(table[f"{prefix}{part}"] for part in ("change", "low", "high")), strict=True)
        ],
        realised=table[kind].map(words.signed),
        of=table["role"] + ", " + table["rows"] + " rows",
    ).rename(columns={"predicted": "predicted (95 %)"})
    wide = said.pivot_table(index=["metric", "predicted (95 %)"], columns="of", values="realised", aggfunc="first", sort=False)
    return wide.reset_index()


def _unpredicted(run: Run, found: dict[str, Any]) -> None:
    """Say that nothing was predicted; where the preview was prepared since, offer to compare again."""
    if preview.kept(state.project(), found["runs"]["original"], found["group"]) is None:
        st.caption("Nothing was predicted: the preview was not prepared for this model and group column.")
        return
    st.caption("The preview was prepared after this comparison was made.")
    job = jobs.run_button("Compare again", "compare", {"run": run.id, "group": found["group"]}, "compare.again", primary=False)
    jobs.follow(job, key="compare.again.follow")


def forgetting(run: Run, found: dict[str, Any]) -> None:
    """Show each model on the removed rows."""
    table = kept.table(found["tables"]["forgetting"])
    said = table.assign(
        said=[f"{words.number(r.value)} ({words.interval(r.low, r.high)})" for r in table.itertuples()],
        metric=table["metric"].map(words.title),
    )
    wide = (
        said.pivot_table(index=["metric", "n"], columns="role", values="said", aggfunc="first", sort=False).reset_index().fillna("itself")
    )
    st.dataframe(wide[["metric", *(r for r in ROLES if r in wide), "n"]], hide_index=True)
    st.caption(
        "On the removed rows themselves. The retrained model never saw them: an unlearned model should look like it, not worse and not "
        "better." + kept.units(run)
    )


def flips(run: Run, found: dict[str, Any]) -> None:
    """Show which holdout predictions differ from the original model's."""
    if "flips" not in found["tables"]:
        st.caption("A numeric target has no predictions that flip.")
        return
    table, n = kept.table(found["tables"]["flips"]), len(state.dataset(run).holdout)
    for role in (r for r in ROLES if r in found["runs"] and r != "original"):
        rows = table[table["role"] == role]
        better, worse = int((rows["after"] == rows["target"]).sum()), int((rows["before"] == rows["target"]).sum())
        st.markdown(
            f"**{role.capitalize()}**: {words.count(len(rows), 'prediction')} of {n:,} differ from the original's "
            f"({words.percent(len(rows) / n)}); {better:,} became right, {worse:,} became wrong."
        )
    with st.expander("Which rows"):
        counts = table.groupby(["role", "before", "after"]).size().reset_index(name="rows")
        st.dataframe(counts, hide_index=True)
        first = table.head(pictures.PAGE if pictures.drawable(run) else ROWS)
        pictures.table(first, pictures.of_run(run, first["id"].to_numpy(), "holdout"), "Holdout rows whose prediction changed")
        if len(table) > len(first):
            st.caption(f"The first {len(first):,} of {len(table):,}.")
