"""The order of classes: that of a model's outputs where something says it; tables and images know only names, which are sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from influence.actions._checks import Check, checked
from influence.data.dataset import Dataset
from influence.data.images.npy import arrays
from influence.data.images.npz import CLASSES
from influence.errors import BadInput
from influence.groups import named
from influence.types import Examples


def in_order(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """Return the same data with its classes in the order of the model's outputs; nothing changes if there are no classes.

    Raises:
        BadInput: the model has other classes than the data, or the data are arrays, whose own order is another.
    """
    own, wanted = dataset.train.classes, tuple(classes)
    if not own or not wanted or own == wanted:
        return dataset
    if sorted(own) != sorted(wanted) or dataset.encoding.get("kind") == "arrays":
        raise BadInput(
            f"The model's outputs are {named(wanted)}, in this order; the data's classes are {named(own)}. Both must be the "
            "same: rename the target's values, or bring the data by influence.save_data(classes=...)."
        )
    places = np.array([wanted.index(name) for name in own])

    def moved(part: Examples) -> Examples:
        return replace(part, y=places[part.y], classes=wanted)

    target = {**dataset.encoding.get("target", {}), "classes": list(wanted)}
    return replace(
        dataset, train=moved(dataset.train), evaluation=moved(dataset.evaluation), holdout=moved(dataset.holdout),
        encoding={**dataset.encoding, "target": target},
    )  # fmt: skip


def numbered(data: str, dataset: Dataset) -> tuple[str, ...]:
    """Return the names that an NPZ archive of images gives to its numbers of classes, which are a model's outputs; none elsewhere."""
    if dataset.encoding.get("kind") != "image" or Path(data).suffix.lower() != ".npz":
        return ()
    found = arrays(Path(data))
    texts = (found[name] for name in CLASSES if name in found and len(found[name].shape) == 1 and found[name].dtype.kind == "U")
    names = next((tuple(map(str, member.whole())) for member in texts), ())  # numbers give no names: labels stay as they are
    return names if sorted(names) == sorted(dataset.train.classes) else ()


def guessed(dataset: Dataset, data: str) -> list[Check]:
    """Say in which order classes were taken where the model does not name them; nothing of numbers, and of arrays, which name them."""
    if not dataset.train.classes or dataset.encoding.get("kind") == "arrays":
        return []
    how = "as the archive numbers them" if numbered(data, dataset) else "sorted"
    said = f"the model does not name its outputs; they were taken as {named(dataset.train.classes)}, {how}."
    return [checked("Order of the outputs", "none", said, "See that the order is right: the accuracy tells. A record names them.")]
