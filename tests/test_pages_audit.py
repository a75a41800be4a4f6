"""The page Audit: several columns at once, any column, another class, along a column; its figures are counted again here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from influence import jobs
from influence.actions import perform
from influence.actions._kept_outputs import kept_outputs
from influence.actions._measures import audited
from influence.store import Project
from influence.ui import words
from tests import investigation
from tests.investigation import by_key, done, opened, ran, said, shown

no_worker = investigation.no_worker


ROWS = 2400


def table(classes: int, folder: Path) -> dict:
    """Arguments to train on a table with two group columns (missing values, a tiny group), dates, and names that need quotation marks."""
    rng = np.random.default_rng(classes)
    x = rng.normal(size=(ROWS, 3))
    side = rng.choice(np.array(["left_1", "right*2*", None], dtype=object), ROWS, p=[0.5, 0.4, 0.1])
    side[:40] = "tiny"
    score = x @ [1.0, -2.0, 0.5] + np.where(side == "left_1", 2.0, 0.2) * rng.normal(size=ROWS)
    when = pd.Timestamp("2020-01-15") + pd.to_timedelta(rng.integers(0, 700, ROWS), unit="D")
    frame = pd.DataFrame(
        {
            "a": x[:, 0], "score": x[:, 1], "c": x[:, 2], "side": side, "age": rng.integers(18, 80, ROWS),
            "when": when.strftime("%Y-%m-%d"), "odd": np.where(x[:, 0] > 0, "x & y", 'z "q"'),
            "goal": score * 1000 if classes == 0 else pd.qcut(score, classes, labels=[f"c{i}" for i in range(classes)]).astype(str),
        }
    )  # fmt: skip
    frame.to_csv(folder / f"table{classes}.csv", index=False)
    given = {"data": str(folder / f"table{classes}.csv"), "target": "goal", "protected": ["side"], "audit": ["age"]}
    return {**given, "set": {"epochs": 4}, "name": f"table of {classes}"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project and its runs: of two and four classes, of a number, and of images without a group column."""
    folder = tmp_path_factory.mktemp("audit")
    project = Project(folder / "p")
    runs = {name: perform("train", project, table(n, folder))["run"] for name, n in (("two", 2), ("classes", 4), ("numeric", 0))}
    return project, runs | {"groupless": perform("train", project, {"data": "bundled:digits", "set": {"epochs": 1}})["run"]}


@pytest.fixture(autouse=True)
def here(made, monkeypatch):
    monkeypatch.setenv("INFLUENCE_PROJECT", str(made[0].path))


def predicted(project: Project, run: str) -> pd.DataFrame:
    """The kept predictions of the evaluation rows beside all their columns."""
    it = project.run(run)
    rows = project.table(it.body["predictions"]).query("split == 'evaluation'").reset_index(drop=True)
    columns = project.dataset(it.dataset).evaluation.columns
    return pd.concat([rows, columns[[c for c in columns if c not in rows]].reset_index(drop=True)], axis=1)


def by(at, *columns: str):
    return ran(by_key(at.multiselect, "audit.columns").set_value(list(columns)).run())


def spread(rates: pd.Series, counts: pd.Series) -> float:
    return float(np.ptp(rates[counts >= 10]))


def test_groups_by_two_columns_are_those_that_one_counts(made):
    project, runs = made
    at = by(opened("audit", run=runs["two"]), "side", "odd")
    assert at.query_params["group"] in ("side & odd", ["side & odd"])
    frame = predicted(project, runs["two"])
    frame["side"] = frame["side"].fillna("missing")
    real = frame[frame["target"] == "c1"]
    found = (real["p_c1"] > 0.5).groupby([real["side"], real["odd"]])
    rates, n = found.mean(), found.size()
    text, gap = said(at), spread(rates, n)
    assert f"a gap of **{100 * gap:.1f} points**" in text
    top = rates[n >= 10].idxmax()
    assert f'in group **{top[0]} & "{top[1].replace(chr(34), chr(34) * 2)}"**' in text
    assert "Worst off of" in text
    figures = shown(at, "metric", "group").set_index(["metric", "group"]).sort_index()
    for (side, odd), rate in rates.items():
        name = f'{side} & "{odd.replace(chr(34), chr(34) * 2)}"'
        assert figures.loc[("True positive rate", name), "value"].item() == pytest.approx(rate)
        assert figures.loc[("True positive rate", name), "n"].item() == n[side, odd]
    assert int((figures.loc["True positive rate"]["n"] < 10).sum()) == int((n < 10).sum()) or "Not drawn" in text


def test_one_click_asks_which_rows_make_the_gap_of_an_intersection(made):
    project, runs = made
    at = by(opened("audit", run=runs["two"]), "side", "age")
    ran(at.segmented_control(key="audit.metric").set_value("false_positive_rate").run())
    assert "wrongly says “c1” of" in said(at)
    ran(by_key(at.button, "audit.why").click().run())
    assert by_key(at.selectbox, "influence.query").value == "predictive_equality_gap"
    assert next(s for s in at.selectbox if s.label == "Group").value == "side & age"
    asked = jobs.listed(project, 1)[0]
    assert (asked.action, asked.args["query"], asked.args["query_set"]["group"]) == ("attribute", "predictive_equality_gap", "side & age")
    result = done(project)
    assert result["query"]["given"]["group"] == "side & age"
    at = opened("influence", run=runs["two"], group="side & age", query="predictive_equality_gap")
    value = result["value"]["measured"]
    assert re.search(rf"Predictive-equality gap by side & age is {words.number(value)} \([\d.]+ to [\d.]+\), n = [\d,]+", said(at))
    assert any(str(s.value).startswith("Rows behind") for s in at.subheader)
    assert next(j.id for j in jobs.listed(project, 50) if j.action == "attribute") == asked.id, "a page that is opened asks nothing"
    for page in ("trace", "suspects", "plan"):
        assert (
            "side & age" in next(s for s in opened(page, run=runs["two"], group="side & age").selectbox if s.label == "Groups by").options
        )


def test_another_class_is_looked_at_and_asked_about(made):
    project, runs = made
    at = opened("audit", run=runs["classes"])
    assert "truly is “c3”" in said(at)
    ran(by_key(at.selectbox, "audit.positive").set_value("c1").run())
    frame = predicted(project, runs["classes"])
    frame["side"] = frame["side"].fillna("missing")
    real = frame[frame["target"] == "c1"]
    found = (real[[f"p_c{i}" for i in range(4)]].to_numpy().argmax(1) == 1).astype(float)
    grouped = pd.Series(found).groupby(real["side"].to_numpy())
    assert "truly is “c1”" in said(at)
    assert f"a gap of **{100 * spread(grouped.mean(), grouped.size()):.1f} points**" in said(at)
    ran(by_key(at.button, "audit.why").click().run())
    given = jobs.listed(project, 1)[0].args["query_set"]
    assert (given["positive"], given["group"]) == ("c1", "side")
    assert done(project)["query"]["given"]["positive"] == "c1"


def test_any_column_forms_groups_also_where_none_was_named(made):
    project, runs = made
    at = opened("audit", run=runs["groupless"])
    assert "Choose a column above" in said(at) or "by" in said(at)
    at = by(at, "ink")
    assert "is right about" in said(at), "no class alone has rows enough in each bin"
    ran(at.segmented_control(key="audit.metric").set_value("accuracy").run())
    assert re.search(r"is right about [\d.]+.% of the rows in group", said(at))
    dataset = project.dataset(project.run(runs["groupless"]).dataset)
    assert "ink" not in (*dataset.protected, *dataset.audit)
    at = by(opened("audit", run=runs["two"]), "score")
    assert len(shown(at, "metric", "group")["group"].unique()) == 4
    assert "when" not in by_key(at.multiselect, "audit.columns").options, "every date would be a group"
    assert "goal" not in by_key(at.multiselect, "audit.columns").options


def test_what_too_few_rows_can_answer_is_not_asked_first_and_can_be_neither_pinned_nor_asked(made):
    _, runs = made
    at = opened("audit", run=runs["groupless"], group="ink_level")
    chosen = by_key(at.segmented_control, "audit.metric")
    assert chosen.value == "accuracy", "a class of ten has too few rows a group for rates that speak of it alone"
    assert any(b.label == "Pin this gap" for b in at.button)
    assert not by_key(at.button, "audit.why").disabled
    ran(chosen.set_value("true_positive_rate").run())
    assert "too few rows to say anything of the equal-opportunity gap" in said(at)
    assert not any(b.label.startswith("Pin") for b in at.button)
    assert by_key(at.button, "audit.why").disabled
    assert "ten" in next(c.value for c in at.caption if "rows" in c.value and "group" in c.value)


def test_what_was_first_of_other_groups_does_not_stay_where_it_has_no_answer(made):
    _, runs = made
    at = opened("audit", run=runs["two"], group="side")
    assert by_key(at.segmented_control, "audit.metric").value == "true_positive_rate"
    at.query_params.update({"run": runs["groupless"], "group": "ink_level"})
    assert by_key(ran(at.run()).segmented_control, "audit.metric").value == "accuracy"


def test_of_several_classes_each_has_its_figures(made):
    project, runs = made
    found = predicted(project, runs["classes"])
    names = [c.removeprefix("p_") for c in found if c.startswith("p_")]
    best = found[[f"p_{name}" for name in names]].to_numpy().argmax(1)
    table = shown(opened("audit", run=runs["classes"], group="side"), "class", "recall", "precision").set_index("class")
    for at, name in enumerate(names):
        real, told = found["target"] == name, best == at
        assert table.loc[name, "recall"] == pytest.approx((real & told).sum() / real.sum(), abs=5e-4)
        assert table.loc[name, "precision"] == pytest.approx((real & told).sum() / told.sum(), abs=5e-4)
        assert (table.loc[name, "rows that truly are"], table.loc[name, "rows said to be"]) == (real.sum(), told.sum())
        assert " to " in table.loc[name, "recall, 95 %"]


def test_a_figure_is_followed_along_dates(made):
    project, runs = made
    at = opened("audit", run=runs["two"])
    along = by_key(at.selectbox, "audit.along")
    assert along.value == "when", "dates come first"
    frame = predicted(project, runs["two"])
    real = frame[frame["target"] == "c1"].assign(side=lambda t: t["side"].fillna("missing"))
    quarter = pd.to_datetime(real["when"]).dt.to_period("Q").astype(str).str.replace("Q", " Q")
    counted = (real["p_c1"] > 0.5).groupby([real["side"], quarter]).agg(["mean", "size"])
    table = shown(at, "along").set_index(["group", "along"])
    for (side, when), row in counted.iterrows():
        assert table.loc[(side, when), "value"] == pytest.approx(row["mean"])
        assert table.loc[(side, when), "n"] == row["size"]
    missing = int((table["n"] < 10).sum())
    assert f"{words.count(missing, 'point')} not drawn" in said(at)
    ran(along.set_value("odd").run())
    assert set(shown(at, "along")["along"]) == {"x & y", 'z "q"'}


def test_numbers_speak_of_errors_and_of_calibration_in_their_own_units(made):
    project, runs = made
    at = opened("audit", run=runs["numeric"], group="side & age")
    assert not [s for s in at.selectbox if s.key == "audit.positive"]
    assert at.segmented_control(key="audit.metric").options == ["MAE"]
    frame = predicted(project, runs["numeric"])
    reliable = shown(at, "predicted")
    assert 1.2 * frame["target"].min() < reliable["value"].min() < reliable["value"].max() < 1.2 * frame["target"].max()
    assert np.average(reliable["value"], weights=reliable["n"]) == pytest.approx(frame["target"].mean(), rel=0.5, abs=300)
    ran(by_key(at.button, "audit.why").click().run())
    assert jobs.listed(project, 1)[0].args["query"] == "group_loss_gap"
    done(project)


def test_tables_name_the_ends_of_intervals(made):
    _, runs = made
    at = opened("audit", run=runs["two"], group="side")
    tables = [d for d in at.dataframe if "low" in d.value]
    assert len(tables) >= 3
    assert all("95 % low" in d.proto.columns and "95 % high" in d.proto.columns for d in tables)


def test_figures_stand_beside_those_of_the_rows_held_out(made):
    project, runs = made
    body = project.run(runs["two"]).body
    asked, held = (body[name]["intervals"]["accuracy"] for name in ("evaluation_metrics", "metrics"))
    text = said(opened("audit", run=runs["two"]))
    assert f"n = {asked['n']:,} evaluation rows" in text
    assert f"Holdout: {words.figure(held)}" in text


def test_kept_predictions_give_the_tables_that_training_made(made):
    project, runs = made
    for name in ("two", "classes", "numeric"):
        run = project.run(runs[name])
        dataset = project.dataset(run.dataset)
        logits = kept_outputs(project.table(run.body["predictions"]), dataset, "evaluation")
        for group, digest in run.body["audit"].items():
            again = audited(logits, dataset, "evaluation", group)
            pd.testing.assert_frame_equal(again, project.table(digest), rtol=2e-5, atol=1e-6, check_dtype=False)


def test_a_certain_mistake_of_a_kept_prediction_has_a_finite_loss(made):
    project, runs = made
    run = project.run(runs["two"])
    table = project.table(run.body["predictions"]).assign(p_c0=np.float32(0), p_c1=np.float32(1))
    logits = kept_outputs(table, project.dataset(run.dataset), "evaluation")
    assert np.isfinite(logits).all()
    assert (logits.argmax(1) == 1).all()


@pytest.mark.parametrize("group", ["side & nobody", "a & b & c & d & e", '"', "&"])
def test_an_address_that_names_no_groups_falls_back(made, group):
    at = opened("audit", run=made[1]["two"], group=group)
    assert by_key(at.multiselect, "audit.columns").value == ["side"]


def test_every_command_takes_several_columns(made, tmp_path):
    project, runs = made
    run = runs["two"]
    ids = project.dataset(project.run(run).dataset).train.ids[:10].tolist()
    preview = perform("preview", project, {"run": run, "group": "side & odd", "ids": ids})["predicted"]
    assert any("by side & odd" in label for label in preview)
    with pytest.raises(Exception, match="no column 'nobody'"):
        perform("preview", project, {"run": run, "group": "side & nobody", "ids": ids})
    unlearned = perform("unlearn", project, {"run": run, "ids": ids, "method": "finetune", "set": {"epochs": 1}, "group": "side & odd"})
    compared = perform("compare", project, {"run": unlearned["run"], "group": "side & odd"})
    metrics = project.table(compared["tables"]["metrics"])
    assert set(metrics["column"]) >= {"side & odd", "side"}
    assert "without 10 rows" in said(opened("audit", run=unlearned["run"], group="side & odd"))
    assert json.dumps(preview)
