"""Write the training data without the rows that a model was made to do without, and the list of these rows with the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from influence.actions._leaving import leaving, place
from influence.actions._opened import Opened, chosen, opened, ranking
from influence.actions._relabelling import old_labels
from influence.actions.report import in_words
from influence.errors import BadInput
from influence.files import write_table
from influence.store import Project, Run
from influence.types import Event, Report, Selection, as_places, ignore

UNCHANGED = "none: selected, and no model was changed"
EXCLUDED = "left out when the model was trained"
COLUMNS = ("id", "rule", "question", "method", "score", "rank", "run", "claim")


def export_data(
    project: Project,
    out: str = "",
    run: str | None = None,
    ids: Sequence[Any] | None = None,
    selection: str | None = None,
    report: Report = ignore,
) -> dict[str, Any]:
    """Write `train.parquet` and `train.csv` (the rows left, with their raw columns) and `removed.csv` into the new folder `out`.

    Removed are the rows that the run does without; of a run that does without none, `ids`, a kept `selection` (digest) or the current
    one. Without `out` it is a zip in the project's `exports/`. A row in `removed.csv` has the rule that chose it, its score and rank where
    it was ranked, and the run and claim of its removal. In CSV files, text that a spreadsheet would take for a formula has an apostrophe in
    front.

    `relabelled.csv`, where labels were corrected: id, old and new label, run and claim of the last correction; `train.*` has the new ones.

    Returns `path`, `n_train` (rows left), `n_removed`, `run`, and `n_relabelled` where labels were corrected.

    Raises:
        BadInput: there is no such run, no row was removed or selected, or `out` exists or cannot be written.
    """
    it = opened(project, run)
    corrected = _relabelled(it)
    listed = _removed(it, ids, selection, needed=not len(corrected))
    train = it.dataset.train
    left = train.take(~pd.Index(train.ids).isin(listed["id"].tolist()))
    name = f"{it.run.id}-data" + (f"-{selection[:8]}" if selection else "")
    with leaving(project, out, name) as folder:
        report(Event("export", 0, 3, note=f"Writing {len(left):,} rows"))
        table = _named(it, left.ids, left.columns)
        write_table(table, folder / "train.parquet")
        report(Event("export", 1, 3, note=f"Writing {len(left):,} rows"))
        write_table(table, folder / "train.csv")
        report(Event("export", 2, 3, note="Writing the removed rows"))
        write_table(listed, folder / "removed.csv")
        if len(corrected):
            write_table(corrected, folder / "relabelled.csv")
        report(Event("export", 3, 3))
    path, more = place(project, out, f"{name}.zip"), {"n_relabelled": len(corrected)} if len(corrected) else {}
    project.record(
        "export_data",
        inputs={"run": it.run.id, "dataset": it.run.dataset},
        settings={"rules": sorted(set(listed["rule"]))},
        measures={"n_train": len(left), "n_removed": len(listed), **more},
    )
    return {"path": str(path), "n_train": len(left), "n_removed": len(listed), **more, "run": it.run.id}


def _named(it: Opened, ids: np.ndarray, columns: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the ids in front, under the name of the column that they came from."""
    known = [str(column["name"]) for column in it.dataset.columns if column.get("part") == "id"]
    name = next(name for name in (*known, "id", "row id", "id of the row") if name not in columns)
    table = columns.reset_index(drop=True)
    table.insert(0, name, np.asarray(ids))
    return table


def _relabelled(it: Opened) -> pd.DataFrame:
    """Return one row per row whose label was corrected and that is still there: id, old, new, run, claim."""
    was, gone = it.origin, it.trained.removed
    ids = old_labels(it, was).ids
    ids = ids[~np.isin(ids, list(gone))]
    by = {id: (run.id, run.body["claim"]) for run, rows in _selections(it) if rows.action == "relabel" for id in rows.ids}
    old, new = (of.dataset.train for of in (was, it))
    cells = [rows.columns[it.dataset.target].iloc[as_places(ids, rows.ids)].to_numpy() for rows in (old, new)]
    told = [by.get(id, (it.run.id, it.run.body["claim"])) for id in ids.tolist()]
    return pd.DataFrame({"id": ids, "old": cells[0], "new": cells[1], "run": [t[0] for t in told], "claim": [t[1] for t in told]})


def _removed(it: Opened, ids: Sequence[Any] | None, selection: str | None, needed: bool = True) -> pd.DataFrame:
    """Return one row per removed id: why, by which score and rank, in which run and with what claim."""
    gone = set(it.trained.removed)
    rows: dict[Any, tuple[Any, ...]] = {}
    for run, chosen_then in _selections(it):
        if chosen_then.action == "relabel":
            continue
        for id, why in _reasons(it.project, chosen_then).items():
            if id in gone and id not in rows:
                rows[id] = (id, *why, run.id, run.body["claim"])
    rows |= {id: (id, EXCLUDED, "", "", None, None, it.run.id, it.run.body["claim"]) for id in it.trained.removed if id not in rows}
    if not rows and needed:
        selected = _selected(it, ids, selection)
        rows = {id: (id, *why, it.run.id, UNCHANGED) for id, why in _reasons(it.project, selected).items()}
    table = pd.DataFrame(list(rows.values()), columns=list(COLUMNS))
    return table.astype({"score": "float64", "rank": "Int64"})


def _selected(it: Opened, ids: Sequence[Any] | None, selection: str | None) -> Selection:
    try:
        return chosen(it.project, it, ids, selection)
    except BadInput as error:
        raise BadInput(f"Run {it.run.id} does without no row, and no rows to leave out were chosen: {error}") from None


def _selections(it: Opened) -> Iterator[tuple[Run, Selection]]:
    """Yield what was removed on the way to the run, the first removal first."""
    chain = [it.run]
    while chain[-1].parent:
        chain.append(it.project.run(chain[-1].parent))
    for run in reversed(chain):
        if run.body.get("selection"):  # to remove or to relabel
            yield run, it.project.selection(run.body["selection"])


def _reasons(project: Project, selection: Selection) -> dict[Any, tuple[Any, ...]]:
    """Return for each row of a selection: rule, question, method, score and rank."""
    rule, ranks = in_words(selection.reason), _ranks(project, selection.reason)
    return {id: (rule, *ranks.get(id, ("", "", None, None))) for id in selection.ids}


def _ranks(project: Project, reason: Mapping[str, Any]) -> dict[Any, tuple[Any, ...]]:
    """Return question, method, score and rank of each row that was scored for a selection, or for a part of it."""
    found: dict[Any, tuple[Any, ...]] = {}
    for part in reason.get("of", ()):
        found = {**_ranks(project, part), **found}
    digest = reason.get("scores")
    if not digest or not project.objects.find(digest):
        return found
    scores = project.scores(digest)
    label = str(reason.get("label") if reason.get("label") in scores.labels else scores.labels[0])
    order, values = ranking(scores, label, str(reason.get("better", "lower"))), scores.column(label)
    at = dict(zip(order.tolist(), range(1, len(order) + 1), strict=True))
    own = {id: (label, scores.method, float(values[k]), at[k]) for k, id in enumerate(scores.ids.tolist())}
    return {**found, **own}
