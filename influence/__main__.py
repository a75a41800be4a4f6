"""The commands: everything the pages do, without a page. `python -m influence --help`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from influence.errors import BadInput
from influence.types import Event

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__)

ProjectDir = Annotated[Path, typer.Option("--project", help="Project folder; the app opens the same.", envvar="INFLUENCE_PROJECT")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else there.")]
RunId = Annotated[str, typer.Option("--run", help="Run to use; default: the newest made by train or import.")]
Set = Annotated[list[str], typer.Option("--set", help="KEY=VALUE setting of the method (or of model and recipe); repeatable.")]
QueryName = Annotated[str, typer.Option("--query", help="Question, for example equal_opportunity_gap.")]
QuerySet = Annotated[list[str], typer.Option("--query-set", help="KEY=VALUE setting of the question, for example group=sex; repeatable.")]
Method = Annotated[str, typer.Option("--method", help="Method, for example metagradient.")]
Ids = Annotated[Path | None, typer.Option("--ids", help="CSV with the ids of training rows (column id, or the first column).")]

HOME = Path(__file__).resolve().parents[1] / "projects" / "demo"


def pairs(given: list[str]) -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping.

    Raises:
        BadInput: one of them has no "=".
    """
    for item in given:
        if "=" not in item:
            raise BadInput(f"Settings are KEY=VALUE; got {item!r}.")
    return dict(item.split("=", 1) for item in given)


def read_ids(path: Path | None) -> list[Any] | None:
    """Return the ids in a CSV: its column `id`, or its first column.

    Raises:
        BadInput: the file cannot be read as a table, or holds no ids.
    """
    if path is None:
        return None
    from influence.data.read import read_table

    table = read_table(path)
    column = table["id"] if "id" in table else table.iloc[:, 0]
    if not len(column) or column.isna().any():
        raise BadInput(f"{path} must list one id per row; {int(column.isna().sum())} of {len(column)} are empty.")
    return column.tolist()


class Progress:
    """Progress on standard error: one line that is written over on a terminal, silence elsewhere."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self.shown:
            sys.stderr.write(f"\r\033[K{event.stage}: {event.done:,} of {event.total:,} {event.note}")
            sys.stderr.flush()

    def end(self) -> None:
        """Clear the line."""
        if self.shown:
            sys.stderr.write("\r\033[K")


def act(name: str, project: Path, args: dict[str, Any], as_json: bool, after: Callable[[Any, dict[str, Any]], None] | None = None) -> None:
    """Perform an action and print its result; bad input is one clear line and exit code 2.

    Raises:
        typer.Exit: the input was bad.
    """
    progress = Progress()
    try:
        from influence.actions import perform
        from influence.store import Project

        home = Project(project)
        result = perform(name, home, args, progress)
        if after:
            after(home, result)
    except BadInput as error:
        progress.end()
        typer.echo(f"influence {name}: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from None
    progress.end()
    typer.echo(json.dumps(result) if as_json else readable(result))


def readable(result: dict[str, Any], indent: str = "") -> str:
    """Return a result as indented lines for people."""
    lines = []
    for key, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", readable(value, indent + "  ")] if value else []
        else:
            lines.append(f"{indent}{key}: {f'{value:.4f}' if isinstance(value, float) else value}")
    return "\n".join(lines)


@app.command()
def demo(project: ProjectDir = HOME, name: str = "loans", as_json: Json = False) -> None:
    """Make the bundled demo: train a model on simulated loans with a planted bias (or on another bundled set)."""
    act("demo", project, {"name": name}, as_json)


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="CSV or Parquet file, or bundled:NAME.")],
    target: Annotated[str, typer.Option(help="Column to predict.")] = "",
    protected: Annotated[list[str], typer.Option(help="Protected column (a feature unless dropped); repeatable.")] = [],  # noqa: B006
    audit: Annotated[list[str], typer.Option(help="Column for people and finders, never seen by the model; repeatable.")] = [],  # noqa: B006
    drop: Annotated[list[str], typer.Option(help="Column to leave out; repeatable.")] = [],  # noqa: B006
    id: Annotated[str, typer.Option(help="Column of ids; default: the row number from 0.")] = "",
    model: Annotated[str, typer.Option(help="Kind of model: logistic, mlp, cnn.")] = "mlp",
    set: Set = [],  # noqa: B006
    data_set: Annotated[list[str], typer.Option("--data-set", help="KEY=VALUE setting of a bundled set; repeatable.")] = [],  # noqa: B006
    eval: Annotated[str, typer.Option(help="Second file with the test rows.")] = "",
    split: Annotated[str, typer.Option(help="Column that says train or test.")] = "",
    exclude: Annotated[Path | None, typer.Option(help="CSV of ids to train without (truth same).")] = None,
    seed: int = 0,
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Train a model with a recipe that can be replayed."""

    def args() -> dict[str, Any]:
        given = {
            "data": data,
            "target": target,
            "protected": protected,
            "audit": audit,
            "drop": drop,
            "id": id,
            "eval": eval,
            "split": split,
        }
        return given | {
            "model": model, "set": pairs(set), "data_set": pairs(data_set), "exclude": read_ids(exclude) or [], "seed": seed,
        }  # fmt: skip

    act("train", project, checked(args, "train"), as_json)


@app.command()
def attribute(
    query: QueryName,
    out: Annotated[Path | None, typer.Option(help="Parquet file to write: id and one column per question.")] = None,
    method: Method = "metagradient",
    query_set: QuerySet = [],  # noqa: B006
    set: Set = [],  # noqa: B006
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Score every training row: predicted change of the question's value if the row is removed."""

    def write(home: Any, result: dict[str, Any]) -> None:
        if out is not None:
            result["scores"] = str(write_scores(home.scores(result["scores"]), out, result["better"]))

    given = checked(lambda: {"query_set": pairs(query_set), "set": pairs(set)}, "attribute")
    act("attribute", project, {"query": query, "method": method, "run": run or None, "baseline": True, **given}, as_json, write)


@app.command()
def preview(
    scores: Annotated[Path | None, typer.Option(help="Parquet of scores made by attribute; only ranks.")] = None,
    top: Annotated[int, typer.Option(help="With --scores: this many rows whose removal is predicted to help most.")] = 0,
    ids: Ids = None,
    group: Annotated[str | None, typer.Option(help="Group column of the gaps; default: the run's first.")] = None,
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Predict what removing rows would do to every standard metric, with 95 % bands from a few real retrainings."""

    def args() -> dict[str, Any]:
        if (scores is None) == (ids is None):
            raise BadInput("Give either --scores F.parquet with --top K, or --ids IDS.csv.")
        rows = read_ids(ids) if scores is None else ranked_ids(scores, top)
        return {"run": run or None, "group": group, "ids": rows}

    act("preview", project, checked(args, "preview"), as_json)


@app.command()
def fidelity(
    query: QueryName,
    method: Method = "metagradient",
    fraction: Annotated[float, typer.Option(help="Share of the training rows left out each time.")] = 0.01,
    subsets: Annotated[int, typer.Option(help="How many random sets are left out.")] = 32,
    truth: Annotated[str, typer.Option(help="same (same seed, empty places) or fresh (new seeds).")] = "same",
    seeds: Annotated[int, typer.Option(help="Fresh seeds per subset.")] = 2,
    query_set: QuerySet = [],  # noqa: B006
    set: Set = [],  # noqa: B006
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Retrain without random sets of rows: how true are a method's predictions?"""
    given = checked(lambda: {"query_set": pairs(query_set), "set": pairs(set)}, "fidelity")
    args = {"query": query, "method": method, "run": run or None, "fraction": fraction, "subsets": subsets, "truth": truth, "seeds": seeds}
    act("fidelity", project, {**args, **given}, as_json)


@app.command()
def unlearn(
    ids: Ids = None,
    method: Annotated[str, typer.Option("--method", help="Unlearning method: retrain, finetune, neggrad_plus.")] = "retrain",
    group: Annotated[str | None, typer.Option(help="Group column of the gap to watch; default: the run's first.")] = None,
    set: Set = [],  # noqa: B006
    run: RunId = "",
    project: ProjectDir = HOME,
    as_json: Json = False,
) -> None:
    """Make the model forget rows (default: the project's current selection); a new run, beside the retrained model."""
    given = checked(lambda: {"ids": read_ids(ids), "set": pairs(set)}, "unlearn")
    act("unlearn", project, {"method": method, "run": run or None, "group": group, **given}, as_json)


def checked(make: Callable[[], dict[str, Any]], name: str) -> dict[str, Any]:
    """Return `make()`; bad input is one clear line and exit code 2.

    Raises:
        typer.Exit: the input was bad.
    """
    try:
        return make()
    except BadInput as error:
        typer.echo(f"influence {name}: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from None


def write_scores(scores: Any, out: Path, better: str) -> Path:
    """Write scores as Parquet (id, one column per question; which way is better in the metadata), whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"id": scores.ids, **{label: scores.values[:, i] for i, label in enumerate(scores.labels)}})
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_name(f".{out.name}.{os.getpid()}")
    pq.write_table(table.replace_schema_metadata({"better": better}), half)
    half.replace(out)
    return out


def ranked_ids(path: Path, top: int) -> list[Any]:
    """Return the `top` ids whose removal is predicted to move the question most the better way: lower, unless the file says higher.

    Raises:
        BadInput: the file holds no scores, or top is out of range.
    """
    import pyarrow.parquet as pq

    from influence.data.read import read_table

    table = read_table(path)
    if "id" not in table or table.shape[1] < 2 or path.suffix != ".parquet":
        raise BadInput(f"{path} holds no scores: it needs the columns id and one score; attribute --out F.parquet writes them.")
    if not 0 < top <= len(table):
        raise BadInput(f"--top must be between 1 and {len(table)}; got {top}.")
    higher = (pq.read_schema(path).metadata or {}).get(b"better") == b"higher"
    values = table.iloc[:, 1].to_numpy()
    return table["id"].iloc[(-values if higher else values).argsort(kind="stable")[:top]].tolist()


if __name__ == "__main__":
    app()
