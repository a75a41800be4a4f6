"""Where a project stands on the way Ask, Find, Decide, Prove: what was done with the current run, in figures from its records.

Of a run that was made to forget it is the way that led to it: what was asked of the model that it was made from, and what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """One step of the way: its question, whether it was taken, what came out, the page where it goes on, and whether it was in vain."""

    name: str
    question: str
    taken: bool
    found: str
    page: str
    vain: bool = False


def steps(run: Run | None, runs: Sequence[Run], records: Sequence[Record], selection: Selection | None, group: str) -> tuple[Step, ...]:
    """Return the four steps as far as they were taken with a run, or with those that it was made from."""
    way = _way(run, runs)
    own, came = {each.id for each in way}, way[1] if way[1:] else run
    made = way[:1] if way[1:] else [r for r in runs if run and r.parent == run.id and not r.body.get("yardstick")]
    asked = [r for r in records if r.kind in ("attribute", "prepare") and r.body["inputs"].get("run") in own]
    proofs = [r for r in records if r.kind == "compare" and came and r.body["inputs"].get("original") == came.id]
    proofs = [r for r in proofs if came is run or _compared(r, run)]
    proved, vain = _proved(came, made, proofs, group)
    return (
        Step("Ask", "Is there a gap between groups?", run is not None, _asked(run, group), "audit"),
        Step("Find", "Which training rows does it come from?", bool(asked), _found(asked, way), "influence"),
        Step("Decide", "Which rows shall go, and how?", bool(made), _decided(run, selection, made), "plan"),
        Step("Prove", "Did it work, and what did it cost?", bool(proofs), proved, "compare", vain),
    )


def _way(run: Run | None, runs: Sequence[Run]) -> list[Run]:
    """Return a run and those that it was made from, the first trained one last."""
    known = {each.id: each for each in runs}
    way = [run] if run else []
    while way and way[-1].parent in known:
        way.append(known[str(way[-1].parent)])
    return way


def _figures(run: Run, role: Role) -> dict[str, Any]:
    found: dict[str, Any] = run.body.get("metrics" if role == "holdout" else "evaluation_metrics", {})
    return found


def gap_of(run: Run, group: str, role: Role = "holdout") -> tuple[str, dict[str, Any]]:
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


def _found(asked: Sequence[Record], way: Sequence[Run]) -> str:
    if not asked:
        return "No question asked yet."
    rows = way[-1].body.get("n", {}).get("train", 0)
    return f"{words.count(len(asked), 'set')} of scores for {words.count(rows, 'training row')}."


def _decided(run: Run | None, selection: Selection | None, made: Sequence[Run]) -> str:
    chosen = f"{words.count(len(selection), 'row')} selected." if selection else "No rows selected."
    if run in made:
        return f"{chosen} This model was made {words.became(run.body, 'training row')}."  # type: ignore[union-attr]
    return f"{chosen} {words.count(len(made), 'model')} made by unlearning." if made else chosen


def _compared(record: Record, run: Run | None) -> bool:
    return run is not None and run.id in (record.body["inputs"].get("unlearned"), record.body["inputs"].get("retrained"))


def _proved(came: Run | None, made: Sequence[Run], proofs: Sequence[Record], group: str) -> tuple[str, bool]:
    """Return what came of the newest of these models that was compared, and whether its gap did not fall."""
    if not proofs or came is None:
        return "Nothing compared yet.", False
    child = next((r for r in made if any(_compared(record, r) for record in proofs)), None)
    name, before = gap_of(came, group)
    after = gap_of(child, group)[1] if child else {}
    old, new = before.get("value"), after.get("value")
    if child is None or not words.known(old) or not words.known(new):
        return f"{words.count(len(proofs), 'comparison')} made.", False
    told = f"{words.title(name)} {words.number(old)} before, {words.figure(after, of='holdout')} after"
    fell = f"{told}{': it did not fall' if new >= old else ''}. {turned(came, child, group)}".rstrip()
    return f"{words.escaped(words.called(child))}: {fell}", new >= old


def picture(project: Project) -> None:
    """Draw the four steps side by side with their ticks."""
    found = steps(state.current_run(), project.runs(), project.records(), state.selection(), state.group())
    for place, (column, step) in enumerate(zip(st.columns(len(found), gap="small"), found, strict=True), start=1):
        with column, st.container(border=True, height="stretch"):
            st.markdown(f"{_mark(step)} **{place} {step.name}**  \n{step.question}")
            st.caption(step.found)
            if step is next((s for s in found if not s.taken), None) and place > 1:
                state.link(step.page, "Go on here")


def _mark(step: Step) -> str:
    if not step.taken:
        return ":gray[:material/radio_button_unchecked:]"
    return ":gray[:material/error:]" if step.vain else ":green[:material/check_circle:]"


def table(runs: Sequence[Run], group: str, data: Mapping[str, str] | None = None) -> list[dict[str, object]]:
    """Return one row per run for the list of runs; retrained yardsticks are left out.

    `data`: what the data sets are called, by digest; told where there are several.
    """
    named = data if data and len(set(data.values())) > 1 else {}
    shown = [run for run in runs if not run.body.get("yardstick")]
    return [_row(run, group if group in run.body.get("groups", ()) else "", named.get(run.dataset, "")) for run in shown]


def _row(run: Run, group: str, data: str) -> dict[str, object]:
    figures = _figures(run, "holdout").get("intervals", {})
    group = group or next(iter(run.body.get("groups", ())), "")
    name, gap = gap_of(run, group)
    return {
        "id": run.id,
        "Name": words.called(run),
        **({"Data": data} if data else {}),
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
    shown = [run for run in runs if not run.body.get("yardstick")][:MOST]
    rows = table(shown, state.group(), {digest: state.project().json(digest)["name"] for digest in {run.dataset for run in shown}})
    about = "Models in this project, newest first, with accuracy and gap on holdout rows."
    gap = "Equal-opportunity gap between the groups of a column; for a numeric target the gap in error."
    shape: dict[str, Any] = {"id": None, "Training rows": st.column_config.NumberColumn(format="localized")}
    shape[GAP] = st.column_config.TextColumn(help=gap)
    shape["Made"] = st.column_config.DatetimeColumn(format="D MMM, HH:mm:ss")
    event = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config=shape,
        on_select="rerun",
        selection_mode="single-row",
        key="start.runs",
        alt=about,
    )
    picked = event.selection.rows
    return str(rows[picked[0]]["id"]) if picked else ""
