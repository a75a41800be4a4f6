"""Does the search for patterns find faults of data that are known, and how long does it take?

Run: LETHE_DATA=... python -m benchmarks.suspects (or make bench NAME=suspects). Writes benchmarks/results/suspects.json.

COMPAS: ProPublica's filter; a quarter of the rows screened before 2014-04-01 are asked about, all others are trained on. Those screened
later were kept only if they reoffended (Barenstein, arXiv:1906.04711); the column that says so is seen by people alone. Loans: the labels
that were turned are known. Adult: time of the search alone, on 50,000 rows (the set and some rows of it again) and 14 columns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.data import DATA
from influence.actions import perform
from influence.conditions import met, read
from influence.patterns import suspects
from influence.store import Project

RESULTS = Path(__file__).parent / "results" / "suspects.json"
COMPAS = [
    "sex", "age", "race", "priors_count", "juv_fel_count", "juv_misd_count", "juv_other_count", "c_charge_degree",
    "screened_after_2014_04_01", "two_year_recid",
]  # fmt: skip
SEEDS = 5


def compas(seed: int = 0) -> pd.DataFrame:
    """Return the filtered rows with a column `split`: test for a quarter of the early ones."""
    table = pd.read_parquet(DATA / "compas.parquet")
    table = table[table["propublica_filter"]].reset_index(drop=True)
    asked = ~table["screened_after_2014_04_01"] & (np.random.default_rng(seed).random(len(table)) < 0.25)
    return table[COMPAS].assign(split=np.where(asked, "test", "train"))


def fault(folder: Path, model: str) -> dict[str, Any]:
    """Train on COMPAS, search for what is behind its over-prediction and its loss, and retrain without the first suspect."""
    path = folder / "compas.parquet"
    compas().to_parquet(path)
    project = Project(folder / f"compas-{model}")
    given = {"protected": ["race", "sex"], "audit": ["screened_after_2014_04_01"], "split": "split", "model": model}
    made = perform("train", project, {"data": str(path), "target": "two_year_recid", **given})
    found: dict[str, Any] = {"rows": made["n_train"], "accuracy": made["metrics"]["intervals"]["accuracy"]}
    for query in ("calibration", "loss"):
        told = perform("suspects", project, {"query": query})
        first = told["suspects"][0]
        args = {"query": query, "patterns": [first["conditions"]], "seeds": SEEDS}
        (realised,) = perform("confirm_suspects", project, args)["confirmed"]
        found[query] = {"label": told["label"], "looked_at": told["looked_at"], "listed": told["found"], **first, "realised": realised}
        print(model, query, found[query], flush=True)
    return found


def planted(folder: Path) -> dict[str, Any]:
    """Search the loans for the rule by which labels were turned, and count the turned rows among the first."""
    project = Project(folder / "loans")
    perform("demo", project, {"name": "loans"})
    it = project.dataset(project.run().dataset)
    known = np.isin(it.train.ids, it.planted)
    most = round(1.5 * known.sum())
    found: dict[str, Any] = {"turned": int(known.sum()), "looked through": most}
    for query, given in (("loss", {}), ("equal_opportunity_gap", {"group": "group"})):
        told = perform("suspects", project, {"query": query, "query_set": given, "max_conditions": 3})
        scores = project.scores(perform("attribute", project, {"query": query, "query_set": given})["scores"]).column()
        inside = met(read(told["suspects"][0]["conditions"]), it.train.columns)
        within = np.argsort(np.where(inside, scores, np.inf), kind="stable")[:most]
        alone = np.argsort(scores, kind="stable")[:most]
        args = {"query": query, "query_set": given, "patterns": [s["conditions"] for s in told["suspects"][:5]], "seeds": 0}
        realised = perform("confirm_suspects", project, args)["confirmed"]
        found[query] = {
            "suspects": [{**s, "realised": r} for s, r in zip(told["suspects"][:5], realised, strict=True)],
            "share found by score": float(known[alone].sum() / known.sum()),
            "share found by score within the first suspect": float(known[within].sum() / known.sum()),
        }
        print("loans", query, found[query], flush=True)
    return found


def speed() -> dict[str, Any]:
    """Time the search alone."""
    table = pd.read_parquet(DATA / "adult.parquet").drop(columns=["split", "income"])
    table = pd.concat([table, table])[:50_000].reset_index(drop=True)
    rng = np.random.default_rng(0)
    young = ((table["sex"] == "Female") & (table["age"] < 30)).to_numpy()
    effect = rng.normal(size=len(table)) / len(table) + np.where(young, 2e-5, -1e-5)
    found: dict[str, Any] = {"rows": len(table), "columns": table.shape[1]}
    for conditions in (2, 3, 4):
        took = []
        for _ in range(3):
            began = time.perf_counter()
            _, looked_at = suspects(table, effect, {}, conditions)
            took.append(time.perf_counter() - began)
        found[f"{conditions} conditions"] = {"seconds": float(np.median(took)), "looked_at": looked_at}
    print("speed", found, flush=True)
    return found


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["compas", "loans", "speed"], help="measure this alone")
    only = parser.parse_args().only
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if only in (None, "compas"):
            found["compas"] = {model: fault(folder, model) for model in ("mlp", "logistic")}
        if only in (None, "loans"):
            found["loans"] = planted(folder)
        if only in (None, "speed"):
            found["speed"] = speed()
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
