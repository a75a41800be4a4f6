"""An NPZ archive of arrays as images: x and y, or pairs of them for train, test and validation as Keras and MedMNIST have them."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from influence.data.images.found import Images, Read, refuse_many
from influence.data.images.npy import Array, arrays
from influence.data.schema import plain
from influence.data.split import WORDS
from influence.data.target import Task
from influence.errors import BadInput

X = ("x", "image", "images", "img", "imgs", "data", "pixels")
Y = ("y", "label", "labels", "target", "targets", "class", "digit")
CLASSES = ("class_names", "classes", "label_names", "names")
NEEDED = "An NPZ file needs x and y, or x_train, y_train, x_test and y_test (also images and labels)."
MOST_COLUMN = 500_000_000
TOPS = (1, 255, 65_535)
"""Values that stand for white: the smallest that none is above."""
PIECE = 16_000_000


@dataclass(frozen=True)
class Pair:
    """Images and labels of one part ("" if there is only one), and other columns of as many rows, by name."""

    part: str
    x: Array
    y: Array
    others: Mapping[str, Array]


def from_npz(path: Path) -> Images:
    """Return the images of an NPZ archive. Arrays of one dimension and as many rows are columns.

    Raises:
        BadInput: it is no such archive, images and labels are not found or do not fit, or pixels are not of a known range.
    """
    found = arrays(path)
    names = next((found.pop(name).whole() for name in CLASSES if name in found and len(found[name].shape) == 1), None)
    pairs, rest = _pairs(found, path.name)
    shapes = {_shape(pair.x, path.name) for pair in pairs}
    if len(shapes) > 1:
        raise BadInput(f"The images of {path.name!r} have different shapes: {', '.join(map(str, sorted(shapes)))}. Give all one shape.")
    refuse_many(sum(len(pair.x) for pair in pairs), path.name)
    top = _top([pair.x for pair in pairs], path.name)
    table = pd.concat([_table(pair, names, path.name) for pair in pairs], ignore_index=True)
    several = len(pairs) > 1

    @contextmanager
    def opened() -> Iterator[Read]:
        starts = np.cumsum([0, *(len(pair.x) for pair in pairs)]).tolist()
        with ExitStack() as stack:
            rows = [stack.enter_context(pair.x.rows()) for pair in pairs]

            def read(place: int) -> np.ndarray:
                part = bisect_right(starts, place) - 1
                at = place - starts[part]
                return _planes(rows[part](at, at + 1)[0], top)

            yield read

    return Images(
        "npz",
        path.name,
        plain(table),
        np.concatenate([[f"{p.part}/{i}" for i in range(len(p.x))] for p in pairs]) if several else np.arange(len(table), dtype=np.int64),
        opened,
        label="label",
        split="split" if several else "",
        shape=next(iter(shapes)),
        task=_task(pairs),
        remarks=_remarks(rest, top),
    )


def _pairs(found: Mapping[str, Array], name: str) -> tuple[list[Pair], list[str]]:
    """The pairs of images and labels, train first, and the names of arrays that belong to none.

    Raises:
        BadInput: two arrays mean the same, or images or labels are not there, or not as many.
    """
    parts: dict[str, dict[str, Array]] = {}
    for key, array in found.items():
        words = [word for word in re.split(r"[^A-Za-z0-9]+", key) if word]
        part = next((word.lower() for word in words if word.lower() in WORDS), "")
        rest = "_".join(word for word in words if word.lower() != part)
        role = "x" if rest.lower() in X and len(array.shape) > 2 else "y" if rest.lower() in Y else rest or key
        if role in parts.setdefault(part, {}):
            raise BadInput(f"{name!r} has both {parts[part][role].name!r} and {key!r}, and they mean the same. {NEEDED} Take one out.")
        parts[part][role] = array
    whole = {part: own for part, own in parts.items() if "x" in own or "y" in own}
    for part, own in whole.items():
        if "x" not in own or "y" not in own:
            raise BadInput(
                f"{name!r} has {'images' if 'x' in own else 'labels'} without {'labels' if 'x' in own else 'images'}"
                f"{f' for {part!r}' if part else ''}; it holds {_listed(found)}. {NEEDED}"
            )
        if len(own["x"]) != len(own["y"]):
            raise BadInput(
                f"{name!r} has {len(own['x']):,} images in {own['x'].name!r} and {len(own['y']):,} labels in {own['y'].name!r}; "
                "each image needs one. Write the archive again with arrays of one length."
            )
    if not whole:
        raise BadInput(f"{name!r} holds {_listed(found)}. {NEEDED}")
    pairs = [_pair(part, whole[part]) for part in sorted(whole, key=lambda part: (WORDS.get(part, -1), part))]
    used = {array.name for pair in pairs for array in (pair.x, pair.y, *pair.others.values())}
    return pairs, sorted(set(found) - used)


def _pair(part: str, own: Mapping[str, Array]) -> Pair:
    n = len(own["x"])
    others = {key: array for key, array in own.items() if key not in ("x", "y") and array.shape == (n,) and _small(array)}
    return Pair(part, own["x"], own["y"], others)


def _small(array: Array) -> bool:
    return math.prod(array.shape) * array.dtype.itemsize <= MOST_COLUMN


def _listed(found: Mapping[str, Array]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, array.shape))}" for name, array in list(found.items())[:8])


def _shape(x: Array, name: str) -> tuple[int, int, int]:
    """C, H, W of one image.

    Raises:
        BadInput: the array is none of images.
    """
    shape = x.shape[1:]
    if x.dtype.kind not in "biuf" or not all(shape):
        raise BadInput(f"The images {x.name!r} of {name!r} must be numbers; they are {x.dtype} of shape {x.shape}.")
    if len(shape) == 2:
        return (1, shape[0], shape[1])
    if len(shape) == 3 and shape[2] in (1, 3):
        return (shape[2], shape[0], shape[1])
    if len(shape) == 3 and shape[0] in (1, 3):
        return (shape[0], shape[1], shape[2])
    raise BadInput(
        f"The images {x.name!r} of {name!r} have shape {x.shape}; N x height x width is needed, with 1 or 3 channels last or "
        "first. Reshape them."
    )


def _top(xs: list[Array], name: str) -> int:
    """The value that stands for white, of which pixels are shares: 1, 255 or 65,535.

    Raises:
        BadInput: values lie outside, or are not finite.
    """
    low, high = np.inf, -np.inf
    for x in xs:
        step = max(1, PIECE // max(1, math.prod(x.shape[1:]) * x.dtype.itemsize))
        with x.rows() as read:
            for first in range(0, len(x), step):
                piece = read(first, min(first + step, len(x)))
                low, high = min(low, float(piece.min())), max(high, float(piece.max()))
                if not np.isfinite(piece.sum(dtype=np.float64)):
                    raise BadInput(f"The images of {name!r} hold values that are not finite. Correct them.")
    top = next((top for top in TOPS if high <= top), None)
    whole = all(x.dtype.kind in "iub" for x in xs)
    if low < 0 or top is None or (top == TOPS[-1] and not whole):
        raise BadInput(
            f"The images of {name!r} have values from {low:g} to {high:g}; 0 to 1, 0 to 255 or whole numbers to 65,535 are needed. "
            "Save them before they are normalised."
        )
    return top


def _planes(pixels: np.ndarray, top: int) -> np.ndarray:
    """Pixels as (C, H, W) float32 from 0 to 1."""
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0) if pixels.shape[2] in (1, 3) else pixels
    return np.ascontiguousarray(planes, dtype=np.float32) / np.float32(top)


def _table(pair: Pair, names: np.ndarray | None, archive: str) -> pd.DataFrame:
    labels = _labels(pair.y, archive)
    if names is not None and names.dtype.kind == "U" and labels.dtype.kind in "iu" and len(labels):
        if labels.min() < 0 or labels.max() >= len(names):
            raise BadInput(f"{archive!r} names {len(names)} classes, and its labels go from {labels.min()} to {labels.max()}. Correct one.")
        labels = names[labels]
    columns = {"path": [f"{pair.x.name}[{i}]" for i in range(len(pair.x))], "label": labels}
    columns |= {"split": pair.part} if pair.part else {}
    return pd.DataFrame(columns | {name: array.whole() for name, array in pair.others.items() if name not in columns})


def _labels(y: Array, archive: str) -> np.ndarray:
    """Labels (N,); of one-hot rows the place of the one.

    Raises:
        BadInput: they are of another shape.
    """
    if not _small(y):
        raise BadInput(f"The labels {y.name!r} of {archive!r} have shape {y.shape}; one for each image is needed.")
    labels = y.whole()
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels[:, 0]
    if (
        labels.ndim == 2
        and labels.dtype.kind in "biuf"
        and ((labels == 1).sum(axis=1) == 1).all()
        and ((labels != 0).sum(axis=1) == 1).all()
    ):
        return labels.argmax(axis=1)
    if labels.ndim != 1:
        raise BadInput(
            f"The labels {y.name!r} of {archive!r} have shape {y.shape}; one for each image is needed. Several labels for one image "
            "(multi-label) are not supported."
        )
    return labels


def _task(pairs: list[Pair]) -> Task:
    return "auto" if any(pair.y.dtype.kind == "f" and len(pair.y.shape) == 1 for pair in pairs) else "classes"


def _remarks(rest: list[str], top: int) -> tuple[str, ...]:
    other = f"Other arrays passed over: {', '.join(rest[:5])}{', …' if len(rest) > 5 else ''}."
    return (*([f"Pixels are shares of {top:,}."] if top != 255 else []), *([other] if rest else []))
