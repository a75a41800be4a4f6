"""The Wisconsin breast cancer set of scikit-learn, with the size of the tumour as an audit column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from influence.data.dataset import Dataset
from influence.data.tabular import prepare
from influence.registry import datasets, described, option


@datasets
@dataclass(frozen=True)
class BreastCancer:
    """Real: 569 fine-needle biopsies with 30 measurements, `benign` or `malignant` (Wolberg, Street, Mangasarian 1995).

    The audit column `size` is `large` for the third of the tumours with the largest mean radius, else `small`. Small malignant tumours
    are missed more often than large ones; with 569 rows this gap is uncertain.
    """

    test_share: float = option(0.4, "Share of rows for evaluation and holdout", min=0.1, max=0.6)
    seed: int = option(0, "Seed of the split", min=0, max=2**31 - 1)

    def __call__(self) -> Dataset:
        """Make the data set from scikit-learn's copy."""
        from sklearn.datasets import load_breast_cancer

        table = load_breast_cancer(as_frame=True).frame
        radius = table["mean radius"]
        table = table.assign(
            size=np.where(radius >= radius.quantile(2 / 3), "large", "small"),
            diagnosis=np.where(table["target"] == 1, "benign", "malignant"),
        )
        return prepare(
            table,
            target="diagnosis",
            audit=("size",),
            drop=("target",),
            test_share=self.test_share,
            seed=self.seed,
            name="breast_cancer",
            source={"bundled": described(self)},
        )
