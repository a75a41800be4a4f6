"""The map of the pages: the one place that lists them. A page is a file in `pages/`; one that is absent is left out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

PAGES = Path(__file__).resolve().parents[2] / "pages"


class Place(NamedTuple):
    """A page: its file's name without `.py`, which is also its address, its title, its icon, and the section it stands in."""

    name: str
    title: str
    icon: str
    section: str

    @property
    def path(self) -> Path:
        """Absolute path of the file: relative ones would let Streamlit run it without the main script."""
        return PAGES / f"{self.name}.py"


MAP = (
    Place("start", "Start", ":material/home:", ""),
    Place("load", "Load", ":material/upload_file:", "Find"),
    Place("bring", "Bring a model", ":material/deployed_code:", "Find"),
    Place("audit", "Audit", ":material/balance:", "Find"),
    Place("influence", "Influence", ":material/hub:", "Find"),
    Place("trace", "Trace", ":material/route:", "Find"),
    Place("suspects", "Suspects", ":material/manage_search:", "Find"),
    Place("evidence", "Evidence", ":material/keep:", "Decide"),
    Place("plan", "Plan", ":material/checklist:", "Decide"),
    Place("run", "Run", ":material/play_circle:", "Decide"),
    Place("compare", "Compare", ":material/compare:", "Prove"),
    Place("verify", "Verify", ":material/verified:", "Prove"),
    Place("report", "Report", ":material/description:", "Prove"),
)


def places() -> dict[str, Place]:
    """Return the pages whose files exist, by name, in the order of the navigation."""
    return {place.name: place for place in MAP if place.path.is_file()}
