"""Which posts make "queer" and "gay" read as toxic, and what is the model without them?

Run: LETHE_DATA=... python -m benchmarks.identity. Writes benchmarks/results/identity.json.

A bag of embeddings learns from Davidson's training posts which are toxic (hateful or offensive) and which are not. It is asked about
sentences that are not toxic (identity_templates, 40 of each of 50 identities): how toxic are those that say "queer" or "gay"? Posts are
ranked by the metagradient for that rate on one half of the sentences; on the other half it is measured, beside that of all other
identities and the gap between both, and the accuracy on Davidson's test posts; models with and without the first posts are trained with
fresh seeds. Asked for the gap alone, one gets posts without which the *others* read as toxic: `gap` says so.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.data import DATA
from influence import grads
from influence.actions import perform
from influence.actions._opened import Opened, opened
from influence.data.text.tokens import encode_texts
from influence.loop import threads
from influence.registry import queries
from influence.store import Project
from influence.training import bound_at, train_many
from influence.types import Examples, Question

RESULTS = Path(__file__).parent / "results" / "identity.json"
SPOKEN = ("queer", "gay")
EACH, SEEDS, FIRST = 40, 5, 7000
SIZES = (50, 100, 200, 400, 800)
NAMES = {0: "toxic", 1: "toxic", 2: "fine"}


def posts() -> pd.DataFrame:
    """Return Davidson's posts as toxic or fine."""
    table = pd.read_parquet(DATA / "davidson_hate_speech.parquet")
    return table.assign(target=table["label"].map(NAMES), said="a post")[["text", "target", "said", "split"]]


def sentences() -> pd.DataFrame:
    """Return sentences that are not toxic, so many of each identity."""
    table = pd.read_parquet(DATA / "identity_templates.parquet").dropna(subset=["identity"])
    some = table[table["label"] == 0].sample(frac=1, random_state=0).groupby("identity", sort=True).head(EACH)
    said = np.where(some["identity"].isin(SPOKEN), "queer or gay", "another identity")
    return pd.DataFrame({"text": some["text"], "target": "fine", "said": said, "split": "test"})


def trained(folder: Path) -> Project:
    """Train on the posts; the sentences are the test rows."""
    table = posts()
    pd.concat([table[table["split"] == "train"], sentences()], ignore_index=True).to_parquet(folder / "rows.parquet")
    project = Project(folder / "project")
    given = {"target": "target", "split": "split", "audit": ["said"], "data_set": {"text": "text"}, "positive": "toxic"}
    perform("train", project, {"data": str(folder / "rows.parquet"), **given})
    return project


RATE = {"group": "said", "which": "queer or gay", "positive": "toxic", "of": "negatives"}
GAP = {"group": "said", "positive": "toxic"}


def asked(it: Opened) -> Question:
    """Return the rates of both groups, of the holdout sentences."""
    rates = [queries.make("group_rate", RATE | {"which": name}) for name in ("queer or gay", "another identity")]
    return Question(it.question(rates).queries, it.dataset.holdout)


def measured(it: Opened, left_out: np.ndarray, seeds: list[int], question: Question, test: Examples) -> dict[str, np.ndarray]:
    """Retrain without sets of rows (R, N), each with its seed; return rates, their gap and accuracy, each (R,)."""
    recipe = it.trained.recipe
    assert recipe is not None
    found: dict[str, list[float]] = {name: [] for name in ("queer or gay", "another identity", "gap", "accuracy")}
    for theta in train_many(it.trained.model, it.dataset.train, recipe, 1.0 - left_out.astype(np.float32), seeds):
        bound = bound_at(it.trained.model, recipe, theta)
        with threads(recipe.threads):
            logits, said = grads.outputs(bound, question.examples), grads.outputs(bound, test).argmax(1).numpy()
        rates = question.measured(logits).tolist()
        for name, value in zip(found, (*rates, rates[0] - rates[1]), strict=False):
            found[name].append(value)
        found["accuracy"].append(float((said == test.y).mean()))
    return {name: np.array(values) for name, values in found.items()}


def over_seeds(values: np.ndarray) -> list[float]:
    """Return mean and 95 % interval over seeds."""
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return [float(values.mean()), float(values.mean()) - half, float(values.mean()) + half]


def main() -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as made:
        project = trained(Path(made))
        it = opened(project, None)
        table = posts()
        table = table[table["split"] == "test"].reset_index(drop=True)
        x = encode_texts(table, it.dataset.encoding)
        y = np.array([it.dataset.train.classes.index(name) for name in table["target"]])
        test, question = Examples(x, y, np.arange(len(table)), table, it.dataset.train.classes), asked(it)
        n, rng = len(it.dataset.train), np.random.default_rng(0)
        seeds = [FIRST + s for s in range(SEEDS)]
        found: dict[str, Any] = {"posts": n, "sentences": len(it.dataset.holdout), "test posts": len(test), "seeds": SEEDS}
        whole = measured(it, np.zeros((SEEDS, n), dtype=bool), seeds, question, test)
        found["all posts"] = {what: over_seeds(value) for what, value in whole.items()}
        for query, given in (("group_rate", RATE), ("demographic_parity_gap", GAP)):
            told = perform("attribute", project, {"query": query, "query_set": given})
            order = np.argsort(project.scores(told["scores"]).column(), kind="stable")
            found[query] = _without(it, [(k, order[:k]) for k in SIZES], seeds, question, test, whole)
            found[query]["first"] = _shown(it, order)
        found["at random"] = _without(it, [(max(SIZES), rng.choice(n, max(SIZES), replace=False))], seeds, question, test, whole)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _without(
    it: Opened, sets: list[tuple[int, np.ndarray]], seeds: list[int], question: Question, test: Examples, whole: Any
) -> dict[str, Any]:
    """Return what models without each set of posts reach, and how that differs from the whole data at the same seeds."""
    found: dict[str, Any] = {}
    for k, rows in sets:
        gone = np.isin(np.arange(len(it.dataset.train)), rows)
        values = measured(it, np.stack([gone] * SEEDS), seeds, question, test)
        found[str(k)] = {what: over_seeds(value) for what, value in values.items()}
        found[str(k)] |= {f"{what}, change": over_seeds(value - whole[what]) for what, value in values.items()}
        print(k, {what: [round(v, 3) for v in value] for what, value in found[str(k)].items()}, flush=True)
    return found


def _shown(it: Opened, order: np.ndarray) -> dict[str, Any]:
    """Return of the first 100 posts how many are labelled toxic, and in how many "queer" or "gay" stands; beside all posts."""
    columns = it.dataset.train.columns
    has = columns["text"].str.contains(r"\b(?:queers?|gays?)\b", case=False, regex=True).to_numpy(dtype=bool)
    toxic = (columns["target"] == "toxic").to_numpy(dtype=bool)
    told = {"toxic": float(toxic[order[:100]].mean()), "of all": float(toxic.mean())}
    told |= {"queer or gay": float(has[order[:100]].mean()), "queer or gay, of all": float(has.mean())}
    print(told, [columns["text"].iloc[at][:80] for at in order[:10]], flush=True)
    return told


if __name__ == "__main__":
    main()
