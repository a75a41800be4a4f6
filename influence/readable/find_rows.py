"""Of rows: those behind a question, a label, one prediction; and what one row sways."""

from __future__ import annotations

from influence.actions import explain as explained
from influence.actions._measures import Unit, evaluated, unit_of, units
from influence.evidence import words
from influence.readable._shared import FIRST, Result, own_unit, says, score, table
from influence.registry import mislabelled as labels
from influence.store import Project
from influence.store.objects import is_digest
from influence.types import SIGN


@says
def attribute(project: Project, result: Result) -> list[str]:
    """The question's value, what scores mean, and the first rows."""
    run, name, label, read = project.run(result["run"]), result["method"]["name"], result["labels"][0], result["measured_label"]
    measured, better, dataset = result["value"]["measured"], result["better"], project.dataset(run.dataset)
    figure = evaluated(run, dataset, result["query"], measured, project.table(run.body["predictions"]))
    between = f" (95 % {words.interval(figure['low'], figure['high'])}) on" if figure else ", asked of"
    rows = words.count(figure["n"] if figure else run.body["n"]["evaluation"], "evaluation row")
    aim = f"{'raise' if better == 'higher' else 'lower'} it most"
    first = [(row["id"], score(row["score"])) for row in result["first"]]
    lines = [f"{read} is {words.number(measured)}{between} {rows}" + ("." if better == "neither" else f"; {better} is better.")]
    if label != read:
        lines.append(f"Predicted is its smooth version, {label}, now {words.number(result['value']['value'])}.")
    if result["calibrated"]:
        lines.append(f"Score by {name}: {SIGN[:1].lower()}{SIGN[1:]}, in the metric's own unit.")
    else:
        lines.append(f"Score by {name}: it only ranks, and is in no unit.")
    lines.append("Negative: removing the row is predicted to lower the metric; positive: to raise it.")
    lines += [f"The first {len(first)} of {words.count(result['n'], 'training row')}, whose removal is predicted to {aim}:"]
    told = f"{result['told'][:1].upper()}{result['told'][1:]}." if result["told"] else ""
    lines += [*table(">>", ("id", "score"), first), *filter(None, (units(dataset, result["query"]["name"]), told)), _took(result)]
    kept = "All scores are kept in the project; --out FILE.parquet writes them."
    return [*lines, kept if is_digest(result["scores"]) else f"All scores: {result['scores']}"]


def _took(result: Result) -> str:
    if result["found"]:
        return f"Found in the project, where they are since {result['computed'][:16].replace('T', ' ')} UTC."
    plain = f"; a plain training takes {words.duration(result['train_seconds'])}" if result["train_seconds"] else ""
    return f"Took {words.duration(result['seconds'])}, {words.duration(result['walk_seconds'])} of it the scores{plain}."


@says
def mislabelled(project: Project, result: Result) -> list[str]:
    """How many labels are doubted, and the likeliest wrong."""
    name, rows = result["method"]["name"], project.table(result["table"]).head(FIRST)
    first = [(row.id, row.given, row.suggested, score(row.score)) for row in rows.itertuples()]
    files = [f"Written: {result[kind]}" for kind in ("scores", "csv") if not is_digest(result.get(kind, "0" * 64))]
    return [
        f"Another label than the given one is suggested for {words.count(result['differ'], 'row')} of {result['n']:,}. Not all of these "
        "labels are wrong; the likeliest come first.",
        f"Score by {name}: higher is likelier wrong. {getattr(labels.classes[name], 'reads', '')}",
        *table("><<>", ("id", "given", "suggested", "score"), first),
        *(files or ["All rows are kept in the project; --csv FILE.csv writes them, and unlearn --ids takes such a file."]),
    ]


@says
def trace(project: Project, result: Result) -> list[str]:
    """The prediction, and the rows for it, against it and like it."""
    unit = "change of the value if removed" if result["calibrated"] else "score (rank only, in no unit)"
    own = unit_of(project.dataset(project.run(result["run"]).dataset), "prediction")
    size = own.value if result["calibrated"] else 1.0
    sides = {"Proponents: removal lowers it": "proponents", "Opponents: removal raises it": "opponents", "Most alike": "nearest"}
    lists = [
        line
        for head, side in sides.items()
        for line in (
            f"{head}.",
            *table(
                ">>",
                ("id", result["alike"] if side == "nearest" else unit),
                [(r["id"], score(r["score"] * (1.0 if side == "nearest" else size))) for r in result[side]],
            ),
        )
    ]
    return [
        *_what_if(result, own),
        f"{result['measured_label']} is {words.number(result['value']['measured'] * own.measured + own.start)}. Training rows by "
        f"{result['method']['name']}, of {result['labels'][0]}, now {words.number(result['value']['value'] * own.value + own.start)}:",
        *lists,
        f"Of the {result['top']} strongest rows {result['shared']} are among the {result['top']} most alike; by chance "
        f"{words.number(result['chance'])}.",
        *own_unit(project, result, "Predictions and changes" if result["calibrated"] else "Predictions", smooth=False),
    ]


def _what_if(result: Result, own: Unit) -> list[str]:
    """Say what a changed row is, and what the model said of it as it was."""
    if "before" not in result:
        return []
    cells = ", ".join(f"{name} = {'(empty)' if value is None else value}" for name, value in result["edit"].items())
    both = (of["value"]["measured"] * own.measured + own.start for of in (result["before"], result))
    was, now = words.numbers(*both)
    says = f" The model now says {result['says']}, with probability {words.number(result['p'])}." if "says" in result else ""
    return [f"With {cells[:200]}: {result['measured_label']} is {now}; as the row is, it was {was}.{says}"]


@says
def explain(project: Project, result: Result) -> list[str]:
    """What each column, word or pixel adds, strongest first."""
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


@says
def swayed(project: Project, result: Result) -> list[str]:
    """The evaluation rows that one training row sways most."""
    if result["unseen"]:
        return [f"The model was made without training row {result['row']}: it sways nothing."]
    sides = {"Removal lowers": "lowered", "Removal raises": "raised"}
    lists = [
        line
        for head, side in sides.items()
        for line in (f"{head} the {result['label']}.", *table(">>", ("id", "score"), [(r["id"], score(r["score"])) for r in result[side]]))
    ]
    return [
        f"The evaluation rows that training row {result['row']} sways most, of {result['n']:,}, by {result['method']} (rank only, in no "
        "unit):",
        *lists,
    ]
