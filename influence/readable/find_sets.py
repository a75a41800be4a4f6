"""Of sets of rows: patterns, sources, copies, outliers, rows that help nobody; and what removing more and more did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from influence.evidence import words
from influence.readable._shared import FIRST, Result, own_unit, retrained, says, score, table
from influence.store import Project

ROLES = ("holdout", "evaluation")
RETRAINED = tuple(f"{role}, retrained" for role in ROLES)


@says
def suspects(project: Project, result: Result) -> list[str]:
    """Patterns with their predicted effects and what retraining realised."""
    listed = result["suspects"]
    what = "improvement if they are relabelled" if result["settings"]["remedy"] == "relabel" else "improvement if they are removed"
    unit = "" if result["calibrated"] else " These scores order patterns; they are in no unit."
    if not listed:
        return [f"No pattern of training rows stands out among {result['looked_at']:,} for {result['label']}."]
    rows = [(s["rule"], f"{s['n']:,}", *(score(s[k]) for k in ("effect", "low", "high", "effect_per_row")),
             *(retrained(s, role) for role in ROLES)) for s in listed]  # fmt: skip
    smooth = "" if result["label"] == result["measured_label"] else f" of its smooth version, {result['label']}"
    return [
        f"{result['measured_label']} is {words.number(result['value']['measured'])}. Patterns of training rows by summed predicted {what}"
        f"{smooth}, of {result['looked_at']:,} looked at:{unit}",
        *table("<>>>>>>>", ("pattern", "rows", "predicted", "95 % low", "95 % high", "per row", *RETRAINED), rows),
        f"Retrained (--check K): {result['measured_label']} before and after, on holdout and on evaluation rows.",
        *own_unit(project, result),
    ]


@says
def sources(project: Project, result: Result) -> list[str]:
    """Blocks with their predicted changes and what retraining realised."""
    unit = "" if result["calibrated"] else " These scores rank blocks; they are in no unit."
    rows = [
        (b["block"], f"{b['n']:,}", words.percent(b["share"]), *(score(b[k]) for k in ("change", "low", "high", "per_row")),
         words.interval(b["random_low"], b["random_high"]), *(retrained(b, role) for role in ROLES))
        for b in result["blocks"]
    ]  # fmt: skip
    rest = f" {words.count(result['rest'], 'row')} of rarer values are in no block." if result["rest"] else ""
    return [
        f"{result['measured_label']} is {words.number(result['value']['measured'])}. Predicted change of {result['label']} if each "
        f"block of {result['settings']['column']} were removed, of {result['n']:,} training rows.{rest}{unit}",
        *table(
            "<>>>>>>>>>", ("block", "rows", "share", "predicted", "95 % low", "95 % high", "per row", "random blocks", *RETRAINED), rows
        ),
        "Random blocks: where 95 % of random blocks of as many rows lie, for all blocks together: such a change is one of size.",
        f"Retrained (--check K): {result['measured_label']} before and after, on holdout and on evaluation rows.",
        "Blocks of more than a tenth of the rows stretch what sums of single rows' scores can say: --check K retrains.",
        *own_unit(project, result),
    ]


@says
def duplicates(project: Project, result: Result) -> list[str]:
    """Clusters of copies, and which lie across the split."""
    near = f" within a distance of {result['distance']:g}" if result["distance"] else ""
    first = [(r["cluster"], r["role"], r["id"], r["label"]) for r in result["first"]]
    few = result["distance"] and result["searched"] < result["different"]
    bound = f" Near copies were looked for among {result['searched']:,} of {result['different']:,} different rows." if few else ""
    copied = " and ".join(f"{n:,} {role}" for role, n in result["copied"].items())
    return [
        f"{words.count(result['clusters'], 'cluster')} of copies{near}; {result['conflicting']:,} with differing labels; "
        f"{result['across']:,} across the split ({copied} rows copy a training row).{bound}",
        *(table("><><", ("cluster", "role", "id", "label"), first) if first else []),
    ]


@says
def outliers(project: Project, result: Result) -> list[str]:
    """The rows that lie most alone."""
    rows = [(r["id"], words.number(r["score"], 2)) for r in result["first"][:FIRST]]
    return [f"The training rows that lie most alone, of {result['n']:,}: the local outlier factor is about 1 among one's like. Rare is not "
            "wrong.", *table(">>", ("id", "factor"), rows)]  # fmt: skip


@says
def helps_nobody(project: Project, result: Result) -> list[str]:
    """How many rows help nobody, and what each group's loss does without them."""
    role = next((r for r in ("holdout", "evaluation") if r in result["realised"]), "")
    told = result["realised"].get(role, {})
    rows = [
        (g["label"], f"{g['n']:,}", words.number(g["before"]), words.signed(g["predicted"]) if result["calibrated"] else "-",
         *(_changed(told.get(g["label"], {}).get(which)) for which in ("found", "random")))
        for g in result["groups"]
    ]  # fmt: skip
    said = f"Retrained without them: on the {role} rows, with 95 % intervals over rows and seeds." if role else "--seeds N retrains."
    worse = f" Worse off beyond the interval: {', '.join(result['worse'])}." if result["worse"] else ""
    return [
        f"Without {words.count(result['harmful'], 'row')} of {result['n']:,} every group's loss is predicted to fall; the first "
        f"{len(result['ids']):,} of them:",
        *table("<>>>>>", ("loss", "rows", "now", "predicted", "retrained", "without random rows"), rows),
        f"{said}{worse}",
        *own_unit(project, result),
        *([f"Written: {result['csv']}"] if "csv" in result else ["--out FILE.csv writes their ids, for --ids."]),
    ]


def _changed(told: Mapping[str, Any] | None) -> str:
    return f"{words.signed(told['change'])} ({words.interval(told['low'], told['high'])})" if told else "-"


@says
def removal_curve(project: Project, result: Result) -> list[str]:
    """What retraining without more and more rows gave, by order of the rows."""
    points, orders = pd.DataFrame(result["points"]), ("influence", "loss", "random")
    by = points.groupby(["role", "k", "order"])["value"].mean().unstack("order")
    rows = [(role, f"{k:,}", *(words.number(row[order]) for order in orders)) for (role, k), row in by.iterrows()]
    return [
        f"{result['measured_label']} of models really retrained without the first k of {result['n']:,} training rows, by order:",
        *table("<>>>>", ("rows asked", "k", "influence", "training loss", "random"), rows),
        *own_unit(project, result, "Predictions" if result["query"]["name"] == "prediction" else "Errors", smooth=False),
    ]
