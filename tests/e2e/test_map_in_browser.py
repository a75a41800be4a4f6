"""The map in a real browser: a lasso, keys and a box choose rows, and whoever comes next sees the selection."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

import influence.ui.map
from influence import plane
from influence.actions import coordinates, perform
from influence.finders.polygon import Polygon
from influence.store import Project

HERE = Path(influence.ui.map.__file__).parent


def counted(w) -> int:
    """The number of rows inside that the page tells."""
    w.sees(re.compile(r"training rows? inside \(")).settle()
    return int(re.search(r"([\d,]+) training rows? inside \(", w.text()).group(1).replace(",", ""))


def scripted(chrome, expression: str, given: dict) -> object:
    """What an expression of the map's scripts is in a browser, with `given` by its names."""
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("paint.js", "points.js", "view.js"))
    page = chrome.new_page()
    found = page.evaluate(f"given => {{ {script}\nconst {{ {', '.join(given)} }} = given; {expression} }}", given)
    page.close()
    return found


PAINTED = """
const canvas = new OffscreenCanvas(40, 20), places = Float32Array.from(xy.flat());
const { tones, levels } = toned(Float32Array.from(values.map(v => v ?? NaN)), kind, -1, 1);
const plain = Array.from({ length: 257 }, (_, k) => [k, 0, 255]); plain[256] = [1, 2, 3];
const [palette, muted] = [0, 0.5].map(share => packedColours(plain, [255, 255, 255], share));
const look = { palette, muted, ground: 0xffffffff, ink: 0xff000000, centre: [20, 10], reach: [20, 10], size, cell: 2, ring: true };
new Painter(canvas).paint({ places, tones, levels, chosen: chosen && Uint8Array.from(chosen) }, look);
const pixels = canvas.getContext("2d").getImageData(0, 0, 40, 20).data;
const at = (x, y) => [...pixels.slice(4 * (40 * y + x), 4 * (40 * y + x) + 3)];
return Array.from({ length: 20 }, (_, y) => Array.from({ length: 40 }, (_, x) => at(x, y)));
"""


def painted(chrome, xy, values, kind="diverging", chosen=None, size=4) -> np.ndarray:
    """Pixels (20, 40, 3) of points in a plane of 40 by 20, y from below as on the map; a colour's red is its place in the palette."""
    given = {"xy": xy, "values": values, "kind": kind, "chosen": chosen, "size": size}
    return np.array(scripted(chrome, PAINTED, given))[::-1]


def test_each_point_is_painted_at_its_place_in_its_colour(chrome):
    found = painted(chrome, [[5, 5], [30, 12], [15, 15]], [-1, 1, None])
    assert found[5, 5].tolist() == [0, 0, 255]
    assert found[12, 30].tolist() == [255, 0, 255]
    assert found[15, 15].tolist() == [1, 2, 3], "what is not known is grey"
    inked = (found != 255).any(2) & ~((found == [255, 0, 255]).all(2))
    rows, columns = np.nonzero(inked)
    assert np.hypot(rows - 4.5 - 0, columns - 4.5).min() < 1
    assert ((found == 255).all(2)).sum() > 40 * 20 - 3 * 25, "and nowhere else"


def test_of_points_on_one_spot_the_strong_one_is_seen_and_of_those_chosen_any(chrome):
    xy, values = [[10, 10], [10, 10], [10.2, 10.1]], [0.1, -0.9, 0.5]
    strong = painted(chrome, xy, values)[10, 10].tolist()
    assert strong == [round(0.05 * 255), 0, 255]
    found = painted(chrome, [*xy, [30, 10]], [*values, 1], chosen=[1, 0, 0, 0])
    assert found[10, 10].tolist() == [int(0.55 * 255 + 0.5), 0, 255], "chosen lies on strong"
    assert found[10, 30].tolist() == [255, 128, 255], "what is not chosen is muted"


OUTSIDE = """
const painter = new Painter(new OffscreenCanvas(40, 20)), places = Float32Array.from(xy.flat());
const { tones, levels } = toned(Float32Array.from(xy.map(() => 0.5)), "sequential", 0, 1), palette = new Uint32Array(257);
const look = { palette, muted: palette, ground: 0, ink: 0, centre: [20, 10], reach: [20, 10], size: 4, cell: 2, ring: true };
painter.paint({ places, tones, levels, chosen: null }, look);
const told = n => { const it = { out: {} }; View.prototype.tellOutside.call(it, n); return it.out.textContent; };
return [painter.outside, told(0), told(1), told(1234)];
"""


def test_rows_that_lie_outside_the_view_are_counted_and_told(chrome):
    found = scripted(chrome, OUTSIDE, {"xy": [[5, 5], [45, 10], [-1, 3], [20, 25], [39, 19]]})
    assert found[:2] == [3, ""]
    assert found[2].startswith("1 row lies outside this view")
    assert found[3].startswith("1,234 rows lie outside this view")
    assert "“Whole map” shows all" in found[3]


def test_a_million_points_that_share_cells_are_told_by_their_strongest(chrome):
    rng = np.random.default_rng(0)
    xy, values = rng.uniform([0, 0], [40, 20], (4000, 2)), rng.uniform(-1, 1, 4000)
    seen = np.abs(painted(chrome, xy.tolist(), values.tolist(), size=2)[..., 0] / 255 * 2 - 1)
    for column in range(0, 40, 2):
        for row in range(0, 20, 2):
            best = np.abs(values[(xy // 2 == [column // 2, row // 2]).all(1)]).max()
            near = seen[max(0, row - 1) : row + 3, max(0, column - 1) : column + 3]
            assert near.max() >= best - 0.01, "where it is not seen, a stronger one lies on it"


def test_what_an_outline_holds_is_what_the_server_counts(chrome):
    rng = np.random.default_rng(1)
    xy = rng.normal(size=(3000, 2)).astype(np.float32)
    outline = [[-1, -1], [1.5, -0.5], [0.2, 0.1], [0.5, 1.8], [-0.7, 0.9]]
    frame = [-1, -1, 1.5, 1.8]
    given = {"xy": xy.reshape(-1).tolist(), "outline": outline, "frame": frame}
    found = np.array(scripted(chrome, "return [...inside(Float32Array.from(xy), outline, frame)]", given), dtype=bool)
    truth = plane.inside(xy, np.array(outline))
    assert 300 < truth.sum() < 1500
    assert (found != truth).sum() <= 3, "but for rows on the line"


@pytest.mark.slow
def test_a_lasso_on_the_map_becomes_the_selection(trained, opened):
    project, w = Project(trained.project), opened(trained)
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
