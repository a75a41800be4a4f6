"""Several methods on the same rows, side by side: the choice, the live picture, and the table that fills in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from influence.actions._oracles import ROWS
from influence.charts.colours import GREY
from influence.evaluation._tables import wilson
from influence.store import Run
from influence.types import Selection
from influence.ui import claims, costs, jobs, lanes, live, remaining, state, words

USUAL = ("retrain", "sisa", "influence_step")
"""Methods that stand first and are chosen at first, where they are open: the exact ones, and what comes nearest (docs/unlearning.md)."""
QUICK = 60.0
"""Seconds of training up to which retraining is chosen at first."""


def start(run: Run, args: dict[str, Any]) -> None:
    """Draw the choice of methods with what each costs, and the button that lets them run one after another."""
    selection = state.project().selection(args["selection"])
    names = ordered(costs.offered(run, selection))
    usual = [name for name in names if name in USUAL and (name != costs.FIRST or (costs.training_seconds(run) or 0.0) <= QUICK)]
    chosen = st.multiselect(
        "Methods, at their default settings", names, usual, format_func=words.title, key="run.methods", persist_state="session"
    )
    told = [f"- **{words.title(n)}**: {_cost(run, n, selection)}" for n in names if n in chosen]
    st.markdown("\n".join(told))
    asked = [{**args, "method": name, "set": {}} for name in names if name in chosen and not claims.refused(run, selection, name, {})]
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"Start {words.count(len(asked), 'method')}"
        st.button(label, key="run.race", type="primary", icon=":material/sports_score:", disabled=not asked, on_click=_ask, args=(asked,))
        beside = "" if costs.FIRST in chosen else costs.beside(run, selection)
        st.caption(f"One after another. {costs.training(run)}{beside}", width="content")


def ordered(names: Sequence[str]) -> list[str]:
    """Return methods as a race offers them: the usual ones, then those without a reservation, then the others."""
    return sorted(names, key=lambda name: (USUAL.index(name) if name in USUAL else len(USUAL), bool(costs.reservation(name)), name))


def _cost(run: Run, name: str, selection: Selection) -> str:
    if claims.refused(run, selection, name, {}):
        return f"left out. {claims.line(run, selection, name, {})}"
    doubt = costs.reservation(name)
    level = claims.short(run, selection, name)
    told = f"{words.escaped(costs.of_method(run, name, selection))}." + (f" Claim: {level}." if level else "")
    return told + (f" **Not recommended:** {words.escaped(doubt)}" if doubt else "")


def _ask(asked: Sequence[dict[str, Any]]) -> None:
    ids = [jobs.submit("unlearn", args) for args in asked]
    st.query_params["job"] = ids[-1]  # so that a reload, or somebody with this address, sees this race


def board(run: Run, selection: str) -> None:
    """Draw all methods on these rows, again and again while one is under way; when the last is over the page is run once more."""
    active = any(lane.job and not lane.job.over for lane in lanes.found(run, selection))
    st.fragment(_board, run_every=jobs.DRAWN if active else None)(run, selection, active)


def _board(run: Run, selection: str, active: bool) -> None:
    found = lanes.found(run, selection)
    under_way = [lane for lane in found if lane.job and not lane.job.over]
    if active and not under_way:
        st.rerun()
    st.subheader("Methods on these rows", anchor=False)
    for lane in under_way:
        jobs.bar(lane.job, f"race.{lane.key}", lane.name)  # type: ignore[arg-type]
    n, relabelled = _sizes(run, selection), state.project().selection(selection).action == "relabel"
    st.dataframe(
        table(found, n, relabelled), hide_index=True, key="race.table",
        alt="One row per method, with what doing nothing and retraining come to.",
        column_config={"Method": st.column_config.Column(pinned=True)},
    )  # fmt: skip
    for lane in found:
        if lane.note:
            st.caption(f"**{words.escaped(lane.name)}** {lane.state}: {words.escaped(lane.note)}")
    st.caption(said(found, n, relabelled))
    pictures(found, n, relabelled)


def _sizes(run: Run, selection: str) -> dict[str, int]:
    chosen = state.project().selection(selection)
    n = remaining.left(run, chosen)
    return {"forget": n, "retain": min(ROWS, remaining.seen(run) - n), "test": run.body["n"]["holdout"]}


def table(found: Sequence[lanes.Lane], n: Mapping[str, int], relabelled: bool = False) -> pd.DataFrame:
    """Return one row per method, after those of the original and, where none of them retrains, of the retrained model."""
    told, parts = lanes.references(found), live.parts(relabelled)
    whole = next((lane.run.body["retrain_seconds"] for lane in found if lane.run and lane.run.body.get("retrain_seconds")), None)
    rows = [_row("Do nothing", "", told["original"], None, whole, n, parts)]
    if not any(lane.name == words.title(costs.FIRST) for lane in found):
        rows.append(
            _row(
                words.title(costs.FIRST), "done" if told["retrained"] else "not yet", told["retrained"], whole, whole, n, parts, itself=True
            )
        )
    for lane in found:
        body = lane.run.body if lane.run else {}
        itself = lane.name == words.title(costs.FIRST)
        rows.append(_row(lane.name, lane.state, lane.figures, body.get("seconds"), whole, n, parts, itself))
    frame = pd.DataFrame(rows)
    said_already = frame["State"].isin(("", "done")).all()
    empty = [column for column in frame if not (frame[column] != "").any() or (column == "State" and said_already)]
    return frame.drop(columns=empty)


def _row(
    name: str,
    state: str,
    live_ones: Mapping[str, float],
    seconds: float | None,
    whole: float | None,
    n: Mapping[str, int],
    parts: Mapping[str, str],
    itself: bool = False,
) -> dict[str, str]:
    def one(metric: str) -> str:
        return words.number(live_ones[metric]) if words.known(live_ones.get(metric)) else ""

    good = {f"{'Accuracy, ' if k == 'forget' else ''}{part}": _accuracy(live_ones.get(f"{k}_accuracy"), n[k]) for k, part in parts.items()}
    bad = {f"{'Error, ' if k == 'forget' else ''}{part} rows": one(f"{k}_mae") for k, part in parts.items()}
    return {
        "Method": name,
        "State": state,
        **good,
        **bad,
        "Gap": one("gap"),
        "Attack": one("attack"),
        "Distance": one("distance") or ("itself" if itself and live_ones else ""),
        "Seconds": f"{seconds:,.2f}" if seconds is not None else "",
        "Share": words.percent(seconds / whole, 0) if seconds is not None and whole else "",
    }


def _accuracy(value: float | None, n: int) -> str:
    if value is None or not words.known(value):
        return ""
    low, high = wilson(value * n, n)
    return f"{words.number(value)} ({words.interval(low, high)})"


def said(found: Sequence[lanes.Lane], n: Mapping[str, int], relabelled: bool = False) -> str:
    """Return what the columns mean, and on how many rows they rest."""
    names = {name for lane in found for name in lane.figures}
    margins = "margins (log-odds of their class)" if "forget_accuracy" in names else "squared errors (in standard deviations)"
    parts = live.parts(relabelled)
    told = [f"Rows: {', '.join(f'{n[k]:,} {part}' for k, part in parts.items())}{', by their old labels' if relabelled else ''}."]
    if "forget_accuracy" in names:
        told.append("In brackets: 95 % intervals.")
    if "attack" in names:
        told.append(
            f"Attack: how well the loss tells {parts['forget']} from unseen rows; 0.5 is a guess, less than retraining's no success."
        )
    if "distance" in names:
        told.append(f"Distance: of {parts['forget']} rows' {margins} from the retrained model's, on average.")
    if any(lane.run and lane.run.body.get("retrain_seconds") for lane in found):
        told.append("Share: of the seconds of retraining.")
    told += [
        f"{words.escaped(lane.name)}: {once}, counted in neither." for lane in found if lane.run and (once := costs.prepared(lane.run.body))
    ]
    return " ".join(told)


def dashed(curves: live.Curves, relabelled: bool = False) -> str:
    """Return what the dashed lines and the bands are, where there are some."""
    how = words.asked(("relabel",) if relabelled else ()).anew
    lines = f"Dashed: the model retrained {how}. " if curves.references.get("retrained") else ""
    about = (
        f"Band: {curves.oracles} models retrained {'with' if relabelled else 'without'} them from other seeds. " if curves.oracles else ""
    )
    without = [
        rows for part, rows in live.called(relabelled).items() if curves.oracles and part in curves.names and part not in curves.bands
    ]
    told = (
        f"No band for {' and '.join(map(str.lower, without))}: what those models say is kept of other rows or labels. " if without else ""
    )
    return lines + about + told


def pictures(found: Sequence[lanes.Lane], n: Mapping[str, int], relabelled: bool = False) -> None:
    """Draw a small picture per metric, all over the same axis: a line per method, beside doing nothing and retraining."""
    measured = [lane for lane in found if len(lane.curves.steps)]
    drawn = [lane for lane in measured if not lane.anew] or measured  # training anew starts far off, and ends at the dashed line
    if not drawn:
        return
    told, most = lanes.references(found), max(drawn, key=lambda lane: lane.curves.oracles).curves
    shown = [
        (title, name)
        for title, name in _titles(drawn, live.parts(relabelled))
        if any((lane.curves.steps["name"] == name).any() for lane in drawn)
    ]
    chance = live.by_chance(n["forget"], n["test"]) if "attack" not in most.bands else None
    grey = "Grey at the loss attack: where chance lies (95 %). " if chance and "attack" in most.names else ""
    beside = dashed(live.Curves(most.steps, told, most.bands, most.oracles), relabelled) + grey
    st.caption(f"Dotted: do nothing. {beside}Across: share of each method's way.")
    for place in range(0, len(shown), 3):
        for column, (title, name) in zip(st.columns(3), shown[place : place + 3], strict=False):
            values = "; ".join(f"{lane.name} {words.number(v)}" for lane in drawn if (v := lane.curves.now(name)) is not None)
            behind = most.bands.get(name, chance if name == "attack" else None)
            picture = _picture(drawn, title, name, told, behind)
            column.altair_chart(picture, key=f"race.{name}", alt=f"{title}: {values}")


def _titles(drawn: Sequence[lanes.Lane], parts: Mapping[str, str]) -> list[tuple[str, str]]:
    classes = any((lane.curves.steps["name"] == "forget_accuracy").any() for lane in drawn)
    kind, what = ("accuracy", "Accuracy") if classes else ("mae", "Error")
    return [
        *((f"{what}, {part} rows", f"{k}_{kind}") for k, part in parts.items()),
        ("Gap", "gap"),
        (live.ATTACK, "attack"),
        (live.DISTANCE, "distance"),
    ]


def _picture(
    drawn: Sequence[lanes.Lane], title: str, name: str, told: Mapping[str, Mapping[str, float]], band: tuple[float, float] | None
) -> alt.LayerChart | alt.FacetChart:
    names = [lane.name for lane in drawn]
    lines = pd.concat([_way(lane, name) for lane in drawn], ignore_index=True)
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    colours = [live.COLOURS[min(place, len(live.COLOURS) - 1)] for place in range(len(names))]
    legend = alt.Legend(orient="bottom", title=None, columns=3, symbolType="stroke", symbolStrokeWidth=3)
    tint = alt.Color("Method:N", scale=alt.Scale(domain=names, range=colours), legend=legend)
    x = alt.X("way:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=3))
    mark = alt.Chart(lines).mark_line(point=alt.OverlayMarkDef(size=12)).encode(x=x, y=y, color=tint)
    flat = [{"Model": role, "value": found[name]} for role, found in told.items() if name in found]
    dash = alt.StrokeDash("Model:N", scale=alt.Scale(domain=list(live.REFERENCES), range=[[2, 3], [8, 4]]), legend=None)
    rules = alt.Chart(pd.DataFrame(flat, columns=["Model", "value"])).mark_rule(strokeWidth=1.5, color=GREY).encode(y=y, strokeDash=dash)
    behind = [] if band is None else [
        alt.Chart(pd.DataFrame([{"value": band[0], "high": band[1]}])).mark_rect(opacity=0.15, color=GREY).encode(y=y, y2="high:Q")
    ]  # fmt: skip
    return alt.layer(*behind, rules, mark).properties(title=title, height=250)


def _way(lane: lanes.Lane, name: str) -> pd.DataFrame:
    """Return one metric of a lane over the share of its way."""
    steps = lane.curves.steps
    own = steps[steps["name"] == name]
    last = lane.job.total if lane.job and not lane.job.over and lane.job.total > 1 else steps["step"].max()
    return pd.DataFrame({"Method": lane.name, "way": own["step"] / max(1, last), "value": own["value"]})


def closer(found: Sequence[lanes.Lane]) -> lanes.Lane | None:
    """Draw the choice of the method that is over and looked at below; return it, or None if there is none.

    What was asked last is looked at once it is over; then, or where an address says otherwise, it is for people to choose.
    """
    over = {lane.name: lane for lane in found if lane.job is None or lane.job.over}
    if not over:
        return None
    asked = st.query_params.get("job")
    followed = st.session_state.setdefault("run.followed", asked if "run.lane" in st.query_params else None)
    ended = next((lane.name for lane in over.values() if lane.job and lane.job.id == asked), None)
    if ended and followed != asked:
        st.session_state["run.followed"], st.session_state["run.lane"] = asked, ended
    name = st.selectbox("Look closer at", list(over), **state.shared("run.lane"))
    return over[name]
