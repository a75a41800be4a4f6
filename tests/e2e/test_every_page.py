"""Every page in both themes at 1280 pixels: nothing sticks out, texts can be read, what can be used has a name and is reached by keys."""

from __future__ import annotations

import pytest

from influence.actions import perform
from influence.store import Project
from influence.types import Selection
from influence.ui.site import places
from scripts.drive import serve

GAP = {"query": "equal_opportunity_gap", "query_set": {"group": "group"}}

READ = """() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const bright = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = colour => colour.slice(0, 3).reduce((sum, v, k) => sum + bright(v / 255) * [0.2126, 0.7152, 0.0722][k], 0);
  const over = (top, below) => top.slice(0, 3).map((v, k) => v * (top[3] ?? 1) + below[k] * (1 - (top[3] ?? 1)));
  const above = node => node ? [...above(node.parentElement), node] : [];
  const painted = node => above(node).map(at => rgb(getComputedStyle(at).backgroundColor));
  const ground = node => painted(node).reduce((below, top) => over(top, below), [255, 255, 255]);
  const faded = node => above(node).reduce((share, at) => share * Number(getComputedStyle(at).opacity), 1);
  const pale = [], walker = document.createTreeWalker(document.querySelector('[data-testid="stApp"]'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), node = walker.currentNode.parentElement;
    const style = getComputedStyle(node), box = node.getBoundingClientRect();
    if (!text || box.width < 2 || box.height < 2 || style.visibility !== 'visible') continue;
    // Icons are pictures, code has the colours of its library, and a slider's figure stands beside what it is part of.
    if (node.closest('svg, canvas, style, pre, :disabled, [aria-disabled=true], [data-testid="stIconMaterial"], [role=slider]')) continue;
    if (node.closest('[data-testid="stSlider"]')) continue;
    if (faded(node) < 0.05) continue;
    const below = ground(node), own = rgb(style.color), colour = over([...own.slice(0, 3), (own[3] ?? 1) * faded(node)], below);
    const [high, low] = [light(colour), light(below)].sort((a, b) => b - a), ratio = (high + 0.05) / (low + 0.05);
    const points = parseFloat(style.fontSize), large = points >= 24 || (points >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) pale.push(`${text.slice(0, 60)}: ${ratio.toFixed(2)}`);
  }
  return pale;
}"""
"""Texts whose contrast is below that of WCAG 2.2, 1.4.3, with their contrast."""

NAMELESS = """() => [...document.querySelectorAll('[data-testid="stMain"] :is(button, a[href], input, textarea, [role=slider])')]
  .filter(node => node.getBoundingClientRect().width > 1 && !node.disabled && !node.closest('[aria-hidden=true], [inert]'))
  .filter(node => !(node.ariaLabel || node.getAttribute('aria-labelledby') || node.labels?.length || node.innerText?.trim() || node.title
    || node.querySelector('[aria-label], img[alt]') || node.placeholder))
  .map(node => node.outerHTML.slice(0, 160))"""
"""What can be used but has no name."""

SKIPPED = """() => [...document.querySelectorAll('[data-testid="stMain"] :is(button, a[href], input, textarea, [role=slider])')]
  .filter(node => node.getBoundingClientRect().width > 1 && !node.disabled && node.tabIndex < 0)
  .filter(node => !node.closest('[aria-hidden=true], [inert], [role=radiogroup], [role=tablist], [role=group]'))
  .filter(node => !node.closest('[data-testid="stFileUploader"], [data-testid="stNumberInput"]'))
  .map(node => node.outerHTML.slice(0, 160))"""
"""What the Tab key passes over, but for members of groups in which arrows move, and steppers of fields that arrows change."""

WIDE = """() => [...document.querySelectorAll('[data-testid="stMain"] *')]
  .filter(node => node.getBoundingClientRect().right > innerWidth + 1)
  .filter(node => !node.closest('[data-testid="stDataFrame"], [data-testid="stTabs"], svg, canvas, pre, .tip'))
  .slice(0, 3).map(node => node.outerHTML.slice(0, 160))"""
"""What sticks out to the right."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A server on a project in which every page has something to show."""
    folder = tmp_path_factory.mktemp("whole") / "project"
    project = Project(folder)
    made = perform("train", project, {"data": "bundled:loans", "data_set": {"n": 1500}, "name": "small loans", "set": {"epochs": 2}})
    perform("attribute", project, GAP)
    perform("coordinates", project, {})
    perform("suspects", project, GAP)
    train = project.dataset(project.run().dataset).train
    project.choose(Selection(tuple(train.ids[:20].tolist()), reason={"dataset": project.run().dataset, "words": "the first 20"}))
    perform("prepare", project, {"run": made["run"], "group": "group"})
    perform("pin", project, {"note": "the first ones"})
    perform("compare", project, {"run": perform("unlearn", project, {"run": made["run"]})["run"], "group": "group"})
    perform("trace", project, {"id": project.dataset(project.run().dataset).evaluation.ids[0]})
    with serve(folder) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", list(places()))
def test_a_page_can_be_read_and_used(whole, opened, place, scheme):
    w = opened(whole)
    w.page.emulate_media(color_scheme=scheme)
    address = {"influence": "?query=equal_opportunity_gap", "suspects": "?query=equal_opportunity_gap", "start": ""}.get(place, "")
    w.open("" if place == "start" else place, address)
    w.page.wait_for_timeout(1000)
    w.settle()
    for script in (WIDE, READ, NAMELESS, SKIPPED):
        for _ in range(10):  # colours fade over for a moment
            found = w.page.evaluate(script)
            if not found:
                break
            w.page.wait_for_timeout(300)
        assert found == []
