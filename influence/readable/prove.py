"""Of whether predictions hold, of the model without the rows and its claim, and of what is kept as evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from influence.actions import agreement as agreed
from influence.actions import smoothness as smooth
from influence.actions._requests import requests
from influence.actions._untouched import touched
from influence.actions.verify import attack_in_words, fairness_in_words, original_in_words, relearned_in_words
from influence.actions.verify import in_words as overall_in_words
from influence.evaluation._tables import wilson
from influence.evaluation.fidelity import verdict
from influence.evidence import words
from influence.evidence.fidelity import RANKS, SIZE, figures, where
from influence.evidence.figures import Estimate, Figure
from influence.evidence.pairs import named
from influence.evidence.sentences import between, shown
from influence.readable._shared import Result, measured, says, table
from influence.store import Project

ATTACK = "loss attack: how well the loss tells forgotten from unseen rows (area under the curve); 0.5: no better than a guess."
DISTANCE = "distance: of the forgotten rows' margins from the retrained model's, on average; 0: as if they had never been there."
ONCE = "once: preparation of this model, which serves every request and is no part of the share."
COMPARED_ATTACK = "Loss attack, which takes rows of low loss for members; forgetting went well if the area is as under the retrained model:"
LAYERS = "How alike models see holdout rows (linear CKA, unbiased): 1, the same but for a rotation and a scale; 0, nothing in common:"
VERDICTS = {"inside": "as the oracles", "outside": "not as the oracles", "too few": words.TOO_FEW}
SAID = {"well": "well", "roughly": "roughly", "poorly": "poorly", "unclear": words.TOO_FEW}
LDS = "LDS: rank correlation of what was predicted for these sets with what happened; 1: the order is right, 0: no better than chance."


@says
def fidelity(project: Project, result: Result) -> list[str]:
    """How true predictions were, by share of rows left out."""
    shares, bank = result["by_fraction"], result["bank"]
    told = [figures(r) for r in shares]
    rows = [(name, *(each[name] for each in told)) for name in told[0]]
    for name, of in (("predicts the smooth version", "lds"), ("predicts the metric as read", "lds_measured")):
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
def compare(project: Project, result: Result) -> list[str]:
    """Measures of all rows and gaps by model with their changes; then decisions that differ, the attack, and how alike layers are."""
    tables = {name: project.table(digest) for name, digest in result["tables"].items()}
    models = ", ".join(f"{role} {run}" for role, run in result["runs"].items())
    made = project.run(result["runs"].get("unlearned") or result["runs"]["retrained"])
    return [
        f"{words.became(made.body).capitalize()}: {models}.",
        "On the holdout rows; change: from the original on the same rows, with its own 95 % interval.",
        *filter(None, [touched(project, made)]),
        *table("<<>>>>>", ("metric", "model", "value", "95 %", "change", "95 %", "n"), _compared(tables["metrics"])),
        *_decided(tables["rows"], [role for role in result["runs"] if role != "original"]),
        COMPARED_ATTACK,
        *table("<>>>>", ("model", "area", "95 %", "forgotten", "holdout"), _attacked(tables["attack"])),
        *_layers(tables["layers"]),
    ]


def _compared(found: Any) -> list[tuple[str, ...]]:
    """Return what is said of each measure of all rows, and of each gap, by model."""
    rows: list[tuple[str, ...]] = []
    every = found[found["group"] == ""].sort_values("metric", kind="stable")
    before = every[every["role"] == "original"].set_index(["metric", "column"])["value"]
    for r in every.itertuples():
        by = f" by {r.column}{f' ({r.pair})' if r.pair else ''}" if r.column else ""
        moved = (words.signed(r.change), words.interval(r.change_low, r.change_high)) if words.known(r.change) else ("", "")
        now, beside = named(r.value, before[r.metric, r.column], r.change) if r.pair and words.known(r.change) else (r.value, "")
        of = f"{beside} {words.number(r.value)}: " if beside else ""
        rows.append((r.metric + by, r.role, words.number(now), of + words.interval(r.low, r.high), *moved, f"{int(r.n):,}"))
    return rows


def _decided(rows: Any, roles: Sequence[str]) -> list[str]:
    """Return how many decisions differ from the original's, by part of the rows; nothing for a number."""
    if rows["said_original"].dtype.kind == "f":
        return []
    told = []
    for part, own in rows.groupby("part", sort=False):
        for role in roles:
            hits, n = int((own["said_original"] != own[f"said_{role}"]).sum()), len(own)
            told.append((part, role, f"{hits:,}", words.number(hits / n), words.interval(*wilson(hits, n)), f"{n:,}"))
    return ["Decisions that differ from the original's:", *table("<<>>>>", ("rows", "model", "differ", "share", "95 %", "n"), told)]


def _attacked(found: Any) -> list[tuple[str, ...]]:
    rows = found[found["metric"] == "attack_auc"].itertuples()
    return [(r.role, words.number(r.value), words.interval(r.low, r.high), f"{r.n:,}", f"{r.others:,}") for r in rows]


def _layers(found: Any) -> list[str]:
    """Return how alike layers are; a sentence where the models have none in common."""
    if found.empty:
        return ["These models have no layers in common that each row passes once."]
    rows = [
        (r.layer, f"{r.first} - {r.second}", words.number(r.value), words.interval(r.low, r.high), f"{r.n:,}") for r in found.itertuples()
    ]
    return [LAYERS, *table("<<>>>", ("layer", "models", "CKA", "95 %", "n"), rows)]


@says
def verify(project: Project, result: Result) -> list[str]:
    """The verdict, and each measure beside the oracles' band."""
    rows = []
    for each in [*result["measures"].values(), *result["method"].values()]:
        value, band = words.band(each["value"], each["null_low"], each["null_high"], each["side"])
        rows.append((each["label"], value, words.number(each.get("original")), band, VERDICTS[each["verdict"]]))
    made = f"{words.count(result['trained'], 'oracle')} of {result['oracles']:,} trained just now; all are kept."
    return [
        overall_in_words(result),
        *table("<>>><", ("", "this model", "original", "oracles", ""), rows),
        *([f"Epsilon, KLOM and U-LiRA judge the method, from {result['runs']} originals."] if result["runs"] else []),
        *attack_in_words(result),
        *filter(None, (original_in_words(result), fairness_in_words(result), relearned_in_words(result))),
        f"n = {words.count(result['n']['forget'], 'removed row')}. {made}",
    ]


@says
def unlearn(project: Project, result: Result) -> list[str]:
    """Figures before and after, beside the retrained model's, and the claim."""
    run = project.run(result["run"])
    old = measured(project.run(run.parent).body)
    other = result["retrained"] not in (None, run.id)  # else it is this one, or none could be made
    others = {"before": old, **({"retrained": measured(project.run(result["retrained"]).body)} if other else {})}
    took = f"; retraining takes {words.duration(result['retrain_seconds'])}" if other else ""
    claim, n = words.claim(result["claim"], requests(project, run)), words.became(run.body)
    rows = [
        (
            name, *(words.number(of.get(name, {}).get("value")) for of in others.values()), words.number(f["value"]),
            words.interval(f["low"], f["high"]), f"{f['n']:,}",
        )
        for name, f in measured(run.body).items()
    ]  # fmt: skip
    return [
        f"Run {run.id}: the model {n}, in {words.duration(result['seconds'])}{took}. On the holdout rows:",
        *table("<" + ">" * (len(others) + 3), ("metric", *others, "now", "95 %", "n"), rows),
        f"Claim {result['claim']}, {claim.name.lower()}: {claim.meaning}",
        *filter(None, [result["claim_note"]]),
    ]


@says
def race(project: Project, result: Result) -> list[str]:
    """A row per method, with what doing nothing and training anew come to; then what went wrong."""
    references, lanes = result["references"], [lane for lane in result["lanes"] if not lane["error"]]
    whole = next((lane["retrain_seconds"] for lane in lanes if lane["retrain_seconds"]), None)
    rows = [("do nothing", *_lived(references.get("original", {})), "-", "-", "-")]
    if "retrained" in references and all(lane["method"] != "retrain" for lane in lanes):
        rows.append(("retrain", *_lived(references["retrained"]), words.duration(whole), "100 %", str(result["retrained"])))
    for lane in lanes:
        share = words.percent(lane["seconds"] / whole, 0) if whole else "-"
        once = f" + {words.duration(lane['prepare_seconds'])} once" if lane.get("prepare_seconds") else ""
        rows.append((lane["method"], *_lived(lane["live"]), words.duration(lane["seconds"]) + once, share, lane["run"]))
    good = "accuracy" if "test_accuracy" in references.get("original", {}) else "error"
    head = ("", f"{good}, forgotten", "retained", "unseen", "gap", "loss attack", "distance", "seconds", "of retraining", "run")
    return [
        f"{words.count(result['n_removed'], 'row')} forgotten by {words.count(len(lanes), 'method')}:",
        *table("<" + ">" * (len(head) - 2) + "<", head, rows),
        ATTACK,
        DISTANCE,
        *([ONCE] if any(lane.get("prepare_seconds") for lane in lanes) else []),
        *(f"{lane['method']}: {lane['error']}" for lane in result["lanes"] if lane["error"]),
    ]


def _lived(live: Result) -> tuple[str, ...]:
    kind = "accuracy" if "test_accuracy" in live else "mae"
    names = [f"{part}_{kind}" for part in ("forget", "retain", "test")] + ["gap", "attack", "distance"]
    return tuple(words.number(live[name]) if name in live else "-" for name in names)


@says
def roll_back(project: Project, result: Result) -> list[str]:
    """The new run, and the same figures as of unlearning."""
    taken = f"Taken at step {result['step']:,} of {result['of']:,}."
    return [taken, touched(project, project.run(result["run"])), *unlearn(project, result)]


@says
def drop_steps(project: Project, result: Result) -> list[str]:
    """How many states were deleted."""
    return [f"{words.count(result['dropped'], 'kept state')} of run {result['run']} deleted; the run stays whole."]


@says
def pin(project: Project, result: Result) -> list[str]:
    """What was pinned."""
    return [f"Pinned as {result['id']}: {result['title']}. {words.count(result['n'], 'pin')} in this project; pins lists them."]


@says
def pins(project: Project, result: Result) -> list[str]:
    """Every pin with its note and figures."""
    if not result["n"]:
        return ["Nothing is pinned. The buttons that pin on the pages do it, or the command pin."]
    return [line for k, one in enumerate(result["pins"], 1) for line in _pinned(k, one)]


@says
def report(project: Project, result: Result) -> list[str]:
    """Where the page lies, and what it says of its holdout figures where something was chosen by them."""
    lies = f"The report of run {result['run']} lies at {project.path / result['html']}."
    return [lies, *filter(None, [touched(project, project.run(result["run"]))])]


def _pinned(place: int, one: Mapping[str, Any]) -> list[str]:
    figures = [_figure(f) for f in one["figures"]]
    return [
        f"{place}. {one['kind']}: {one['title']} (run {one['run']}, pinned {one['created'][:19].replace('T', ' ')} UTC)",
        *(f"   {text}" for text in (one["note"] and f"Note: {one['note']}", one["said"], one["missing"]) if text),
        *(table("<<>>>", ("figure", "model", "value", "95 %", "n"), figures) if figures else []),
    ]


def _figure(told: Mapping[str, Any]) -> tuple[str, ...]:
    parts = {name: Estimate(**told[name]) if told[name] else None for name in ("found", "before")}
    figure = Figure(**{**told, **parts})
    return figure.label, figure.series or "-", shown(figure), between(figure), f"{figure.found.n:,}"
