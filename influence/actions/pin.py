"""Pin training rows, or a pattern of them, as evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from influence import conditions
from influence.actions.clusters import with_groups
from influence.errors import BadInput
from influence.store import Project
from influence.store.pins import Pin
from influence.types import Report, ignore


def pin(
    project: Project, ids: Sequence[Any] | None = None, pattern: str = "", note: str = "", run: str | None = None, report: Report = ignore
) -> dict[str, Any]:
    """Pin rows by their ids, a `pattern` (conditions as JSON, as `suspects` tells them), or else the current selection, with a note of why.

    Raises:
        BadInput: both are given, unknown rows, a pattern that holds none, nothing selected, or a note that is too long.
    """
    from influence.actions._opened import chosen, opened

    it = opened(project, run)
    if pattern and ids is not None:
        raise BadInput("Either ids or a pattern can be pinned at once; got both. Pin one after the other.")
    made = Pin("pattern", it.run.id, it.run.dataset, "", {})
    if pattern:
        wanted = conditions.read(pattern)
        if not conditions.met(wanted, with_groups(project, it.run.id, it.dataset.train).columns)[it.seen].any():
            raise BadInput(f"There are no rows where {conditions.rule(wanted)}. Choose another pattern.")
        made = replace(made, title=conditions.rule(wanted), made={"conditions": conditions.written(wanted)})
    else:
        rows = chosen(project, it, ids)
        title = str(rows.reason.get("words", f"{len(rows):,} rows by their ids"))
        kept = project.put_selection(replace(rows, reason={"words": title, **rows.reason}))
        made = replace(made, kind="rows", title=title[:1].upper() + title[1:], made={"rows": rows.digest, "selection": kept})
    added = project.pins.add(replace(made, note=note))
    if note and added.note != note:
        project.pins.note(added.id, note)
    return {"id": added.id, "kind": added.kind, "title": added.title, "run": it.run.id, "n": project.pins.count()}
