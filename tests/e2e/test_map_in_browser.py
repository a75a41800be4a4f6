"""The map in a real browser: a lasso, keys and a box choose rows, and whoever comes next sees the selection."""

from __future__ import annotations

import math
import re

import pytest

from influence.actions import coordinates, perform
from influence.finders.polygon import Polygon
from influence.store import Project
from scripts import browser
from scripts.drive import window

FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


@pytest.fixture
def drawing(chrome, trained):
    """A window of a browser that draws WebGL with the processor."""
    started = chrome.browser_type.launch(executable_path=browser.find(), args=FLAGS)
    with window(started, trained.url) as w:
        yield w
        w.check()
    started.close()


def counted(w) -> int:
    """The number of rows inside that the page tells."""
    w.sees(re.compile(r"training rows? inside \(")).settle()
    return int(re.search(r"([\d,]+) training rows? inside \(", w.text()).group(1).replace(",", ""))


@pytest.mark.slow
def test_a_lasso_on_the_map_becomes_the_selection(trained, drawing):
    project, w = Project(trained.project), drawing
    query = {"query": "equal_opportunity_gap", "query_set": {"group": "group"}}
    perform("attribute", project, {**query, "method": "metagradient"})
    w.open("influence", "?query=equal_opportunity_gap").sees("Each point is a training row").settle()
    canvas, page = w.page.locator(".map canvas"), w.page
    canvas.scroll_into_view_if_needed()
    page.locator('.map canvas[aria-label*="coloured by predicted change if removed; 0 are selected"]').wait_for()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x + 150, y)
    page.mouse.down()
    for step in range(1, 40):
        page.mouse.move(x + 150 * math.cos(step / 6.3), y + 120 * math.sin(step / 6.3))
    page.mouse.up()
    n = counted(w)
    w.press("Use these").settle()
    page.get_by_test_id("stSidebar").get_by_text(f"{n:,} rows selected").first.wait_for()
    chosen = project.current()
    assert len(chosen) == n > 0
    places = project.scores(coordinates.kept(project, project.run().id)["coordinates"])
    assert chosen.reason["coordinates"] == coordinates.kept(project, project.run().id)["coordinates"]
    assert Polygon(chosen.reason["outline"])(places, project.dataset(project.run().dataset).train).ids == chosen.ids
    view = [float(part) for part in page.locator(".map").get_attribute("data-view").split()]
    mine = [  # what lies inside the circle drawn, from the view that the map tells, by its own formula
        math.hypot(((px - view[0]) / view[2] * box["width"] / 2) / 150, ((py - view[1]) / view[3] * box["height"] / 2) / 120) < 1
        for px, py in places.values.tolist()
    ]
    assert abs(sum(mine) - n) <= max(3, 0.02 * n), "but for rows on the line"
    canvas.focus()
    page.keyboard.press("Enter")
    w.sees(f"{len(places.ids):,} training rows inside")
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("Enter")
    w.settle()
    assert 0 < counted(w) < len(places.ids)
    page.keyboard.press("Escape")
    w.sees("Nothing is outlined yet")
    page.reload()
    w.sees("Each point is a training row").settle()
    page.locator(f'.map canvas[aria-label*="; {n:,} are selected"]').wait_for()  # the script runs after the page is drawn
