"""The parts of the Plan page: the kept preview, the slider with its curve and table, real points, and the preview of a selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from scipy import stats

from influence.actions import preview
from influence.charts.curves import curve
from influence.errors import BadInput
from influence.registry import finders
from influence.store import Run
from influence.types import Selection
from influence.ui import choosing, costs, jobs, kept, pinning, state, trust, words

STEPS = 5  # sizes at which models are really retrained
SEEDS = 3
RETRAININGS = 21


def not_original(run: Run) -> bool:
    """Say so if the run was made by unlearning: one plans on the original."""
    if run.parent is None:
        return False
    st.info("This model was made by unlearning. Plans are made on the model it came from.", icon=":material/info:")
    state.link("plan", "Plan on the original", run=run.parent)
    return True


def kept_note(run: Run) -> dict[str, Any] | None:
    """Return the run's prepared preview for the group column, or None."""
    return preview.kept(state.project(), run.id, state.group())


def cost(run: Run) -> str:
    """Say what preparing costs."""
    return f"About {costs.retrainings(run, RETRAININGS)}; and the metagradient, as long as a few more"


def choose_label(note: dict[str, Any]) -> str:
    """Draw the choice of the metric by which rows are ranked, gaps first."""
    labels = trust.labels(note)
    return st.selectbox("Remove the rows that are predicted to improve this most", labels, **state.shared("plan.label"))


def trusted(run: Run, note: dict[str, Any], label: str) -> None:
    """Draw how well the preview's predictions for a metric agree with retraining."""
    trust.of_preview(run, note, label, "plan.trust")


def slider(run: Run, note: dict[str, Any], label: str) -> None:
    """Draw the slider with everything that follows it; a move redraws this part alone."""
    st.fragment(_slider)(run, note, label)


def _slider(run: Run, note: dict[str, Any], label: str) -> None:
    better = note["better"][label]
    n = len(kept.scores(note["scores"]).ids)
    last = max(1, min(n // 2, max(10, round(0.1 * n))))
    k = st.slider(
        "Training rows removed", 0, last, min(last, max(1, round(0.005 * n))), help=f"Of {n:,}", **state.shared(f"plan.k.{run.id}")
    )
    found = kept.curves(note, note["scores"], label, better, last, preview.key(run.id, state.group()) + note["scores"])
    exact = {
        kind: preview.curves(note, kept.scores(note["scores"]), kept.order(note["scores"], label, better), [k], kind) for kind in found
    }
    if not note["calibration"]:
        st.warning(
            "These scores rank only: no change can be predicted. Retrain without the rows on the Run page to see it.",
            icon=":material/info:",
        )
    else:
        st.markdown(finding(note, exact["measured"], label, k))
        _picture(run, note, label, k, found)
        st.dataframe(_metrics(note, exact, k), hide_index=True)
        st.caption(_trust(note) + kept.favourable(run) + kept.units(run))
    with st.container(horizontal=True, vertical_alignment="center"):
        given = {"k": max(1, k), "label": label, "better": "higher" if better == "higher" else "lower"}
        chosen = state.selection()
        if chosen and len(chosen) != k:
            st.caption(f"This previews {k:,} rows; {len(chosen):,} are selected below.", width="content")
        if st.button(f"Select these {k:,} rows", type="primary", icon=":material/checklist:", disabled=k == 0, key="plan.select"):
            choosing.find(run, "top_k", given, kept.scores(note["scores"]), "Replace the selection", note["scores"])
            st.rerun()
        shown = finders.make("top_k", given)(kept.scores(note["scores"]), state.dataset(run).train)
        pinning.preview(run, state.group(), note["scores"], shown, "slider")
        _confirm(run, note, label, last)


def finding(note: dict[str, Any], exact: pd.DataFrame, label: str, k: int) -> str:
    """Return in one sentence what removing k rows is predicted to do to the metric asked about, and to accuracy beside it."""
    names = [label, *(other for other in note["labels"] if note["measured_labels"][other] in ("Accuracy", "R²") and other != label)]
    return f"Without these {words.count(k, 'row')}: " + "; ".join(_moved(note, exact, name) for name in names) + "."


def _moved(note: dict[str, Any], exact: pd.DataFrame, label: str) -> str:
    row, before = exact[exact["label"] == label].iloc[0], note["before"][label]["measured"]
    band = words.interval(before + row["low"], before + row["high"])
    after = f"predicted **{words.number(before + row['change'])}** (95 % band {band})"
    return f"{words.escaped(note['measured_labels'][label])} now {words.number(before)}, {after}"


def _picture(run: Run, note: dict[str, Any], label: str, k: int, found: dict[str, pd.DataFrame]) -> None:
    points = _points(run, label)
    left, right = st.columns(2)
    for column, kind, name in ((left, "value", f"{label}, smooth"), (right, "measured", f"{note['measured_labels'][label]}, as measured")):
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
    told = "Blue: predicted, with its 95 % band."
    if points is not None:
        told += " Orange dots: models really retrained from the same start without these rows."
        seeds = points.loc[points["truth"] == "fresh", "seed"].nunique()
        told += f" Green diamonds: mean change over {words.count(seeds, 'fresh seed')}, with its 95 % interval." if seeds else ""
    st.caption(f"{told} Evaluation rows, n = {note['n_evaluation']:,}. The predicted curve belongs to the same start (truth “same”).")


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
    names = {"value": f"{label}, smooth", "measured": note["measured_labels"][label]}
    table = pd.DataFrame({"rows removed": found["value"].loc[found["value"]["label"] == label, "k"].to_numpy()})
    for kind, name in names.items():
        before, band = note["before"][label][kind], found[kind][found[kind]["label"] == label]
        table[f"{name}: predicted"] = [words.number(before + x) for x in band["change"]]
        table[f"{name}: 95 % band"] = [words.interval(before + a, before + b) for a, b in zip(band["low"], band["high"], strict=True)]
        for r in [] if points is None else _levels(points, kind, before).itertuples():
            real = f"{name}: retrained, {'same start' if r.truth == 'same' else 'fresh seeds'}"
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


def _points(run: Run, label: str) -> pd.DataFrame | None:
    noted = state.project().noted(preview.key(run.id, state.group(), label=label))
    if noted is None:
        return None
    table = kept.table(noted["points"])
    return table[(table["label"] == label) & (table["role"] == "evaluation")]


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


def _metrics(note: dict[str, Any], exact: dict[str, pd.DataFrame], k: int) -> pd.DataFrame:
    rows = []
    for label in note["labels"]:
        soft, hard = (exact[kind][exact[kind]["label"] == label].iloc[0] for kind in ("value", "measured"))
        before = note["before"][label]
        rows.append(
            {
                "metric": note["measured_labels"][label],
                "now": words.number(before["measured"]),
                f"predicted without {k:,} rows": words.number(before["measured"] + hard["change"]),
                "95 % band": words.interval(before["measured"] + hard["low"], before["measured"] + hard["high"]),
                "predicted through": label,
                "change of that": words.signed(soft["change"]),
                "band of that": words.interval(soft["low"], soft["high"]),
            }
        )
    return pd.DataFrame(rows)


def _trust(note: dict[str, Any]) -> str:
    n = next(iter(note["calibration"].values()))["value"]["n"]
    return (
        f"Bands come from {n} real retrainings without other sets of rows; metrics with a threshold are predicted through their smooth "
        f"twins. n = {note['n_evaluation']:,} evaluation rows."
    )


def preview_of(run: Run, note: dict[str, Any], selection: Selection) -> None:
    """Show what is predicted for exactly the selected rows."""
    try:
        found = preview.predicted(note, kept.scores(note["scores"]), selection.ids)
    except BadInput as error:
        st.warning(words.escaped(error), icon=":material/warning:")
        return
    rows = [
        {
            "metric": e["measured_label"],
            "now": words.number(e["measured_before"]),
            "predicted change": words.signed(e["measured_change"]) if e["calibrated"] else "rank only",
            "95 % band": words.interval(e["measured_low"], e["measured_high"]) if e["calibrated"] else "",
        }
        for e in found.values()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    pinning.preview(run, state.group(), note["scores"], selection, "selection")
    st.caption(f"Predicted for exactly the {words.count(len(selection), 'selected row')}, on {note['n_evaluation']:,} evaluation rows.")
