"""The parts of the Report page: the finished page to look at and download, and the records with the verdict on their chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import streamlit as st

from influence.actions._pinned import lineage
from influence.jobs import Job
from influence.store import Record, Run
from influence.ui import state, words

WRITES = ("report", "export_model", "export_run", "export_scores", "export_data")
"""Records of what was written for people to take along: nothing that a report tells."""
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


class Written(NamedTuple):
    """A report as a job wrote it: its file, what stands in it, its record, why it is not that any more, and what is newer ("": nothing)."""

    path: Path
    page: str
    digest: str
    record: Record | None
    amiss: str
    since: str


def written(run: Run, job: Job | None) -> Written | None:
    """Return the report that a job wrote, or None if it has written none."""
    if job is None or job.state != "done" or not job.result:
        return None
    path, digest = state.project().path / job.result["html"], job.result["page"]
    page = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
    amiss = ""
    if not page:
        amiss = "The report was written before, but its file is gone. Write it again."
    elif page != state.project().json(digest)["html"]:
        amiss = "The report's file was written anew since, or changed. Write it again."
    every = state.project().records()
    record = next((r for r in reversed(every) if r.body["outputs"].get("page") == digest), None)
    return Written(path, page, digest, record, amiss, _since(run, record, every) if record else "")


def offer(it: Written) -> None:
    """Offer a report for download, and show it; say what there is of the run that is newer."""
    if it.amiss:
        st.warning(it.amiss, icon=":material/warning:")
        return
    if it.since:
        st.info(f"Newer than this report: {it.since}. Write the report again to have it in there.", icon=":material/update:")
    kind: Literal["primary", "secondary"] = "secondary" if it.since else "primary"
    st.download_button("Download the report", it.page, it.path.name, "text/html", icon=":material/download:", type=kind)
    when = f"written {words.ago(it.record.created)} ({words.local(it.record.created):%d %b %H:%M}), " if it.record else ""
    st.caption(
        f"{words.escaped(it.path.name)}, {when}{len(it.page) / 1000:,.0f} kB, stands alone: no scripts, nothing fetched. "
        f"Digest {it.digest[:16]}…"
    )
    with st.expander("Look at it here", expanded=True):
        st.iframe(it.page, height=700)


def _since(run: Run, record: Record, every: Sequence[Record]) -> str:
    """Return what was found or pinned of a run, or of the one it was made from, after the record of its report; "" if nothing was."""
    newer = [r for r in every if r.seq > record.seq and r.kind not in WRITES and _of(run, r.body["inputs"])]
    pinned = sum(pin.created > record.created for pin in lineage(state.project(), run))
    told = list(dict.fromkeys(words.verb(r.kind).lower() for r in newer))
    return ", ".join(told + ([words.count(pinned, "pin")] if pinned else []))


def _of(run: Run, inputs: Mapping[str, Any]) -> bool:
    """Whether a record says something of a run; that its original was compared with another model does not."""
    return inputs.get("run") in (run.id, run.parent or run.id) or run.id in [v for role, v in inputs.items() if role != "original"]


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
