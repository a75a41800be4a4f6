"""Forgetting as it is watched: several methods in a race, a pause, a reload in mid-run, and the way back to a step."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from influence import jobs
from influence.actions import _steps
from influence.store import Project
from influence.types import Selection
from influence.ui import words
from scripts.drive import WAIT

METHODS = "Methods, at their default settings"


@pytest.fixture
def chosen(trained):
    """Thirty rows are selected, other ones in each test."""
    project = Project(trained.project)
    run = project.run()
    gone = {i for other in project.runs() for i in other.body.get("removed", ())}
    ids = tuple(i for i in project.dataset(run.dataset).train.ids.tolist() if i not in gone)[:30]
    project.choose(Selection(ids, reason={"rule": "ids given", "dataset": run.dataset}))
    return project


@pytest.mark.slow
def test_three_methods_race_and_the_table_fills_in(trained, chosen, opened):
    w = opened(trained).open("run")
    w.page.get_by_text("Race several", exact=True).click()
    w.settle()
    box = w.page.get_by_role("combobox", name=METHODS)
    box.focus()
    for _ in range(2):  # those that are chosen at first
        box.press("Backspace")
    w.settle().choose(METHODS, *(words.title(name) for name in ("retrain", "influence_step", "finetune")))
    w.press("Start 3 methods").sees("Methods on these rows")
    w.page.wait_for_function("() => !document.querySelector('[data-testid=\"stProgress\"]')")
    w.sees("Look closer at").sees("is ready after").settle()
    assert w.page.locator(".dvn-scroller").first.evaluate("e => e.scrollWidth <= e.clientWidth"), "no column is out of view"
    made = [run for run in chosen.runs() if run.kind == "unlearn"]
    assert len(made) == 3
    assert len({run.body.get("retrained") or run.id for run in made}) == 1
    w.sees("Distance from the retrained model")
    w.page.reload()
    w.sees("Methods on these rows").sees("Look closer at").settle()


def until(w, true) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it did not happen"
        w.page.wait_for_timeout(50)


def start(w, epochs: str) -> None:
    """Start a fine-tuning."""
    if not w.page.get_by_text("Finetune", exact=True).count():
        w.page.get_by_text("not recommended").click()
    w.page.get_by_text("Finetune", exact=True).click()
    w.settle().enter("Epochs", epochs).press("Start unlearning")


def slow(w, epochs: str = "1000") -> str:
    """Start a long fine-tuning; return the job's id."""
    start(w, epochs)
    w.sees("Rows to forget").sees("Pause")
    return re.search(r"job=([^&]+)", w.page.url).group(1)


def test_a_run_is_paused_reloaded_resumed_and_cancelled(trained, chosen, opened):
    w = opened(trained).open("run")
    id = slow(w)
    until(w, lambda: jobs.get(chosen, id).stage == "finetune" and jobs.get(chosen, id).done)
    w.press("Pause").sees("paused").sees("Go on")
    w.page.wait_for_timeout(600)
    still = jobs.get(chosen, id).done
    w.page.reload()
    w.sees("Rows to forget").sees("Go on").settle()
    assert jobs.get(chosen, id).done == still > 0
    w.press("Go on")
    until(w, lambda: jobs.get(chosen, id).done > still)
    w.press("Pause").sees("Go on")
    w.press("Cancel").sees("was cancelled after")
    assert jobs.get(chosen, id).state == "cancelled"


@pytest.mark.slow
def test_a_kept_step_is_taken_as_the_result(trained, chosen, opened):
    w = opened(trained).open("run")
    start(w, "2")
    w.sees("is ready after").sees("On the way").settle()
    slider, take = w.page.get_by_role("slider").first, w.page.get_by_role("button", name=re.compile("Take step")).first
    usual = take.inner_text()
    slider.focus()
    slider.press("ArrowRight")
    expect(take).not_to_have_text(usual, timeout=WAIT)
    w.settle()
    before = len(chosen.runs())
    step = int(re.search(r"step ([\d,]+)", take.inner_text()).group(1).replace(",", ""))
    w.press("Take step").sees(re.compile("is now a model of its own")).settle()
    new = chosen.runs()[0]
    assert len(chosen.runs()) == before + 1
    assert (new.body["step"]["at"], new.body["claim"]) == (step, "L1")
    assert _steps.held(chosen, new.body["step"]["run"])
