"""The live curves of unlearning: what was measured so far, beside the original and the retrained model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import altair as alt
import pandas as pd

from influence.charts.colours import GREY, GROUPS, of_groups
from influence.ui import words

REFERENCES = {"original": "original model", "retrained": "retrained model"}
COLOURS = (*GROUPS, GREY)
ATTACK, DISTANCE = "Loss attack (AUC)", "Distance from the retrained model"
NAMES = {"forget_loss": "Rows to forget", "retain_loss": "Retained rows", "test_loss": "Holdout rows"}
LOSSES = tuple(NAMES)
EACH = {
    "equal_opportunity_gap": "True positive rate", "equalized_odds_gap": "True positive rate", "demographic_parity_gap": "Selection rate",
    "predictive_equality_gap": "False positive rate",
}  # fmt: skip
"""What is measured of each group, by the gap that is watched; of a gap of losses the loss."""
ORACLES = ("oracles_low", "oracles_high", "oracles")


@dataclass(frozen=True)
class Panel:
    """One chart: its title, the metrics drawn in it by name, which rows they are measured on, and whether it takes the whole width.

    `chance`: between which values it lies by chance alone, or None.
    """

    title: str
    metrics: Mapping[str, str]
    on: str
    wide: bool = False
    chance: tuple[float, float] | None = None


@dataclass(frozen=True)
class Curves:
    """Measured values in long form (step, name, value), and the reference values by role and name.

    `bands`: between which values kept oracles lie, by name; `oracles`: how many there are. `n`: rows that a group's metric rests on.
    """

    steps: pd.DataFrame
    references: Mapping[str, Mapping[str, float]]
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    oracles: int = 0
    n: Mapping[str, float] = field(default_factory=dict)

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
    told = {role: parts[0] == role for role in (*REFERENCES, *ORACLES, "n")}
    found = {role: dict(zip(parts[2][own], measured["value"][own], strict=True)) for role, own in told.items()}
    steps = measured.loc[~parts[0].isin(list(found)), ["step", "name", "value"]].reset_index(drop=True)
    low, high = found["oracles_low"], found["oracles_high"]
    bands = {name: (low[name], high[name]) for name in low if name in high}
    return Curves(steps, {role: found[role] for role in REFERENCES}, bands, int(found["oracles"].get("n", 0)), found["n"])


def by_chance(removed: int, unseen: int) -> tuple[float, float] | None:
    """Return between which values the loss attack lies for 95 % of the time where removed rows are like unseen ones."""
    if not removed or not unseen:
        return None
    half = 1.96 * math.sqrt((removed + unseen + 1) / (12 * removed * unseen))
    return max(0.0, 0.5 - half), min(1.0, 0.5 + half)


def called(relabelled: bool) -> dict[str, str]:
    """Return what the rows are called that losses are measured on; of relabelled ones it is the old labels that are to go."""
    return {**NAMES, **({"forget_loss": "Relabelled rows"} if relabelled else {})}


def parts(relabelled: bool) -> dict[str, str]:
    """Return what kinds of rows there are once it is done, in a word each."""
    return {"forget": "relabelled" if relabelled else "forgotten", "retain": "retained", "test": "unseen"}


def panels(curves: Curves, gap: str, group: str, removed: int = 0, unseen: int = 0, relabelled: bool = False) -> list[Panel]:
    """Return the charts that can be drawn of what was measured; `removed`, `unseen`: how many rows there are."""
    names, losses = curves.names, called(relabelled)
    errors = {name.replace("_loss", "_mae"): label for name, label in losses.items()}
    goodness = [name for name in names if name in ("accuracy", "r2")]
    by_group = {name: name.partition(":")[2] for name in names if name.startswith("gap:")}
    found = [
        Panel("Loss", {name: label for name, label in losses.items() if name in names}, "each curve's own rows"),
        Panel(words.title(goodness[0]) if goodness else "", _goodness(names, goodness, losses), "holdout rows"),
        Panel("Mean absolute error", {name: label for name, label in errors.items() if name in names}, "each curve's own rows"),
        Panel(words.title(gap), {name: "Gap" for name in names if name == "gap"}, "holdout rows"),
        Panel(ATTACK, {n: ATTACK for n in names if n == "attack"}, "rows", chance=by_chance(removed, unseen)),
        Panel(DISTANCE, {n: "Distance" for n in names if n == "distance"}, losses["forget_loss"].lower()),
        Panel(f"{of_each(gap, 'r2' in names)} by {group}", by_group, "holdout rows", wide=True),
    ]
    return [panel for panel in found if panel.metrics]


def _goodness(names: Sequence[str], goodness: Sequence[str], called: Mapping[str, str]) -> dict[str, str]:
    """Return the curves of how good the model is: on all three kinds of rows where they were measured, else on the holdout rows."""
    if "accuracy" in goodness and "forget_accuracy" in names:
        return {"forget_accuracy": called["forget_loss"], "retain_accuracy": called["retain_loss"], "accuracy": called["test_loss"]}
    return {name: words.title(name) for name in goodness}


def rank(name: str) -> tuple[int, str]:
    """Return where a live metric stands in a table."""
    first = ("forget_accuracy", "retain_accuracy", "accuracy", "forget_mae", "retain_mae", "test_mae", "r2", "gap", "attack", "distance")
    return (first.index(name) if name in first else len(first) + (name.startswith("gap:")), name)


def of_each(gap: str, numeric: bool) -> str:
    """Return what is measured of each group where this gap is watched; "": the usual one."""
    return EACH.get(gap or ("" if numeric else "equal_opportunity_gap"), "Mean absolute error" if numeric else "Loss")


def named(name: str, gap: str = "", numeric: bool = False, relabelled: bool = False) -> str:
    """Return what a live metric is called where it stands alone; `gap`: the one that is watched."""
    part, _, what = name.partition("_")
    rows = parts(relabelled).get(part)
    kinds = {"loss": "Loss", "accuracy": "Accuracy", "mae": "Mean absolute error"}
    if rows and what in kinds:
        return f"{kinds[what]}, {rows} rows"
    alone = {"attack": ATTACK, "distance": DISTANCE, "accuracy": "Accuracy, unseen rows", "r2": "R², unseen rows"}
    group = name.partition(":")[2]
    return f"{of_each(gap, numeric)}, {group}" if group else alone.get(name, words.title(name))


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
    colour = alt.Color("Measured:N", scale=alt.Scale(domain=labels, range=_colours(panel, labels)), legend=above if labels[1:] else None)
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    drawn = alt.Chart(lines).mark_line(point=alt.OverlayMarkDef(size=18)).encode(x=alt.X("step:Q", title="Step"), y=y, color=colour)
    dash = alt.StrokeDash("Model:N", scale=alt.Scale(domain=list(REFERENCES.values()), range=[[2, 3], [8, 4]]), legend=None)
    rules = (
        alt.Chart(pd.DataFrame(flat, columns=["Measured", "value", "Model"]))
        .mark_rule(strokeWidth=1.5)
        .encode(y=y, color=colour, strokeDash=dash)
    )
    return alt.layer(*band(curves, panel, y), rules, drawn).properties(title=panel.title, height=280 if panel.wide else 230)


def band(curves: Curves, panel: Panel, y: alt.Y) -> list[alt.Chart]:
    """Return what is drawn behind the curves: where chance alone lies, and where kept oracles do."""
    found = [(panel.chance, GREY)] if panel.chance else []
    found += [(curves.bands[name], COLOURS[place]) for place, name in enumerate(panel.metrics) if name in curves.bands]
    return [
        alt.Chart(pd.DataFrame([{"value": low, "high": high}])).mark_rect(opacity=0.15, color=tint).encode(y=y, y2="high:Q")
        for (low, high), tint in found
    ]


def _colours(panel: Panel, labels: Sequence[str]) -> list[str]:
    groups = of_groups(labels)
    return [groups[name] for name in labels] if panel.wide else list(COLOURS[: len(labels)])


def drawable(curves: Curves, panel: Panel) -> bool:
    """Whether anything of a panel was measured on the way."""
    return bool(curves.steps["name"].isin(list(panel.metrics)).any())


def sentence(curves: Curves, panel: Panel, over: bool = False) -> str:
    """Return where the curves of a panel stand, in words, with the references beside them; `over`: nothing more will be measured."""
    return "; ".join(_standing(curves, name, label, over) for name, label in panel.metrics.items()) + "."


def _standing(curves: Curves, name: str, label: str, over: bool) -> str:
    beside = [f"{role} {words.number(found[name])}" for role, found in curves.references.items() if name in found]
    beside += [f"n = {int(curves.n[name]):,}"] if name in curves.n else []
    value = curves.now(name)
    told = f"{label} {words.number(value)}" if value is not None else f"{label} not measured{'' if over else ' yet'}"
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
