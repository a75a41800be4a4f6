"""The pages from Audit to Report, drawn as Streamlit draws them: what they say is what the tables, scores and models say."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from influence import actions
from influence.actions import perform, preview
from influence.jobs import process, worker
from influence.store import Project
from influence.types import SIGN, Selection
from influence.ui import site

ROOT = Path(__file__).parents[1]
PAGES = ("audit", "influence", "plan", "compare", "report")
SMALL = {"data": "bundled:loans", "data_set": {"n": 1500}, "set": {"epochs": 6, "batch_size": 64}}
GAP = "Equal-opportunity gap by group"
MINUS = "\N{MINUS SIGN}"


@pytest.fixture(autouse=True)
def no_worker(monkeypatch):
    """Jobs are queued by the pages, and done here by `work`: no process is started."""
    monkeypatch.setattr(process, "start", lambda folder: None)


@pytest.fixture
def empty(tmp_path) -> Project:
    return Project(tmp_path / "empty")


@pytest.fixture
def fresh(tmp_path) -> Project:
    """A project with one small model and nothing else."""
    project = Project(tmp_path / "fresh")
    perform("train", project, SMALL)
    return project


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> Project:
    """A project with a small model, prepared for previews: tests do not add runs to it."""
    project = Project(tmp_path_factory.mktemp("planned") / "p")
    perform("train", project, SMALL)
    perform("prepare", project, {"group": "group"})
    return project


@pytest.fixture(scope="module")
def unlearned(tmp_path_factory) -> tuple[Project, str]:
    """A project in which 60 rows were unlearned; the run made so."""
    project = Project(tmp_path_factory.mktemp("unlearned") / "p")
    perform("train", project, SMALL)
    note = perform("prepare", project, {"group": "group"})
    ids = ranked(project, note, label_of(note))[:60].tolist()
    made = perform("unlearn", project, {"ids": ids, "method": "finetune", "set": {"epochs": 1}, "group": "group"})
    return project, made["run"]


@pytest.fixture
def shown(monkeypatch) -> Iterator[Any]:
    """Draws a page of a project."""

    def draw(project: Project, page: str, **params: str) -> AppTest:
        monkeypatch.setenv("INFLUENCE_PROJECT", str(project.path))
        at = AppTest.from_file(str(ROOT / "influence/ui/main.py"), default_timeout=60)
        for name, value in params.items():
            at.query_params[name] = value
        at.switch_page(str(site.PAGES / f"{page}.py"))
        return drawn(at)

    yield draw
    st.cache_resource.clear()


def drawn(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception, at.exception
    return at


def text(at: AppTest) -> str:
    """All that the page says in words."""
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.success, at.subheader)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def work(project: Project) -> None:
    """Do the job that waits longest, as a worker does."""
    claimed = worker.claim(project)
    assert claimed is not None
    lock = process.hold(project.path)
    assert lock is not None
    with lock:
        worker.Worker(project, actions, lock)._work(claimed)


def press(at: AppTest, label: str) -> AppTest:
    button = next(b for b in at.button if b.label.startswith(label))
    button.click()
    return drawn(at)


def table(at: AppTest, *columns: str) -> pd.DataFrame:
    """The first table on the page that has these columns."""
    return next(t.value for t in at.dataframe if set(columns) <= set(t.value.columns))


def label_of(note: dict[str, Any]) -> str:
    return next(label for label in note["labels"] if label.startswith(GAP))


def ranked(project: Project, note: dict[str, Any], label: str) -> np.ndarray:
    scores = project.scores(note["scores"])
    return scores.ids[np.argsort(scores.column(label), kind="stable")]


def predictions(project: Project, run: str, split: str) -> pd.DataFrame:
    rows = project.table(project.run(run).body["predictions"])
    return rows[rows["split"] == split].reset_index(drop=True)


@pytest.mark.parametrize("page", PAGES)
def test_without_a_model_a_page_says_how_to_get_one(empty, shown, page):
    at = shown(empty, page)
    assert "There is no trained model in this project yet" in text(at)
    assert not at.button


def test_audit_says_the_gap_that_the_predictions_have(planned, shown):
    rows = predictions(planned, planned.run().id, "evaluation")
    rows = rows[rows["target"] == "granted"]
    found = (rows["p_granted"] > 0.5).groupby(rows["group"]).mean().sort_values()
    said = next(m.value for m in shown(planned, "audit").markdown if "a gap of" in m.value)
    percents = [float(p) for p in re.findall(r"([\d.]+) %", said)]
    assert percents[:2] == pytest.approx([100 * found.iloc[-1], 100 * found.iloc[0]], abs=0.051)
    gap, low, high = (float(p) for p in re.findall(r"([\d.]+) points", said)[:3])
    assert gap == pytest.approx(100 * (found.iloc[-1] - found.iloc[0]), abs=0.051)
    assert low < gap < high
    assert f"n = {len(rows):,}" in said


def test_a_moved_threshold_counts_anew(planned, shown):
    at = shown(planned, "audit")
    slider = next(s for s in at.slider if s.key == "audit.threshold")
    assert slider.value == 0.5
    slider.set_value(0.8)
    drawn(at)
    rows = predictions(planned, planned.run().id, "evaluation")
    here = rows[rows["group"] == "B"]
    real, cut = (here["target"] == "granted").to_numpy(), (here["p_granted"] >= 0.8).to_numpy()
    said = next(t.value for t in at.dataframe if "True positive rate" in t.value).set_index("group").loc["B"]
    for name, share in (
        ("Selection rate", cut.mean()),
        ("True positive rate", cut[real].mean()),
        ("False positive rate", cut[~real].mean()),
    ):
        assert float(re.match(r"([\d.]+) %", said[name]).group(1)) == pytest.approx(100 * share, abs=0.051), name


def test_why_leads_to_the_question(planned, shown):
    at = press(shown(planned, "audit"), "Why?")
    assert at.title[0].value == "Influence"
    assert at.selectbox(key="influence.query").value == "equal_opportunity_gap"


def test_scores_are_asked_for_shown_and_lead_to_a_selection(fresh, shown):
    at = press(shown(fresh, "influence"), "Score training rows")
    work(fresh)
    drawn(at)
    result = next(job for job in process_jobs(fresh) if job.action == "attribute").result
    scores, run = fresh.scores(result["scores"]), fresh.run()
    assert SIGN in text(at)
    assert "▼ negative" in text(at)
    order = np.argsort(scores.column(), kind="stable")
    rows = table(at, "id", "score")
    assert rows["id"].tolist() == scores.ids[order[: len(rows)]].tolist()
    assert rows["score"].to_numpy() == pytest.approx(scores.column()[order[: len(rows)]])
    assert {"group", "income"} <= set(rows.columns)

    at.number_input(key="scored.finder.top_k.k").set_value(25)
    press(drawn(at), "Choose these rows")
    assert fresh.current().ids == tuple(scores.ids[order[:25]].tolist())
    assert fresh.current().reason["scores"] == result["scores"]
    assert "25 training rows" in text(at)

    combined(at, fresh, run)


def combined(at: AppTest, project: Project, run: Any) -> None:
    """Keep those of one group; undo; add rows by their ids; what is no id is refused and changes nothing."""
    top, train = project.current().ids, project.dataset(run.dataset).train
    in_b = set(train.ids[(train.columns["group"] == "B").to_numpy()].tolist())
    at.button_group(key="scored.finder").set_value(["where"])
    drawn(at)
    at.selectbox(key="scored.finder.where.column").set_value("group")
    at.text_input(key="scored.finder.where.value").set_value("B")
    at.selectbox(key="scored.how").set_value("Keep only those in both")
    press(drawn(at), "Choose these rows")
    assert project.current().ids == tuple(i for i in top if i in in_b)
    press(at, "Undo")
    assert project.current().ids == top

    other = [i for i in train.ids.tolist() if i not in top][:2]
    at.button_group(key="scored.finder").set_value(["rows"])
    drawn(at)
    at.text_input(key="scored.finder.rows.ids").set_value(", ".join(map(str, other)))
    at.selectbox(key="scored.how").set_value("Add to the selection")
    press(drawn(at), "Choose these rows")
    assert project.current().ids == (*top, *other)
    at.text_input(key="scored.finder.rows.ids").set_value("no such row")
    press(drawn(at), "Choose these rows")
    assert "are not among the training rows" in at.error[0].value
    assert project.current().ids == (*top, *other)


def process_jobs(project: Project) -> list[Any]:
    from influence import jobs

    return jobs.listed(project)


def test_scores_in_no_unit_are_said_to_rank_only(fresh, shown):
    at = shown(fresh, "influence")
    at.radio(key="influence.method").set_value("tracin")
    press(drawn(at), "Score training rows")
    work(fresh)
    assert "Rank only." in text(drawn(at))
    assert SIGN not in text(at)


def test_methods_and_questions_come_from_the_registries(planned, shown):
    from influence.registry import attribution, queries

    at = shown(planned, "influence")
    assert len(at.radio(key="influence.method").options) == len(attribution.classes)
    assert len(at.selectbox(key="influence.query").options) == len(queries.classes)


def test_plan_offers_to_prepare_and_says_what_it_costs(fresh, shown):
    at = shown(fresh, "plan")
    assert re.search(r"About 21 trainings at .* roughly", text(at))
    assert not at.slider
    press(at, "Prepare the preview")
    work(fresh)
    assert drawn(at).slider
    assert preview.kept(fresh, fresh.run().id, "group") is not None


def test_a_moved_slider_predicts_for_exactly_so_many_rows(planned, shown):
    run = planned.run()
    note = preview.kept(planned, run.id, "group")
    label = label_of(note)
    at = shown(planned, "plan")
    assert at.selectbox(key="plan.label").value == label
    slider = at.slider(key=f"plan.k.{run.id}")
    assert slider.min == 0
    for k in (7, 40):
        at.slider(key=f"plan.k.{run.id}").set_value(k)
        drawn(at)
        truth = preview.predicted(note, planned.scores(note["scores"]), ranked(planned, note, label)[:k].tolist())[label]
        row = table(at, "now", f"predicted without {k:,} rows").set_index("metric").loc[note["measured_labels"][label]]
        after = truth["measured_before"] + truth["measured_change"]
        assert float(row[f"predicted without {k:,} rows"]) == pytest.approx(after, abs=5.1e-4)
        low, high = (float(v.replace(MINUS, "-")) for v in row["95 % band"].split(" to "))
        assert (low, high) == pytest.approx([truth["measured_before"] + truth[f"measured_{end}"] for end in ("low", "high")], abs=5.1e-4)
        assert f"Without these {k:,} rows" in text(at)
    press(at, "Select these 40 rows")
    assert planned.current().ids == tuple(ranked(planned, note, label)[:40].tolist())
    assert "Predicted for exactly the 40 selected rows" in text(drawn(at))


def test_a_hand_made_selection_is_previewed_too(planned, shown):
    run = planned.run()
    note = preview.kept(planned, run.id, "group")
    ids = planned.dataset(run.dataset).train.ids[5:12].tolist()
    planned.choose(Selection(tuple(ids), reason={"rule": "rows", "words": "seven rows"}))
    at = shown(planned, "plan")
    truth = preview.predicted(note, planned.scores(note["scores"]), ids)
    rows = table(at, "predicted change").set_index("metric")
    for entry in truth.values():
        said = rows.loc[entry["measured_label"], "predicted change"].replace(MINUS, "-")
        assert float(said) == pytest.approx(entry["measured_change"], abs=1e-3)
    assert "seven rows" in text(at)


def test_a_selection_of_other_data_is_not_used(planned, shown):
    planned.choose(Selection(("no such row",)))
    assert "belongs to other data" in text(shown(planned, "plan"))
    planned.undo()


def test_really_retrained_models_stand_on_the_same_picture(planned, shown):
    at = shown(planned, "plan")
    assert "Orange dots" not in text(at)
    assert re.search(r"\d+ real trainings, roughly", text(at))
    press(at, "Check against real retraining")
    work(planned)
    assert "Orange dots" in text(drawn(at))


def test_one_plans_on_the_original(unlearned, shown):
    project, run = unlearned
    at = shown(project, "plan", run=run)
    assert "Plans are made on the model it came from" in text(at)
    assert not at.slider


def test_compare_without_an_unlearned_model_says_what_to_do(planned, shown):
    assert "Nothing was unlearned from this model yet" in text(shown(planned, "compare"))


def test_compare_says_what_the_models_do(unlearned, shown):
    project, run = unlearned
    at = shown(project, "compare")
    if any(b.label == "Compare" for b in at.button):
        press(at, "Compare")
        work(project)
        drawn(at)
    assert "Claim level **L1" in text(at)
    before, after = predictions(project, project.run().id, "holdout"), predictions(project, run, "holdout")
    said = [(rows["p_granted"] > 0.5).to_numpy() for rows in (before, after)]
    flipped, right = said[0] != said[1], (after["target"] == "granted").to_numpy()
    sentence = next(m.value for m in at.markdown if m.value.startswith("**Unlearned**"))
    assert f"{flipped.sum()} prediction" in sentence
    assert f"of {len(after):,} differ" in sentence
    assert f"{(flipped & (said[1] == right)).sum()} became right" in sentence
    tile = next(m for m in at.metric if m.label == "Accuracy")
    assert float(tile.value) == pytest.approx((said[1] == right).mean(), abs=5.1e-4)
    assert float(tile.delta) == pytest.approx((said[1] == right).mean() - (said[0] == right).mean(), abs=5.1e-4)
    roles = {"original", "unlearned", "retrained"}
    assert roles <= set(table(at, "name", "original").columns)
    assert {"unlearned", "retrained"} <= set(table(at, "metric", "predicted").columns)
    assert table(at, "metric", "retrained", "n").set_index("metric")["n"].eq(60).all(), "forgetting is measured on the 60 removed rows"


def test_report_is_written_shown_and_its_records_checked(unlearned, shown):
    project, run = unlearned
    if project.noted(f"compare/{run}") is None:
        perform("compare", project, {"run": run, "group": "group"})
    at = press(shown(project, "report"), "Write the report")
    work(project)
    drawn(at)
    assert at.get("download_button")
    count = len(project.records())
    assert f"The chain of {count} records holds" in text(at)
    assert len(table(at, "no.", "hash")) == count


def test_a_changed_record_breaks_the_chain(fresh, shown):
    assert "holds" in text(shown(fresh, "report"))
    with sqlite3.connect(fresh.path / "catalogue.sqlite") as connection:
        names = [n for (n,) in connection.execute("select name from sqlite_master where type = 'trigger'")]
        for name in names:
            connection.execute(f"drop trigger {name}")
        connection.execute("update record set body = replace(body, 'loans', 'loams')")
    connection.close()
    assert "The chain of records does not hold" in text(shown(fresh, "report"))


def test_a_numeric_target_goes_through_audit_and_influence(tmp_path, shown):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=400), "b": rng.normal(size=400), "group": rng.choice(["x", "y"], 400)})
    frame["out"] = 2 * frame["a"] + np.where(frame["group"] == "x", 0.1, 1.5) * rng.normal(size=400)
    frame.to_csv(tmp_path / "numbers.csv", index=False)
    project = Project(tmp_path / "p")
    perform("train", project, {"data": str(tmp_path / "numbers.csv"), "target": "out", "protected": ["group"], "set": {"epochs": 5}})
    at = shown(project, "audit")
    assert "a gap of" in text(at)
    assert not at.slider
    press(at, "Why?")
    assert at.selectbox(key="influence.query").value == "group_loss_gap"


def test_without_a_group_column_audit_says_so(tmp_path, shown):
    project = Project(tmp_path / "p")
    perform("train", project, {"data": "bundled:breast_cancer", "set": {"epochs": 3}})
    run = project.run()
    at = shown(project, "audit")
    if not run.body.get("groups"):
        assert "No group column was named" in text(at)
    else:
        assert "How does it treat groups?" in text(at)
