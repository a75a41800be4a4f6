"""What a command says of its result: sentences and small tables for people. Digests and settings belong to `--json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from influence.actions import agreement as agreed
from influence.actions import explain as explained
from influence.actions import preview as previewed
from influence.actions import smoothness as smooth
from influence.actions._measures import evaluated, units
from influence.evaluation.fidelity import verdict
from influence.evidence import budget as budgets
from influence.evidence import checks, words
from influence.evidence.fidelity import RANKS, SIZE, figures, where
from influence.registry import mislabelled
from influence.store import Project
from influence.store.objects import is_digest
from influence.types import SIGN

FIRST = 10
SAID = {"well": "well", "roughly": "roughly", "poorly": "poorly", "unclear": words.TOO_FEW}
LDS = "LDS: rank correlation of what was predicted for these sets with what happened; 1: the order is right, 0: no better than chance."
Result = Mapping[str, Any]


def readable(action: str, project: Project, result: Result) -> str:
    """Return what an action found, in words."""
    return "\n".join(TOLD[action](project, result))


def table(align: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return aligned lines; `align`: "<" or ">" for each column."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(f"{c:{a}{w}}" for c, a, w in zip(row, align, widths, strict=True)).rstrip() for row in cells]


def _score(value: float) -> str:
    """Return a score with three figures: scores of one list can differ a thousandfold."""
    return f"{value:#.3g}".rstrip(".").replace("-", words.MINUS)


def _demo(project: Project, result: Result) -> list[str]:
    return [f"Project {result['project']}.", *_train(project, result)]


def _train(project: Project, result: Result) -> list[str]:
    run = project.run(result["run"])
    rows = [(name, words.number(f["value"]), words.interval(f["low"], f["high"]), f"{f['n']:,}") for name, f in _measured(run.body).items()]
    return [
        f"Run {run.id}: {run.body['model']['name']}, trained on {words.count(result['n_train'], 'row')} in "
        f"{words.duration(result['seconds'])}. On the holdout rows, which no question is asked of:",
        *table("<>>>", ("metric", "value", "95 %", "n"), rows),
        *filter(None, [result["notes"]]),
    ]


def _check(project: Project, result: Result) -> list[str]:
    return [
        *checks.lines(result["checks"]),
        *(table("<<" + ">" * (len(result["sizes"]["columns"]) - 2), *checks.sizes(**result["sizes"])) if result["sizes"]["data"] else []),
        *filter(None, [result["notes"]]),
        f"Took {words.duration(result['seconds'])}; nothing is kept. train takes the same options.",
    ]


def _import_model(project: Project, result: Result) -> list[str]:
    model = words.named(result["model"])
    if not result["run"]:
        return [f"{model}: checked, and not kept.", *checks.lines(result["checks"])]
    run = project.run(result["run"])
    rows = [(name, words.number(f["value"]), words.interval(f["low"], f["high"]), f"{f['n']:,}") for name, f in _measured(run.body).items()]
    return [
        f"Run {run.id}: {model}, brought with {words.count(len(run.body['checkpoints']), 'checkpoint')}.",
        *checks.lines(result["checks"]),
        "On the holdout rows, which no question is asked of:",
        *table("<>>>", ("metric", "value", "95 %", "n"), rows),
    ]


def _measured(body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return a run's figures on the holdout rows by name: of all rows, then the gaps between groups."""
    found = body["metrics"]
    return {**found["intervals"], **{f"{m} by {column}": f for column, gaps in found["gaps"].items() for m, f in gaps.items()}}


def _attribute(project: Project, result: Result) -> list[str]:
    run, name, label, read = project.run(result["run"]), result["method"]["name"], result["labels"][0], result["measured_label"]
    measured, better, dataset = result["value"]["measured"], result["better"], project.dataset(run.dataset)
    figure = evaluated(run, dataset, result["query"], measured, project.table(run.body["predictions"]))
    between = f" (95 % {words.interval(figure['low'], figure['high'])}) on" if figure else ", asked of"
    rows = words.count(figure["n"] if figure else run.body["n"]["evaluation"], "evaluation row")
    aim = f"{'raise' if better == 'higher' else 'lower'} it most"
    first = [(row["id"], _score(row["score"])) for row in result["first"]]
    lines = [f"{read} is {words.number(measured)}{between} {rows}" + ("." if better == "neither" else f"; {better} is better.")]
    if label != read:
        lines.append(f"Predicted is its smooth form, {label}, now {words.number(result['value']['value'])}.")
    if result["calibrated"]:
        lines.append(f"Score by {name}: {SIGN[:1].lower()}{SIGN[1:]}, in the metric's own unit.")
    else:
        lines.append(f"Score by {name}: it only ranks, and is in no unit.")
    lines.append("Negative: removing the row is predicted to lower the metric; positive: to raise it.")
    lines += [f"The first {len(first)} of {words.count(result['n'], 'training row')}, whose removal is predicted to {aim}:"]
    told = f"{result['told'][:1].upper()}{result['told'][1:]}." if result["told"] else ""
    lines += [*table(">>", ("id", "score"), first), *filter(None, (units(dataset), told)), _took(result)]
    kept = "All scores are kept in the project; --out FILE.parquet writes them."
    return [*lines, kept if is_digest(result["scores"]) else f"All scores: {result['scores']}"]


def _took(result: Result) -> str:
    if result["found"]:
        return f"Found in the project, where they are since {result['computed'][:16].replace('T', ' ')} UTC."
    plain = f"; a plain training takes {words.duration(result['train_seconds'])}" if result["train_seconds"] else ""
    return f"Took {words.duration(result['seconds'])}, {words.duration(result['walk_seconds'])} of it the scores{plain}."


def _mislabelled(project: Project, result: Result) -> list[str]:
    name, rows = result["method"]["name"], project.table(result["table"]).head(FIRST)
    first = [(row.id, row.given, row.suggested, _score(row.score)) for row in rows.itertuples()]
    files = [f"Written: {result[kind]}" for kind in ("scores", "csv") if not is_digest(result.get(kind, "0" * 64))]
    return [
        f"Another label than the given one is suggested for {words.count(result['differ'], 'row')} of {result['n']:,}. Not all of these "
        "labels are wrong; the likeliest come first.",
        f"Score by {name}: higher is likelier wrong. {getattr(mislabelled.classes[name], 'reads', '')}",
        *table("><<>", ("id", "given", "suggested", "score"), first),
        *(files or ["All rows are kept in the project; --csv FILE.csv writes them, and unlearn --ids takes such a file."]),
    ]


def _suspects(project: Project, result: Result) -> list[str]:
    listed = result["suspects"]
    what = "improvement if they are relabelled" if result["settings"]["remedy"] == "relabel" else "improvement if they are removed"
    unit = "" if result["calibrated"] else " These scores order patterns; they are in no unit."
    if not listed:
        return [f"No pattern of training rows stands out among {result['looked_at']:,} for {result['label']}."]
    rows = [(s["rule"], f"{s['n']:,}", *(_score(s[k]) for k in ("effect", "low", "high", "effect_per_row")), _realised(s, result["better"]))
            for s in listed]  # fmt: skip
    smooth = "" if result["label"] == result["measured_label"] else f" of its smooth form, {result['label']}"
    return [
        f"{result['measured_label']} is {words.number(result['value']['measured'])}. Patterns of training rows by summed predicted {what}"
        f"{smooth}, of {result['looked_at']:,} looked at:{unit}",
        *table("<>>>>>>", ("pattern", "rows", "effect", "low", "high", "per row", "realised"), rows),
        "Realised: the improvement on the evaluation rows if really retrained so (--check K); on the holdout rows in --json.",
    ]


def _sources(project: Project, result: Result) -> list[str]:
    unit = "" if result["calibrated"] else " These scores rank blocks; they are in no unit."
    rows = [
        (b["block"], f"{b['n']:,}", words.percent(b["share"]), *(_score(b[k]) for k in ("change", "low", "high", "per_row")),
         words.interval(b["random_low"], b["random_high"]), _realised(b, "higher"))
        for b in result["blocks"]
    ]  # fmt: skip
    rest = f" {words.count(result['rest'], 'row')} of rarer values are in no block." if result["rest"] else ""
    return [
        f"{result['measured_label']} is {words.number(result['value']['measured'])}. Predicted change of {result['label']} if each "
        f"block of {result['settings']['column']} were removed, of {result['n']:,} training rows.{rest}{unit}",
        *table("<>>>>>>>>", ("block", "rows", "share", "change", "low", "high", "per row", "random blocks", "realised"), rows),
        "Random blocks: where 95 % of random blocks of as many rows lie, for all blocks together: such a change is one of size.",
        "Blocks of more than a tenth of the rows stretch what sums of single rows' scores can say: --check K retrains.",
    ]


def _duplicates(project: Project, result: Result) -> list[str]:
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


def _outliers(project: Project, result: Result) -> list[str]:
    rows = [(r["id"], words.number(r["score"], 2)) for r in result["first"][:FIRST]]
    return [f"The training rows that lie most alone, of {result['n']:,}: the local outlier factor is about 1 among one's like. Rare is not "
            "wrong.", *table(">>", ("id", "factor"), rows)]  # fmt: skip


def _helps_nobody(project: Project, result: Result) -> list[str]:
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
        *([f"Written: {result['csv']}"] if "csv" in result else ["--out FILE.csv writes their ids, for --ids."]),
    ]


def _changed(told: Mapping[str, Any] | None) -> str:
    return f"{words.signed(told['change'])} ({words.interval(told['low'], told['high'])})" if told else "-"


def _trace(project: Project, result: Result) -> list[str]:
    unit = "change of the value if removed" if result["calibrated"] else "score (rank only, in no unit)"
    sides = {"Proponents: removal lowers it": "proponents", "Opponents: removal raises it": "opponents", "Most alike": "nearest"}
    lists = [
        line
        for head, side in sides.items()
        for line in (
            f"{head}.",
            *table(">>", ("id", result["alike"] if side == "nearest" else unit), [(r["id"], _score(r["score"])) for r in result[side]]),
        )
    ]
    return [
        *_what_if(result),
        f"{result['measured_label']} is {words.number(result['value']['measured'])}. Training rows by {result['method']['name']}, of "
        f"{result['labels'][0]}, now {words.number(result['value']['value'])}:",
        *lists,
        f"Of the {result['top']} strongest rows {result['shared']} are among the {result['top']} most alike; by chance "
        f"{words.number(result['chance'])}.",
        *filter(None, [units(project.dataset(project.run(result["run"]).dataset))]),
    ]


def _what_if(result: Result) -> list[str]:
    """Say what a changed row is, and what the model said of it as it was."""
    if "before" not in result:
        return []
    cells = ", ".join(f"{name} = {value}" for name, value in result["edit"].items())
    return [f"With {cells[:200]}; as the row is, it was {words.number(result['before']['value']['measured'])}."]


def _explain(project: Project, result: Result) -> list[str]:
    dataset = project.dataset(project.run(result["run"]).dataset)
    of, lines = f"the log-odds of {result['class']}" if result["class"] else dataset.target, []
    for found in filter(None, (result["traced"], result["row"])):
        values, names = project.array(found["parts"]).ravel(), explained.names_of(dataset, found)
        first = abs(values).argsort(kind="stable")[::-1][:10].tolist()
        said = f"{'Training' if found['role'] == 'train' else 'Evaluation'} row {found['id']}: what its {found['of']} add to {of}, "
        off = f"they add up but for {words.number(found['gap'], 2)}" if found["complete"] else "they do not add up: read them roughly"
        lines += [f"{said}from {words.number(found['baseline'])} to {words.number(found['value'])}; {off}."]
        lines += table("<>", (found["of"][:-1], "adds"), [(names[k], words.signed(float(values[k]))) for k in first if values[k]])
    return lines


def _swayed(project: Project, result: Result) -> list[str]:
    if result["unseen"]:
        return [f"The model was made without training row {result['row']}: it sways nothing."]
    sides = {"Removal lowers": "lowered", "Removal raises": "raised"}
    lists = [
        line
        for head, side in sides.items()
        for line in (f"{head} the {result['label']}.", *table(">>", ("id", "score"), [(r["id"], _score(r["score"])) for r in result[side]]))
    ]
    return [
        f"The evaluation rows that training row {result['row']} sways most, of {result['n']:,}, by {result['method']} (rank only, in no "
        "unit):",
        *lists,
    ]


def _removal_curve(project: Project, result: Result) -> list[str]:
    points, orders = pd.DataFrame(result["points"]), ("influence", "loss", "random")
    by = points.groupby(["role", "k", "order"])["value"].mean().unstack("order")
    rows = [(role, f"{k:,}", *(words.number(row[order]) for order in orders)) for (role, k), row in by.iterrows()]
    return [
        f"{result['measured_label']} of models really retrained without the first k of {result['n']:,} training rows, by order:",
        *table("<>>>>", ("rows asked", "k", "influence", "training loss", "random"), rows),
    ]


def _realised(suspect: Mapping[str, Any], better: str) -> str:
    return (
        _score((1 if better == "higher" else -1) * suspect["realised"]["same"]["evaluation"]["value"]["change"])
        if "realised" in suspect
        else "-"
    )


def _preview(project: Project, result: Result) -> list[str]:
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
    n = next(iter(note["calibration"].values()))["value"]["n"]
    return [
        f"{head}, predicted:",
        *table("<>>>>>", ("metric", "now", "change", "95 % band", "smooth form", "95 % band"), rows),
        f"Bands come from {n} real retrainings without other sets of rows. Scores predict smooth forms, in which probabilities stand for",
        "decisions; a metric that counts decisions is predicted through its own.",
        *filter(None, [units(project.dataset(project.run(result["run"]).dataset))]),
    ]


def _budget(project: Project, result: Result) -> list[str]:
    real = [budgets.kept(result), *table("<<>>>>>", *budgets.retrained(result))] if result["retrained"] else []
    ids = ", ".join(map(str, result["ids"][:FIRST]))
    written = f"All: {result['csv']}" if "csv" in result else "--out FILE.csv writes all, for --ids."
    first = f"The first of these rows: {ids}. {written}"
    return [budgets.finding(result), budgets.fewest(result), budgets.spared(result), *real, first]


def _fidelity(project: Project, result: Result) -> list[str]:
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


def _smoothness(project: Project, result: Result) -> list[str]:
    made = f"{words.count(result['trainings'], 'training')}, {words.duration(result['seconds'])}"
    return [
        f"Smoothness (95 %): {smooth.in_words(dict(result))}.",
        result["verdict"],
        f"{made}{', found in the project' * result['found']}.",
    ]


def _agreement(project: Project, result: Result) -> list[str]:
    pairs = agreed.pairs(result, result["names"])
    rows = [(*pair.values(),)[:-1] for pair in pairs]
    return [result["sentence"], *table("<>>", tuple(pairs[0])[:-1], rows), f"n = {words.count(result['n'], 'training row')}."]


def _unlearn(project: Project, result: Result) -> list[str]:
    run = project.run(result["run"])
    old = _measured(project.run(run.parent).body)
    other = result["retrained"] not in (None, run.id)  # else it is this one, or none could be made
    others = {"before": old, **({"retrained": _measured(project.run(result["retrained"]).body)} if other else {})}
    took = f"; retraining takes {words.duration(result['retrain_seconds'])}" if other else ""
    claim, n = words.claim(result["claim"]), words.count(result["n_removed"], "row")
    rows = [
        (
            name, *(words.number(of.get(name, {}).get("value")) for of in others.values()), words.number(f["value"]),
            words.interval(f["low"], f["high"]), f"{f['n']:,}",
        )
        for name, f in _measured(run.body).items()
    ]  # fmt: skip
    return [
        f"Run {run.id}: the model without {n}, in {words.duration(result['seconds'])}{took}. On the holdout rows:",
        *table("<" + ">" * (len(others) + 3), ("metric", *others, "now", "95 %", "n"), rows),
        f"Claim {result['claim']}, {claim.name.lower()}: {claim.meaning}",
        *filter(None, [result["claim_note"]]),
    ]


def _export_model(project: Project, result: Result) -> list[str]:
    claim = words.claim(result["claim"])
    level = result["claim"] if result["claim"] == claim.name.lower() else f"{result['claim']} ({claim.name.lower()})"
    without = f"without {words.count(result['removed'], 'row')}, " if result["removed"] else ""
    return [
        f"Run {result['run']} is written, {without}claim {level}: {result['path']}",
        *table("<<", ("file", "SHA-256"), list(result["files"].items())),
        "README.md tells what it is and what may be claimed of it; import-model brings it again.",
    ]


def _export_run(project: Project, result: Result) -> list[str]:
    what = f"{words.count(result['metrics'], 'figure')}, {words.count(result['params'], 'setting')} and the model with its card"
    return [f"Run {result['run']} is in {result['store']}, experiment {result['experiment']}, as {result['mlflow_run']}: {what}."]


def _export_scores(project: Project, result: Result) -> list[str]:
    return [f"{words.count(result['n'], 'row')} of run {result['run']}, scored for {', '.join(result['columns'])}: {result['path']}"]


def _export_data(project: Project, result: Result) -> list[str]:
    left, gone = words.count(result["n_train"], "training row"), words.count(result["n_removed"], "removed row")
    return [f"{left} in train.parquet and train.csv, {gone} with the reasons in removed.csv: {result['path']}"]


def _pin(project: Project, result: Result) -> list[str]:
    return [f"Pinned as {result['id']}: {result['title']}. {words.count(result['n'], 'pin')} in this project; pins lists them."]


def _pins(project: Project, result: Result) -> list[str]:
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


TOLD: dict[str, Callable[[Project, Result], list[str]]] = {
    "demo": _demo,
    "train": _train,
    "check": _check,
    "import_model": _import_model,
    "attribute": _attribute,
    "mislabelled": _mislabelled,
    "suspects": _suspects,
    "sources": _sources,
    "duplicates": _duplicates,
    "outliers": _outliers,
    "helps_nobody": _helps_nobody,
    "removal_curve": _removal_curve,
    "trace": _trace,
    "explain": _explain,
    "swayed": _swayed,
    "preview": _preview,
    "budget": _budget,
    "fidelity": _fidelity,
    "smoothness": _smoothness,
    "agreement": _agreement,
    "unlearn": _unlearn,
    "pin": _pin,
    "pins": _pins,
    "export_model": _export_model,
    "export_run": _export_run,
    "export_scores": _export_scores,
    "export_data": _export_data,
}
