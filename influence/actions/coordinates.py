"""Lay every training row out on a plane, for the map. No PyTorch at import: pages ask `kept`.

Rows that the model sees alike lie near each other: they are laid out by the inputs of its last Linear layer. A model that does not end in
one is asked for nothing: its rows are laid out by their encoded inputs, of texts by how often each token occurs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from influence import plane
from influence.data.represented import counted
from influence.errors import BadInput
from influence.keyed import uniform
from influence.store import Project
from influence.store.catalogue import now
from influence.types import Examples, Report, Scores, ignore, leaves

if TYPE_CHECKING:
    from influence.actions._opened import Opened

METHODS = ("pca", "umap")
SAMPLE = 20_000
"""Rows of which UMAP learns; the others are placed among them."""
VERSION = 1
"""Of what is computed: older coordinates are not found again."""
ENTRIES, ROWS = 4_000_000, 4_096
"""Numbers that a block holds at most, and rows."""
HIDDEN, INPUTS, COUNTS = "the model's last hidden layer", "the encoded inputs", "the counts of tokens"


def coordinates(
    project: Project, run: str | None = None, method: str = "pca", again: bool = False, report: Report = ignore
) -> dict[str, Any]:
    """Lay out the training rows by principal components or UMAP; they stay in the project, and are found again.

    `coordinates`: digest of scores with the two axes as columns, one row per training row; `of`: what the rows are laid out by, of `width`
    numbers; `shares`: the part of its variance along each axis (principal components); `fitted`: how many rows UMAP learnt of.
    `found`: whether they were kept; `again`: compute them in any case.

    Raises:
        BadInput: there is no such run or method, UMAP is not installed, or the model's numbers are not finite.
    """
    if method not in METHODS:
        raise BadInput(f"There is no way {method!r} to lay out rows; there are: {', '.join(METHODS)}.")
    if method == "umap" and plane.umap_library() is None:
        raise BadInput(plane.INSTALL)
    from influence.actions._opened import opened

    began = time.perf_counter()
    it = opened(project, run)
    found = None if again else kept(project, it.run.id, method)
    if found:
        return {**found, "found": True}
    computed, facts = _laid_out(it, method, report)
    made = {**facts, "coordinates": project.put_scores(computed), "method": method, "run": it.run.id, "n": len(computed.ids)}
    seconds = time.perf_counter() - began
    with project.transaction():
        project.note(_name(it.run.id, method), {**made, "computed": now(), "seconds": seconds})
        project.record(
            "coordinates",
            inputs={"run": it.run.id, "dataset": it.run.dataset, "model": it.trained.digest},
            settings={"method": method, "version": VERSION},
            outputs={"coordinates": made["coordinates"]},
            measures=facts,
            seconds=seconds,
        )
    return {**made, "computed": now(), "seconds": seconds, "found": False}


def kept(project: Project, run: str, method: str = "pca") -> dict[str, Any] | None:
    """Return what was computed for a run, or None; whoever deleted the coordinates gets them computed again."""
    found = project.noted(_name(run, method))
    return found if found and project.objects.find(found["coordinates"]) else None


def _name(run: str, method: str) -> str:
    return f"coordinates/{run}/{method}/{VERSION}"


def _laid_out(it: Opened, method: str, report: Report) -> tuple[Scores, dict[str, Any]]:
    blocks, of = represented(it)
    train = it.dataset.train
    first = next(iter(blocks()), np.zeros((0, 0)))
    facts: dict[str, Any] = {"of": of, "width": first.shape[1]}
    if method == "umap":
        rows = plane.places(blocks, plane.axes(blocks, min(plane.WIDTH, max(first.shape[1], 2)), report), report)
        chosen = np.zeros(len(train), dtype=bool)
        chosen[np.argsort(uniform(0, "coordinates", train.ids), kind="stable")[:SAMPLE]] = True
        xy, labels = plane.umap(rows, chosen, report), ("UMAP 1", "UMAP 2")
        facts |= {"fitted": int(chosen.sum()), "library": str(getattr(plane.umap_library(), "__version__", ""))}
    else:
        found = plane.axes(blocks, 2, report)
        xy, labels = plane.places(blocks, found, report), ("principal component 1", "principal component 2")
        facts["shares"] = found.shares.tolist()
    return Scores(xy.astype(np.float32), train.ids, labels, f"{method} of {of}", False), facts


def represented(it: Opened) -> tuple[plane.Blocks, str]:
    """Return what rows are laid out by, in blocks, and its name."""
    from influence.grads.hidden import ends_linear, hidden

    train, text = it.dataset.train, it.dataset.encoding.get("kind") == "text"
    if ends_linear(it.bound.module):
        it.bound.module.eval()
        try:
            for _ in _hidden(it, train.take(np.arange(min(2, len(train)))), hidden):
                pass
            return lambda: _hidden(it, train, hidden), HIDDEN
        except BadInput:
            pass  # something follows the last Linear layer
    return lambda: _inputs(train, text), COUNTS if text else INPUTS


def _hidden(it: Opened, train: Examples, hidden: Any) -> Iterable[np.ndarray]:
    from influence.grads.query import part, slices
    from influence.loop import tensors, threads

    x, _ = tensors(train, it.bound.dtype)
    for cut in slices(x, _rows(train)):
        with threads(it.trained.recipe.threads if it.trained.recipe else 1):
            yield hidden(it.bound, part(x, cut))[0].cpu().numpy()


def _inputs(train: Examples, text: bool) -> Iterable[np.ndarray]:
    x = leaves(train.x)[0]
    for start in range(0, len(x), _rows(train)):
        block = np.asarray(x[start : start + _rows(train)])
        yield counted(block) if text else block.reshape(len(block), -1)


def _rows(train: Examples) -> int:
    return max(1, min(ROWS, ENTRIES // max(1, math.prod(train.shape))))
