"""Of what removing rows would do, and of the few rows that would do it."""

from __future__ import annotations

from influence.actions import preview as previewed
from influence.evidence import budget as budgets
from influence.evidence import words
from influence.readable._shared import FIRST, Result, says, table
from influence.store import Project


@says
def preview(project: Project, result: Result) -> list[str]:
    """The predicted change of every metric, with its band."""
    note = previewed.kept(project, result["run"], result["group"]) or {}
    which = "this row" if result["n"] == 1 else f"these {result['n']:,} rows"
    head = f"Without {which}, on {words.count(note['n_evaluation'], 'evaluation row')}"
    found = result["predicted"].values()
    if not note["calibration"]:
        now = [(e["measured_label"], words.number(e["measured_before"])) for e in found]
        return [f"{head}: these scores rank only, so no change can be predicted. Retrain without the rows: unlearn --ids.",
                *table("<>", ("metric", "now"), now)]  # fmt: skip
    rows = [
        (
            e["measured_label"], words.number(e["measured_before"]), words.signed(e["measured_change"]),
            words.interval(e["measured_low"], e["measured_high"]), words.signed(e["change"]), words.interval(e["low"], e["high"]),
        )
        for e in found
    ]  # fmt: skip
    data = project.dataset(project.run(result["run"]).dataset)
    n = next(iter(note["calibration"].values()))["value"]["n"]
    return [
        f"{head}, predicted:",
        *table("<>>>>>", ("metric", "now", "change", "95 % band", "smooth version", "95 % band"), rows),
        f"Bands come from {n} real retrainings without other sets of rows. Metrics are predicted through smooth versions: probabilities",
        "stand in place of yes-or-no decisions, squared errors in place of their size.",
        *([] if data.train.classes else [f"Errors are in the unit of {data.target}, smooth versions in its square."]),
    ]


@says
def budget(project: Project, result: Result) -> list[str]:
    """The rows found, what they take at least and cost, and what retraining says."""
    real = [budgets.kept(result), *table("<<>>>>>", *budgets.retrained(result))] if result["retrained"] else []
    ids = ", ".join(map(str, result["ids"][:FIRST]))
    written = f"All: {result['csv']}" if "csv" in result else "--out FILE.csv writes all, for --ids."
    first = f"The first of these rows: {ids}. {written}"
    return [budgets.finding(result), budgets.fewest(result), budgets.spared(result), *real, first]
