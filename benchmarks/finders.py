"""Do finders find what was planted, how long do they take, and does anybody lose by what helps nobody?

Run: LETHE_DATA=... python -m benchmarks.finders (or make bench NAME=finders). Writes benchmarks/results/finders.json.

Outliers: one in a hundred rows of Adult (10,000 of its training rows) and COMPAS gets either every cell from another random row, or one
number tenfold plus one; 60 images of MNIST among 6,000 of Fashion-MNIST. Copies: seconds on Adult and on a million rows made of it. Helps
nobody: loans and Adult, five fresh seeds.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from benchmarks.data import DATA
from influence.actions import perform
from influence.data.copies import copies
from influence.data.outlying import outlying
from influence.data.represented import blocks
from influence.data.tabular import prepare
from influence.store import Project
from influence.types import Examples

RESULTS = Path(__file__).parent / "results" / "finders.json"
COMPAS = ["sex", "age", "race", "priors_count", "juv_fel_count", "juv_misd_count", "juv_other_count", "c_charge_degree",
          "days_b_screening_arrest", "two_year_recid"]  # fmt: skip
SEEDS = 5


def candidates(examples: Examples) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """Yield the ways to score rows, larger for lonelier ones."""
    x = np.concatenate(list(blocks(examples)))
    yield "local outlier factor, 20 neighbours", lambda: outlying(examples).factor
    yield "distance to the 10th neighbour", lambda: NearestNeighbors(n_neighbors=11).fit(x).kneighbors(x)[0][:, -1]
    yield "isolation forest, 200 trees", lambda: -IsolationForest(n_estimators=200, random_state=0).fit(x).score_samples(x)


def planted(table: pd.DataFrame, target: str, how: str) -> tuple[Examples, np.ndarray]:
    """Return training rows of which some were made outliers, and which."""
    rng, made = np.random.default_rng(0), table.copy()
    rows = rng.choice(len(table), len(table) // 100, replace=False)
    numbers = [name for name in table.select_dtypes("number") if name != target]
    if how == "one number tenfold":
        made[numbers] = made[numbers].astype(float)
        for row in rows:
            name = numbers[rng.integers(len(numbers))]
            made.loc[row, name] = float(table.loc[row, name]) * 10 + 1
    else:
        for name in (name for name in table if name != target):
            made.loc[rows, name] = table[name].to_numpy()[rng.integers(0, len(table), len(rows))]
    train = prepare(made, target=target).train
    return train, np.isin(train.ids, rows)


def images() -> tuple[Examples, np.ndarray]:
    """Return clothes with a few digits among them, and which are digits."""
    with np.load(DATA / "fashion_mnist.npz") as clothes, np.load(DATA / "mnist.npz") as digits:
        x = np.concatenate([clothes["x_train"][:6000], digits["x_train"][:60]])[:, None].astype(np.float32) / 255
    return of_arrays(x), np.arange(len(x)) >= 6000


def of_arrays(x: np.ndarray) -> Examples:
    """Return rows of arrays, without anything else to tell of them."""
    return Examples(x, np.zeros(len(x), dtype=np.int64), np.arange(len(x)), pd.DataFrame(index=range(len(x))), ("a", "b"))


def adult() -> pd.DataFrame:
    """Return Adult's training rows."""
    table = pd.read_parquet(DATA / "adult.parquet")
    return table[table["split"] == "train"].drop(columns="split").reset_index(drop=True)


def outliers() -> list[dict[str, Any]]:
    """Score planted outliers in all ways."""
    few, compas = adult().sample(10_000, random_state=0).reset_index(drop=True), pd.read_parquet(DATA / "compas.parquet")[COMPAS]
    sets = {
        f"{name}, {how}": (lambda table=table, target=target, how=how: planted(table, target, how))
        for name, table, target in (("Adult", few, "income"), ("COMPAS", compas, "two_year_recid"))
        for how in ("every cell of another row", "one number tenfold")
    } | {"Fashion-MNIST, digits among clothes": images}
    found = []
    for name, make in sets.items():
        examples, truth = make()
        k = int(truth.sum())
        for way, score in candidates(examples):
            began = time.perf_counter()
            value = score()
            seconds = time.perf_counter() - began
            right = float(truth[np.argsort(-value, kind="stable")[:k]].mean())
            found.append({"set": name, "rows": len(truth), "planted": k, "way": way, "auc": float(roc_auc_score(truth, value)),
                          "precision at k": right, "seconds": seconds})  # fmt: skip
            print(found[-1], flush=True)
    return found


def speed() -> list[dict[str, Any]]:
    """Time copies and outliers on Adult, and on a million rows made of it by small noise."""
    x = np.asarray(prepare(adult(), target="income").train.x)
    rng, million = np.random.default_rng(0), np.tile(x, (1_000_000 // len(x) + 1, 1))[:1_000_000]
    million[len(x) :] += rng.normal(0, 0.1, (len(million) - len(x), x.shape[1])).astype(np.float32)
    million[-1000:] = million[:1000]
    found = []
    for name, rows in (("Adult", x), ("a million rows", million)):
        examples = of_arrays(rows)
        for what, run in (
            ("exact copies", lambda e=examples: copies([e])),
            ("near copies, 0.02", lambda e=examples: copies([e], 0.02)),
            ("outliers", lambda e=examples: outlying(e)),
        ):
            began = time.perf_counter()
            told = run()
            entry = {"rows": name, "n": len(rows), "inputs": rows.shape[1], "what": what, "seconds": time.perf_counter() - began,
                     "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}  # fmt: skip
            if what != "outliers":
                entry |= {"in clusters": int((told.cluster >= 0).sum()), "searched": told.searched, "different": told.different}
            found.append(entry)
            print(entry, flush=True)
    return found


def nobody(folder: Path) -> list[dict[str, Any]]:
    """Retrain without rows that help nobody, beside random ones, on loans and Adult."""
    loans, census = Project(folder / "loans"), Project(folder / "adult")
    perform("demo", loans, {})
    given = {"target": "income", "protected": ["sex", "race"], "split": "split"}
    perform("train", census, {"data": str(DATA / "adult.parquet"), **given})
    found = []
    for name, project, group in (("loans", loans, "group"), ("Adult", census, "sex"), ("Adult", census, "race")):
        for share in (0.01, 0.02):
            told = perform("helps_nobody", project, {"group": group, "share": share, "seeds": SEEDS})
            kept = {key: told[key] for key in ("n", "harmful", "groups", "realised", "worse", "seconds")}
            found.append({"set": name, "group": group, "share": share, "removed": len(told["ids"]), **kept})
            print(found[-1], flush=True)
    return found


def sources(folder: Path) -> dict[str, Any]:
    """Weigh the years and branches of loans, of which North before 2019 is known to be faulty, and retrain without each."""
    project = Project(folder / "sources")
    perform("demo", project, {})
    found: dict[str, Any] = {}
    for column in ("year", "branch"):
        told = perform("sources", project, {"column": column, "query": "loss", "check": 8})
        found[column] = told["blocks"]
        change = [b["change"] for b in told["blocks"]]
        real = [b["realised"]["same"]["evaluation"]["value"]["change"] for b in told["blocks"]]
        found[f"{column}, correlation of predicted and realised"] = float(np.corrcoef(change, real)[0, 1])
        print(column, found[f"{column}, correlation of predicted and realised"], list(zip(change, real, strict=True)), flush=True)
    return found


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["outliers", "speed", "nobody", "sources"], help="measure this alone")
    only = parser.parse_args().only
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as made:
        parts: dict[str, Callable[[], Any]] = {
            "outliers": outliers, "nobody": lambda: nobody(Path(made)), "sources": lambda: sources(Path(made)), "speed": speed,
        }  # fmt: skip
        for name, part in parts.items():
            if only in (None, name):
                found[name] = part()
                RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
