"""The commands: everything the pages do, without a page. `python -m influence --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from influence.commands import Commands, act, kinds, known, numbers, pairs, ranked_ids, read_ids, reading, strict
from influence.errors import BadInput
from influence.files import writable, write_scores, write_table

app = typer.Typer(
    cls=Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__
)

ProjectDir = Annotated[Path, typer.Option("--project", help="Project folder; the app opens the same.", envvar="INFLUENCE_PROJECT")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else there.")]
RunId = Annotated[str, typer.Option("--run", help="Run to use; default: the newest made by train or import.")]
Set = Annotated[
    list[str],
    typer.Option("--set", help="KEY=VALUE setting of the method (or of model and recipe); repeatable. `methods NAME` lists them."),
]
Edit = Annotated[list[str], typer.Option("--edit", help="COLUMN=VALUE: what if the row had this cell? Repeatable.")]
QueryName = Annotated[str, typer.Option("--query", help=f"Question: {known('queries')}.")]
QuerySet = Annotated[list[str], typer.Option("--query-set", help="KEY=VALUE setting of the question, for example group=sex; repeatable.")]
Method = Annotated[str, typer.Option("--method", help=f"Method: {known('attribution')}.")]
Memory = Annotated[
    int | None, typer.Option("--memory", help="MiB a computation may take at a time; default: INFLUENCE_MEMORY, or 2048.", min=1)
]
Ids = Annotated[Path | None, typer.Option("--ids", help="CSV with the ids of training rows (column id, or the first column).")]

DataSet = Annotated[
    list[str],
    typer.Option(
        "--data-set",
        help="KEY=VALUE setting of a bundled set, of images (size, channels) or texts (vocabulary, length, tokenizer); repeatable.",
    ),
]
Text = Annotated[str, typer.Option(help="Column of a table with the texts that the model reads.")]
Preprocessing = Annotated[
    str, typer.Option(help="JSON file by which a table's columns become inputs, instead of being fitted (docs/python.md).")
]

Data = Annotated[
    str,
    typer.Argument(
        help=f"A table; a folder, .zip or .npz of images; bundled:NAME, one of {known('data/bundled')}; or a table by name: sklearn:NAME, "
        "openml:NAME, hub:datasets/OWNER/NAME."
    ),
]
Target = Annotated[str, typer.Option(help="Column to predict; of images by default the class folder.")]
Protected = Annotated[list[str], typer.Option(help="Protected column (a feature unless dropped); repeatable.")]
Audit = Annotated[list[str], typer.Option(help="Column for people and finders, never seen by the model; repeatable.")]
Drop = Annotated[list[str], typer.Option(help="Column to leave out; repeatable.")]
IdColumn = Annotated[str, typer.Option(help="Column of ids; default: the row number from 0.")]
Split = Annotated[str, typer.Option(help="Column that says train or test.")]
Eval = Annotated[str, typer.Option(help="Second file with the test rows.")]
Model = Annotated[str, typer.Option(help=f"Kind of model: {known('models')}; default: bag for texts, cnn for images, mlp for all else.")]
Image = Annotated[str, typer.Option(help="Column of a table with paths of images (inside its folder) or their bytes.")]
Kind = Annotated[
    list[str],
    typer.Option(help="COL=KIND, what a column is: numeric, category, flag, ordered, date, text, id, weight, group, leak; repeatable."),
]
Sheet = Annotated[str, typer.Option(help="Sheet of an Excel file; default: the first that holds a table.")]
Sql = Annotated[str, typer.Option(help="Query, where DATA is a database's address (SQLAlchemy's URL).")]

Positive = Annotated[
    str,
    typer.Option(help="Favourable class, of which rates and gaps speak; default: what data or model say, else the last in sorted order."),
]

HOME = Path(__file__).resolve().parents[1] / "projects" / "demo"


@app.command()
def demo(
    project: ProjectDir = HOME,
    name: Annotated[str, typer.Option(help=f"Bundled data set: {known('data/bundled')}.")] = "loans",
    as_json: Json = False,
) -> None:
    """Make the bundled demo: train a model on simulated loans with a planted bias (or on another bundled set)."""
    act("demo", project, {"name": name}, as_json)


# Typer copies the empty lists below for every call, so that sharing them (B006) is safe.
@app.command()
def train(
    data: Data,
    target: Target = "",
    protected: Protected = [],  # noqa: B006
    audit: Audit = [],  # noqa: B006
    drop: Drop = [],  # noqa: B006
    id: IdColumn = "",
    model: Model = "",
    set: Set = [],  # noqa: B006
    data_set: DataSet = [],  # noqa: B006
    text: Text = "",
    image: Image = "",
    eval: Eval = "",
    split: Split = "",
    exclude: Annotated[Path | None, typer.Option(help="CSV of ids to train without (truth same).")] = None,
    preprocessing: Preprocessing = "",
    kind: Kind = [],  # noqa: B006
    sheet: Sheet = "",
    sql: Sql = "",
    positive: Positive = "",
    seed: int = 0,
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Train a model with a recipe that can be replayed."""
    columns = {"target": target, "protected": protected, "audit": audit, "drop": drop, "id": id, "split": split}
    chosen = {"model": model, "set": pairs(set), "data_set": reading(data_set, image=image, text=text), "seed": seed}
    read = {"eval": eval, "preprocessing": preprocessing, "kinds": kinds(kind), "sheet": sheet, "sql": sql, "positive": positive}
    act("train", project, {"data": data, **columns, **chosen, **read, "exclude": read_ids(exclude) or []}, as_json)


@app.command()
def check(
    data: Data,
    target: Target = "",
    protected: Protected = [],  # noqa: B006
    audit: Audit = [],  # noqa: B006
    drop: Drop = [],  # noqa: B006
    id: IdColumn = "",
    model: Model = "",
    set: Set = [],  # noqa: B006
    data_set: DataSet = [],  # noqa: B006
    text: Text = "",
    image: Image = "",
    eval: Eval = "",
    split: Split = "",
    preprocessing: Preprocessing = "",
    kind: Kind = [],  # noqa: B006
    sheet: Sheet = "",
    sql: Sql = "",
    positive: Positive = "",
    seed: int = 0,
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Look at data before they are trained on: classes and groups, leaks, copies, and what training will cost. Nothing is kept."""
    columns = {"target": target, "protected": protected, "audit": audit, "drop": drop, "id": id, "split": split}
    chosen = {"model": model, "set": pairs(set), "data_set": reading(data_set, image=image, text=text), "seed": seed}
    read = {"eval": eval, "preprocessing": preprocessing, "kinds": kinds(kind), "sheet": sheet, "sql": sql, "positive": positive}
    act("check", project, {"data": data, **columns, **chosen, **read}, as_json)


@app.command("import-model")
def import_model(
    path: Annotated[
        str,
        typer.Argument(
            help="Folder that influence.Recorder or export-model wrote, or of Hugging Face (hub:OWNER/NAME); weights, or checkpoints."
        ),
    ],
    data: Annotated[str, typer.Argument(help="What it was trained on: a folder that influence.save_data wrote, or a table as for train.")],
    target: Annotated[str, typer.Option(help="Column to predict; needed for a table, unless an exported model says it.")] = "",
    protected: Protected = [],  # noqa: B006
    audit: Audit = [],  # noqa: B006
    drop: Drop = [],  # noqa: B006
    id: IdColumn = "",
    split: Split = "",
    eval: Eval = "",
    model: Annotated[str, typer.Option(help=f"Kind of model: auto (found from the weights), {known('models')}.")] = "auto",
    set: Set = [],  # noqa: B006
    rates: Annotated[str, typer.Option(help="Step sizes of the checkpoints, with commas between them, or one for all.")] = "",
    accuracy: Annotated[float | None, typer.Option(help="What the model is known to reach on its test rows, from 0 to 1.")] = None,
    preprocessing: Preprocessing = "",
    data_set: DataSet = [],  # noqa: B006
    text: Text = "",
    image: Image = "",
    kind: Kind = [],  # noqa: B006
    sheet: Sheet = "",
    sql: Sql = "",
    positive: Positive = "",
    name: Annotated[str, typer.Option(help="What to call it.")] = "",
    check_only: Annotated[bool, typer.Option("--check-only", help="Check it, and keep nothing.")] = False,
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Bring a model that was trained elsewhere, with its checkpoints and the course of its training; checked before anything is kept."""
    columns = {"target": target, "protected": protected, "audit": audit, "drop": drop, "id": id, "split": split, "eval": eval}
    chosen = {"model": model, "set": pairs(set), "rates": numbers(rates, "--rates"), "accuracy": accuracy, "name": name}
    chosen |= {"preprocessing": preprocessing, "data_set": reading(data_set, image=image, text=text), "check_only": check_only}
    chosen |= {"kinds": kinds(kind), "sheet": sheet, "sql": sql, "positive": positive}
    act("import_model", project, {"path": path, "data": data, **columns, **chosen}, as_json)


@app.command()
def attribute(
    query: QueryName,
    out: Annotated[Path | None, typer.Option(help="Parquet file to write: id and one column per question.")] = None,
    method: Method = "metagradient",
    query_set: QuerySet = [],  # noqa: B006
    set: Set = [],  # noqa: B006
    kept: Annotated[
        bool, typer.Option("--kept", help="Use what the project keeps (scores, curvature, ...); else all is computed and timed.")
    ] = False,
    memory: Memory = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Score every training row: predicted change of the question's value if the row is removed."""

    def write(home: Any, result: dict[str, Any]) -> None:
        if out is not None:
            result["scores"] = str(write_scores(home.scores(result["scores"]), out, result["better"]))

    if out is not None:
        writable(out)
    asked = {"query": query, "query_set": pairs(query_set), "method": method, "set": pairs(set)}
    act("attribute", project, {**asked, "run": run or None, "baseline": not kept}, as_json, write, memory)


@app.command()
def mislabelled(
    out: Annotated[Path | None, typer.Option(help="Parquet file of scores to write, for --scores: higher is likelier wrong.")] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV file to write: id, given, suggested, score, for --ids.")] = None,
    top: Annotated[int, typer.Option(help="With --csv: this many of the likeliest wrong; 0: all rows.", min=0)] = 0,
    method: Annotated[str, typer.Option("--method", help=f"Score of labels: {known('mislabelled')}.")] = "out_of_sample",
    set: Set = [],  # noqa: B006
    memory: Memory = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Score every training row: how likely is its label wrong?

    Raises:
        BadInput: --top without --csv, or more rows than there are.
    """
    if top and csv is None:
        raise BadInput("--top says how many rows --csv writes. Give --csv FILE too.")

    def write(home: Any, result: dict[str, Any]) -> None:
        if csv is not None:
            table = home.table(result["table"])
            if top > len(table):
                raise BadInput(f"--top must be between 1 and {len(table)}, or 0 for all rows; got {top}.")
            result["csv"] = str(write_table(table.head(top or len(table)), csv))
        if out is not None:
            result["scores"] = str(write_scores(home.scores(result["scores"]), out, result["better"]))

    for path in filter(None, (out, csv)):
        writable(path)
    act("mislabelled", project, {"method": method, "set": pairs(set), "run": run or None}, as_json, write, memory)


@app.command()
def trace(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of an evaluation row.")],
    method: Annotated[str, typer.Option("--method", help="Method that scores; default: the best that is open to the model.")] = "",
    set: Set = [],  # noqa: B006
    edit: Edit = [],  # noqa: B006
    memory: Memory = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Trace one prediction: the training rows that speak for it, those that speak against it, and those that look like it."""
    args = {"id": id, "method": method, "set": pairs(set), "edit": _cells(edit), "run": run or None}
    act("trace", project, args, as_json, memory=memory)


def _cells(edit: list[str]) -> dict[str, str]:
    return pairs(edit, "A changed cell is COLUMN=VALUE", "age=40")


@app.command()
def explain(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of an evaluation row.")],
    row: Annotated[str, typer.Option("--row", help="Id of a training row to explain beside it.")] = "",
    class_: Annotated[str, typer.Option("--class", help="Class that is asked about; default: what the model says.")] = "",
    edit: Edit = [],  # noqa: B006
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Say by how much each column, word or pixel of a row speaks for what the model says of it (integrated gradients of Captum)."""
    act("explain", project, {"id": id, "row": row, "class_": class_, "edit": _cells(edit), "run": run or None}, as_json)


@app.command()
def swayed(
    row: Annotated[str, typer.Argument(metavar="ROW", help="Id of a training row.")],
    memory: Memory = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Rank the evaluation rows by how far one training row sways what the model says of them."""
    act("swayed", project, {"row": row, "run": run or None}, as_json, memory=memory)


@app.command()
def suspects(
    query: QueryName,
    query_set: QuerySet = [],  # noqa: B006
    method: Annotated[
        str, typer.Option("--method", help="Method whose scores are summed; default: the best that is open to the model.")
    ] = "",
    set: Set = [],  # noqa: B006
    max_conditions: Annotated[int, typer.Option(help="Most conditions of a pattern, 1 to 4.")] = 2,
    with_label: Annotated[bool, typer.Option("--with-label", help="Let the target be a condition, beside another.")] = False,
    remedy: Annotated[str, typer.Option(help="What is predicted: remove the rows, or relabel them.")] = "remove",
    least: Annotated[float, typer.Option(help="Least share of the training rows that a pattern holds.")] = 0.01,
    most: Annotated[float, typer.Option(help="Largest share of the training rows that a pattern holds.")] = 0.5,
    limit: Annotated[int, typer.Option(help="How many patterns to list.")] = 20,
    alike: Annotated[int, typer.Option(help="Put the rows into so many groups that look alike, of which patterns may speak.")] = 0,
    check: Annotated[
        int, typer.Option(help="Retrain without each of the first so many patterns, and say what it really changes.", min=0)
    ] = 0,
    seeds: Annotated[int, typer.Option(help="With --check: with so many fresh seeds too.", min=0)] = 0,
    memory: Memory = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Search for patterns of training rows behind a question: the largest summed improvement if they are removed first."""
    asked = {"query": query, "query_set": pairs(query_set), "method": method, "set": pairs(set), "run": run or None}
    search = {"max_conditions": max_conditions, "with_label": with_label, "remedy": remedy, "least": least, "most": most, "limit": limit}
    search |= {"alike": alike}
    act("suspects", project, {**asked, **search, "check": check, "seeds": seeds}, as_json, memory=memory)


@app.command()
def sources(
    column: Annotated[str, typer.Argument(metavar="COLUMN", help="Column that says of each row where it is from, or when.")],
    query: QueryName,
    query_set: QuerySet = [],  # noqa: B006
    method: Annotated[
        str, typer.Option("--method", help="Method whose scores are summed; default: the best that is open to the model.")
    ] = "",
    set: Set = [],  # noqa: B006
    by: Annotated[str, typer.Option(help="Blocks of a column of dates: year, quarter or month; default: by their span.")] = "",
    bins: Annotated[int, typer.Option(help="Ranges of a column of many numbers.")] = 8,
    check: Annotated[int, typer.Option(help="Retrain without each of the so many blocks that promise most.", min=0)] = 0,
    seeds: Annotated[int, typer.Option(help="With --check: with so many fresh seeds too.", min=0)] = 0,
    memory: Memory = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Predict what each whole source, licence, period or other block of training rows would change if it were withdrawn."""
    asked = {"query": query, "query_set": pairs(query_set), "method": method, "set": pairs(set), "run": run or None}
    act("sources", project, {"column": column, **asked, "by": by, "bins": bins, "check": check, "seeds": seeds}, as_json, memory=memory)


@app.command()
def duplicates(
    distance: Annotated[float, typer.Option(help="Largest distance between copies, 0 to 1; 0: exact ones alone.")] = 0.0,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Find rows that are copies of each other, also training rows that copy evaluation or holdout rows."""
    act("duplicates", project, {"distance": distance, "run": run or None}, as_json)


@app.command()
def outliers(
    neighbours: Annotated[int, typer.Option(help="Nearest rows with which each is compared.")] = 20,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Rank the training rows by how much they lie alone among the others."""
    act("outliers", project, {"neighbours": neighbours, "run": run or None}, as_json)


@app.command("helps-nobody")
def helps_nobody(
    group: Annotated[str, typer.Option(help="Column whose groups are asked; default: the run's first.")] = "",
    method: Annotated[str, typer.Option("--method", help="Method that scores the rows; default: the best that is open.")] = "",
    set: Set = [],  # noqa: B006
    share: Annotated[float, typer.Option(help="Largest share of the training rows.")] = 0.02,
    seeds: Annotated[int, typer.Option(help="Retrain with so many fresh seeds without these rows, and without random ones.", min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="CSV file to write: the ids, for --ids.")] = None,
    memory: Memory = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Find training rows that help nobody: without them the loss of every group is predicted to fall."""

    def write(home: Any, result: dict[str, Any]) -> None:
        if out is not None:
            import pandas as pd

            result["csv"] = str(write_table(pd.DataFrame({"id": result["ids"]}), out))

    if out is not None:
        writable(out)
    given = {"method": method, "set": pairs(set), "share": share, "seeds": seeds, "run": run or None}
    act("helps_nobody", project, {"group": group, **given}, as_json, write, memory)


@app.command("removal-curve")
def removal_curve(
    query: QueryName,
    query_set: QuerySet = [],  # noqa: B006
    method: Method = "metagradient",
    set: Set = [],  # noqa: B006
    shares: Annotated[str, typer.Option(help="Shares of the training rows that are removed.")] = "0.002,0.005,0.01,0.02,0.05,0.1",
    memory: Memory = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Retrain without more and more rows: by influence, by training loss and at random. Does influence do more?"""

    def write(home: Any, result: dict[str, Any]) -> None:
        result["points"] = home.table(result["points"]).to_dict("records")
        result["predicted"] = home.table(result["predicted"]).to_dict("records") if result["predicted"] else None

    asked = {"query": query, "query_set": pairs(query_set), "method": method, "set": pairs(set), "run": run or None}
    act("removal_curve", project, {**asked, "shares": numbers(shares, "--shares")}, as_json, write, memory)


@app.command()
def preview(
    scores: Annotated[Path | None, typer.Option(help="Parquet of scores made by attribute; only ranks.")] = None,
    top: Annotated[int, typer.Option(help="With --scores: this many rows whose removal is predicted to help most.")] = 0,
    ids: Ids = None,
    group: Annotated[
        str | None, typer.Option(help="Group column of the gaps, or up to three: 'sex & race'; default: the run's first.")
    ] = None,
    positive: Annotated[str, typer.Option(help="Class of which rates and gaps speak; default: the favourable one of the data.")] = "",
    memory: Memory = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Predict what removing rows would do to every standard metric, with 95 % bands from a few real retrainings.

    Raises:
        BadInput: neither or both of --scores and --ids are given.
    """
    if (scores is None) == (ids is None):
        raise BadInput("Give either --scores F.parquet with --top K, or --ids IDS.csv.")
    rows = read_ids(ids) if scores is None else ranked_ids(scores, top)
    act("preview", project, {"run": run or None, "group": group, "positive": positive, "ids": rows}, as_json, memory=memory)


@app.command()
def budget(
    query: QueryName,
    target: Annotated[float, typer.Option(help="What the question, as people read it, should come to.")],
    max_accuracy_loss: Annotated[float, typer.Option(help="By how much accuracy may fall: 0.003 is 0.3 points.")],
    query_set: QuerySet = [],  # noqa: B006
    mode: Annotated[str, typer.Option(help="remove whole rows, or reweight: take a part of their weight.")] = "remove",
    part: Annotated[float, typer.Option(help="reweight: largest part of one row's weight that is taken.")] = 1.0,
    most: Annotated[float, typer.Option(help="Largest share of the training rows.")] = 0.1,
    seeds: Annotated[int, typer.Option(help="Fresh seeds with which models are really retrained, as a check; 0: none.", min=0)] = 3,
    out: Annotated[Path | None, typer.Option(help="CSV file to write: id and weight (0: removed), for --ids.")] = None,
    memory: Memory = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Find the fewest rows whose removal brings a question to a target at a bounded loss of accuracy; retrain to check."""

    def write(home: Any, result: dict[str, Any]) -> None:
        if out is not None:
            result["csv"] = str(write_table(pd.DataFrame({"id": result["ids"], "weight": result["weights"]}), out))

    import pandas as pd

    if out is not None:
        writable(out)
    given = {"mode": mode, "part": part, "most": most, "seeds": seeds, "run": run or None}
    asked = {"query": query, "query_set": pairs(query_set), "target": target, "max_accuracy_loss": max_accuracy_loss}
    act("budget", project, {**asked, **given}, as_json, write, memory)


@app.command()
def fidelity(
    query: QueryName,
    method: Method = "metagradient",
    fraction: Annotated[float, typer.Option(help="Share of the training rows left out each time.")] = 0.01,
    fractions: Annotated[str, typer.Option(help="Several shares, for example 0.01,0.1,0.5; instead of --fraction.")] = "",
    subsets: Annotated[int, typer.Option(help="How many random sets are left out.")] = 32,
    truth: Annotated[str, typer.Option(help="same (same seed, empty places) or fresh (new seeds).")] = "same",
    seeds: Annotated[int, typer.Option(help="Fresh seeds per subset.")] = 2,
    query_set: QuerySet = [],  # noqa: B006
    set: Set = [],  # noqa: B006
    memory: Memory = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Retrain without random sets of rows: how true are a method's predictions?"""
    asked = {"query": query, "query_set": pairs(query_set), "method": method, "set": pairs(set)}
    sets = {"fraction": fraction, "fractions": numbers(fractions, "--fractions"), "subsets": subsets, "truth": truth, "seeds": seeds}
    act("fidelity", project, {**asked, **sets, "run": run or None}, as_json, memory=memory)


@app.command()
def smoothness(
    share: Annotated[float, typer.Option(help="Share of the training rows that each set takes away.")] = 0.01,
    sets: Annotated[int, typer.Option(help="Random sets; 2 trainings each, and one more.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the sets.")] = 0,
    again: Annotated[bool, typer.Option("--again", help="Measure it anew even if the project kept it.")] = False,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Train with less of random sets of rows: is this training smooth enough for the metagradient?"""
    act("smoothness", project, {"share": share, "sets": sets, "seed": seed, "again": again, "run": run or None}, as_json)


@app.command()
def agreement(
    query: QueryName,
    query_set: QuerySet = [],  # noqa: B006
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Compare all methods that were asked one question: rank correlations, and how many of the first rows they share."""
    act("agreement", project, {"query": query, "query_set": pairs(query_set), "run": run or None}, as_json)


@app.command()
def unlearn(
    ids: Ids = None,
    method: Annotated[str, typer.Option("--method", help=f"Unlearning method: {known('unlearning')}.")] = "retrain",
    group: Annotated[
        str | None, typer.Option(help="Group column of the gap to watch, or up to three: 'sex & race'; default: the run's first.")
    ] = None,
    set: Set = [],  # noqa: B006
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Make the model forget rows (default: the project's current selection); a new run, beside the retrained model."""
    chosen = {"ids": read_ids(ids), "method": method, "set": pairs(set)}
    act("unlearn", project, {**chosen, "run": run or None, "group": group}, as_json)


@app.command()
def pin(
    ids: Ids = None,
    pattern: Annotated[str, typer.Option(help="Conditions as JSON, as suspects --json tells them, instead of ids.")] = "",
    note: Annotated[str, typer.Option(help="Why it is pinned; it stands in the report.")] = "",
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Pin training rows (default: the current selection) or a pattern as evidence, with a note of why."""
    act("pin", project, {"ids": read_ids(ids), "pattern": pattern, "note": note, "run": run or None}, as_json)


@app.command()
def pins(
    run: Annotated[str, typer.Option("--run", help="Only those of this run and of the one it was made from.")] = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """List what was pinned as evidence, with notes, figures and intervals."""
    act("pins", project, {"run": run or None}, as_json)


@app.command("export-model")
def export_model(
    out: Annotated[Path, typer.Argument(help="New folder to write.")],
    format: Annotated[
        str,
        typer.Option(
            help="safetensors; pt2: with a graph that PyTorch runs alone; record: with its training, to be followed; huggingface: a "
            "folder for the transformers library, of a model of Hugging Face."
        ),
    ] = "safetensors",
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Write a model, an unlearned one too, with a model card into a folder that anybody can use and import-model takes."""
    act("export_model", project, {"out": str(out), "format": format, "run": run or None}, as_json)


@app.command("export-run")
def export_run(
    store: Annotated[
        str,
        typer.Argument(
            help="MLflow's tracking store: a folder, sqlite:///FILE or http(s)://SERVER.", envvar="MLFLOW_TRACKING_URI", show_envvar=True
        ),
    ],
    experiment: Annotated[str, typer.Option(help="Experiment there; default: the name of the data.")] = "",
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Write a run to MLflow: settings, figures with intervals, claim, model card and weights."""
    act("export_run", project, {"store": store, "experiment": experiment, "run": run or None}, as_json)


@app.command("export-scores")
def export_scores(
    out: Annotated[Path, typer.Argument(help="File to write: .csv (no cell is a formula) or .parquet.")],
    query: Annotated[str, typer.Option("--query", help=f"Question; without one, all that the run was asked: {known('queries')}.")] = "",
    method: Method = "metagradient",
    query_set: QuerySet = [],  # noqa: B006
    set: Set = [],  # noqa: B006
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Write scores that the project keeps: id and a column for each question.

    Raises:
        BadInput: the file is called otherwise than .csv or .parquet.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise BadInput(f"Scores are written as .csv or .parquet; got {out.name!r}. Give another file.")
    asked = {"query": query, "query_set": pairs(query_set), "method": method, "set": pairs(set)}
    act("export_scores", project, {**asked, "out": str(out), "run": run or None}, as_json)


@app.command("export-data")
def export_data(
    out: Annotated[Path, typer.Argument(help="New folder to write.")],
    ids: Ids = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Write the training rows that are left (Parquet and CSV), and the list of the removed ones with the reasons.

    Removed are the rows that the run does without; of a run that does without none, --ids or the current selection.
    """
    act("export_data", project, {"out": str(out), "ids": read_ids(ids), "run": run or None}, as_json)


@app.command()
def methods(
    name: Annotated[str, typer.Argument(help="Say all about what has this name: explanation, needs, cost, settings.")] = "",
    run: Annotated[str, typer.Option("--run", help="Say what is not open to this run, and why.")] = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """List everything that can be chosen: data sets, models, queries, methods; with a name, its settings."""
    from influence.actions._opened import opened
    from influence.methods import listed, readable
    from influence.store import Project

    found = listed(name, opened(Project(project), run) if run else None)
    typer.echo(strict(found) if as_json else readable(found, run))


if __name__ == "__main__":
    app()
