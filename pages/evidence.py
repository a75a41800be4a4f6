"""Evidence: what was pinned on the way, with notes of why; it becomes the selection, and stands in the report."""

from __future__ import annotations

from influence.ui import choosing, collected, state

state.page(
    "Evidence",
    "What you put aside on the way, with a note of why. Ticked rows and patterns become the selection; all that is pinned for a model "
    "stands in its report.",
)
run = state.need_run()
collected.draw(run)
if state.project().pins.count():
    choosing.current(run)
    state.link("report", "Write the report", ":material/arrow_forward:")
