"""The live curves of unlearning: what was measured so far, beside the original and the retrained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd

from influence.ui import words

REFERENCES = {"original": "original model", "retrained": "retrained model"}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7F87")
NAMES = {"forget_loss": "Rows to forget", "retain_loss": "Retained rows", "test_loss": "Holdout rows"}
LOSSES = tuple(NAMES)


@dataclass(frozen=True)
class Panel:
    """One chart: its title, the metrics drawn in it by name, and which rows they are measured on."""

    title: str
    metrics: Mapping[str, str]
    on: str


@dataclass(frozen=True)
class Curves:
    """Measured values in long form (step, name, value), and the reference values by role and name."""

    steps: pd.DataFrame
    references: Mapping[str, Mapping[str, float]]

    @property
    def names(self) -> list[str]:
        """Names of everything that was measured."""
        return list(dict.fromkeys([*self.steps["name"], *(name for found in self.references.values() for name in found)]))

    def now(self, name: str) -> float | None:
        """Return the newest value of a metric, or None."""
        found = self.steps.loc[self.steps["name"] == name, "value"]
        return float(found.iloc[-1]) if len(found) else None


def read(measured: pd.DataFrame) -> Curves:
    """Return the curves of a job's measures, with those of the original and the retrained model apart."""
    if measured.empty:
        return Curves(measured.reindex(columns=["step", "name", "value"]), {role: {} for role in REFERENCES})
    parts = measured["name"].str.partition(":")
    is_reference = parts[0].isin(list(REFERENCES))
    references = {
        role: dict(zip(parts[2][is_reference & (parts[0] == role)], measured["value"][is_reference & (parts[0] == role)], strict=True))
        for role in REFERENCES
    }
    return Curves(measured.loc[~is_reference, ["step", "name", "value"]].reset_index(drop=True), references)


def panels(curves: Curves, gap: str, group: str) -> list[Panel]:
    """Return the charts that can be drawn of what was measured."""
    names = curves.names
    goodness = [name for name in names if name in ("accuracy", "r2")]
    by_group = {name: name.partition(":")[2] for name in names if name.startswith("gap:")}
    found = [
        Panel("Loss", {name: NAMES[name] for name in LOSSES if name in names}, "each curve's own rows"),
        Panel(words.title(goodness[0]) if goodness else "", {name: words.title(name) for name in goodness}, "holdout rows"),
        Panel(words.title(gap), {name: "Gap" for name in names if name == "gap"}, "holdout rows"),
        Panel(f"By {group}", by_group, "holdout rows"),
    ]
    return [panel for panel in found if panel.metrics]


def chart(curves: Curves, panel: Panel) -> alt.LayerChart | alt.FacetChart:
    """Return a panel as curves over steps, with dotted lines at the original's values and dashed ones at the retrained model's."""
    wanted = curves.steps[curves.steps["name"].isin(list(panel.metrics))]
    lines = wanted.assign(Measured=wanted["name"].map(panel.metrics))[["step", "Measured", "value"]]
    flat = [
        {"Measured": label, "value": found[name], "Model": REFERENCES[role]}
        for role, found in curves.references.items()
        for name, label in panel.metrics.items()
        if name in found
    ]
    labels, above = list(panel.metrics.values()), alt.Legend(orient="top", title=None, columns=3, symbolType="stroke", symbolStrokeWidth=3)
    colour = alt.Color(
        "Measured:N", scale=alt.Scale(domain=labels, range=list(COLOURS[: len(labels)])), legend=above if labels[1:] else None
    )
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    drawn = alt.Chart(lines).mark_line(point=alt.OverlayMarkDef(size=18)).encode(x=alt.X("step:Q", title="Step"), y=y, color=colour)
    dash = alt.StrokeDash("Model:N", scale=alt.Scale(domain=list(REFERENCES.values()), range=[[2, 3], [8, 4]]), legend=None)
    rules = (
        alt.Chart(pd.DataFrame(flat, columns=["Measured", "value", "Model"]))
        .mark_rule(strokeWidth=1.5)
        .encode(y=y, color=colour, strokeDash=dash)
    )
    return alt.layer(rules, drawn).properties(title=panel.title, height=230)


def sentence(curves: Curves, panel: Panel) -> str:
    """Return where the curves of a panel stand, in words, with the references beside them."""
    return "; ".join(_standing(curves, name, label) for name, label in panel.metrics.items()) + "."


def _standing(curves: Curves, name: str, label: str) -> str:
    beside = [f"{role} {words.number(found[name])}" for role, found in curves.references.items() if name in found]
    value = curves.now(name)
    told = f"{label} {words.number(value)}" if value is not None else f"{label} not measured yet"
    return f"{told} ({', '.join(beside)})" if beside else told


def table(curves: Curves, shown: Sequence[Panel]) -> pd.DataFrame:
    """Return what the charts show as a table: one row per step, then one per reference."""
    wanted = {
        name: f"{panel.title}: {label}" if len(panel.metrics) > 1 else panel.title
        for panel in shown
        for name, label in panel.metrics.items()
    }
    steps = curves.steps.drop_duplicates(["step", "name"], keep="last").pivot(index="step", columns="name", values="value")
    steps = steps.reindex(columns=list(wanted)).rename(columns=wanted)
    steps.insert(0, "Step", [f"{step:,}" for step in steps.index])
    rows = [
        {"Step": REFERENCES[role], **{label: found.get(name) for name, label in wanted.items()}}
        for role, found in curves.references.items()
        if found
    ]
    return pd.concat([steps, pd.DataFrame(rows, columns=steps.columns)], ignore_index=True) if rows else steps.reset_index(drop=True)
