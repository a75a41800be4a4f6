"""The frame of the app and the pages Start, Load and Run, drawn as Streamlit draws them; and what holds for every page."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from influence import actions, jobs
from influence.actions import perform
from influence.jobs import process, worker
from influence.store import Project
from influence.store.catalogue import job as job_table
from influence.types import Event, Selection
from influence.ui import site

MAIN = Path(__file__).parents[1] / "influence/ui/main.py"
SMALL = {"data": "bundled:loans", "data_set": {"n": 1500}, "set": {"epochs": 4, "batch_size": 64}}
PAGES = sorted(path.stem for path in site.PAGES.glob("*.py"))
Draw = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def no_worker(monkeypatch):
    """Jobs are queued by the pages, and done here by `work`: no process is started."""
    monkeypatch.setattr(process, "start", lambda folder: None)
    monkeypatch.delenv("INFLUENCE_DEMO", raising=False)


@pytest.fixture
def empty(tmp_path) -> Project:
    return Project(tmp_path / "empty")


@pytest.fixture
def fresh(tmp_path) -> Project:
    """A project with one small model and 40 rows selected."""
    project = Project(tmp_path / "fresh")
    perform("train", project, SMALL)
    return choose_rows(project)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Project:
    """As `fresh`; tests do not change it."""
    project = Project(tmp_path_factory.mktemp("trained") / "p")
    perform("train", project, SMALL)
    return choose_rows(project)


def choose_rows(project: Project, n: int = 40) -> Project:
    run = project.run()
    ids = project.dataset(run.dataset).train.ids[:n].tolist()
    project.choose(Selection(tuple(ids), reason={"rule": "first", "words": f"the first {n} rows", "dataset": run.dataset}))
    return project


@pytest.fixture
def shown(monkeypatch) -> Iterator[Draw]:
    """Draws a page of a project."""

    def draw(project: Project, page: str = "start", **params: str) -> AppTest:
        monkeypatch.setenv("INFLUENCE_PROJECT", str(project.path))
        at = AppTest.from_file(str(MAIN), default_timeout=60)
        for name, value in params.items():
            at.query_params[name] = value
        if page != "start":
            at.switch_page(str(site.PAGES / f"{page}.py"))
        return drawn(at)

    yield draw
    st.cache_resource.clear()


def drawn(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception, at.exception
    return at


def to(at: AppTest, page: str) -> AppTest:
    at.switch_page(str(site.PAGES / f"{page}.py"))
    return drawn(at)


def text(at: AppTest) -> str:
    kinds = (at.title, at.markdown, at.caption, at.info, at.warning, at.error, at.success, at.subheader)
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\\", "")


def address(at: AppTest, name: str) -> str:
    return "".join(at.query_params.get(name, ""))


def press(at: AppTest, label: str) -> AppTest:
    next(b for b in at.main.button if b.label == label).click()
    return drawn(at)


def links(at: AppTest) -> dict[str, str]:
    return {link.proto.label: link.proto.page for link in at.main.get("page_link")}


def claim(project: Project) -> worker.Task:
    claimed = worker.claim(project)
    assert claimed is not None
    return worker.Task(project, claimed)


def work(project: Project) -> jobs.Job:
    """Do the job that waits longest, as a worker does."""
    claimed = worker.claim(project)
    assert claimed is not None
    with process.hold(project.path) as lock:  # type: ignore[union-attr]
        worker.Worker(project, actions, lock)._work(claimed)
    return jobs.get(project, claimed.id)


# --- every page


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_an_empty_project_says_what_to_do(empty, shown, page):
    at = shown(empty, page)
    assert [t.value for t in at.title] == [next(p.title for p in site.MAP if p.name == page)]
    assert len([b for b in at.button if b.proto.type == "primary"]) <= 1
    assert page in ("start", "load") or {"Open the demo", "Bring your data"} <= set(links(at))
    assert not jobs.listed(empty)
    assert not empty.runs()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_a_trained_project_has_its_frame(trained, shown, page):
    at = shown(trained, page)
    assert [t.value for t in at.title] == [next(p.title for p in site.MAP if p.name == page)]
    assert len([b for b in at.button if b.proto.type == "primary"]) <= 1
    assert "Simulated data" in text(at)
    assert address(at, "run") == trained.run().id
    assert address(at, "group") == "group"
    assert "40 rows selected" in [link.proto.label for link in at.sidebar.get("page_link")]


@pytest.mark.parametrize("page", PAGES)
def test_a_run_that_does_not_exist_is_said(trained, shown, page):
    at = shown(trained, page, run="train-00000000", group="nothing")
    assert any("There is no run train-00000000" in w.value for w in at.sidebar.warning)
    assert address(at, "run") == trained.run().id
    assert address(at, "group") == "group"


def test_an_absent_page_does_not_break_the_others(trained, shown, tmp_path, monkeypatch):
    (tmp_path / "start.py").write_text((site.PAGES / "start.py").read_text())
    monkeypatch.setattr(site, "PAGES", tmp_path)
    assert shown(trained).title[0].value == "Start"


def test_the_run_and_the_group_are_carried_from_page_to_page(fresh, shown):
    first = fresh.run().id
    perform("train", fresh, {"data": "bundled:breast_cancer", "set": {"epochs": 2}})
    at = shown(fresh, "load", run=first)
    assert address(at, "run") == first
    at.query_params.clear()  # as a switch by the navigation does
    assert address(to(at, "start"), "run") == first
    at.sidebar.selectbox(key="choice.run").set_value(fresh.run().id)
    drawn(at)
    assert address(at, "run") == fresh.run().id
    assert address(at, "group") == "size"


def test_rows_of_other_data_are_not_the_selection(fresh, shown):
    first = fresh.run().id
    assert "40 rows selected" in [link.proto.label for link in shown(fresh).sidebar.get("page_link")]
    perform("train", fresh, {"data": "bundled:breast_cancer", "set": {"epochs": 2}})
    assert "No rows are selected" in text(shown(fresh, "run"))
    assert "40 rows" in text(shown(fresh, "run", run=first))


def test_the_first_page_needs_no_torch(trained):
    code = f"""
import sys
from streamlit.testing.v1 import AppTest
from influence.ui import warm
warm.once = lambda path, project: None
at = AppTest.from_file({str(MAIN)!r}, default_timeout=60).run()
assert not at.exception and at.title[0].value == "Start"
print(sorted({{"torch", "sklearn", "captum"}} & set(sys.modules)))
"""
    env = {"INFLUENCE_PROJECT": str(trained.path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], cwd=MAIN.parents[2], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


# --- start


def test_one_click_opens_the_demo(empty, shown):
    at = press(shown(empty), "Open the demo")
    asked = jobs.listed(empty)
    assert [(j.action, j.state) for j in asked] == [("demo", "queued")]
    assert any("Training the demo model" in p.proto.text for p in at.main.get("progress"))
    assert next(b for b in at.main.button if b.label == "Open the demo").disabled
    assert work(empty).state == "done"
    drawn(at)
    assert at.title[0].value == "Audit"
    assert address(at, "run") == empty.run().id
    assert to(at, "start").title[0].value == "Start"  # and does not lead away again
    assert press(at, "Open the demo").title[0].value == "Audit"
    assert len(jobs.listed(empty)) == 1


def test_a_server_started_for_the_demo_trains_it_by_itself(empty, shown, monkeypatch):
    monkeypatch.setenv("INFLUENCE_DEMO", "1")
    shown(empty)
    shown(empty)
    assert [j.action for j in jobs.listed(empty)] == ["demo"]
    work(empty)
    assert shown(empty).title[0].value == "Start"
    assert len(jobs.listed(empty)) == 1


def test_start_lists_runs_with_their_figures(trained, shown):
    run = trained.run()
    rows = shown(trained).dataframe[0].value
    figures = run.body["metrics"]["intervals"]["accuracy"]
    assert rows["id"].tolist() == [run.id]
    assert rows["Training rows"].tolist() == [run.body["n"]["train"]]
    assert rows["Accuracy or R²"][0].startswith(f"{figures['value']:.3f} ({figures['low']:.3f} to {figures['high']:.3f}), n = ")


# --- load


CSV = pd.DataFrame({"age": [*range(20, 70)] * 4, "sex": ["a", "b"] * 100, "y": [0, 0, 1, 1] * 50})


def uploaded(shown: Draw, project: Project, name: str = "people.csv", content: bytes | None = None) -> AppTest:
    at = shown(project, "load", source="Upload")
    at.file_uploader[0].set_value((name, CSV.to_csv(index=False).encode() if content is None else content, "text/csv"))
    return drawn(at)


def fill(at: AppTest, label: str, value: Any) -> AppTest:
    kinds = (at.selectbox, at.multiselect, at.number_input, at.slider)
    next(widget for kind in kinds for widget in kind if widget.label == label).set_value(value)
    return drawn(at)


def test_a_bundled_set_is_trained(empty, shown):
    at = shown(empty, "load")
    fill(fill(at, "Rows", 1000), "Epochs", 3)
    press(at, "Train")
    job = jobs.get(empty, address(at, "job"))
    assert job.args["data_set"]["n"] == 1000
    assert job.args["set"]["epochs"] == 3
    assert "batch_size" not in job.args["set"]
    assert work(empty).state == "done"
    drawn(at)
    run = empty.run()
    figures = run.body["metrics"]["intervals"]["accuracy"]
    assert f"Accuracy {figures['value']:.3f} ({figures['low']:.3f} to {figures['high']:.3f}), n = {figures['n']}" in text(at)
    assert address(at, "run") == run.id
    assert links(at)["See its groups on Audit"] == "audit"


def test_an_upload_is_read_checked_and_trained(empty, shown):
    at = uploaded(shown, empty)
    kept = next((empty.path / "uploads").rglob("people.csv"))
    assert kept.read_bytes() == CSV.to_csv(index=False).encode()
    kinds = dict(zip(*(at.dataframe[1].value[name] for name in ("Column", "Kind")), strict=True))
    assert kinds == {"age": "numeric", "sex": "category", "y": "flag"}
    assert "may be protected: age, sex" in text(at)
    fill(fill(at, "Target", "y"), "Protected columns", ["sex"])
    parts = dict(zip(*(at.dataframe[1].value[name] for name in ("Column", "Part")), strict=True))
    assert parts == {"age": "input", "sex": "protected", "y": "target"}
    press(at, "Check")
    assert "Everything fits" in text(at)
    assert not jobs.listed(empty)
    press(at, "Train")
    job = work(empty)
    assert job.state == "done"
    run = empty.run(job.result["run"])
    assert (run.name, run.body["groups"]) == ("people", ["sex"])
    assert empty.dataset(run.dataset).target == "y"


BAD = {
    "empty.csv": b"",
    "header.csv": b"a,b\n",
    "pickled.csv": b"\x80\x04K\x01.",
    "noise.parquet": b"\x00\x01" * 50,
    "twice.csv": b"a,a\n1,2\n" * 30,
    "bare.csv": b"1,2,3\n4,5,6\n" * 30,
    "binary.csv": bytes(range(256)) * 20,
    "zipped.csv": b"PK\x03\x04" + b"../../evil.csv" * 20,
    "broken.parquet": b"PAR1" + b"x" * 400 + b"PAR1",
    "ragged.csv": b"a,b\n1,2\n1,2,3,4\n" * 20,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence_and_leaves_the_project_as_it_was(empty, shown, name):
    at = uploaded(shown, empty, name, BAD[name])
    assert len(at.error) == 1
    assert at.error[0].value.endswith(".")
    assert not (empty.path / "uploads").exists()
    assert [empty.runs(), empty.records(), jobs.listed(empty)] == [[], [], []]
    assert uploaded(shown, empty).selectbox  # and a good one is taken after it


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "No target is chosen"),
        ({"Target": "y", "Protected columns": ["sex"], "ID column": "sex"}, "it can be only one"),
        ({"Target": "y", "ID column": "sex"}, "ids"),
        ({"Target": "y", "Leave out": ["age", "sex"]}, "No column is left as an input"),
    ],
)
def test_bad_choices_are_one_sentence_and_the_form_stays(empty, shown, fields, sentence):
    at = uploaded(shown, empty)
    for label, value in fields.items():
        fill(at, label, value)
    for button in ("Check", "Train"):
        press(at, button)
        assert len(at.error) == 1
        assert sentence.lower() in at.error[0].value.replace("\\", "").lower()
    assert not jobs.listed(empty)
    for label, value in fields.items():
        assert next(w for kind in (at.selectbox, at.multiselect) for w in kind if w.label == label).value == value


def column(**changed) -> bytes:
    return CSV.assign(**changed).to_csv(index=False).encode()


UNFIT = {
    "one class": (column(y=1), {"Target": "y"}),
    "empty target": (column(y=None), {"Target": "y"}),
    "text as target": (column(y=[f"a long remark, number {i}" for i in range(len(CSV))]), {"Target": "y"}),
    "date as target": (column(y=pd.date_range("2020-01-01", periods=len(CSV)).astype(str)), {"Target": "y"}),
    "repeated ids": (column(key=1), {"Target": "y", "ID column": "key"}),
    "one group": (column(sex="A"), {"Target": "y", "Protected columns": ["sex"]}),
    "too few rows": (CSV.head(8).to_csv(index=False).encode(), {"Target": "y"}),
    "infinite values": (column(age=[float("inf") if i % 9 == 0 else i for i in range(len(CSV))]), {"Target": "y"}),
}


@pytest.mark.parametrize("name", UNFIT)
def test_data_that_do_not_fit_are_one_sentence_and_the_form_stays(empty, shown, name):
    content, fields = UNFIT[name]
    at = uploaded(shown, empty, "people.csv", content)
    for label, value in fields.items():
        fill(at, label, value)
    press(at, "Check")
    assert len(at.error) == 1, [e.value for e in at.error]
    assert len(at.error[0].value) > 30
    assert not jobs.listed(empty)
    assert next(w for w in at.selectbox if w.label == "Target").value == "y"


def test_the_form_is_kept_when_one_leaves_and_comes_back(empty, shown):
    at = uploaded(shown, empty)
    fill(fill(at, "Target", "y"), "Protected columns", ["sex"])
    fill(at, "Epochs", 5)
    to(at, "start")
    to(at, "load")
    values = {w.label: w.value for kind in (at.selectbox, at.multiselect, at.number_input) for w in kind}
    assert (values["Target"], values["Protected columns"], values["Epochs"]) == ("y", ["sex"], 5)


def test_a_second_browser_finds_the_uploaded_file_by_the_address(empty, shown):
    at = uploaded(shown, empty)
    other = shown(empty, "load", source="Upload", upload=address(at, "upload"))
    assert any(s.label == "Target" for s in other.selectbox)


def test_a_path_is_read_only_inside_open_folders(empty, shown, tmp_path, monkeypatch):
    assert "No folder is open" in text(shown(empty, "load", source="Path"))
    inside, outside = tmp_path / "open", tmp_path / "secret.csv"
    inside.mkdir()
    CSV.to_csv(inside / "people.csv", index=False)
    CSV.to_csv(outside, index=False)
    (inside / "link.csv").symlink_to(outside)
    monkeypatch.setenv("INFLUENCE_DATA_ROOTS", str(inside))
    at = shown(empty, "load", source="Path")
    path = next(s for s in at.selectbox if s.label == "CSV or Parquet file")
    assert path.options == ["link.csv", "people.csv"]
    path.set_value("people.csv")
    assert any(s.label == "Target" for s in drawn(at).selectbox)
    next(s for s in at.selectbox if s.label == "CSV or Parquet file").set_value("link.csv")
    drawn(at)
    assert "is no file inside an allowed folder" in text(at)
    assert not any(s.label == "Target" for s in at.selectbox)


# --- run


def started(shown: Draw, project: Project) -> tuple[AppTest, str]:
    at = shown(project, "run")
    press(at, "Start unlearning")
    return at, address(at, "job")


def test_unlearning_runs_and_leads_to_the_comparison(fresh, shown):
    run = fresh.run()
    at, id = started(shown, fresh)
    job = jobs.get(fresh, id)
    assert (job.action, job.args["run"], job.args["group"], job.args["method"]) == ("unlearn", run.id, "group", "retrain")
    assert work(fresh).state == "done"
    drawn(at)
    made = fresh.run(jobs.get(fresh, id).result["run"])
    gap = made.body["metrics"]["gaps"]["group"]["equal_opportunity_gap"]
    assert made.body["n_removed"] == 40
    assert "The model without 40 rows is ready" in text(at)
    assert f"{gap['value']:.3f} ({gap['low']:.3f} to {gap['high']:.3f}), n = {gap['n']} after" in text(at)
    assert links(at)["Compare it with the other models"] == "compare"


def heard(project: Project) -> worker.Task:
    """A job in the middle of its work."""
    task = claim(project)
    task.hear(Event("original", 1, 1, metrics={"original:accuracy": 0.8, "original:forget_loss": 0.2}))
    task.hear(Event("finetune", 5, 20, metrics={"accuracy": 0.75, "forget_loss": 0.5, "gap": 0.125}))
    task.write()
    return task


def test_a_run_is_followed_live_also_from_a_second_browser(fresh, shown):
    at, id = started(shown, fresh)
    with process.hold(fresh.path):
        task = heard(fresh)
        for page in (drawn(at), shown(fresh, "run", job=id), shown(fresh, "run")):
            bar = page.main.get("progress")[0].proto
            assert (bar.value, "5 of 20" in bar.text) == (25, True)
            assert "Accuracy 0.750 (original 0.800)" in text(page)
            assert "Rows to forget 0.500 (original 0.200)" in text(page)
            assert len(page.main.get("vega_lite_chart") or page.main.get("arrow_vega_lite_chart")) == 3
        task.hear(Event("finetune", 6, 20, metrics={"accuracy": 0.78}))
        task.write()
        assert "Accuracy 0.780 (original 0.800)" in text(drawn(at))


def test_a_run_is_cancelled(fresh, shown):
    at, id = started(shown, fresh)
    with process.hold(fresh.path):
        task = heard(fresh)
        press(drawn(at), "Cancel")
        assert task.since_cancel() > 0
        jobs.queue.finish(fresh, id, "cancelled")
        drawn(at)
    assert "was cancelled after" in text(at)
    press(at, "Start again")
    assert address(at, "job") != id
    assert jobs.get(fresh, address(at, "job")).state == "queued"


def test_a_killed_worker_is_noticed_and_the_job_can_be_started_again(fresh, shown):
    at, id = started(shown, fresh)
    heard(fresh)  # and nobody holds the lock any more
    with fresh.catalogue.write() as connection:
        connection.execute(update(job_table).where(job_table.c.id == id).values(heartbeat=time.time() - 60))
    drawn(at)
    assert jobs.get(fresh, id).state == "lost"
    assert len(at.error) == 1
    assert "Start the job again" in at.error[0].value
    press(at, "Start again")
    assert work(fresh).state == "done"
    assert "is ready after" in text(drawn(at))


def test_a_refusal_of_the_work_is_its_sentence(fresh, shown):
    train = fresh.dataset(fresh.run().dataset).train
    fresh.choose(Selection(tuple(train.ids[train.y == 0].tolist()), reason={"dataset": fresh.run().dataset}))
    at, _ = started(shown, fresh)
    assert work(fresh).state == "failed"
    drawn(at)
    assert len(at.error) == 1
    assert "would be removed" in at.error[0].value
    assert "Start again" in [b.label for b in at.main.button]


def test_the_tray_shows_jobs_on_every_page(fresh, shown):
    jobs.submit(fresh, "demo", {})
    at = shown(fresh, "load")
    assert any("Training the demo model" in p.proto.text for p in at.sidebar.get("progress"))
    work(fresh)
    assert any("Training the demo model: done" in c.value for c in drawn(at).sidebar.caption)
