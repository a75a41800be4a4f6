"""Preprocessing fitted again without rows is what preparing the data without them gives, and a model retrained so owes the rows nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from influence.actions import perform
from influence.data.read import read_table
from influence.data.refit import misread, refitted
from influence.data.tabular import prepare
from influence.data.text.prepare import prepare_texts
from influence.data.text.settings import Reading
from influence.errors import BadInput
from influence.store import Project
from influence.training import train

N = 240


def table(n: int = N, seed: int = 0) -> pd.DataFrame:
    """Every kind of column, missing cells, and values that few rows have: rows 0 to 3 alone have the city Atlantis and a giant's income."""
    rng = np.random.default_rng(seed)
    made = pd.DataFrame({
        "number": np.arange(n), "income": rng.lognormal(8, 1, n), "age": np.where(rng.random(n) < 0.1, np.nan, rng.integers(18, 80, n)),
        "city": rng.choice(["Ulm", "Bonn", "Jena"], n), "size": rng.choice(["low", "medium", "high"], n), "member": rng.random(n) < 0.5,
        "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"), "sex": rng.choice(["f", "m"], n),
        "part": np.where(np.arange(n) % 4 < 2, "train", np.where(np.arange(n) % 4 == 2, "evaluation", "holdout")),
    })  # fmt: skip
    made.loc[[0, 1], "city"] = "Atlantis"
    made.loc[[0, 1, 4, 5], "income"] = 1e9
    z = np.log(made["income"]) + (made["city"] == "Ulm") + rng.normal(size=n)
    return made.assign(grade=np.where(z > 8.5, "good", "bad"), price=z * 1000)


GIVEN = {"protected": ["sex"], "id": "number", "split": "part", "kinds": {"since": "date"}}


def same(first, second) -> None:
    assert first.encoding == second.encoding
    for role in ("evaluation", "holdout"):
        np.testing.assert_array_equal(first.split(role).x, second.split(role).x)
        np.testing.assert_array_equal(first.split(role).y, second.split(role).y)
    kept = first.train.take(first.train.mask(second.train.ids))
    np.testing.assert_array_equal(kept.ids, second.train.ids)
    np.testing.assert_array_equal(kept.x, second.train.x)
    np.testing.assert_array_equal(kept.y, second.train.y)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gone=st.sets(st.sampled_from([i for i in range(N) if i % 4 < 2]), max_size=60), target=st.sampled_from(["grade", "price"]))
def test_a_table_is_read_as_if_the_rows_had_never_been_there(gone, target):
    frame = table().drop(columns="price" if target == "grade" else "grade")
    whole, without = (prepare(rows, target=target, **GIVEN) for rows in (frame, frame[~frame["number"].isin(gone)]))
    same(refitted(whole, gone), without)


def test_it_is_as_it_was_when_the_data_come_out_of_a_project(tmp_path):
    dataset = prepare(table().drop(columns="price"), target="grade", **GIVEN)
    project = Project(tmp_path / "p")
    back = project.dataset(project.put_dataset(dataset))
    assert refitted(back, ()).digest == dataset.digest
    same(refitted(back, [0, 1]), prepare(table().drop(columns="price", index=[0, 1]), target="grade", **GIVEN))


def test_texts_lose_the_words_that_only_removed_rows_have():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["red", "blue", "green", "round"], 6)) for _ in range(80)]
    texts[0], texts[1] = "secret secret word", "secret word again and again and again and again"
    frame = pd.DataFrame({"id": np.arange(80), "text": texts, "label": np.where(np.arange(80) % 3, "yes", "no")})
    frame["part"] = np.where(np.arange(80) < 40, "train", np.where(np.arange(80) < 60, "evaluation", "holdout"))
    reading = Reading(text="text")
    how = {"target": "label", "reading": reading, "id": "id", "split": "part", "name": "texts"}
    whole, without = prepare_texts(frame, **how), prepare_texts(frame.iloc[2:], **how)
    found = refitted(whole, [0, 1], reading)
    same(found, without)
    assert "secret" in str(whole.encoding["tokenizer"])
    assert "secret" not in str(found.encoding["tokenizer"])
    with pytest.raises(BadInput, match="cannot be fitted without rows"):
        refitted(whole, [0])


def test_what_was_brought_is_not_fitted_here():
    frame = table().drop(columns="price")
    encoding = dict(prepare(frame, target="grade", **GIVEN).encoding)
    brought = prepare(frame, target="grade", **GIVEN, encoding={**encoding, "brought": True})
    with pytest.raises(BadInput, match="was brought, not fitted here"):
        refitted(brought, [0])


def test_columns_that_only_removed_rows_decide_are_named():
    frame = table().drop(columns="price")
    odd = [0, 1, 4]
    frame["code"] = np.where(frame["number"].isin(odd), 7, frame["number"] % 2)  # 0 and 1 are a flag, which is not scaled
    frame["rare"] = np.where(frame["number"].isin(odd), "once", "else")
    dataset = prepare(frame, target="grade", **GIVEN)
    assert misread(dataset, odd) == ["code"]
    assert misread(dataset, odd[:2]) == []
    stated = prepare(frame, target="grade", **{**GIVEN, "kinds": {**GIVEN["kinds"], "code": "numeric"}})
    assert misread(stated, odd) == []


@pytest.fixture(scope="module", params=["grade", "price"])
def made(request, tmp_path_factory):
    """A run on every kind of column, and the same retrained without four rows, preprocessing kept and refitted."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("refit")
    table().drop(columns="price" if request.param == "grade" else "grade").to_csv(folder / "people.csv", index=False)
    project = Project(folder / "project")
    args = {
        "data": str(folder / "people.csv"),
        "target": request.param,
        "model": "mlp",
        "set": {"hidden": "6", "epochs": 4, "batch_size": 20},
    }
    run = perform("train", project, {**args, **GIVEN})["run"]
    ids = [0, 1, 4, 5]
    refit = perform("unlearn", project, {"run": run, "ids": ids, "set": {"preprocessing": "refitted"}})
    return project, run, ids, refit, request.param, folder


def prepared_without(folder, ids, target):
    """The file without these rows, read and prepared as if it had never had them."""
    frame = table().drop(columns="price" if target == "grade" else "grade").drop(index=ids)
    frame.to_csv(folder / "never.csv", index=False)
    return prepare(read_table(str(folder / "never.csv")), target=target, **GIVEN)


def test_the_retrained_model_is_one_of_data_that_never_had_the_rows(made):
    """Bit-equal weights from a data set that is prepared without them: only their empty places in the order are left."""
    project, run, ids, refit, target, folder = made
    never = prepared_without(folder, ids, target)
    trained = project.trained(refit["run"])
    assert trained.model.inputs == never.train.shape
    assert trained.model.inputs[0] == project.trained(run).model.inputs[0] - 1, "Atlantis is gone"
    again = train(trained.model, never.train, project.trained(run).recipe, removed=ids)
    for name, value in again.final.load().items():
        assert torch.equal(value, trained.final.load()[name])


def test_its_claim_is_exact_and_says_what_it_rests_on(made):
    project, run, ids, refit, _, folder = made
    assert (refit["claim"], refit["claim_note"][:23]) == ("L2", "Preprocessing refitted:")
    kept = perform("unlearn", project, {"run": run, "ids": ids})
    assert (kept["claim"], kept["claim_note"][:19]) == ("L1", "Preprocessing kept:")
    assert project.run(project.run(refit["run"]).body["retrained"]).body["claim"] == "L1", "the yardstick keeps it, as predictions do"
    out = folder / "out"
    perform("export_model", project, {"run": refit["run"], "out": str(out)})
    card = (out / "README.md").read_text()
    assert "L2" in card
    assert "Preprocessing refitted" in card
    assert "Atlantis" not in (out / "model.json").read_text()
    page = (project.path / perform("report", project, {"run": refit["run"]})["html"]).read_text()
    assert "Preprocessing refitted" in page
    assert "preprocessing refitted" in page.lower()


def test_it_is_compared_on_its_own_reading_of_the_rows(made):
    """What standard questions say of it in the comparison is what its own run measured, in the same units."""
    project, run, _, refit, target, _ = made
    perform("prepare", project, {"run": run, "group": "sex"})
    found = perform("compare", project, {"run": refit["run"], "group": "sex"})
    assert set(found["runs"]) == {"original", "unlearned", "retrained"}
    metrics = project.table(found["tables"]["metrics"])
    name = "accuracy" if target == "grade" else "mae"
    own = project.run(refit["run"]).body["metrics"]["intervals"][name]["value"]
    mine = metrics[(metrics["role"] == "unlearned") & (metrics["metric"] == name) & (metrics["group"] == "") & (metrics["column"] == "")]
    assert mine["value"].item() == pytest.approx(own)
    change = project.table(found["tables"]["change"]).set_index(["role", "rows", "label"])
    by_hand = [_loss(project, r) for r in (run, refit["run"])]
    label = "Mean loss" if target == "grade" else "Mean squared error"
    assert change.loc[("unlearned", "holdout", label), "value"] == pytest.approx(by_hand[1] - by_hand[0], rel=1e-3, abs=1e-5)


def _loss(project: Project, run: str) -> float:
    """Mean loss on holdout rows from stored predictions, of a numeric target in the square of its own unit."""
    dataset = project.dataset(project.run(run).dataset)
    predictions = pd.read_parquet(project.table_path(project.run(run).body["predictions"]))
    held = predictions[predictions["split"] == "holdout"].set_index("id").loc[dataset.holdout.ids]
    if dataset.train.classes:
        p = held[[f"p_{name}" for name in dataset.train.classes]].to_numpy()
        return float(-np.log(p[np.arange(len(p)), dataset.holdout.y]).mean())
    real = dataset.holdout.columns["price"].to_numpy()
    return float(((held["prediction"].to_numpy() - real) ** 2).mean())


def test_a_model_refitted_once_is_refitted_again_without_all_that_went(made):
    project, _, ids, refit, target, folder = made
    more = perform("unlearn", project, {"run": refit["run"], "ids": [8, 9], "set": {"preprocessing": "refitted"}})
    never = prepared_without(folder, [*ids, 8, 9], target)
    assert project.dataset(project.run(more["run"]).dataset).encoding == never.encoding


def test_where_nothing_was_fitted_there_is_nothing_to_refit(tmp_path):
    import influence

    rng = np.random.default_rng(0)
    influence.save_data(
        tmp_path / "data", rng.normal(size=(80, 3)).astype(np.float32), np.arange(80) % 2, np.arange(80) >= 50, classes=("a", "b")
    )
    project = Project(tmp_path / "p")
    run = perform("train", project, {"data": str(tmp_path / "data"), "model": "logistic", "set": {"epochs": 2}})["run"]
    ids = project.dataset(project.run(run).dataset).train.ids[:2].tolist()
    result = perform("unlearn", project, {"run": run, "ids": ids, "set": {"preprocessing": "refitted"}})
    assert (result["claim"], result["claim_note"]) == ("L2", "")
    assert project.run(result["run"]).dataset == project.run(run).dataset


def test_texts_are_retrained_with_the_vocabulary_that_is_left(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["red", "blue", "green", "round"], 6)) for _ in range(120)]
    texts[0], texts[1] = "secret word", "secret word again"
    frame = pd.DataFrame(
        {"text": texts, "label": np.where(["red" in t for t in texts], "yes", "no"), "part": np.where(np.arange(120) < 60, "train", "test")}
    )
    frame.to_csv(tmp_path / "texts.csv", index=False)
    project = Project(tmp_path / "p")
    args = {"data": str(tmp_path / "texts.csv"), "target": "label", "split": "part", "data_set": {"text": "text"}, "model": "bag"}
    run = perform("train", project, {**args, "set": {"epochs": 2, "width": 4, "hidden": "4"}})["run"]
    result = perform("unlearn", project, {"run": run, "ids": [0, 1], "set": {"preprocessing": "refitted"}})
    before, after = (project.trained(r).model.vocabulary for r in (run, result["run"]))
    assert (result["claim"], after) == ("L2", before - 2)


def test_rows_that_decided_what_a_column_is_keep_the_claim_down(tmp_path):
    frame = table().drop(columns="price")
    frame["code"] = np.where(frame["number"].isin([0, 1]), 7, frame["number"] % 2)
    frame.to_csv(tmp_path / "people.csv", index=False)
    project = Project(tmp_path / "p")
    run = perform(
        "train", project, {"data": str(tmp_path / "people.csv"), "target": "grade", "model": "logistic", "set": {"epochs": 1}, **GIVEN}
    )
    result = perform("unlearn", project, {"run": run["run"], "ids": [0, 1], "set": {"preprocessing": "refitted"}})
    assert result["claim"] == "L1"
    assert "code would be taken for another kind" in result["claim_note"]
