"""How the models compared see rows inside: layer by layer how alike, and where rows lie in the last hidden layer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch

from influence.actions._compared import Compared
from influence.errors import BadInput
from influence.evaluation.cka import LEAST, cka, kernel
from influence.evaluation.moved import distances, turned
from influence.grads import owners
from influence.grads.hidden import ends_linear, hidden
from influence.grads.query import fitted, part
from influence.keyed import keys
from influence.loop import Bound, tensors, threads
from influence.types import Examples, leaves

ROWS = 384
"""Holdout rows on which layers are compared."""
DRAWN = {"forgotten": 300, "retained": 400, "holdout": 300}
"""Rows of each part that are laid out on the plane."""
LAYERS = 24
"""Layers that are compared; of more, as many from the first to the last."""
NUMBERS = 2**25
"""Numbers of one layer that are held at a time; of wide layers fewer rows are looked at."""
BATCH = 64


def layers(it: Compared) -> pd.DataFrame:
    """Return the linear CKA of each layer between each two models, on holdout rows: layer, first, second, value, low, high, n.

    Layers are those that own parameters, by their outputs, where all models have one of that name that each row passes once, and that does
    not say the same of all rows, as one of positions does.
    """
    rows = _some(it.original.dataset.holdout.ids, ROWS)
    seen = {role: _kernels(it.runs[role].bound, _taken(it.runs[role].dataset.holdout, rows), _threads(it, role)) for role in it.runs}
    shared = [
        name for name in seen["original"] if all(name in own and len(own[name]) == len(seen["original"][name]) for own in seen.values())
    ]
    found = []
    for name in shared:
        for first, second in combinations(seen, 2):
            value, (low, high) = cka(seen[first][name], seen[second][name])
            found.append((name, first, second, value, low, high, len(seen[first][name])))
    table = pd.DataFrame(found, columns=["layer", "first", "second", "value", "low", "high", "n"])
    return table.dropna(subset="value", ignore_index=True)


def places(it: Compared) -> pd.DataFrame:
    """Return where rows lie in the last hidden layer, turned onto the original's: part, id, and by model x, y and how far it `moved`.

    Columns `x_<role>`, `y_<role>`, `moved_<role>`; empty if there is no such layer, or too few retained rows to turn by.
    """
    chosen = {part: _some(ids, DRAWN[part]) for part, ids in it.ids.items()}
    if len(chosen["retained"]) < LEAST:
        return pd.DataFrame()
    features = {role: _inside(it, role, chosen) for role in it.runs}
    if any(found is None for found in features.values()):
        return pd.DataFrame()
    table = pd.concat([pd.DataFrame({"part": part, "id": ids}) for part, ids in chosen.items()], ignore_index=True)
    steady = (table["part"] == "retained").to_numpy()
    for role, own in features.items():
        one, other = turned(features["original"], own, steady)
        at = np.pad(other, ((0, 0), (0, max(0, 2 - other.shape[1]))))
        table[f"x_{role}"], table[f"y_{role}"] = at[:, 0], at[:, 1]
        table[f"moved_{role}"] = distances(one, other, steady)
    return table


def _inside(it: Compared, role: str, chosen: dict[str, np.ndarray]) -> Any:
    """Return the inputs of the last layer, of a model of one layer its outputs, for the chosen rows of all parts; None if it has none."""
    dataset, bound = it.runs[role].dataset, it.runs[role].bound
    parts = [_taken(dataset.holdout if name == "holdout" else dataset.train, ids) for name, ids in chosen.items()]
    if not ends_linear(bound.module):
        return None
    alone, found = len(owners(bound.module)) == 1, list[np.ndarray]()
    for rows in (rows for rows in parts if len(rows)):
        for x in _blocks(bound, rows, _threads(it, role)):
            try:
                inner, out = hidden(bound, x)
            except BadInput:
                return None
            found.append((out if alone else inner).float().cpu().numpy())
    return np.concatenate(found)


def _kernels(bound: Bound, examples: Examples, count: int) -> dict[str, np.ndarray]:
    """Return the kernel of each layer's outputs, by its name."""
    every = owners(bound.module)
    some = [every[at] for at in np.unique(np.linspace(0, len(every) - 1, LAYERS).astype(int))]
    some = [(f"{name} {type(layer).__name__}".strip(), layer) for name, layer in some]
    parts: dict[str, list[np.ndarray]] = {name: [] for name, _ in some}
    calls: dict[str, int] = {}

    def keep(name: str, out: Any, rows: int) -> None:
        calls[name] = calls.get(name, 0) + 1
        if not isinstance(out, torch.Tensor) or len(out) != rows:
            parts.pop(name, None)
        elif name in parts and sum(map(len, parts[name])) * out[0].numel() < NUMBERS:
            parts[name].append(out.flatten(1).float().cpu().numpy())

    blocks = 0
    for x in _blocks(bound, examples, count):
        rows = len(leaves(x)[0])
        hooks = [layer.register_forward_hook(lambda _m, _g, out, n=name, r=rows: keep(n, out, r)) for name, layer in some]
        try:
            bound.module(x)
        finally:
            for hook in hooks:
                hook.remove()
        blocks += 1
    return {name: kernel(np.concatenate(found)) for name, found in parts.items() if found and calls[name] == blocks}


def _blocks(bound: Bound, examples: Examples, count: int) -> Iterator[Any]:
    """Return the inputs of rows, block by block, while the module is in evaluation mode and nothing is recorded."""
    bound.module.eval()
    x, _ = tensors(examples, bound.dtype)
    with threads(count), torch.no_grad():
        for start in range(0, len(examples), BATCH):
            yield fitted(bound, part(x, slice(start, start + BATCH)))


def _threads(it: Compared, role: str) -> int:
    recipe = it.runs[role].trained.recipe
    return recipe.threads if recipe else 1


def _some(ids: np.ndarray, most: int) -> np.ndarray:
    """Return as many ids, drawn by key, in their order."""
    return ids[np.sort(np.argsort(keys(0, "representations", ids), kind="stable")[:most])]


def _taken(examples: Examples, ids: np.ndarray) -> Examples:
    return examples.take(examples.mask(ids))
