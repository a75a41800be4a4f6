"""Comparisons: changes are paired and said alike everywhere, gaps name their pair, a random removal is made when it is asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from influence.actions import perform
from influence.actions._comparison import kept
from influence.actions._opened import opened
from influence.actions.verify import newest
from influence.errors import BadInput
from influence.evaluation.changes import MINUS
from influence.evidence import words
from influence.store import Project


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model of three classes and three groups, and one fine-tuned without forty of its rows."""
    folder = tmp_path_factory.mktemp("compare")
    rng = np.random.default_rng(0)
    x, side = rng.normal(size=(900, 3)), rng.choice(["east", "north", "west"], 900)
    score = x @ [1.0, -2.0, 0.5] + (0.3 + (side == "west")) * rng.normal(size=900)
    goal = pd.qcut(score, 3, labels=["high", "low", "mid"]).astype(str)
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "side": side, "goal": goal}).to_csv(folder / "t.csv", index=False)
    project = Project(folder / "p")
    given = {"data": str(folder / "t.csv"), "target": "goal", "protected": ["side"], "set": {"epochs": 6}}
    first = perform("train", project, given)["run"]
    ids = opened(project, first).dataset.train.ids[:40].tolist()
    new = perform("unlearn", project, {"run": first, "ids": ids, "method": "finetune", "set": {"epochs": 2}})["run"]
    runs = [run.id for run in project.runs()]
    page = (project.path / perform("report", project, {"run": new})["html"]).read_text(encoding="utf-8")
    assert [run.id for run in project.runs()] == runs, "a report, and the comparison in it, trains nothing"
    return project, first, new, page


def tables(project: Project, run: str) -> dict[str, pd.DataFrame]:
    found = kept(project, run, "side")
    assert found is not None
    return {name: project.table(digest) for name, digest in found["tables"].items()}


def test_a_change_is_paired_and_the_same_on_the_page_of_the_report(made):
    project, first, new, page = made
    metrics = tables(project, new)["metrics"]
    rows = opened(project, first).dataset.holdout
    before, after = (opened(project, run).outputs("holdout").numpy().argmax(1) == rows.y for run in (first, new))
    up, down, n = (~before & after).sum() + 0.5, (before & ~after).sum() + 0.5, len(rows) + 2
    half = 1.959964 * np.sqrt(up + down - (up - down) ** 2 / n) / n
    own = metrics[(metrics["metric"] == "accuracy") & (metrics["group"] == "") & (metrics["role"] == "unlearned")].iloc[0]
    assert own["change"] == pytest.approx(after.mean() - before.mean())
    assert (own["change_low"], own["change_high"]) == pytest.approx(((up - down) / n - half, (up - down) / n + half), abs=1e-5)
    assert f"{words.signed(own['change'])} ({words.interval(own['change_low'], own['change_high'])})" in page


def test_a_gap_is_of_the_pair_that_is_furthest_apart_before_in_every_model_and_the_report_names_it(made):
    project, _, new, page = made
    metrics = tables(project, new)["metrics"]
    rates = metrics[metrics["metric"] == "selection_rate"].set_index(["role", "group"])["value"]
    top, bottom = rates["original"].idxmax(), rates["original"].idxmin()
    gaps = metrics[metrics["metric"] == "demographic_parity_gap"].set_index("role")
    for role in ("unlearned", "retrained"):
        assert gaps.loc[role, "pair"] == f"{top} {MINUS} {bottom}"
        now = rates[role, top] - rates[role, bottom]
        assert gaps.loc["original", "value"] + gaps.loc[role, "change"] == pytest.approx(now)
    assert f"{top} {MINUS} {bottom}" in page


def test_each_class_has_its_recall_and_how_it_changed(made):
    project, first, new, _ = made
    table = tables(project, new)["classes"]
    rows, said = opened(project, first).dataset.holdout, opened(project, new).outputs("holdout").numpy().argmax(1)
    recall = table[(table["metric"] == "recall") & (table["role"] == "unlearned")].set_index("group")
    for place, name in enumerate(rows.classes):
        own = rows.y == place
        assert recall.loc[name, "value"] == pytest.approx((said[own] == place).mean())
        assert recall.loc[name, "n"] == own.sum()
        assert recall.loc[name, "change_low"] <= recall.loc[name, "change"] <= recall.loc[name, "change_high"]


def test_a_random_removal_is_that_many_rows_less_trained_alike_and_found_again(made):
    project, first, new, _ = made
    other = perform(
        "unlearn", project, {"run": first, "ids": opened(project, first).dataset.train.ids[50:90].tolist(), "method": "retrain"}
    )
    asked = perform("compare", project, {"run": new, "random": True})["runs"]["random"]
    removed = project.trained(asked).removed
    assert newest(project) == other["run"], "the retraining that was asked for, not the one that others are compared with"
    assert len(removed) == 40
    assert set(removed) != set(project.trained(new).removed)
    assert perform("compare", project, {"run": other["run"]})["runs"]["random"] == asked
    same = perform("unlearn", project, {"run": first, "ids": list(removed), "method": "retrain"})["run"]
    weights = [project.trained(run).final.load() for run in (asked, same)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_random_removal_is_of_as_many_rows_as_the_model_really_lost(made):
    """Rows that the original was trained without already, and that are asked for again, are not removed again."""
    project = made[0]
    ids = opened(project, made[1]).dataset.train.ids[:20].tolist()
    given = {"data": str(project.path.parent / "t.csv"), "target": "goal", "protected": ["side"], "set": {"epochs": 2}, "exclude": ids[:12]}
    first = perform("train", project, given)["run"]
    new = perform("unlearn", project, {"run": first, "ids": ids, "method": "finetune", "set": {"epochs": 1}})["run"]
    asked = perform("compare", project, {"run": new, "random": True})["runs"]["random"]
    assert project.run(asked).body["n_removed"] == project.run(new).body["n_removed"] == 8


def test_where_the_original_cannot_be_trained_again_there_is_no_random_removal_and_all_else_is(made):
    project, _, new, _ = made
    ids = [i for i in opened(project, new).dataset.train.ids.tolist() if i not in set(project.trained(new).removed)][:20]
    twice = perform("unlearn", project, {"run": new, "ids": ids, "method": "finetune", "set": {"epochs": 1}})["run"]
    with pytest.raises(BadInput, match="approximate unlearning method"):
        perform("compare", project, {"run": twice, "random": True})
    perform("report", project, {"run": twice})
    assert set(tables(project, twice)["metrics"]["role"]) == {"original", "unlearned", "retrained"}
