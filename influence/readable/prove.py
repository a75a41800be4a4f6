"""Of whether predictions hold, of the model without the rows and its claim, and of what is kept as evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from influence.actions import agreement as agreed
from influence.actions import smoothness as smooth
from influence.evaluation.fidelity import verdict
from influence.evidence import words
from influence.evidence.fidelity import RANKS, SIZE, figures, where
from influence.readable._shared import Result, measured, says, table
from influence.store import Project

SAID = {"well": "well", "roughly": "roughly", "poorly": "poorly", "unclear": words.TOO_FEW}
LDS = "LDS: rank correlation of what was predicted for these sets with what happened; 1: the order is right, 0: no better than chance."


@says
def fidelity(project: Project, result: Result) -> list[str]:
    """How true predictions were, by share of rows left out."""
    shares, bank = result["by_fraction"], result["bank"]
    told = [figures(r) for r in shares]
    rows = [(name, *(each[name] for each in told)) for name in told[0]]
    for name, of in (("predicts the smooth form", "lds"), ("predicts the metric as read", "lds_measured")):
        rows.append((name, *(SAID[verdict(r[f"{of}_low"], r[f"{of}_high"])] for r in shares)))
    return [
        "Rows were left out at random, many times over, and each time the model was really trained again.",
        *table("<" + ">" * len(shares), ("", *map(where, shares)), rows),
        *(f"{where(r)}: {r['note']}" for r in shares if r["note"]),
        LDS,
        SIZE if shares[0]["calibrated"] else RANKS,
        f"{words.count(bank['trained'], 'model')} of {bank['models']:,} trained just now; all are kept for other questions and methods.",
    ]


@says
def smoothness(project: Project, result: Result) -> list[str]:
    """The figure of smoothness, its verdict, and what it took."""
    made = f"{words.count(result['trainings'], 'training')}, {words.duration(result['seconds'])}"
    return [
        f"Smoothness (95 %): {smooth.in_words(dict(result))}.",
        result["verdict"],
        f"{made}{', found in the project' * result['found']}.",
    ]


@says
def agreement(project: Project, result: Result) -> list[str]:
    """How methods agree, pair by pair."""
    pairs = agreed.pairs(result, result["names"])
    rows = [(*pair.values(),)[:-1] for pair in pairs]
    return [result["sentence"], *table("<>>", tuple(pairs[0])[:-1], rows), f"n = {words.count(result['n'], 'training row')}."]


@says
def unlearn(project: Project, result: Result) -> list[str]:
    """Figures before and after, beside the retrained model's, and the claim."""
    run = project.run(result["run"])
    old = measured(project.run(run.parent).body)
    other = result["retrained"] not in (None, run.id)  # else it is this one, or none could be made
    others = {"before": old, **({"retrained": measured(project.run(result["retrained"]).body)} if other else {})}
    took = f"; retraining takes {words.duration(result['retrain_seconds'])}" if other else ""
    claim, n = words.claim(result["claim"]), words.count(result["n_removed"], "row")
    rows = [
        (
            name, *(words.number(of.get(name, {}).get("value")) for of in others.values()), words.number(f["value"]),
            words.interval(f["low"], f["high"]), f"{f['n']:,}",
        )
        for name, f in measured(run.body).items()
    ]  # fmt: skip
    return [
        f"Run {run.id}: the model without {n}, in {words.duration(result['seconds'])}{took}. On the holdout rows:",
        *table("<" + ">" * (len(others) + 3), ("metric", *others, "now", "95 %", "n"), rows),
        f"Claim {result['claim']}, {claim.name.lower()}: {claim.meaning}",
        *filter(None, [result["claim_note"]]),
    ]


@says
def pin(project: Project, result: Result) -> list[str]:
    """What was pinned."""
    return [f"Pinned as {result['id']}: {result['title']}. {words.count(result['n'], 'pin')} in this project; pins lists them."]


@says
def pins(project: Project, result: Result) -> list[str]:
    """Every pin with its note and figures."""
    if not result["n"]:
        return ["Nothing is pinned. The button Pin on the pages does it, or the command pin."]
    return [line for k, one in enumerate(result["pins"], 1) for line in _pinned(k, one)]


def _pinned(place: int, one: Mapping[str, Any]) -> list[str]:
    figures = [
        (f["label"], f["series"] or "-", words.number(f["found"]["value"]),
         f["lacks"] if f["lacks"] and f["found"]["low"] is None else words.interval(f["found"]["low"], f["found"]["high"]),
         f"{f['found']['n']:,}")
        for f in one["figures"]
    ]  # fmt: skip
    return [
        f"{place}. {one['kind']}: {one['title']} (run {one['run']}, pinned {one['created'][:19].replace('T', ' ')} UTC)",
        *(f"   {text}" for text in (one["note"] and f"Note: {one['note']}", one["said"], one["missing"]) if text),
        *(table("<<>>>", ("figure", "model", "value", "95 %", "n"), figures) if figures else []),
    ]
