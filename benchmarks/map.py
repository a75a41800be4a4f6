"""How fast the map answers with a million rows, in a real Chromium: prints each figure with what is required of it.

Run: python -m benchmarks.map [--rows 1000000]. Writes benchmarks/results/map.json. A million rows of six numbers, two classes and two
groups, an MLP trained for one pass, scores of a gap by the metagradient; then the page Influence. Times are wall-clock seconds, from the
browser's own clock where it acts; no graphics card is used.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from playwright.sync_api import Page, sync_playwright

from benchmarks.memory import peak
from influence.actions import perform
from influence.store import Project
from scripts import browser
from scripts.drive import Window, serve, window

OUT = Path(__file__).parent / "results" / "map.json"
TIMES = 7
REQUIRED = {"first_paint_s": 3.0, "lasso_s": 0.5, "interaction_p95_s": 0.5}
MEANING = {
    "coordinates_s": "principal components of all rows' last hidden layer, in a process of its own",
    "coordinates_mib": "peak memory of that process",
    "first_paint_s": "from asking for the page to the first picture of all points; median of 3",
    "lasso_s": "from letting go of a lasso to the number of rows inside, on the page; median",
    "interaction_p95_s": "95 % of all interactions are at most: lasso, zoom, move, the whole map, hover, another colour",
}
PAINTED = """(map, since) => new Promise(done => { const look = () => Number(map.dataset.painted) > since ? done(performance.now())
    : setTimeout(look); look(); })"""
"""Resolves when all points were painted after a moment, with the browser's time."""


def prepared(folder: Path, rows: int) -> dict[str, float]:
    """Make a project with a model of so many rows, its scores and its coordinates; return what the coordinates cost."""
    rng = np.random.default_rng(0)
    centre = rng.integers(0, 5, rows)
    x = rng.normal(size=(rows, 6)) + rng.normal(size=(5, 6))[centre] * 2
    label = np.where(x[:, 0] + 0.5 * x[:, 1] + rng.normal(size=rows) > 0, "yes", "no")
    table = pd.DataFrame(
        {**{f"x{k}": x[:, k].astype(np.float32) for k in range(6)}, "group": np.where(centre < 2, "a", "b"), "label": label}
    )
    table["split"] = np.where(np.arange(rows) < rows - 2000, "train", "test")
    path = folder / "rows.parquet"
    table.to_parquet(path)
    project = Project(folder / "project")
    given = {"data": str(path), "target": "label", "protected": ["group"], "split": "split", "set": {"epochs": 1, "batch_size": 4096}}
    perform("train", project, given)
    asked = {"query": "equal_opportunity_gap", "query_set": {"group": "group"}}
    perform("attribute", project, asked)
    began = time.perf_counter()
    perform("coordinates", project, {})
    return {"coordinates_s": time.perf_counter() - began, "coordinates_mib": peak()}


def clock(page: Page) -> float:
    """Return the browser's time in milliseconds."""
    return float(page.evaluate("performance.now()"))


def timed(page: Page, act: Callable[[], None]) -> float:
    """Return seconds from before an act to a finished picture."""
    since = clock(page)
    act()
    return (float(page.locator(".map").evaluate(PAINTED, since)) - since) / 1000


def lasso(page: Page, k: int) -> float:
    """Draw a lasso round another place each time; return seconds from letting go to the number on the page."""
    box = page.locator(".map canvas").bounding_box()
    assert box
    x, y, r = box["x"] + box["width"] * (0.4 + 0.02 * k), box["y"] + box["height"] * 0.5, 60 + 8 * k
    page.mouse.move(x + r, y)
    page.mouse.down()
    for step in range(1, 60):
        page.mouse.move(x + r * math.cos(step / 9.5), y + r * math.sin(step / 9.5))
    before = page.get_by_test_id("stMain").get_by_text("rows inside (").all_inner_texts()
    since = clock(page)
    page.mouse.up()
    told = """before => new Promise(done => { const look = () => { const found = [...document.querySelectorAll('p')].map(p => p.innerText)
        .filter(t => t.includes('rows inside (')); found.length && found[0] !== before ? done(performance.now()) : setTimeout(look, 5); };
        look(); })"""
    return (float(page.evaluate(told, before[0] if before else "")) - since) / 1000


def hands(w: Window) -> dict[str, list[float]]:
    """Do everything that one can do on the map, several times; return the seconds by what was done."""
    page = w.page
    found: dict[str, list[float]] = {}
    canvas = page.locator(".map canvas")
    canvas.scroll_into_view_if_needed()
    found["lasso"] = []
    for k in range(TIMES):
        found["lasso"].append(lasso(page, k))
        w.settle()
    print("lasso", found["lasso"], flush=True)
    canvas.focus()
    for name, keys in (("zoom", "+-"), ("move", ("ArrowLeft", "ArrowRight"))):
        found[name] = []
        for key in [*keys] * (TIMES // 2 + 1):
            found[name].append(timed(page, lambda key=key: page.keyboard.press(key)))  # type: ignore[misc]
            page.wait_for_timeout(500)
    found["whole map"] = [timed(page, lambda: page.keyboard.press("0")) for _ in range(TIMES)]
    found["hover"] = [hovered(page, k) for k in range(TIMES)]
    print(json.dumps(found), flush=True)
    found["colour"] = []
    for name in ("Label: label", "Group: group", "Loss of the row", "Influence on the question") * 2:
        w.page.get_by_role("combobox", name="Colour by").fill(name)
        since = clock(page)
        w.page.get_by_role("option", name=name, exact=True).first.click()
        found["colour"].append((float(page.locator(".map").evaluate(PAINTED, since)) - since) / 1000)
        w.settle()
    return found


def hovered(page: Page, k: int) -> float:
    """Point at another place; return seconds to the next frame, with the tooltip that belongs there."""
    box = page.locator(".map canvas").bounding_box()
    assert box
    since = clock(page)
    page.mouse.move(box["x"] + box["width"] * (0.45 + 0.01 * k), box["y"] + box["height"] * 0.5)
    return (float(page.evaluate("() => new Promise(done => requestAnimationFrame(() => done(performance.now())))")) - since) / 1000


def measured(folder: Path) -> dict[str, list[float]]:
    """Return seconds by what was done."""
    with serve(folder / "project") as server, sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=browser.find(), args=["--no-sandbox", "--disable-gpu"])
        with window(chrome, server.url) as w:
            w.page.set_default_timeout(120_000)
            w.open("influence", "?query=equal_opportunity_gap").sees("Rows behind").settle()
            found = hands(w)
            loads = [again(w) for _ in range(3)]
            found |= {"page": [load[0] for load in loads], "first paint": [load[1] for load in loads]}
        chrome.close()
    return found


def again(w: Window) -> tuple[float, float]:
    """Load the page anew; return seconds from asking for it until the text above the map is there, and until all points are painted."""
    w.page.reload()
    w.sees("Each point is a training row")
    text = clock(w.page)  # the browser's time begins with the page
    return text / 1000, float(w.page.locator(".map").evaluate(PAINTED, 0)) / 1000


def main() -> int:
    """Measure, print and write; 1 if something asked for is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        costs = prepared(Path(folder), rows)
        print(json.dumps(costs), flush=True)
        found = measured(Path(folder))
    every = [seconds for name, times in found.items() if name not in ("page", "first paint") for seconds in times]
    figures = {
        **costs,
        "first_paint_s": statistics.median(found["first paint"]),
        "lasso_s": statistics.median(found["lasso"]),
        "interaction_p95_s": float(np.quantile(every, 0.95)),
    }
    for name, value in figures.items():
        wanted = REQUIRED.get(name)
        verdict = "" if wanted is None else f"required <= {wanted:g}: {'met' if value <= wanted else 'NOT MET'}"
        print(f"{name:>18} {value:8.2f}  {MEANING[name]}  {verdict}")
    about: dict[str, Any] = {"rows": rows, "machine": platform.machine(), "processors": os.cpu_count(), "load": [load, os.getloadavg()[0]]}
    OUT.write_text(json.dumps({"figures": figures, "required": REQUIRED, "seconds": found, **about}, indent=1) + "\n", encoding="utf-8")
    return int(any(figures[name] > wanted for name, wanted in REQUIRED.items()))


if __name__ == "__main__":
    sys.exit(main())
