"""Prove: whether predictions hold, the model without the rows and its claim, and what is kept as evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from influence.cli._app import command
from influence.cli._options import Computing, Ids, Method, OnRun, Place, QueryName, QuerySet, Set, asked, many
from influence.commands import known, numbers, pairs, read_ids, read_labels
from influence.errors import BadInput

TABLES = ("metrics", "classes", "forgetting", "flips", "attack", "layers", "change")
"""What --json tells whole; the tables with a line for each row are in the project."""


@command
def fidelity(
    *,
    query: QueryName,
    method: Method = "metagradient",
    fraction: Annotated[float, typer.Option(help="Share of the training rows left out each time.")] = 0.01,
    fractions: Annotated[str, typer.Option(help="Several shares, for example 0.01,0.1,0.5; instead of --fraction.")] = "",
    subsets: Annotated[int, typer.Option(help="How many random sets are left out.")] = 32,
    truth: Annotated[str, typer.Option(help="same (same seed, rows left out) or fresh (new seeds).")] = "same",
    seeds: Annotated[int, typer.Option(help="New seeds per subset.")] = 2,
    query_set: QuerySet,
    set: Set,
    on: Computing,
) -> None:
    """Retrain without random sets of rows: how true are a method's predictions?"""
    args = asked(query, query_set, method, set)
    sets = {"fraction": fraction, "fractions": numbers(fractions, "--fractions"), "subsets": subsets, "truth": truth, "seeds": seeds}
    on.act("fidelity", {**args, **sets})


@command
def smoothness(
    *,
    share: Annotated[float, typer.Option(help="Share of the training rows that each set takes away.")] = 0.01,
    sets: Annotated[int, typer.Option(help="Random sets; 2 trainings each, and one more.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the sets.")] = 0,
    again: Annotated[bool, typer.Option("--again", help="Measure it anew even if the project kept it.")] = False,
    on: OnRun,
) -> None:
    """Train with less of random sets of rows: is this training smooth enough for the metagradient?"""
    on.act("smoothness", {"share": share, "sets": sets, "seed": seed, "again": again})


@command
def agreement(*, query: QueryName, query_set: QuerySet, on: OnRun) -> None:
    """Compare all methods that were asked one question: rank correlations, and how many of the first rows they share."""
    on.act("agreement", {"query": query, "query_set": pairs(query_set)})


@command
def unlearn(
    *,
    ids: Ids = None,
    method: Annotated[
        list[str], many("--method", f"Unlearning method (default: retrain); several race, one after another: {known('unlearning')}.")
    ],
    group: Annotated[
        str | None, typer.Option(help="Group column of the gap to watch, or up to three: 'sex & race'; default: the run's first.")
    ] = None,
    relabel: Annotated[
        Path | None, typer.Option(help="CSV with columns id and label, instead of --ids: these rows stay, with new labels.")
    ] = None,
    set: Set,
    on: OnRun,
) -> None:
    """Make the model forget rows (default: the project's current selection), or their labels; a new run, beside the retrained model.

    Raises:
        BadInput: settings are given for several methods, or both rows to remove and rows to relabel.
    """
    if relabel is not None and (ids is not None or len(method) > 1):
        raise BadInput("Give either --ids or --relabel, and with --relabel one method: retrain or influence_step.")
    corrected, labels = read_labels(relabel)
    what = {"ids": read_ids(ids) if corrected is None else corrected, "group": group}
    if len(method) < 2:
        on.act("unlearn", {**what, "labels": labels, "method": "".join(method) or "retrain", "set": pairs(set)})
    elif set:
        raise BadInput("In a race methods have their default settings; got --set with several methods. Leave it out, or give one method.")
    else:
        on.act("race", {**what, "methods": method})


@command
def roll_back(*, step: Annotated[int, typer.Option(help="Step whose state is taken, of those that are kept.")], on: OnRun) -> None:
    """Make a new run of a state that an unlearned run (--run) went through; the old one stays as it is."""
    on.act("roll_back", {"step": step})


@command
def drop_steps(*, on: OnRun) -> None:
    """Delete the states that were kept on the way of an unlearned run (--run)."""
    on.act("drop_steps", {})


@command
def compare(
    *,
    group: Annotated[str | None, typer.Option(help="Group column, or up to three: 'sex & race'; default: the run's first.")] = None,
    random: Annotated[bool, typer.Option("--random", help="Beside them a model retrained without as many random rows.")] = False,
    on: OnRun,
) -> None:
    """Compare a model that forgot rows (default: the newest) with the original and the retrained: metrics, decisions, attack, layers."""

    def tell(home: Any, result: dict[str, Any]) -> None:
        tables = {name: home.table(result["tables"][name]) for name in TABLES if name in result["tables"]}
        result["figures"] = {name: table.to_dict("records") for name, table in tables.items()}

    on.act("compare", {"group": group, "random": random}, tell)


@command
def verify(
    *,
    oracles: Annotated[int, typer.Option(help="Models trained anew without the rows, from new seeds; kept for the next time.")] = 64,
    runs: Annotated[int, typer.Option(help="Also judge the method: recipe and method again from so many seeds (24 is enough).")] = 0,
    on: OnRun,
) -> None:
    """Judge a model that forgot rows (default: the newest) beside models that never saw them: did it forget?"""
    on.act("verify", {"oracles": oracles, "runs": runs})


@command
def pin(
    *,
    ids: Ids = None,
    pattern: Annotated[str, typer.Option(help="Conditions as JSON, as suspects --json tells them, instead of ids.")] = "",
    note: Annotated[str, typer.Option(help="Why it is pinned; it stands in the report.")] = "",
    on: OnRun,
) -> None:
    """Pin training rows (default: the current selection) or a pattern as evidence, with a note of why."""
    on.act("pin", {"ids": read_ids(ids), "pattern": pattern, "note": note})


@command
def report(
    *,
    group: Annotated[str | None, typer.Option(help="Group column, or up to three: 'sex & race'; default: the run's first.")] = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="With single rows, cells of pinned ones and ids of selected ones: they can be personal data.")
    ] = False,
    on: OnRun,
) -> None:
    """Write the investigation of a run as one page that stands alone."""
    on.act("report", {"group": group, "rows": rows})


@command
def pins(
    *, run: Annotated[str, typer.Option("--run", help="Only those of this run and of the one it was made from.")] = "", place: Place
) -> None:
    """List what was pinned as evidence, with notes, figures and intervals."""
    place.act("pins", {"run": run or None})
