"""From a gap between groups of two columns to the rows behind it, without a mouse."""

from __future__ import annotations

import re

import pytest

from influence.store import Project

TABS = 60
"""No control of the page is further than so many presses of the tabulator."""


def reached(w, role: str, name: str):
    """Press the tabulator until the control of this role and name has the focus."""
    for _ in range(TABS):
        w.page.keyboard.press("Tab")
        here = w.page.locator(":focus")
        if here.count() and here.evaluate(
            "(e, [role, name]) => (e.getAttribute('role') || e.tagName.toLowerCase()) === role"
            " && (e.getAttribute('aria-label') || e.innerText).includes(name)",
            [role, name],
        ):
            return here
    raise AssertionError(f"{TABS} presses of the tabulator reach no {role} {name!r}")


@pytest.mark.slow
def test_keys_lead_from_an_intersection_to_its_rows(trained, opened):
    w = opened(trained).open("audit")
    reached(w, "combobox", "Compare groups by")
    w.page.keyboard.type("year")
    w.page.keyboard.press("Enter")
    w.page.keyboard.press("Escape")
    w.settle().sees("with the lowest true positive rate")
    assert re.search(r"group=group\+%26\+year|group=group%20%26%20year", w.page.url)
    reached(w, "radio", "")  # the figures: arrows choose among them
    w.page.keyboard.press("ArrowRight")
    w.page.keyboard.press("Enter")
    w.settle().sees("says “granted” of")
    reached(w, "button", "Why?")
    w.page.keyboard.press("Enter")
    w.page.wait_for_url("**/influence**")
    w.sees("Rows behind").settle()
    found = next(iter(Project(trained.project).notes("scores/").values()))
    assert found["query"]["name"] == "demographic_parity_gap"
    assert found["query"]["given"]["group"] == "group & year"
    assert "Demographic-parity gap by group & year" in w.text()
