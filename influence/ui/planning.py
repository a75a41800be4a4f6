"""The parts of the Plan page: the kept preview, the slider with its curve and table, and real points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from scipy import stats

from influence.actions import _measures, preview
from influence.charts.curves import curve
from influence.registry import attribution, finders
from influence.store import Run
from influence.ui import (
    asking,
    choosing,
    costs,
    effects,
    foretelling,
    jobs,
    kept,
    pinning,
    requesting,
    retraining,
    state,
    trust,
    whochanges,
    words,
)

SMOOTH = "Its smooth version"
STEPS = 5  # sizes at which models are really retrained
SEEDS = 3
RETRAININGS = 21
WALKED = (
    "Previews need one walk back through training with the standard questions, and about twenty real retrainings that tell how far to "
    "trust it."
)
RANKS = "This model cannot be trained again, so that its preview only ranks rows: by how much a metric would change it does not tell."


def not_original(run: Run) -> bool:
    """Draw what a model made by unlearning can be asked, if the run is one: a further request, but no predictions."""
    if run.parent is None:
        return False
    requesting.again(run)
    foretelling.selected(run, None)
    return True


def kept_note(run: Run) -> dict[str, Any] | None:
    """Return the run's prepared preview for the group column, in the unit of the target, or None."""
    note = preview.kept(state.project(), run.id, state.group())
    return note and preview.in_units(note, state.dataset(run))


def unprepared(run: Run) -> None:
    """Say what a preview takes, with the button that prepares it; or why this model can have none, and the way on."""
    trained = asking.trained(run.id, str(state.project().path))
    method = preview.scorer(trained)
    if reason := method.unavailable(trained):
        st.info(words.escaped(trained.in_shards("A preview", "retraining") or reason), icon=":material/info:")
        state.link("influence", "Score rows by retraining")
        return
    st.write(WALKED if method.calibrated else RANKS)
    prepare(run)


def prepare(run: Run) -> None:
    """Draw the button that prepares the preview."""
    args = {"run": run.id, "group": state.group()}
    job = jobs.run_button("Prepare the preview", "prepare", args, "plan.prepare", cost=cost(run))
    jobs.follow(job, key="plan.follow")


def cost(run: Run) -> str:
    """Say what preparing costs."""
    method = preview.scorer(asking.trained(run.id, str(state.project().path)))
    if not method.calibrated:
        return costs.told(run, attribution, type(method).id, {})
    return f"About {costs.retrainings(run, RETRAININGS)}; and the metagradient, as long as a few more"


def first_label(note: dict[str, Any]) -> str:
    """Return the metric that is chosen below, or would be at first: the one in the address, as it is written there."""
    labels, wanted = trust.labels(note), st.query_params.get("plan.label")
    chosen = st.session_state.get("plan.label")
    if chosen in labels:
        return str(chosen)
    return next((label for label in labels if wanted in (label, note["measured_labels"].get(label))), labels[0])


def choose_label(note: dict[str, Any]) -> str:
    """Draw the choice of the metric by which rows are ranked, gaps first."""
    labels, names = trust.labels(note), note["measured_labels"]
    return st.selectbox(
        "Rows that are predicted to improve this most", labels, **state.shared("plan.label", lambda label: names.get(label, label))
    )


def trusted(run: Run, note: dict[str, Any], label: str) -> None:
    """Draw how well the preview's predictions for a metric agree with retraining."""
    trust.of_preview(run, note, label, "plan.trust")


def slider(run: Run, note: dict[str, Any], label: str) -> None:
    """Draw the slider with everything that follows it; a move redraws this part alone."""
    st.fragment(_slider)(run, note, label)


def _slider(run: Run, note: dict[str, Any], label: str) -> None:
    better = note["better"][label]
    n, apart = len(kept.scores(note["scores"]).ids), False
    last = max(1, min(n // 2, max(10, round(0.1 * n))))
    k = st.slider(
        "Training rows removed", 0, last, min(last, max(1, round(0.005 * n))), help=f"Of {n:,}", **state.shared(f"plan.k.{run.id}")
    )
    found = kept.curves(note, note["scores"], label, better, last, preview.key(run.id, state.group()) + note["scores"])
    exact = {
        kind: preview.curves(note, kept.scores(note["scores"]), kept.order(note["scores"], label, better), [k], kind) for kind in found
    }
    if not note["calibration"]:
        st.warning(foretelling.RANKED, icon=":material/info:")
    else:
        changes = {row["label"]: row for row in exact["measured"].to_dict("records")}
        if k:
            _told(run, note, changes, label, k)
        smooth = exact["value"].set_index("label").loc[label, "change"]
        if apart := foretelling.against(note, smooth, changes[label]["change"], label):
            st.warning(foretelling.AGAINST, icon=":material/warning:")
        _picture(run, note, label, k, found)
        foretelling.metrics(run, note, changes)
        if not choosing.own(run):  # else it stands with their preview
            st.caption(foretelling.trusted(run, note, k))
    given = {"k": max(1, k), "label": label, "better": "higher" if better == "higher" else "lower"}
    if not apart:
        _select(run, note, given, k)
    with st.container(horizontal=True, vertical_alignment="center"):
        if k:
            shown = finders.make("top_k", given)(kept.scores(note["scores"]), state.dataset(run).train)
            pinning.preview(run, state.group(), note["scores"], shown, "slider")
        if not retraining.impossible(run):
            _confirm(run, note, label, last)


def _told(run: Run, note: dict[str, Any], changes: dict[str, dict[str, Any]], label: str, k: int) -> None:
    """Say what is predicted of the metric without the first k rows, and whether chance goes as far."""
    st.markdown(foretelling.finding(run, note, changes, label, k))
    level = note["before"][label]["measured"] + changes[label]["change"]
    if told := whochanges.beside_chance(run, note, label, level):
        st.caption(told)


def _select(run: Run, note: dict[str, Any], given: dict[str, Any], k: int) -> None:
    """Draw the button that makes these rows the selection; it says which rows it would replace."""
    if choosing.replacing(k, "plan.select"):
        choosing.find(run, "top_k", given, kept.scores(note["scores"]), "Replace the selection", note["scores"])
        st.rerun()


def _picture(run: Run, note: dict[str, Any], label: str, k: int, found: dict[str, pd.DataFrame]) -> None:
    points = _points(run, note, label)
    left, right = st.columns(2)
    kinds = {"measured": (left, note["measured_labels"][label]), "value": (right, SMOOTH)}
    for kind, (column, name) in kinds.items():
        if kind == "value" and not effects.differs(note["before"][label]):
            continue
        band = found[kind][found[kind]["label"] == label]
        before = note["before"][label][kind]
        levels = pd.DataFrame(
            {"k": band["k"], "level": before + band["change"], "low": before + band["low"], "high": before + band["high"]}
        )
        shown = None if points is None else _levels(points, kind, before)
        last = levels.iloc[-1]
        alt = f"{name}: {words.number(before)} with all rows, predicted {words.number(last['level'])} without the first {int(last['k']):,}"
        column.vega_lite_chart(curve(levels, k, shown, name), key=f"plan.curve.{kind}", alt=alt)
    with st.expander("Read as a table"):
        st.dataframe(
            _kept_table(note, found, points, label, _identity(run, note, found, label)), hide_index=True, alt="The curves above as figures."
        )
    told = f"Blue: predicted, with its 95 % band. {preview.unbanded(note, int(found['value']['k'].max()))}".rstrip()
    if points is not None:
        told += " Orange dots: retrained without these rows, with the same seed, as predicted."
        seeds = points.loc[points["truth"] == "fresh", "seed"].nunique()
        told += f" Green diamonds: mean change over {words.count(seeds, 'new seed')}, with its 95 % interval." if seeds else ""
    st.caption(f"{told} Evaluation rows, n = {foretelling.counts(run, note)[label]:,}.")


def _identity(run: Run, note: dict[str, Any], found: dict[str, pd.DataFrame], label: str) -> str:
    """Return what the table of the curves depends on, besides the label: it does not move with the slider."""
    noted = state.project().noted(preview.key(run.id, state.group(), label=label)) or {}
    return f"{preview.key(run.id, state.group())}/{note['scores']}/{note['seconds']}/{len(found['value'])}/{noted.get('points')}"


@st.cache_resource(show_spinner=False, max_entries=32)
def _kept_table(
    _note: dict[str, Any], _found: dict[str, pd.DataFrame], _points: pd.DataFrame | None, label: str, identity: str
) -> pd.DataFrame:
    return _table(_note, label, _found, _points)


def _table(note: dict[str, Any], label: str, found: dict[str, pd.DataFrame], points: pd.DataFrame | None) -> pd.DataFrame:
    """Return the two curves as text, with the means of the really retrained models where there are some."""
    names = {"measured": note["measured_labels"][label], "value": SMOOTH}
    if not effects.differs(note["before"][label]):
        del names["value"]
    table = pd.DataFrame({"rows removed": found["value"].loc[found["value"]["label"] == label, "k"].to_numpy()})
    for kind, name in names.items():
        before, band = note["before"][label][kind], found[kind][found[kind]["label"] == label]
        table[f"{name}: predicted"] = [words.number(before + x) for x in band["change"]]
        table[f"{name}: 95 % band"] = [
            words.interval(before + a, before + b) if words.known(a) else "" for a, b in zip(band["low"], band["high"], strict=True)
        ]
        for r in [] if points is None else _levels(points, kind, before).itertuples():
            real = f"{name}: retrained, {'same seed' if r.truth == 'same' else 'new seeds'}"
            nearest = (table["rows removed"] - r.k).abs().idxmin()
            at = "" if table.loc[nearest, "rows removed"] == r.k else f" (at {r.k:,})"
            table.loc[nearest, real] = words.number(r.level) + at
    return table.fillna("")


def _levels(points: pd.DataFrame, kind: str, before: float) -> pd.DataFrame:
    rows = []
    for (truth, k), part in points.groupby(["truth", "k"]):
        change = part[f"{kind}_change"]
        half = _half(change) if len(change) > 1 else (0.0 if truth == "same" else np.nan)  # one seed has no interval
        mean = before + float(change.mean())
        rows.append({"truth": truth, "k": int(k), "level": mean, "low": mean - half, "high": mean + half})
    return pd.DataFrame(rows)


def _half(change: pd.Series) -> float:
    return float(stats.t.ppf(0.975, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change)))


def _points(run: Run, note: dict[str, Any], label: str) -> pd.DataFrame | None:
    noted = state.project().noted(preview.key(run.id, state.group(), label=label))
    if noted is None:
        return None
    table = kept.table(noted["points"])
    unit = _measures.unit_of(state.dataset(run), note["queries"][label]["name"])
    shown = table[(table["label"] == label) & (table["role"] == "evaluation")]
    return shown.assign(**{f"{kind}_change": shown[f"{kind}_change"] * getattr(unit, kind) for kind in ("value", "measured")})


def _confirm(run: Run, note: dict[str, Any], label: str, last: int) -> None:
    ks = sorted({int(k) for k in np.linspace(0, last, STEPS + 1)[1:]})
    args = {"run": run.id, "group": state.group(), "label": label, "better": note["better"][label], "ks": ks, "seeds": SEEDS}
    count = len(ks) + SEEDS * (len(ks) + 1)
    job = jobs.run_button(
        "Check against real retraining", "confirm", args, "plan.confirm", primary=False, icon=":material/fact_check:",
        cost=costs.retrainings(run, count),
    )  # fmt: skip
    if job is not None and not (job.over and job.state == "done"):
        jobs.follow(job, key="plan.confirm.follow")
