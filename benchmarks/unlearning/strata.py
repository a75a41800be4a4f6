"""Kinds of forget sets: chosen once per data set, on the first original, and the same for every method.

A share of the training labels is wrong in all of them, so that "mislabelled" is one of the kinds and the originals are the same for all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from influence.grads.hidden import hidden
from influence.keyed import keys
from influence.loop import tensors
from influence.registry import attribution, mislabelled
from influence.training import load
from influence.types import Examples, Question, Trained
from influence.workspace import Workspace

WRONG = 0.02
"""Share of the training labels that are changed to another class."""
SHARE, FEWEST = 0.01, 50
"""How many rows are forgotten: this share of them, and no fewer than this."""
KINDS = ("random", "influential", "memorised", "mislabelled", "coherent")


def with_wrong_labels(train: Examples, draw: int = 0) -> tuple[Examples, np.ndarray]:
    """Return the rows with some labels changed, and the places of those."""
    places = _first(train, round(WRONG * len(train)), "wrong labels", np.ones(len(train), bool), draw)
    y, classes = np.array(train.y), len(train.classes)
    y[places] = (y[places] + 1 + keys(draw, "wrong class", train.ids[places]).astype(np.uint64) % np.uint64(classes - 1)).astype(
        np.int64
    ) % classes
    return replace(train, y=y), places


def size(train: Examples, share: float = SHARE) -> int:
    """Return how many rows are forgotten."""
    return max(FEWEST, round(share * len(train)))


def chosen(
    kind: str, trained: Trained, train: Examples, test: Examples, wrong: np.ndarray, share: float = SHARE, draw: int = 0
) -> np.ndarray:
    """Return the places of the rows of one kind that are to be forgotten; none but "mislabelled" has rows with changed labels."""
    right, n = np.ones(len(train), bool), size(train, share)
    right[wrong] = False
    if kind == "random":
        return _first(train, n, "random", right, draw)
    if kind == "mislabelled":
        return np.sort(wrong)[:n]
    if kind == "coherent":
        return _nearest(trained, train, right, n, draw)
    return _top(_scores(kind, trained, train, test), right, n)


def _first(train: Examples, n: int, purpose: str, among: np.ndarray, draw: int) -> np.ndarray:
    order = np.argsort(keys(draw, purpose, train.ids), kind="stable")
    return np.sort(order[among[order]][:n])


def _top(scores: np.ndarray, among: np.ndarray, n: int) -> np.ndarray:
    return np.sort(np.argsort(-np.where(among, scores, -np.inf), kind="stable")[:n])


def _scores(kind: str, trained: Trained, train: Examples, test: Examples) -> np.ndarray:
    """Return each row's influence on the test loss, whatever its sign; or what the model learnt of the row from itself."""
    if kind == "memorised":
        made: Any = mislabelled.make("own_influence")
        return np.asarray(made.values(trained, train, lambda event: None, Workspace()))
    from influence.queries.loss import Loss

    scores = attribution.make("influence_function")(trained, train, Question((Loss(),), test), workspace=Workspace())
    return np.abs(scores.values[:, 0])


def _nearest(trained: Trained, train: Examples, among: np.ndarray, n: int, draw: int) -> np.ndarray:
    """Return a row and those of its class nearest to it by what the last layer sees: a kind of its own, as a request of one source is."""
    bound = load(trained)
    with torch.no_grad():
        seen = hidden(bound, tensors(train, bound.dtype)[0])[0].flatten(1)
    start = _first(train, 1, "coherent", among, draw)[0]
    near = (seen - seen[start]).square().sum(1).numpy()
    return _top(-near, among & (np.asarray(train.y) == train.y[start]), n)
