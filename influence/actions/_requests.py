"""What kinds of requests a run and those that it was made from have met. No PyTorch at import: pages look here."""

from __future__ import annotations

from influence.store import Project, Run


def requests(project: Project, run: Run) -> tuple[str, ...]:
    """Return the kinds in alphabetical order: to "relabel" rows, to "remove" them."""
    kinds: set[str] = set()
    while True:
        met = {"relabel": run.body.get("n_relabelled"), "remove": run.body.get("removed") or run.body.get("n_removed")}
        kinds |= {kind for kind, rows in met.items() if rows}
        if not run.parent:
            return tuple(sorted(kinds))
        run = project.run(run.parent)
