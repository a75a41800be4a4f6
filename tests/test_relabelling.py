"""Labels corrected end to end: the data of the new run, its record, verification, exports; and whole classes that are forgotten."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from influence.actions import _claims, _oracles, _relearning, perform
from influence.actions._monitor import monitor
from influence.actions._opened import opened
from influence.actions._requests import requests
from influence.actions._verified import fairness_in_words, in_words, measured_on
from influence.errors import BadInput
from influence.evidence import card, words
from influence.store import Project
from influence.types import Examples, Selection

SETTINGS = {"data": "bundled:loans", "data_set": {"n": 900}, "set": {"epochs": 12, "batch_size": 64}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a model of simulated loans, whose planted rows are corrected by retraining and by a step."""
    project = Project(tmp_path_factory.mktemp("project") / "p")
    first = perform("train", project, SETTINGS)["run"]
    ids = list(opened(project, first).dataset.planted)
    given = {"run": first, "ids": ids, "labels": ["granted"]}
    return project, {
        "original": first,
        **{name: perform("unlearn", project, {**given, "method": name})["run"] for name in ("retrain", "influence_step")},
    }


def test_the_new_run_stands_on_corrected_data(made):
    project, runs = made
    old, it = (opened(project, runs[name]) for name in ("original", "retrain"))
    ids, place = list(old.dataset.planted), old.dataset.train.classes.index("granted")
    rows = it.dataset.train.mask(ids)
    assert (it.dataset.train.y[rows] == place).all()
    assert (old.dataset.train.y[rows] != place).all()
    assert (it.dataset.train.y[~rows] == old.dataset.train.y[~rows]).all()
    column = it.dataset.train.columns[it.dataset.target]
    assert set(column[rows]) == {"granted"}
    assert column.dtype == old.dataset.train.columns[old.dataset.target].dtype
    assert it.trained.removed == ()
    assert it.run.name == f"retrain with {len(ids):,} rows relabelled"
    body = it.run.body
    assert (body["n_removed"], body["n_relabelled"], body["claim"]) == (0, len(ids), "L2")
    record = next(r for r in reversed(project.records()) if r.kind == "unlearn" and r.body["outputs"]["run"] == it.run.id)
    assert record.body["settings"]["action"] == "relabel"
    kept = project.selection(body["selection"])
    assert (kept.action, set(kept.labels), kept.ids) == ("relabel", {"granted"}, tuple(ids))
    assert project.check() == []


def test_the_step_is_measured_beside_the_retraining_on_the_same_labels(made):
    project, runs = made
    step = project.run(runs["influence_step"]).body
    assert step["retrained"] == runs["retrain"]
    assert (step["claim"], step["n_relabelled"]) == ("L1", project.run(runs["retrain"]).body["n_relabelled"])
    assert opened(project, runs["influence_step"]).run.dataset == opened(project, runs["retrain"]).run.dataset
    it, old = opened(project, runs["retrain"]), opened(project, runs["original"])
    rows = it.dataset.train.take(it.dataset.train.mask(old.dataset.planted))
    far = [float((opened(project, runs[name]).answers(rows) - it.answers(rows)).abs().mean()) for name in ("influence_step", "original")]
    assert far[0] < 0.5 * far[1]


def test_oracles_are_trained_on_the_corrected_labels_and_judged_by_the_old_ones(made):
    project, runs = made
    found = perform("verify", project, {"run": runs["retrain"], "oracles": 19})
    it, old = opened(project, runs["retrain"]), opened(project, runs["original"])
    parts = _oracles.parts(it)
    assert set(parts["forget"].ids) == set(old.dataset.planted)
    assert (parts["forget"].y == old.dataset.train.y[old.dataset.train.mask(old.dataset.planted)]).all()
    assert not set(parts["retained"].ids) & set(parts["forget"].ids)
    assert found["forgot"] == len(old.dataset.planted)
    assert found["overall"]["verdict"] == "inside"
    step = perform("verify", project, {"run": runs["influence_step"], "oracles": 19})
    assert step["trained"] == 0  # the same oracles


def test_the_verdict_speaks_of_labels_not_of_rows(made):
    project, runs = made
    found = perform("verify", project, {"run": runs["retrain"], "oracles": 2})
    assert found["relabelled"] == len(opened(project, runs["original"]).dataset.planted)
    assert in_words(found) == "Too few to say: 2 models trained without the old labels; a verdict at 5 % takes 19."
    assert "never saw the rows" in in_words(
        {**found, "relabelled": 0, "removed": found["forgot"], "overall": {"verdict": "inside", "chance": 0.5}}
    )


def test_a_method_is_judged_by_relabelling_again(made):
    project, runs = made
    found = perform("verify", project, {"run": runs["influence_step"], "oracles": 19, "runs": 5})
    assert found["method"]
    assert all(np.isfinite(each["value"]) for each in found["method"].values())


def test_comparison_report_and_cleaned_data_say_relabelled(made, tmp_path):
    project, runs = made
    compared = perform("compare", project, {"run": runs["influence_step"]})
    assert {"metrics", "forgetting"} <= set(compared["tables"])
    assert (compared["n_removed"], compared["n_relabelled"]) == (0, len(opened(project, runs["original"]).dataset.planted))
    rows = project.table(compared["tables"]["rows"])
    mine = rows[rows["part"] == "forgotten"]
    assert set(mine["target"]) == {"granted"}, "what a corrected row should be told is its new label"
    assert (mine["said_retrained"] == mine["target"]).mean() > (mine["said_original"] == mine["target"]).mean()
    gone = perform("unlearn", project, {"run": runs["original"], "ids": mine["id"].tolist(), "method": "finetune", "set": {"epochs": 1}})[
        "run"
    ]
    assert "random" in perform("compare", project, {"run": gone, "random": True})["runs"]
    with_random = perform("compare", project, {"run": runs["influence_step"], "random": True})
    assert "random" not in with_random["runs"], "a removal is no control of a correction"
    out = perform("export_data", project, {"run": runs["retrain"], "out": str(tmp_path / "data")})
    old = opened(project, runs["original"]).dataset
    table = pd.read_parquet(tmp_path / "data" / "train.parquet")
    assert len(table) == len(old.train) == out["n_train"]
    listed = pd.read_csv(tmp_path / "data" / "relabelled.csv")
    assert (set(listed["id"]), set(listed["old"]), set(listed["new"])) == (set(old.planted), {"declined"}, {"granted"})
    assert set(table.loc[table.iloc[:, 0].isin(old.planted), old.target]) == {"granted"}
    assert out["n_relabelled"] == len(old.planted)


def test_a_report_lists_the_old_and_the_new_labels(made):
    project, runs = made
    old = opened(project, runs["original"]).dataset
    n, all_of = len(old.planted), len(old.train)
    before = int((old.train.columns[old.target] == "granted").sum())
    page = (project.path / perform("report", project, {"run": runs["retrain"], "rows": True})["html"]).read_text(encoding="utf-8")
    cells = [
        re.sub(r"<[^>]+>", "|", line).replace("\u00a0", " ") for line in page.splitlines() if "label</th>" in line or "granted" in line
    ]
    assert any("decision, old label" in line and f"declined||{n:,}||100.0 %" in line for line in cells)
    after = words.percent((before + n) / all_of).replace("\u00a0", " ")
    assert any(f"granted||{n:,}||100.0 %||{before + n:,}||{after}" in line for line in cells), "beside all rows with the new labels"
    assert f"{old.planted[0]}: declined → granted" in page


def test_relabel_then_remove_then_relabel(made, tmp_path):
    project, runs = made
    old = opened(project, runs["original"]).dataset
    ids, others = list(old.planted), [i for i in old.train.ids.tolist() if i not in set(old.planted)]
    gone = others[:20]
    second = perform("unlearn", project, {"run": runs["influence_step"], "ids": gone, "method": "influence_step"})
    assert second["n_removed"] == 20
    back = ids[:5]  # and five labels back to what they were
    third = perform("unlearn", project, {"run": second["run"], "ids": back, "labels": ["declined"], "method": "influence_step"})
    it = opened(project, third["run"])
    assert it.trained.removed == tuple(gone)
    assert set(_oracles.forgotten(it)) == {*gone, *ids[5:]}
    assert [requests(project, project.run(made["run"])) for made in (second, third)] == [("relabel", "remove")] * 2
    perform("export_model", project, {"run": it.run.id, "out": str(tmp_path / "m")})
    said = (tmp_path / "m" / "README.md").read_text()
    assert "neither the removed rows nor the old labels" in said
    assert "no trace of the removed rows and of the old labels" in said
    assert (third["n_removed"], third["n_relabelled"]) == (0, 5)
    truth = opened(project, third["retrained"])
    assert truth.run.dataset == it.run.dataset
    chain = [it.run.id, second["run"], runs["influence_step"], runs["original"]]
    assert [it.run.id, it.run.parent, project.run(it.run.parent).parent, project.run(project.run(it.run.parent).parent).parent] == chain
    perform("verify", project, {"run": third["run"], "oracles": 2})
    assert project.check() == []
    for run in (second["run"], third["run"]):
        judged = perform("verify", project, {"run": run, "oracles": 19})
        assert f"{len(_oracles.forgotten(opened(project, run))):,} removed or relabelled rows" in measured_on(judged)
        assert "(relabelled ones by their old labels)" in measured_on(judged)
        assert "never saw the rows and old labels" in in_words(judged)
        assert "removing and relabelling the rows" in fairness_in_words(judged)
        html = (project.path / perform("report", project, {"run": run})["html"]).read_text(encoding="utf-8")
        assert "19 oracles: the same training without the rows and with the new labels, each from a seed" in html


def test_rows_relabelled_and_then_removed_are_judged_by_the_label_that_was_learnt(made, tmp_path, monkeypatch):
    project, runs = made
    old, first = opened(project, runs["original"]).dataset, opened(project, runs["original"])
    gone, left = list(old.planted)[:10], list(old.planted)[10:]
    second = perform("unlearn", project, {"run": runs["retrain"], "ids": gone, "method": "retrain"})
    it = opened(project, second["run"])
    rows = _oracles.parts(it)["forget"]
    assert set(rows.ids) == set(_oracles.forgotten(it)) == set(old.planted)
    assert len(_oracles.forgotten(it)) == len(old.planted)
    assert (rows.y == old.train.y[old.train.mask(rows.ids)]).all()
    again = _relearning.told(it, np.ones((2, _oracles.STEPS + 1)))["original"]
    here = _relearning.curve(first.trained.model, _oracles.recipe_of(it), first.bound, rows, _oracles.STEPS)
    assert again == here.tolist(), "the original and the oracles learn the same labels again"
    listed = perform("export_data", project, {"run": second["run"], "out": str(tmp_path / "data")})
    assert (second["n_removed"], listed["n_removed"], listed["n_relabelled"]) == (10, 10, len(left))
    rest = perform("unlearn", project, {"run": second["run"], "ids": left, "method": "retrain"})["run"]
    own = _oracles.key(opened(project, rest))
    monkeypatch.setattr(_oracles, "old_labels", lambda it, was: it.dataset.train.take(np.zeros(len(it.dataset.train), dtype=bool)))
    assert _oracles.key(opened(project, rest)) != own, "by what label removed rows are learnt again is part of what is kept"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"labels": ["perhaps"]}, "'perhaps' is none of the classes: declined, granted"),
        ({"labels": ["declined"]}, "rows have that label already"),
        ({"labels": ["granted", "declined"]}, "rows are to be relabelled and 2 labels are given"),
        ({"labels": ["granted"], "method": "scrub"}, "only removes rows"),
        ({"labels": ["granted"], "set": {"preprocessing": "refitted"}}, "preprocessing need not be fitted again"),
        ({"labels": []}, "0 labels are given"),
    ],
)
def test_refuses(made, given, says):
    project, runs = made
    ids, before = list(opened(project, runs["original"]).dataset.planted), len(project.runs())
    with pytest.raises(BadInput, match=says):
        perform("unlearn", project, {"run": runs["original"], "ids": ids, **given})
    assert len(project.runs()) == before


def test_a_method_that_only_removes_refuses_before_anything_is_trained(made):
    project, runs = made
    train, before = opened(project, runs["original"]).dataset.train, len(project.runs())
    label = train.classes[1 - train.y[5]]
    with pytest.raises(BadInput, match="only removes rows"):
        perform("unlearn", project, {"run": runs["original"], "ids": [train.ids[5].item()], "labels": [label], "method": "finetune"})
    assert len(project.runs()) == before


def test_what_is_told_of_removals_refuses_rows_to_relabel(made):
    project, runs = made
    it = opened(project, runs["original"])
    project.choose(Selection(it.dataset.planted, "relabel", {"dataset": it.run.dataset}, ("granted",) * len(it.dataset.planted)))
    with pytest.raises(BadInput, match="are to be relabelled; this is told of removals alone"):
        perform("who_changes", project, {"run": runs["original"]})
    project.undo()


def test_a_numeric_target_gets_numbers_in_its_own_unit(tmp_path):
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    table = pd.DataFrame({"id": np.arange(300), "a": a, "price": 1000 + 50 * (2 * a + 0.1 * rng.normal(size=300))})
    table.to_csv(tmp_path / "t.csv", index=False)
    project = Project(tmp_path / "p")
    how = {"data": str(tmp_path / "t.csv"), "target": "price", "set": {"epochs": 5, "batch_size": 64}}
    first = perform("train", project, how)["run"]
    it = opened(project, first)
    ids = it.dataset.train.ids[:3].tolist()
    with pytest.raises(BadInput, match="Give each row a number as its new label"):
        perform("unlearn", project, {"run": first, "ids": ids, "labels": ["much"]})
    made = perform("unlearn", project, {"run": first, "ids": ids, "labels": ["1000.5", 1200, 900]})
    new, target = opened(project, made["run"]), it.dataset.encoding["target"]
    rows = new.dataset.train.mask(ids)
    assert new.dataset.train.columns["price"][rows].tolist() == [1000.5, 1200, 900]
    np.testing.assert_allclose(new.dataset.train.y[rows] * target["sd"] + target["mean"], [1000.5, 1200, 900], rtol=1e-5)
    assert (made["claim"], "mean and spread" in made["claim_note"]) == ("L1", True)
    assert set(_oracles.forgotten(new)) == set(ids)
    gone = opened(project, perform("unlearn", project, {"run": made["run"], "ids": ids[:1]})["run"])
    judged = _oracles.parts(gone)["forget"]
    np.testing.assert_allclose(judged.y, it.dataset.train.y[it.dataset.train.mask(judged.ids)], rtol=1e-5)


def test_unseen_rows_of_a_forgotten_class_are_counted_apart(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 600))
    kind = np.where(a > 0.5, "x", np.where(b > 0, "y", "z"))
    pd.DataFrame({"id": np.arange(600), "a": a, "b": b, "kind": kind}).to_csv(tmp_path / "t.csv", index=False)
    project = Project(tmp_path / "p")
    how = {"data": str(tmp_path / "t.csv"), "target": "kind", "set": {"epochs": 10, "batch_size": 64}}
    first = perform("train", project, how)["run"]
    rows = opened(project, first).dataset
    ids = rows.train.ids[rows.train.y == 0].tolist()
    made = perform("unlearn", project, {"run": first, "ids": ids, "method": "retrain"})
    run = made["run"]
    assert made["claim"] == "L1", "the list of classes was made with the removed rows, and kept"
    table = project.table(perform("compare", project, {"run": run})["tables"]["metrics"]).set_index(["role", "metric"])
    own, others = (table.loc[("retrained", f"{which}_accuracy")] for which in ("forgotten_class", "other_classes"))
    n = (rows.holdout.y == 0).sum()
    assert (own["value"], own["n"], others["n"]) == (0, n, len(rows.holdout) - n)
    assert others["value"] > 0.9
    verified = perform("verify", project, {"run": run, "oracles": 3})
    assert {"forgotten_class_accuracy", "other_classes_accuracy"} <= {line["metric"] for line in verified["fairness"]["rows"]}


def test_a_class_that_is_left_without_rows_keeps_the_claim_below_exact():
    rows = Examples(np.zeros((4, 1), np.float32), np.array([0, 0, 1, 2]), np.arange(4), pd.DataFrame(index=range(4)), ("a", "b", "c"))
    assert _claims._emptied(rows, (2,))
    assert _claims._emptied(rows, (2, 0)), "an earlier request took the last"
    assert not _claims._emptied(rows, (0,))
    assert _claims._emptied(replace(rows, y=np.array([0, 0, 0, 2])), ())
    assert not _claims._emptied(replace(rows, classes=()), (2,))


def test_a_card_tells_rows_that_were_relabelled_and_what_that_leaves_open():
    it = SimpleNamespace(removed=0, relabelled=3, method="influence_step", requests=("relabel",))
    assert card._became(it) == "3 training rows were given another label by `influence_step`. "
    assert card._became(SimpleNamespace(removed=0, relabelled=0, method="", requests=())) == "Nothing was removed from it. "
    before = SimpleNamespace(removed=2, relabelled=0, method="retrain", requests=("relabel", "remove"))
    assert card._became(before) == "It does without 2 training rows by `retrain`. Earlier requests gave training rows other labels. "


def test_live_metrics_are_of_no_row_that_the_model_did_without_before(made):
    project, runs = made
    it = opened(project, runs["original"])
    ids, before = it.dataset.train.ids[:5].tolist(), it.dataset.train.ids[5:205].tolist()
    seen = []
    look = monitor(it.dataset, Selection(tuple(ids)), "", "", 1, removed=before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("influence.actions._monitor.figures", lambda outputs, parts, *rest: seen.append(parts) or {})
        look(it.bound)
    assert not np.isin(seen[0]["retain"].ids, before + ids).any()
    assert len(seen[0]["retain"]) == len(it.dataset.train) - 205


def test_nothing_is_certified_of_a_model_whose_classes_tell_what_is_gone(tmp_path):
    project = Project(tmp_path / "p")
    first = perform("train", project, {"data": "bundled:digits", "model": "logistic", "set": {"epochs": 2}})["run"]
    train = opened(project, first).dataset.train
    whole, part = train.ids[train.y == 3].tolist(), train.ids[train.y == 3][:20].tolist()
    claims = [perform("unlearn", project, {"run": first, "ids": ids, "method": "noisy_finetune"})["claim"] for ids in (part, whole)]
    assert claims == ["L3", "L1"]
