"""Trace by keyboard alone in a real browser: a prediction is traced, a cell changed, the rails move, and a reload loses nothing."""

from __future__ import annotations

import re

import pytest

from influence.store import Project
from scripts.drive import Window

FOCUSED = "() => { const e = document.activeElement; return `${e.tagName} ${e.getAttribute('aria-label') || e.innerText}` }"
OWN = ("BUTTON", "INPUT", "SUMMARY")
"""Elements that one works with; others that have the focus hold these."""


def reach(w: Window, name: str, back: bool = False) -> Window:
    """Go on by Tab until the element with this name has the focus."""
    for _ in range(200):  # tables take a Tab for each cell that is seen
        w.page.keyboard.press("Shift+Tab" if back else "Tab")
        focused = w.page.evaluate(FOCUSED)
        if name in focused and focused.startswith(OWN):
            return w
    raise AssertionError(f"{name!r} is not reached by Tab")


def pressed(w: Window, name: str, back: bool = False) -> Window:
    reach(w, name, back).page.keyboard.press("Enter")
    return w


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_changed_cell_moves_the_rails_by_keyboard_alone(trained, opened, scheme):
    project = Project(trained.project)
    data = project.dataset(project.run().dataset)
    id, high = data.evaluation.ids[3 if scheme == "dark" else 4], data.train.columns["income"].max()
    w = opened(trained)
    w.page.emulate_media(color_scheme=scheme)
    w.open("trace", f"?test={id}")
    pressed(w, "Trace this prediction").sees("Proponents").sees(f"for row {id}").settle()
    pressed(w, "What if this row were another?").sees("Trace the changed row")
    reach(w, "INPUT income").page.keyboard.press("ControlOrMeta+a")
    w.page.keyboard.type(f"{high:g}")
    w.page.keyboard.press("Tab")
    w.settle()
    pressed(w, "Trace the changed row").sees("Changed, the model").sees(re.compile(r"By the change \d+ rows? of \d+ came in")).settle()
    told = next(note for note in project.notes("edited/").values() if note["id"] == str(id))
    assert told["edit"] == {"income": high}
    shown = w.text()
    assert f"{told['value']['measured']:.3f}"[:4] in shown
    w.page.reload()
    w.sees("Changed, the model").settle()
    assert w.page.url.count("edit=") == 1
    pressed(w, "Back to the row as it is").sees(re.compile(rf"Probability of .* for row {id} is")).settle()
    assert "Changed, the model" not in w.text()
    assert "edit=" not in w.page.url
