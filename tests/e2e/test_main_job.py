"""The main job in a real browser: from data to a report, on images and on an uploaded table, as a user does it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from influence import jobs
from influence.store import Project

COMPAS_DROPS = (
    "is_recid", "is_violent_recid", "event", "start", "end",
    "decile_score", "score_text", "v_decile_score", "v_score_text", "propublica_filter",
)  # fmt: skip


def audited(w) -> None:
    w.follow("See its groups on Audit", "audit").sees("How does it treat groups?")


def asked(w, question: str = "") -> None:
    """From Audit to scored rows of which the top ones are chosen; the question that Audit asks, or another."""
    if question:
        w.open("influence").choose("Ask about", question).press("Score training rows")
    else:
        w.follow("Why?", "influence")
    w.sees("Rows behind").settle()
    w.press("Choose these rows").sees("training rows").settle()


def planned(w) -> int:
    """Prepare the preview, move the slider by keys, select what it shows; return how many rows."""
    w.follow("Plan the removal", "plan").press("Prepare the preview").sees("Training rows removed").settle()
    slider, button = w.page.get_by_role("slider").first, w.page.get_by_role("button", name=re.compile("Select these"))
    before = rows_of(button)
    slider.focus()
    slider.press("ArrowRight")
    w.sees(f"Select these {before + 1:,} rows")
    button.click()
    w.sees(f"{before + 1:,} training rows").settle()
    return before + 1


def rows_of(button) -> int:
    return int(re.search(r"these ([\d,]+) rows", button.inner_text()).group(1).replace(",", ""))


def compared(w) -> None:
    """From the end of a run to Compare with its figures."""
    w.follow("Compare it", "compare").press("Compare").sees("Change from the original").settle()
    assert re.search(r"n = \d", w.text())
    w.page.get_by_text("Forgotten rows", exact=True).click()
    w.sees("On the removed rows themselves").settle()


def reported(w) -> str:
    """Write the report, download it, and return it."""
    w.follow("Write the report", "report").press("Write the report").sees("Download the report")
    with w.page.expect_download() as download:
        w.press("Download the report")
    w.sees(re.compile(r"The chain of \d+ records? holds"))
    return Path(download.value.path()).read_text(encoding="utf-8")


@pytest.mark.slow
def test_digits_from_data_to_report(server, opened):
    w = opened(server).open("load")
    w.page.get_by_text("Digits", exact=True).click()
    w.settle().enter("Flip", "0.1").sees("Simulated data")
    w.press("Train").sees("Trained in")
    audited(w)
    assert "ink_level" in w.page.inner_text("body")
    asked(w, "Group loss gap")
    n = planned(w)
    w.follow("Unlearn these", "run").sees(f"{n:,} rows")
    w.page.get_by_text("not recommended").click()
    w.page.get_by_text("Finetune", exact=True).click()
    w.settle().enter("Epochs", "1000")
    w.press("Start unlearning").sees("Rows to forget")
    resumed_and_shared(w, opened(server))
    w.page.get_by_text("What and how").click()
    w.page.get_by_text("not recommended").click()  # a reload hides them again
    w.page.get_by_text("Finetune", exact=True).click()
    w.settle().enter("Epochs", "5").press("Start unlearning").sees("is ready after")
    compared(w)
    page = reported(w)
    assert "<script" not in page
    assert "digits" in page
    assert "inetun" in page
    assert not re.search(r"""(src|href)=["']https?://""", page), "the report fetches something"
    assert Project(server.project).check() == []


def resumed_and_shared(w, other) -> None:
    """In mid-run: a reload shows the run go on, and so does the address in another browser, which may cancel it for both."""
    id = re.search(r"job=([^&]+)", w.page.url).group(1)
    w.page.reload()
    w.sees("Cancel").sees("Rows to forget")
    assert id in w.page.url
    other.page.goto(w.page.url)
    other.sees("Cancel").sees("Rows to forget").press("Cancel")
    w.sees("was cancelled after")


@pytest.mark.slow
def test_compas_uploaded_from_data_to_report(server, opened, lethe_data):
    w = opened(server).open("load", "?source=Upload")
    w.page.locator("input[type=file]").set_input_files(lethe_data / "compas.parquet")
    w.sees("2 Columns").settle()
    w.choose("Target", "two_year_recid").choose("Protected columns", "race", "sex").choose("Leave out", *COMPAS_DROPS)
    w.press("Check").sees("can be trained")
    w.press("Train").sees("Trained in")
    audited(w)
    w.sees(re.compile("African-American"))
    asked(w)
    n = planned(w)
    w.follow("Unlearn these", "run").sees(f"{n:,} rows")
    w.press("Start unlearning").sees("is ready after")
    compared(w)
    page = reported(w)
    assert "compas" in page
    assert "race" in page
    run = Project(server.project).run()
    assert not {"is_recid", "event"} & {c["name"] for c in Project(server.project).dataset(run.dataset).columns if c.get("input")}


@pytest.mark.slow
def test_what_is_selected_in_one_browser_is_seen_in_another(trained, opened):
    here, there = opened(trained).open("influence"), opened(trained)
    here.choose("Ask about", "Loss").page.get_by_text("Other methods", exact=True).click()
    here.settle().choose("Other methods", "TracIn")
    here.press("Score training rows").sees("Rows behind").settle()
    here.press("Choose these rows").sees("100 training rows").settle()
    there.open("plan")
    there.page.get_by_test_id("stSidebar").get_by_text("100 rows selected").first.wait_for()  # links are drawn after the text around them
    there.open("influence").sees("100 training rows").press("Clear").settle()
    here.open("influence").sees("No rows are selected yet")


def test_trust_is_measured_on_the_page_and_kept(trained, opened):
    w = opened(trained).open("influence")
    w.choose("Ask about", "Group loss gap").sees("Difference between groups in the mean loss").settle()  # else another is scored
    w.press("Score training rows").sees("was not measured yet").settle()
    w.press("Measure").sees(re.compile(r"LDS .?\d.* at 1.%, same seed, 32 retrainings")).settle()
    w.page.reload()
    w.sees(re.compile("LDS ")).settle()
    w.page.get_by_role("button", name="How true is this?").click()
    w.page.get_by_text("No training needed: the retrained models are kept").wait_for()
    w.check()


def test_cancel_ends_a_job_at_once_and_changes_nothing(trained, opened):
    project = Project(trained.project)
    before = [run.id for run in project.runs()], len(project.records())
    w = opened(trained).open("load")
    w.page.get_by_text("Digits", exact=True).click()
    w.settle().page.get_by_text("CNN", exact=True).click()
    w.settle().enter("Epochs", "1000").press("Train").sees(re.compile("Training: Train"))
    job = next(job for job in jobs.listed(project) if job.action == "train" and not job.over)
    asked = clicked(w)
    while not jobs.get(project, job.id).over:
        w.page.wait_for_timeout(20)
    ended = jobs.get(project, job.id)
    assert ended.state == "cancelled"
    assert ended.ended - asked <= 2.0
    w.sees("was cancelled after").sees("Start again")
    assert ([run.id for run in project.runs()], len(project.records())) == before
    assert project.check() == []


def clicked(w) -> float:
    """Press Cancel; return when, in seconds since 1970."""
    at = time.time()
    w.press("Cancel")
    return at
