"""Compare's part on metrics: every model side by side, and how each changed from the original on the same rows."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import _comparison
from influence.actions._untouched import touched
from influence.charts.colours import GREY, GROUPS, ROLES
from influence.charts.forest import forest
from influence.evidence.figures import Estimate
from influence.evidence.sentences import judged
from influence.store import Run
from influence.ui import comparing, jobs, kept, pinning, state, whole, words

FIRST = ("equal_opportunity_gap", "demographic_parity_gap", "group_loss_gap", "accuracy", "r2", "loss", "mae")
CLASSES = 12
"""Classes that are drawn: those whose recall changed most."""
OF_CLASSES = {"recall": "Recall by class", "precision": "Precision by class"}
OVER = "Intervals are over rows: they say what other rows would, not what another training of these models would."
CLEAR = {"better": "green", "worse": "red"}
"""The colour of a clear change for the better or the worse; any other has none."""


def metrics(run: Run, found: dict[str, Any]) -> None:
    """Show every metric by model with intervals and n: the main ones as figures, one as a picture, all as a table."""
    table = kept.table(found["tables"]["metrics"])
    here = table[table["column"].isin(("", found["group"]))]
    overall = here[here["group"] == ""]
    shown = [m for m in FIRST if m in set(overall["metric"])][:4]
    for column, metric in zip(st.columns(len(shown) or 1), shown, strict=False):
        _tile(column, overall[overall["metric"] == metric].set_index("role"), metric)
    here, colours = _with_others(run, found, here)
    options = [*dict.fromkeys(here["metric"]), *(OF_CLASSES if "classes" in found["tables"] else ())]
    start = options.index("true_positive_rate") if "true_positive_rate" in options else 0
    metric = st.selectbox("Show", options, start, **state.shared("compare.metric", lambda m: OF_CLASSES.get(m, words.title(m))))
    if metric in OF_CLASSES:
        rows = _of_classes(kept.table(found["tables"]["classes"]), metric)
    else:
        rows = here[here["metric"] == metric].assign(name=lambda t: t["group"].replace("", "all groups"))
    told = rows.assign(role=rows["role"].replace(comparing.NAMES))
    st.plotly_chart(
        forest(told, colours, by="name", colour="role", axis=f"{words.title(metric)}, holdout rows, with 95 % intervals"),
        key="compare.forest", config={"displayModeBar": False},
        alt=f"{words.title(metric)} by model, with 95 % intervals; the table below holds the figures",
    )  # fmt: skip
    changed = changes(rows)
    st.dataframe(
        changed,
        hide_index=True,
        column_config=whole.shape(changed),
        alt=f"How {words.title(metric)} changed from the original, with 95 % intervals.",
    )
    st.caption(
        "Change from the original on the same rows, so its interval is narrower than the models' own. Clear: it leaves out 0. " + OVER
    )
    if metric not in OF_CLASSES:
        pinning.comparison(run, found["tables"]["metrics"], metric, found["group"])
    with st.expander("Every metric as a table"):
        wide = _wide(here)
        st.dataframe(wide, hide_index=True, column_config=whole.shape(wide), alt="Every metric of every model with 95 % intervals and n.")


def _tile(column: Any, rows: pd.DataFrame, metric: str) -> None:
    after = "unlearned" if "unlearned" in rows.index else "retrained"
    if "original" not in rows.index or after not in rows.index:
        return
    old, new = rows.loc["original"], rows.loc[after]
    verdict = _verdict(old["value"], new)
    now = old["value"] + new["change"] if new["pair"] else new["value"]
    change = f"{new['change']:+.3f}" if words.known(new["change"]) else None
    column.metric(words.title(metric), words.number(now), change, delta_color=CLEAR.get(verdict, "off"), border=True)
    pair = f"{words.escaped(new['pair'])}. " if new["pair"] else ""
    of = f"Change 95 %: {words.interval(new['change_low'], new['change_high'])}"
    said = f":{CLEAR[verdict]}[{verdict}]" if verdict in CLEAR else verdict
    largest = f" The largest gap is {words.number(new['value'])} now." if new["pair"] and abs(abs(now) - new["value"]) > 1e-6 else ""
    column.caption(f"{pair}Was {words.number(old['value'])}. {of}; n = {_n(new):,}: {said}.{largest}")


def _n(row: Any) -> int:
    return int(row["change_n"] if words.known(row["change_n"]) else row["n"])


def _verdict(before: float, row: Any) -> str:
    moved = Estimate(row["change"], row["change_low"], row["change_high"], _n(row))
    return judged(float(before), moved, str(row["better"]), bool(row["pair"]) and str(row["metric"]).endswith("_gap"))


def changes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how a metric changed, a row per group and model, as text; `rows`: of one metric, all models (columns of the kept table)."""
    before = rows[rows["role"] == "original"].set_index("name")["value"]
    found = []
    for row in rows[rows["role"] != "original"].to_dict("records"):
        pair = row["pair"] if isinstance(row["pair"], str) else ""
        row = {**row, "pair": pair, "better": row.get("better", "higher")}
        if not words.known(row["change"]):
            continue
        found.append(
            {
                "": pair or row["name"],
                "model": comparing.NAMES.get(row["role"], row["role"]),
                "original": words.number(before[row["name"]]),
                "now": words.number(before[row["name"]] + row["change"]),
                "change": words.signed(row["change"]),
                "95 % low": words.signed(row["change_low"]) if words.known(row["change_low"]) else "",
                "95 % high": words.signed(row["change_high"]) if words.known(row["change_high"]) else "",
                "n": _n(row),
                "verdict": _verdict(before[row["name"]], row),
            }
        )
    return pd.DataFrame(found)


def _of_classes(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a measure by class, of those classes whose recall changed most."""
    most = table[table["metric"] == "recall"].assign(size=lambda t: t["change"].abs()).groupby("group")["size"].max()
    first = set(most.sort_values(ascending=False, kind="stable").index[:CLASSES])
    rows = table[(table["metric"] == metric) & table["group"].isin(first)]
    return rows.assign(name=rows["group"], better="higher")


def _with_others(run: Run, found: dict[str, Any], here: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Let other models that forgot the same rows be put beside this one; return their measures with these, and a colour for each model."""
    colours = {comparing.NAMES[role]: tint for role, tint in ROLES.items()}
    others = [
        r for r in state.project().runs()
        if r.parent == run.parent and r.id != run.id and r.body.get("selection") == run.body["selection"]
        and not r.body.get("yardstick") and r.body["method"]["name"] != "retrain"
    ]  # fmt: skip
    if not others or "unlearned" not in found["runs"]:
        return here, colours
    names = words.run_names(others)
    chosen = st.multiselect(
        "Beside it", list(names), key="compare.beside", format_func=names.__getitem__, placeholder="Other models that forgot the same rows",
        persist_state="session",
    )  # fmt: skip
    parts = [here]
    for at, other in enumerate(r for r in others if r.id in chosen):
        if why := touched(state.project(), other):
            st.caption(f"{words.escaped(names[other.id])}: {why}")
        theirs = _comparison.kept(state.project(), other.id, found["group"])
        if theirs is None:
            args = {"run": other.id, "group": found["group"]}
            jobs.follow(jobs.run_button(f"Compare {names[other.id]}", "compare", args, f"compare.{other.id}", primary=False), key=other.id)
            continue
        table = kept.table(theirs["tables"]["metrics"])
        name = f"{words.title(other.body['method']['name'])} {other.id[-4:]}"
        parts.append(table[(table["role"] == "unlearned") & table["column"].isin(("", found["group"]))].assign(role=name))
        colours[name] = (*GROUPS[4:], GREY)[min(at, 2)]
    return pd.concat(parts, ignore_index=True), colours


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    said = table.assign(
        said=[f"{words.number(r.value)} ({words.interval(r.low, r.high)})" for r in table.itertuples()],
        name=[words.title(r.metric) + (f", {r.group}" if r.group else "") for r in table.itertuples()],
    )
    wide = said.pivot_table(index=["name", "n"], columns="role", values="said", aggfunc="first", sort=False).reset_index()
    order = [*(r for r in ROLES if r in wide), *(r for r in wide if r not in (*ROLES, "name", "n"))]
    return wide[["name", *order, "n"]].rename(columns={"random": "random removal"})
