"""The parts of the Report page: the finished page to look at and download, and the records with the verdict on their chain."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.store import Run
from influence.ui import state, words

SHOWN = 1000
"""Records that the table shows at most."""


def made_from(run: Run) -> bool:
    """Whether any model was made by unlearning from this one."""
    return any(r.parent == run.id for r in state.project().runs())


def with_rows() -> bool:
    """Return whether single rows stand in the report: they can be personal data, so only if somebody chooses so."""
    chosen = st.checkbox("With single rows: cells of pinned ones, ids of selected ones", key="report.rows")
    if chosen:
        st.warning("Single rows can be personal data: whoever gets the report can read them.", icon=":material/privacy_tip:")
    return bool(chosen)


def offer(result: dict[str, Any]) -> None:
    """Offer the report for download, and show it."""
    path = state.project().path / result["html"]
    if not path.is_file():
        st.warning("The report was written before, but its file is gone. Write it again.", icon=":material/warning:")
        return
    page = path.read_text(encoding="utf-8")
    st.download_button("Download the report", page, path.name, "text/html", icon=":material/download:", type="primary")
    st.caption(f"{path.name}, {len(page) / 1000:,.0f} kB, stands alone: no scripts, nothing fetched. Digest {result['page'][:16]}…")
    with st.expander("Look at it here", expanded=True):
        st.iframe(page, height=700)


def records() -> None:
    """Show every record of the project and whether the chain holds."""
    project = state.project()
    found, findings = project.records(), project.check()
    if findings:
        st.error(f"The chain of records does not hold: {words.escaped(findings[0])}", icon=":material/error:")
        for finding in findings[1:]:
            st.caption(words.escaped(finding))
    else:
        st.success(
            f"The chain of {words.count(len(found), 'record')} holds: each carries the hash of the one before it.", icon=":material/link:"
        )
    st.dataframe(
        pd.DataFrame(
            [
                {"no.": r.seq, "what": words.verb(r.kind), "when (UTC)": r.created[:19].replace("T", " "),
                 "took": words.duration(r.body["seconds"] or 0.0), "hash": r.hash[:16],
                 "inputs": ", ".join(f"{k} {v[:16]}" for k, v in r.body["inputs"].items() if isinstance(v, str) and v)}
                for r in found[: -SHOWN - 1 : -1]
            ]
        ),
        hide_index=True,
        alt="The newest records of the project with their hashes.",
    )  # fmt: skip
    if len(found) > SHOWN:
        st.caption(f"The newest {SHOWN:,} of {len(found):,}.")
