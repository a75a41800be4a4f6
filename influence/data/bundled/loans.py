"""Loan decisions with planted bias, generated from a documented causal model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from influence.data.dataset import Dataset
from influence.data.split import TRAIN, by_share
from influence.data.tabular import prepare
from influence.keyed import uniform
from influence.registry import datasets, described, option

RULE = "group == 'B' and branch == 'North' and year < 2019"
"""Where labels were turned, as a query on `Examples.columns`; it names no label."""


@datasets
@dataclass(frozen=True)
class Loans:
    """Simulated loan decisions (`declined`, `granted`) with labels turned against group B at one branch in some years.

    Every applicant is drawn on their own:

    - `group`: B with probability 0.4, else A.
    - `branch`: North with probability 0.3 for A and 0.5 for B, else East, South or West alike.
    - `year`: 2015 to 2022 alike.
    - `purpose`: car 0.4, home 0.3, business 0.15, education 0.15.
    - `income` (thousands a year): exp(Normal(3.6, 0.45)).
    - `debt_share` (of income that goes into debts): Beta(2, 4).
    - `history` (years of credit history): Gamma(shape 2.5, scale 4), at most 40.
    - `late_payments`: Poisson(0.8).
    - `employed` (years in the job): Gamma(shape 2, scale 3), at most 40.
    - `amount` (thousands asked for): income times Uniform(0.2, 1.6).

    Merit is 0.6 + 1.1 (ln income - 3.6) / 0.45 - 1.3 (debt_share - 1/3) / 0.18 + 0.7 (sqrt(history) - 3)
    - 0.8 (late_payments - 0.8) / 0.9 + 0.5 (ln(1 + employed) - 1.8) / 0.7 - 0.9 (amount / income - 0.9) / 0.4,
    and -0.3 for a business, +0.1 for any other purpose. A loan is granted with probability 1 / (1 + exp(-3 merit)).
    Group, branch and year have no part in it: a model of the true decisions has no gap between the groups beyond chance.

    The planted bias: among training rows of group B at the branch North before 2019, each `granted` became `declined` with probability
    `bias`. The ids of these rows are kept as ground truth. Evaluation and holdout rows keep their true decisions.
    """

    n: int = option(6000, "Applicants", min=500, max=1_000_000)
    bias: float = option(0.7, "Share of granted loans that were turned to declined where the rule applies", min=0.0, max=1.0)
    test_share: float = option(0.3, "Share of rows for evaluation and holdout", min=0.1, max=0.6, advanced=True)
    seed: int = option(0, "Seed of the applicants, the bias and the split", min=0, max=2**31 - 1)

    def __call__(self) -> Dataset:
        """Generate the data set."""
        table, granted = _applicants(self.n, np.random.default_rng(self.seed))
        ids = np.arange(self.n, dtype=np.int64)
        training = by_share(ids, self.test_share, self.seed) == TRAIN
        turned = table.eval(RULE).to_numpy() & granted & training & (uniform(self.seed, "bias", ids) < self.bias)
        table["decision"] = np.where(granted & ~turned, "granted", "declined")
        source = {"bundled": described(self), "rule": RULE}
        made = prepare(
            table, target="decision", protected=("group",), test_share=self.test_share, seed=self.seed, name="loans", source=source
        )
        notes = f"Simulated by us. The decisions of {int(turned.sum()):,} training rows were turned against one group; their ids are known."
        return replace(made, simulated=True, planted=tuple(ids[turned].tolist()), notes=notes)


def _applicants(n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """The applicants' table and their true decisions, (n,) bool: the causal model of `Loans`."""
    of_b = rng.random(n) < 0.4
    north = rng.random(n) < np.where(of_b, 0.5, 0.3)
    branch = np.where(north, "North", rng.choice(["East", "South", "West"], n))
    year = rng.integers(2015, 2023, n)
    purpose = rng.choice(["car", "home", "business", "education"], n, p=[0.4, 0.3, 0.15, 0.15])
    income = np.exp(rng.normal(3.6, 0.45, n))
    debt_share = rng.beta(2, 4, n)
    history = rng.gamma(2.5, 4, n).clip(0, 40)
    late_payments = rng.poisson(0.8, n)
    employed = rng.gamma(2, 3, n).clip(0, 40)
    amount = income * rng.uniform(0.2, 1.6, n)
    merit = (
        0.6
        + 1.1 * (np.log(income) - 3.6) / 0.45
        - 1.3 * (debt_share - 1 / 3) / 0.18
        + 0.7 * (np.sqrt(history) - 3)
        - 0.8 * (late_payments - 0.8) / 0.9
        + 0.5 * (np.log1p(employed) - 1.8) / 0.7
        - 0.9 * (amount / income - 0.9) / 0.4
        + np.where(purpose == "business", -0.3, 0.1)
    )
    granted = rng.random(n) < 1 / (1 + np.exp(-3 * merit))
    table = {
        "group": np.where(of_b, "B", "A"),
        "branch": branch,
        "year": year,
        "purpose": purpose,
        "income": income.round(1),
        "debt_share": debt_share.round(3),
        "history": history.round(1),
        "late_payments": late_payments,
        "employed": employed.round(1),
        "amount": amount.round(1),
    }
    return pd.DataFrame(table), granted
