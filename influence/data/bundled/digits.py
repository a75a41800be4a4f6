"""Handwritten digits of scikit-learn, optionally with some training labels made wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from influence.data.dataset import ROLES, Dataset
from influence.data.schema import infer
from influence.data.split import TRAIN, by_share
from influence.keyed import uniform
from influence.registry import datasets, described, option
from influence.types import Examples

CLASSES = tuple("0123456789")


@datasets
@dataclass(frozen=True)
class Digits:
    """Real: 1,797 images of handwritten digits, 8 by 8 grey values (Alpaydin, Kaynak 1998).

    With `flip` above 0 that share of the training rows gets another digit as its label, drawn evenly, and their ids are kept as ground
    truth; no column shows the true label. `ink` is the mean grey value, `ink_level` is `low` or `high` around its median.
    """

    flip: float = option(0.0, "Share of training rows whose label is made wrong", min=0.0, max=0.5)
    test_share: float = option(0.2, "Share of rows for evaluation and holdout", min=0.1, max=0.6, advanced=True)
    seed: int = option(0, "Seed of the split and the wrong labels", min=0, max=2**31 - 1)

    def __call__(self) -> Dataset:
        """Make the data set from scikit-learn's copy."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        x = (bunch.images[:, None] / 16).astype(np.float32)
        ids = np.arange(len(x), dtype=np.int64)
        roles = by_share(ids, self.test_share, self.seed)
        wrong = self._wrong(ids[roles == TRAIN])
        y = bunch.target.astype(np.int64)
        y[wrong] = (y[wrong] + 1 + (uniform(self.seed, "wrong label", wrong) * 9).astype(np.int64)) % 10
        columns = _columns(x, y)
        examples = Examples(x, y, ids, columns, CLASSES)
        train, evaluation, holdout = (examples.take(roles == role) for role in range(len(ROLES)))
        parts = {"digit": "target", "ink_level": "audit", "ink": "shown"}
        return Dataset(
            "digits",
            train,
            evaluation,
            holdout,
            target="digit",
            audit=("ink_level",),
            encoding={
                "kind": "image",
                "shape": [1, 8, 8],
                "scale": 1 / 16,
                "target": {"name": "digit", "kind": "classes", "classes": list(CLASSES)},
            },
            columns=[vars(column) | {"part": parts[column.name], "input": False} for column in infer(columns)],
            source={"bundled": described(self)},
            simulated=bool(len(wrong)),
            planted=tuple(wrong.tolist()),
            notes=f"The labels of {len(wrong):,} training rows were made wrong by us; their ids are known." if len(wrong) else "",
        )

    def _wrong(self, train: np.ndarray) -> np.ndarray:
        """Ids of the training rows whose label is made wrong, in order: exactly the share that was asked for."""
        count = round(self.flip * len(train))
        return np.sort(train[np.argsort(uniform(self.seed, "flip", train))[:count]])


def _columns(x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    ink = x.mean(axis=(1, 2, 3), dtype=np.float64).round(4)
    level = pd.Series(np.where(ink > np.median(ink), "high", "low"), dtype="str")
    return pd.DataFrame({"digit": pd.Series([CLASSES[place] for place in y], dtype="str"), "ink": ink, "ink_level": level})
