"""Where a project stands on the way Ask, Find, Decide, Prove: what was done with the current run, in figures from its records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from influence.data.dataset import Role
from influence.groups import FEWEST
from influence.store import Project, Record, Run
from influence.types import Selection
from influence.ui import state, words

GAPS = ("equal_opportunity_gap", "group_loss_gap")
"""The gap that is told first: of classes, and of numbers."""
OF = dict(zip(GAPS, ("true_positive_rate", "mae"), strict=True))
"""Of what it is a gap."""
DEMO = "bundled:loans"
QUALITY, GAP = "Accuracy or R², holdout", "Gap, holdout"
MOST = 1000
"""Rows that a table sends to the browser."""


@dataclass(frozen=True)
class Step:
    """One step of the way: its question, whether it was taken, what came out, and the page where it goes on."""

    name: str
    question: str
    taken: bool
    found: str
    page: str


def steps(run: Run | None, runs: Sequence[Run], records: Sequence[Record], selection: Selection | None, group: str) -> tuple[Step, ...]:
    """Return the four steps as far as they were taken with a run."""
    children = [r for r in runs if run and r.parent == run.id and not r.body.get("yardstick")]
    asked = [r for r in records if r.kind in ("attribute", "prepare") and run and r.body["inputs"].get("run") == run.id]
    proofs = [r for r in records if r.kind == "compare" and run and r.body["inputs"].get("original") == run.id]
    return (
        Step("Ask", "Is there a gap between groups?", run is not None, _asked(run, group), "audit"),
        Step("Find", "Which training rows does it come from?", bool(asked), _found(asked, run), "influence"),
        Step("Decide", "Which rows shall go, and how?", bool(children), _decided(selection, children), "plan"),
        Step("Prove", "Did it work, and what did it cost?", bool(proofs), _proved(run, children, proofs, group), "compare"),
    )


def _figures(run: Run, role: Role) -> dict[str, Any]:
    found: dict[str, Any] = run.body.get("metrics" if role == "holdout" else "evaluation_metrics", {})
    return found


def gap_of(run: Run, group: str, role: Role = "holdout") -> tuple[str, dict[str, object]]:
    """Return the name and the figures of the gap between a column's groups on a role's rows; empty where none was measured."""
    gaps = _figures(run, role).get("gaps", {}).get(group, {})
    return next(((name, gaps[name]) for name in GAPS if name in gaps), ("", {}))


def turned(before: Run, after: Run, group: str) -> str:
    """Return in a sentence what became of the gap between two groups if the other of them is ahead now, on the holdout rows; else ""."""
    metric = OF.get(gap_of(before, group)[0], "")
    old, new = (_figures(run, "holdout").get("groups", {}).get(group, {}) for run in (before, after))
    known = {name: of[metric]["value"] for name, of in old.items() if of.get(metric, {}).get("n", 0) >= FEWEST}
    pair = [choose(known, key=known.__getitem__) for choose in (max, min)] if known else []
    high, low = (new.get(name, {}).get(metric, {}).get("value") for name in pair) if pair else (None, None)
    if not (words.known(high) and words.known(low)) or high >= low:
        return ""
    return f"Its sign changed: {words.escaped(f'{pair[0]} {words.MINUS} {pair[1]}')} is {words.number(high - low)} now."


def headline(run: Run, role: Role = "holdout") -> str:
    """Return how good a run's model is, and on which rows: accuracy, or R squared and the error of a numeric target."""
    figures = _figures(run, role).get("intervals", {})
    names = ["accuracy"] if "accuracy" in figures else [name for name in ("r2", "mae") if name in figures]
    return "; ".join(f"{words.title(name)} {words.figure(figures[name], of=role)}" for name in names)


def both(run: Run) -> str:
    """Return how good a run's model is on the rows that Audit tells of and on those that are held out, side by side."""
    return ". ".join(filter(None, (headline(run, "evaluation"), headline(run)))) + "."


def _asked(run: Run | None, group: str) -> str:
    if run is None:
        return "No model yet."
    name, gap = gap_of(run, group, "evaluation")  # as Audit tells it, where this step leads
    sentences = [headline(run, "evaluation")]
    if name:
        sentences.append(f"{words.title(name)} by {words.escaped(group)} {words.figure(gap, of='evaluation')}")
    return ". ".join(filter(None, sentences)) + "."


def _found(asked: Sequence[Record], run: Run | None) -> str:
    if not asked or run is None:
        return "No question asked yet."
    rows = run.body.get("n", {}).get("train", 0)
    return f"{words.count(len(asked), 'set')} of scores for {words.count(rows, 'training row')}."


def _decided(selection: Selection | None, children: Sequence[Run]) -> str:
    chosen = f"{words.count(len(selection), 'row')} selected." if selection else "No rows selected."
    return f"{chosen} {words.count(len(children), 'model')} made without rows." if children else chosen


def _proved(run: Run | None, children: Sequence[Run], proofs: Sequence[Record], group: str) -> str:
    if not proofs or run is None:
        return "Nothing compared yet."
    compared = {r.body["inputs"].get(role) for r in proofs for role in ("unlearned", "retrained")}
    child = next((r for r in children if r.id in compared), None)
    name, before = gap_of(run, group)
    if child is None or not name:
        return f"{words.count(len(proofs), 'comparison')} made."
    after = f"{words.figure(gap_of(child, group)[1], of='holdout')} after. {turned(run, child, group)}".rstrip()
    return f"{words.title(name)} {words.number(before['value'])} before, {after}"  # type: ignore[arg-type]


def picture(project: Project) -> None:
    """Draw the four steps side by side with their ticks."""
    found = steps(state.current_run(), project.runs(), project.records(), state.selection(), state.group())
    for place, (column, step) in enumerate(zip(st.columns(len(found), gap="small"), found, strict=True), start=1):
        with column, st.container(border=True, height="stretch"):
            mark = ":green[:material/check_circle:]" if step.taken else ":gray[:material/radio_button_unchecked:]"
            st.markdown(f"{mark} **{place} {step.name}**  \n{step.question}")
            st.caption(step.found)
            if step is next((s for s in found if not s.taken), None) and place > 1:
                state.link(step.page, "Go on here")


def table(runs: Sequence[Run], group: str) -> list[dict[str, object]]:
    """Return one row per run for the list of runs; retrained yardsticks are left out."""
    return [_row(run, group if group in run.body.get("groups", ()) else "") for run in runs if not run.body.get("yardstick")]


def _row(run: Run, group: str) -> dict[str, object]:
    figures = _figures(run, "holdout").get("intervals", {})
    group = group or next(iter(run.body.get("groups", ())), "")
    name, gap = gap_of(run, group)
    return {
        "id": run.id,
        "Name": words.called(run),
        "Training rows": run.body.get("n", {}).get("train", 0) - len(run.body.get("removed", ())),
        QUALITY: words.figure(figures.get("accuracy", figures.get("r2"))),
        GAP: f"{group}: {words.figure(gap)}" if name else "no groups to compare",
        "Made": words.local(run.created).replace(tzinfo=None),
    }


def demo_run(runs: Sequence[Run]) -> Run | None:
    """Return the newest run trained on the demo's data set as it comes, or None."""
    made = (r for r in runs if r.kind == "train" and r.body.get("source", {}).get("data") == DEMO and not r.body["source"].get("data_set"))
    return next(made, None)


def opener(runs: Sequence[Run]) -> str:
    """Draw the runs as a table in which one is chosen; return its id, or ""."""
    rows = table(runs, state.group())
    about = "Models in this project, newest first, with accuracy and gap on holdout rows."
    gap = "Equal-opportunity gap between the groups of a column; for a numeric target the gap in error."
    shape: dict[str, Any] = {"id": None, "Training rows": st.column_config.NumberColumn(format="localized")}
    shape[GAP] = st.column_config.TextColumn(help=gap)
    shape["Made"] = st.column_config.DatetimeColumn(format="D MMM, HH:mm:ss")
    event = st.dataframe(
        pd.DataFrame(rows[:MOST]),
        hide_index=True,
        column_config=shape,
        on_select="rerun",
        selection_mode="single-row",
        key="start.runs",
        alt=about,
    )
    picked = event.selection.rows
    return str(rows[picked[0]]["id"]) if picked else ""
