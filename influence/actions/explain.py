"""What in a row does the model's answer rest on? Of one prediction, and of a training row beside it.

No PyTorch at import: pages ask `kept`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from influence.actions._scored import short
from influence.data.dataset import Dataset
from influence.data.edit import changes, edited, place_of, raw
from influence.data.encoding import features as features_of
from influence.errors import BadInput
from influence.store import Project
from influence.store.catalogue import now
from influence.types import Examples, Report, ignore

if TYPE_CHECKING:
    import torch

    from influence.actions._opened import Opened
    from influence.features import Parts

VERSION = 1
"""Of what is computed: older results are not found again."""
MEANS = 4096
"""Rows that are read at a time for their mean."""


def explain(
    project: Project,
    id: str,
    row: str = "",
    class_: str = "",
    run: str | None = None,
    edit: Mapping[str, Any] | None = None,
    again: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Say by how much each part of an evaluation row, and of a training `row`, speaks for what the model says of the former.

    By integrated gradients of Captum (`influence/features.py`) of the log-odds of the class that the model says (or `class_`), of a number
    in the target's unit, from the mean of the training rows or, for texts, from padding. `edit`: as for `trace`; the class stays that of
    the row as it is. `traced` and `row` (None without one) hold: `of` (columns, tokens, pixels or inputs), `parts` (digest of an array: one
    number per column, token, pixel or input), `value` and `baseline` of the log-odds or the number, `gap` (how far the parts are from
    adding up to their difference), `complete`, `steps`. Of a table the inputs that stand for one column are added up.

    Raises:
        BadInput: no such run, row or class, a cell cannot be so, or no way leads through the model's inputs.
    """
    from influence.actions._opened import opened

    began = time.perf_counter()
    it = opened(project, run)
    asked, train = it.dataset.evaluation, it.dataset.train
    at = place_of(asked, str(id))
    beside = place_of(train, str(row), "training") if row else None
    changed = changes(it.dataset, str(id), edit) if edit else {}
    name = _class(it, at, class_)
    examples = edited(it.dataset, str(id), changed) if changed else asked
    traced = _one(it, "evaluation", examples, at, name, changed, again, report)
    other = None if beside is None else _one(it, "train", train, beside, name, {}, again, report)
    told = {"id": str(id), "run": it.run.id, "class": name, "edit": changed, "n_baseline": int(it.seen.sum())}
    return {**told, "traced": traced, "row": other, "seconds": time.perf_counter() - began}


def kept(project: Project, run: str, role: str, id: str, class_: str, edit: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return what was found of one row, or None; `edit`: what `changes` returned."""
    found = project.noted(_name(run, role, id, class_, edit or {}))
    return found if found and project.objects.find(found["parts"]) else None


def _name(run: str, role: str, id: str, class_: str, edit: Mapping[str, Any]) -> str:
    return f"explained/{run}/{short({'role': role, 'id': id, 'class': class_, 'edit': dict(edit)})}/{VERSION}"


def _class(it: Opened, at: int, class_: str) -> str:
    """Return the class that is asked about: what the model says of the row as it is, unless one is named; "" for a numeric target.

    Raises:
        BadInput: there is no such class.
    """
    from influence.groups import place_of as place_of_class

    classes = it.dataset.evaluation.classes
    if not classes:
        return ""
    return classes[place_of_class(class_, it.dataset.evaluation) if class_ else int(it.outputs("evaluation")[at].argmax())]


def _one(
    it: Opened, role: str, examples: Examples, at: int, name: str, changed: Mapping[str, Any], again: bool, report: Report
) -> dict[str, Any]:
    """Return what is found of one row, from the project if it has it."""
    began, id = time.perf_counter(), str(examples.ids[at])
    found = None if again else kept(it.project, it.run.id, role, id, name, changed)
    if found is not None:
        return {**found, "found": True}
    of, parts = _parts(it, examples, at, name, report)
    unit = 1.0 if examples.classes else float(it.dataset.encoding.get("target", {}).get("sd", 1.0))
    zero = 0.0 if examples.classes else float(it.dataset.encoding.get("target", {}).get("mean", 0.0))
    found = {
        "of": of, "parts": it.project.put_array(parts.values * unit), "value": parts.value * unit + zero,
        "baseline": parts.baseline * unit + zero, "gap": parts.gap * unit, "complete": parts.complete, "steps": parts.steps,
        "role": role, "id": id, "class": name, "edit": dict(changed), "computed": now(),
    }  # fmt: skip
    with it.project.transaction():
        it.project.note(_name(it.run.id, role, id, name, changed), found)
        it.project.record(
            "explain",
            inputs={"run": it.run.id, "dataset": it.run.dataset, "row": id},
            settings={"role": role, "class": name, "edit": dict(changed), "steps": parts.steps, "version": VERSION},
            outputs={"parts": found["parts"]},
            measures={"value": found["value"], "baseline": found["baseline"], "gap": found["gap"]},
            seconds=time.perf_counter() - began,
        )
    return {**found, "found": False}


def _parts(it: Opened, examples: Examples, at: int, name: str, report: Report) -> tuple[str, Parts]:
    """Return what the parts are of, and these.

    Raises:
        BadInput: the inputs are several arrays by name, or a text has no token.
    """
    import torch

    from influence import features
    from influence.loop import threads

    if isinstance(examples.x, Mapping):
        raise BadInput("This model takes several inputs by name, and no one way leads through them all. Bring it with one array of inputs.")
    x, value = torch.from_numpy(np.array(examples.x[at])), _value(name, examples)
    with threads(it.trained.recipe.threads if it.trained.recipe else 1):
        if not x.is_floating_point():
            if not x.any():
                raise BadInput("This text has no token that the model reads, so that nothing in it can speak for its answer.")
            return "tokens", features.of_tokens(it.bound, x, _added(it.dataset, examples, at, len(x)), value, report)
        parts = features.of_numbers(it.bound, x, _mean(it.dataset.train.x, it.seen), value, report)
    if it.dataset.encoding.get("kind") == "table":
        return "columns", _by_column(parts, it.dataset)
    return "pixels" if x.dim() == 3 else "inputs", parts


def _value(name: str, examples: Examples) -> Any:
    """Return what is asked of outputs: the log-odds of a class, or the number, (B, C) -> (B,)."""
    import torch

    from influence.queries._groups import log_odds

    if not name:
        return lambda z: z[:, 0]
    own = examples.classes.index(name)
    return lambda z: log_odds(z, torch.full((len(z),), own, device=z.device))


def _mean(x: Any, seen: np.ndarray) -> torch.Tensor:
    """Return the mean input of the training rows that the model saw, float64; they are read block by block."""
    import torch

    total = np.zeros(x.shape[1:], dtype=np.float64)
    for first in range(0, len(x), MEANS):
        rows = slice(first, first + MEANS)
        total += x[rows][seen[rows]].sum(0, dtype=np.float64)
    return torch.from_numpy(np.asarray(total / max(1, int(seen.sum()))))


def _added(dataset: Dataset, examples: Examples, at: int, length: int) -> torch.Tensor:
    """Return which tokens of a text its tokenizer adds to every text, (T,) bool; none where it is not known how it was read."""
    import torch

    from influence.data.text.tokens import texts_of

    kept, told = torch.zeros(length, dtype=torch.bool), dataset.encoding
    if told.get("kind") == "text":
        (text,) = texts_of(examples.columns[told["column"]].iloc[[at]])
        for place, (start, end) in enumerate(spans_of(dataset, text)[1]):
            kept[place] = start == end
    return kept


def spans_of(dataset: Dataset, text: str) -> tuple[str, list[tuple[int, int]]]:
    """Return a text as the model reads it and where in it its tokens stand; (0, 0) for those that a tokenizer adds."""
    from influence.data.text.tokens import tokenizer_of

    return tokenizer_of(dataset.encoding["tokenizer"]).spans(text, int(dataset.encoding["length"]))


def row_of(dataset: Dataset, found: Mapping[str, Any]) -> tuple[pd.Series, np.ndarray]:
    """Return the columns of the row that was explained, with its changed cells, and its input as it is without them."""
    examples = dataset.split(found["role"])
    at = place_of(examples, found["id"], found["role"])
    return pd.Series({**examples.columns.iloc[at], **raw(dataset, found["edit"])}, dtype=object), np.asarray(examples.x[at])  # type: ignore[index]


def names_of(dataset: Dataset, found: Mapping[str, Any]) -> list[str]:
    """Return what each part is called: a column with its cell, a token as it is read, or the place of an input or a pixel."""
    row, x = row_of(dataset, found)
    if found["of"] == "columns":
        return [
            f"{entry['name']} = {_cell(row[entry['name']])}" if entry["name"] in row else str(entry["name"])
            for entry in dataset.encoding["columns"]
        ]
    if found["of"] == "tokens" and dataset.encoding.get("kind") == "text":
        read, spans = spans_of(dataset, "" if pd.isna(row[dataset.encoding["column"]]) else str(row[dataset.encoding["column"]]))
        return [*(read[start:end] for start, end in spans), *[""] * (len(x) - len(spans))]
    if found["of"] == "pixels":
        return [f"channel {c + 1}, line {i + 1}, column {k + 1}" for c, i, k in np.ndindex(x.shape)]
    return [f"{found['of'][:-1]} {k}" for k in range(1, x.size + 1)]


def _cell(value: Any) -> str:
    return "(empty)" if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)


def _by_column(parts: Parts, dataset: Dataset) -> Parts:
    """Return the parts of raw columns: those of the inputs that stand for one are added up; a column that does not vary has none, 0."""
    from dataclasses import replace

    of = np.repeat(np.arange(len(dataset.encoding["columns"])), [len(features_of(entry)) for entry in dataset.encoding["columns"]])
    return replace(parts, values=np.bincount(of, weights=parts.values, minlength=len(dataset.encoding["columns"])))
