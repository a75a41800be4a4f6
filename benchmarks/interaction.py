"""How fast the screen answers, in a real Chromium on the demo: prints each figure with what is required of it.

Run: python -m benchmarks.interaction. Writes benchmarks/results/interaction.json. Times are wall-clock seconds on this machine.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from influence import jobs
from influence.store import Project
from scripts.drive import Server, Window, chromium, serve, window

OUT = Path(__file__).parent / "results" / "interaction.json"
STARTS, MOVES, WATCHED = 3, 20, 8.0
REQUIRED = {"first_page_s": None, "demo_tour_s": None, "slider_median_s": 0.3, "curves_interval_s": 1.0, "cancel_s": 2.0}
MEANING = {
    "first_page_s": "server's start to the first page painted, median of 3",
    "demo_tour_s": "the demo from Start through every page to the report, work included",
    "slider_median_s": "key press on Plan's slider to the new preview, median of 20",
    "curves_interval_s": "longest time between two redrawings of the live curves while unlearning runs",
    "cancel_s": "pressing Cancel to the job's end",
}
WATCH_MOVES = """() => { window.moves = [];
    const shown = () => [...document.querySelectorAll('button')]
        .map(b => b.innerText.match(/Select these ([\\d,]+) rows/)).find(Boolean)?.[1];
    let last = shown(), pressed = null;
    document.addEventListener('keydown', () => { pressed = performance.now(); }, true);
    new MutationObserver(() => { const now = shown(); if (now && now !== last) { last = now;
        if (pressed !== null) requestAnimationFrame(() => window.moves.push(performance.now() - pressed)); } })
        .observe(document.body, {subtree: true, childList: true, characterData: true}); }"""
WATCH_CURVES = """() => { window.redrawn = []; let last = '';
    const main = () => document.querySelector('[data-testid="stMain"]').textContent;
    const told = () => main().match(/Rows to forget [\\d.]+ .*?Holdout rows [\\d.]+/)?.[0];
    new MutationObserver(() => { const now = told(); if (now && now !== last) { last = now; window.redrawn.push(performance.now()); } })
        .observe(document.body, {subtree: true, childList: true, characterData: true}); }"""


def first_page(chrome: Browser, folder: Path) -> float:
    """Return seconds from the start of a fresh server's process until Start is painted in a browser that is open already."""
    with serve(folder) as server, window(chrome, server.url) as w:
        w.page.goto(server.url)
        w.sees("Open the demo")
        w.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return time.time() - server.started


def tour(w: Window) -> dict[str, float]:
    """Click through the demo with every choice left as offered; return seconds in all and per leg."""
    legs: dict[str, float] = {}
    begun = time.perf_counter()

    def leg(name: str) -> None:
        legs[name] = time.perf_counter() - begun - sum(legs.values())

    w.open("").follow("Open the demo", "audit").sees("How does it treat groups?")
    leg("train and audit")
    w.follow("Why?", "influence").sees("Rows behind")
    leg("influence")
    w.press("Choose these rows").sees("100 training rows").follow("Plan the removal", "plan")
    w.press("Prepare the preview").sees("Training rows removed")
    leg("plan")
    w.settle().follow("Unlearn these", "run").press("Start unlearning").sees("is ready after")
    leg("run")
    w.follow("Compare it", "compare").press("Compare").sees("What changed")
    leg("compare")
    w.follow("Write the report", "report").press("Write the report").sees("Download the report")
    leg("report")
    return {"all": sum(legs.values()), **legs}


def slider(w: Window) -> list[float]:
    """Return seconds from each press of the arrow key to the frame in which the new number of rows is shown."""
    w.open("plan").sees("Training rows removed").settle()
    w.page.evaluate(WATCH_MOVES)
    handle = w.page.get_by_test_id("stMain").get_by_role("slider").first
    handle.focus()
    for done in range(1, MOVES + 1):
        handle.press("ArrowRight")
        w.page.wait_for_function("n => window.moves.length >= n", arg=done)
        w.page.wait_for_timeout(700)  # a person looks at what is new before moving on
    return [each / 1000 for each in w.page.evaluate("window.moves")]


def curves_and_cancel(w: Window, server: Server) -> tuple[list[float], float]:
    """Start a long unlearning run; return the seconds between redrawings of its curves, and from Cancel to its end."""
    w.open("run").page.get_by_text("Finetune", exact=True).click()
    w.settle().enter("Epochs", "1000").enter("Learning rate", "0.02").press("Start unlearning").sees(re.compile(r"^Rows to forget \d"))
    w.page.evaluate(WATCH_CURVES)
    w.page.wait_for_timeout(WATCHED * 1000)
    at = w.page.evaluate("window.redrawn")
    project = Project(server.project)
    job = next(job for job in jobs.listed(project) if job.action == "unlearn" and not job.over)
    pressed = time.time()
    w.press("Cancel").sees("was cancelled after")
    return [(b - a) / 1000 for a, b in pairwise(at)], float(jobs.get(project, job.id).ended or 0.0) - pressed


def measured(chrome: Browser, folder: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the figures by name, and what they were made from."""
    starts = [first_page(chrome, folder / f"start{i}") for i in range(STARTS)]
    with serve(folder / "demo") as server, window(chrome, server.url) as w:
        legs = tour(w)
        moves = slider(w)
        gaps, cancelled = curves_and_cancel(w, server)
    figures = {
        "first_page_s": statistics.median(starts),
        "demo_tour_s": legs["all"],
        "slider_median_s": statistics.median(moves),
        "curves_interval_s": max(gaps, default=WATCHED),
        "cancel_s": cancelled,
    }
    return figures, {"first_page_s": starts, "demo_tour_s": legs, "slider_s": moves, "curves_intervals_s": gaps}


def main() -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory() as folder, chromium() as chrome:
        figures, details = measured(chrome, Path(folder))
    for name, value in figures.items():
        wanted = REQUIRED[name]
        verdict = "" if wanted is None else f"required <= {wanted:g}: {'met' if value <= wanted else 'NOT MET'}"
        print(f"{name:>18} {value:7.2f}  {MEANING[name]}  {verdict}")
    machine = {"machine": platform.machine(), "processors": os.cpu_count(), "load": os.getloadavg()[0]}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures, "required": REQUIRED, "details": details, **machine}, indent=1) + "\n")


if __name__ == "__main__":
    main()
