"""Evidence in a real browser, by keyboard alone: pinned on two pages, noted, made the selection, found on Plan and in the report."""

from __future__ import annotations

import re

import pytest

from influence.actions import perform
from influence.store import Project
from scripts.drive import serve

NOTE = 'Entered by hand in 2018: <b>ask</b> the *branch* & "why"'


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A server on a project whose patterns were searched for and whose preview is prepared."""
    folder = tmp_path_factory.mktemp("evidence") / "project"
    project = Project(folder)
    perform("train", project, {"data": "bundled:loans", "data_set": {"n": 1500}, "set": {"epochs": 3}})
    perform("suspects", project, {"query": "equal_opportunity_gap", "limit": 20})
    perform("prepare", project, {"group": "group"})
    with serve(folder) as running:
        yield running


def pressed(w, name: str) -> None:
    """Press a button by Enter, as whoever has no mouse does."""
    button = w.page.get_by_test_id("stMain").get_by_role("button", name=re.compile(f"^(keep )?{name}")).first
    button.wait_for()
    button.focus()
    w.page.keyboard.press("Enter")
    w.settle()


def dark(w) -> bool:
    said = w.page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    return sum(map(int, re.findall(r"\d+", said)[:3])) < 382


@pytest.mark.slow
def test_pins_become_the_selection_and_the_report_by_keyboard_alone(searched, opened):
    w, project = opened(searched), Project(searched.project)
    w.page.emulate_media(color_scheme="dark")
    w.open("audit").sees("How does it treat groups?").settle()
    assert dark(w)
    pressed(w, "Pin this")
    w.open("suspects", "?query=equal_opportunity_gap").sees("Patterns behind").settle()
    pressed(w, "Pin this")
    assert [pin.kind for pin in project.pins.listed()] == ["gap", "pattern"]
    pattern = project.pins.listed()[1]

    w.open("evidence").sees(pattern.title)
    w.page.get_by_role("checkbox", name="Take its rows").focus()
    w.page.keyboard.press("Space")
    w.settle()
    w.page.get_by_label("Note: why is this here?").nth(1).focus()
    w.page.keyboard.type(NOTE)
    w.page.keyboard.press("Tab")
    w.settle()
    assert project.pins.listed()[1].note == NOTE
    w.sees("1 pin ticked")
    pressed(w, "Make these the selection")
    w.sees("Plan the removal of these rows").sees(f"{len(project.current()):,} training rows")

    link = w.page.get_by_role("link", name="Plan the removal of these rows")
    link.focus()
    w.page.keyboard.press("Enter")
    w.sees("pinned on Suspects").settle()
    w.page.reload()
    w.sees("pinned on Suspects").settle()

    w.page.emulate_media(color_scheme="light")
    w.open("report")
    assert not dark(w)
    pressed(w, "Write the report")
    w.sees("Download the report")
    html = next((searched.project / "reports").glob("*.html")).read_text()
    assert "Entered by hand in 2018: &lt;b&gt;ask&lt;/b&gt; the *branch* &amp;" in html
    assert "<b>ask" not in html
    shown = w.page.get_by_test_id("stMain").frame_locator("iframe").first
    shown.get_by_text("Entered by hand in 2018").wait_for()

    w.open("evidence").sees("Entered by hand in 2018")
    with w.page.expect_navigation(url=re.compile("/suspects")):
        w.page.get_by_role("link", name="Open where it was found").nth(1).focus()
        w.page.keyboard.press("Enter")
    w.sees("Patterns behind").settle()
    assert "query=equal_opportunity_gap" in w.page.url


@pytest.mark.slow
def test_a_copied_link_shows_the_same_in_another_browser(searched, opened):
    first = opened(searched).open("suspects", "?query=equal_opportunity_gap")
    first.sees("Patterns behind")
    first.page.get_by_role("radio", name="3", exact=True).or_(first.page.get_by_role("button", name="3", exact=True)).first.click()
    first.sees("Search for patterns").settle()
    assert "suspects.conditions=3" in first.page.url
    second = opened(searched)
    second.page.goto(first.page.url)
    second.sees("Search for patterns").settle()
    assert second.page.url == first.page.url
