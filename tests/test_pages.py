"""The frame of the app and the pages Start and Run, drawn as Streamlit draws them; and what holds for every page."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from influence import jobs
from influence.actions import perform
from influence.jobs import process, worker
from influence.store import Project
from influence.store.catalogue import job as job_table
from influence.types import Event, Selection
from influence.ui import address as where
from influence.ui import site, words
from tests import drawing
from tests.drawing import MAIN, PAGES, Draw, address, claim, drawn, links, press, text, to, work

no_worker, empty, fresh, trained, shown = drawing.no_worker, drawing.empty, drawing.fresh, drawing.trained, drawing.shown


# --- every page


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_an_empty_project_says_what_to_do(empty, shown, page):
    at = shown(empty, page)
    assert [t.value for t in at.title] == [next(p.title for p in site.MAP if p.name == page)]
    assert len([b for b in at.button if b.proto.type == "primary"]) <= 1
    assert page in ("start", "load", "bring") or {"Open the demo", "Bring your data"} <= set(links(at))
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
def test_a_run_and_a_job_that_do_not_exist_are_said(trained, shown, page):
    at = shown(trained, page, run="train-00000000", group="nothing", job="nojob")
    assert [w.value.replace("\\", "") for w in at.sidebar.warning] == [
        "The address asks for the model “train-00000000”, which is not in this project; "
        f"{words.run_name(trained.run())} is shown.\n\n"
        "The address asks for groups by “nothing”, which these data cannot form; groups by group are shown.\n\n"
        "The address asks for the job “nojob”, which is not in this project; the page is shown without it."
    ]
    assert address(at, "run") == trained.run().id
    assert address(at, "group") == "group"


@pytest.mark.parametrize(
    ("url", "told"), [("http://x/nopage", "“nopage”"), ("http://x/p/audit", ""), ("http://x/proxy/8501/", ""), (None, "")]
)
def test_a_page_that_does_not_exist_is_said(url, told, monkeypatch):
    monkeypatch.setattr(where.st, "context", SimpleNamespace(url=url))
    said = where._unknown_page()
    assert said == (f"The address asks for the page {told}, which Lethe does not have; Start is shown." if told else "")


def test_a_class_that_does_not_exist_is_said(trained, shown):
    at = shown(trained, "audit", positive="maybe")
    assert any("asks for the class “maybe”, which is none of this target; rates speak of" in w.value for w in at.sidebar.warning)
    assert not shown(trained, "audit", positive=trained.dataset(trained.run().dataset).evaluation.classes[0]).sidebar.warning


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
    assert rows["Accuracy or R², holdout"][0].startswith(f"{figures['value']:.3f} ({figures['low']:.3f} to {figures['high']:.3f}), n = ")


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
    rows = fresh.put_selection(Selection(tuple(train.ids[train.y == 0].tolist()), reason={"dataset": fresh.run().dataset}))
    run = fresh.run().id
    id = jobs.submit(fresh, "unlearn", {"run": run, "method": "retrain", "set": {}, "selection": rows})
    assert work(fresh).state == "failed"
    at = shown(fresh, "run", run=run, job=id)
    assert len(at.error) == 1
    assert "would remain, and a model needs two classes" in at.error[0].value
    assert "Start again" in [b.label for b in at.main.button]


def test_the_tray_shows_jobs_on_every_page(fresh, shown):
    jobs.submit(fresh, "demo", {})
    at = shown(fresh, "load")
    assert any("Training the demo model" in p.proto.text for p in at.sidebar.get("progress"))
    work(fresh)
    assert any("Training the demo model: done" in c.value for c in drawn(at).sidebar.caption)


def test_the_tray_names_method_and_rows_with_the_running_job_first(fresh, shown):
    chosen = fresh.put_selection(fresh.current())
    for method, rows in (("finetune", chosen), ("retrain", chosen), ("scrub", "no-such-selection")):
        jobs.submit(fresh, "unlearn", {"method": method, "run": fresh.run().id, "selection": rows})
    with process.hold(fresh.path):
        claim(fresh)
        told = [p.proto.text for p in shown(fresh, "load").sidebar.get("progress")]
    assert told[0].startswith("Unlearning by Finetune, 40 rows: ")
    assert told[1:] == ["Unlearning by Retrain, 40 rows: waiting to start", "Unlearning by SCRUB: waiting to start"]
    first = jobs.listed(fresh)[1]
    jobs.cancel(fresh, first.id)
    assert any("Unlearning by Retrain, 40 rows: cancelled" in c.value for c in shown(fresh, "load").sidebar.caption)
