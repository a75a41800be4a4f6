"""Of what removing rows would do, and of the few rows that would do it."""

from __future__ import annotations

from influence.actions import preview as previewed
from influence.actions._effects import MARGIN, counted
from influence.evidence import anew, words
from influence.evidence import budget as budgets
from influence.readable._shared import FIRST, Result, own_unit, says, table
from influence.store import Project


@says
def preview(project: Project, result: Result) -> list[str]:
    """The predicted change of every metric, with its band."""
    note = previewed.kept(project, result["run"], result["group"], result["positive"]) or {}
    which = "this row" if result["n"] == 1 else f"these {result['n']:,} rows"
    head = f"Without {which}, on {words.count(note['n_evaluation'], 'evaluation row')}"
    data, found = project.dataset(project.run(result["run"]).dataset), result["predicted"]
    n = counted(project, project.run(result["run"]), data, note)
    if not note["calibration"]:
        now = [(e["measured_label"], f"{n[label]:,}", words.number(e["measured_before"])) for label, e in found.items()]
        return [f"{head}: these scores rank only, so no change can be predicted. Retrain without the rows: unlearn --ids.",
                *table("<>>", ("metric", "n", "now"), now)]  # fmt: skip
    rows = [
        (
            e["measured_label"], f"{n[label]:,}", words.number(e["measured_before"]), words.signed(e["measured_change"]),
            _band(e["measured_low"], e["measured_high"]), words.signed(e["change"]), _band(e["low"], e["high"]),
        )
        for label, e in found.items()
    ]  # fmt: skip
    rests = f"Bands come from {previewed.retrainings(note)} real retrainings without other sets of rows."
    return [
        f"{head}, predicted:",
        *table("<>>>>>>", ("metric", "n", "now", "change", "95 % band", "smooth version", "95 % band"), rows),
        previewed.unbanded(note, result["n"]) or rests,
        "Metrics are predicted through smooth versions: probabilities stand in place of yes-or-no decisions, squared errors in place of",
        "their size.",
        *([MARGIN] if data.train.classes else []),
        *own_unit(project, result),
    ]


def _band(low: float | None, high: float | None) -> str:
    return words.interval(low, high) if words.known(low) else "none"


@says
def who_changes(project: Project, result: Result) -> list[str]:
    """Every metric of every group as predicted of a new model, and the rows that move most."""
    found, moved = (project.table(result[name]).to_dict("records") for name in ("metrics", "moved"))
    rows = [
        (
            words.title(r["metric"]) + (f", {r['group']}" if r["group"] else ""), f"{r['n']:,}", words.number(r["now"]),
            "" if anew.uncertain(r) else words.number(r["value"]), words.interval(r["low"], r["high"]),
            anew.change(r),
        )
        for r in found
    ]  # fmt: skip
    first = [(str(r["id"]), _said(r["says"]), _said(r["says_then"])) for r in moved[:FIRST]]
    return [
        f"Trained anew without {words.count(result['n'], 'row')}, predicted on {words.count(result['n_evaluation'], 'evaluation row')}:",
        *table("<>>>><", ("metric", "n", "now", "predicted", "90 % interval", "change"), rows),
        f"{anew.ALLOWS}{f' {anew.NEEDS}' if any(map(anew.uncertain, found)) else ''}",
        f"Intervals rest on {result['seeds']} trainings with new seeds and {result['without']} without other rows.",
        "Predictions that move most:",
        *table("<<<", ("evaluation row", "now", "predicted"), first),
    ]


def _said(value: object) -> str:
    return words.number(value) if isinstance(value, float) else str(value)


@says
def budget(project: Project, result: Result) -> list[str]:
    """The rows found, what they take at least and cost, and what retraining says."""
    real = [budgets.kept(result), *table("<<>>>>>", *budgets.retrained(result))] if result["retrained"] else []
    ids = ", ".join(map(str, result["ids"][:FIRST]))
    written = f"All: {result['csv']}" if "csv" in result else "--out FILE.csv writes all, for --ids."
    first = f"The first of these rows: {ids}. {written}"
    unit = own_unit(project, result, smooth=False)
    return [budgets.finding(result), budgets.fewest(result), budgets.spared(result), *real, *unit, first]
