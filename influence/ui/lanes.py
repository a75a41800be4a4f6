"""What was asked to forget the same rows of a model: one lane per method, however it was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from influence import jobs as queue
from influence.errors import BadInput
from influence.jobs import Job
from influence.registry import described, unlearning
from influence.store import Run
from influence.store.formats import canonical
from influence.ui import costs, jobs, live, state, words

STOPPED = {"failed": "not finished", "lost": "not finished", "cancelled": "cancelled"}
"""How a job ended that made nothing."""


@dataclass(frozen=True)
class Lane:
    """One method on its way: its name, the job that works on it or worked, the run it made, and what was measured so far.

    `again`: how it ended to ask for the same once more, if that came to nothing.
    """

    name: str
    job: Job | None
    run: Run | None
    curves: live.Curves
    again: str = ""

    @property
    def key(self) -> str:
        """What tells it from the others."""
        return self.job.id if self.job else self.run.id if self.run else self.name

    @property
    def anew(self) -> bool:
        """Whether it trains anew: on the way it is a model that has not learnt yet."""
        method = self.job.args.get("method") if self.job else self.run.body["method"]["name"] if self.run else ""
        return bool(getattr(unlearning.classes.get(str(method)), "in_shards", False))

    @property
    def figures(self) -> Mapping[str, float]:
        """The newest value of every live metric."""
        own = self.run.body.get("live", {}) if self.run else {}
        return own or dict(self.curves.steps.drop_duplicates("name", keep="last")[["name", "value"]].itertuples(index=False))

    @property
    def state(self) -> str:
        """How far it is, in a word."""
        if self.job is None or self.job.state == "done":
            return "done"
        if self.job.paused:
            return "paused"
        if self.job.state == "running" and self.job.total > 1:
            return words.percent(self.job.done / self.job.total, 0)
        return {"queued": "waiting", "lost": "failed"}.get(self.job.state, self.job.state)

    @property
    def note(self) -> str:
        """Why it is no further, or what came of asking once more, in a sentence; else ""."""
        if self.job is not None and self.job.state in ("failed", "lost"):
            return self.job.error
        return f"This was finished before; its repeat was {self.again}." if self.again else ""


def found(run: Run, selection: str) -> list[Lane]:
    """Return all methods that were asked to forget the same rows of a run, oldest first: by pages, or by a command."""
    every: dict[str, Lane] = {}
    for job in reversed(queue.listed(state.project(), jobs.LOOKED_AT)):
        if job.action == "unlearn" and job.args.get("run") == run.id and job.args.get("selection") == selection:
            given = _given(str(job.args.get("method") or costs.FIRST), job.args.get("set"))
            _put(every, canonical(given), Lane(_name(given), job, _made(job), _curves(job)))
    known = {lane.run.id for lane in every.values() if lane.run}
    for made in reversed(state.project().runs()):
        body = made.body
        if made.parent == run.id and body.get("selection") == selection and not body.get("yardstick") and made.id not in known:
            given = _as_asked(body) | ({"step": body["step"]} if "step" in body else {})
            _finished(every, canonical(given), Lane(_name(given), None, made, live.read(pd.DataFrame())))
    names = Counter(lane.name for lane in every.values())
    return [replace(lane, name=f"{lane.name} ({lane.key})") if names[lane.name] > 1 else lane for lane in every.values()]


def _put(every: dict[str, Lane], key: str, lane: Lane) -> None:
    """Add a job's lane; one that came to nothing does not hide the run that the same made before."""
    before = every.get(key)
    if before and before.run and lane.job and lane.job.state in STOPPED:
        every[key] = replace(before, again=STOPPED[lane.job.state])
    else:
        every[key] = lane


def _finished(every: dict[str, Lane], key: str, lane: Lane) -> None:
    """Add the lane of a run that no known job made, if there is none yet, or one whose job came to nothing."""
    there = every.setdefault(key, lane)
    if there.run is None and there.job and there.job.state in STOPPED:
        every[key] = replace(lane, again=STOPPED[there.job.state])


def _as_asked(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's method as somebody asked for it: the watched groups are guarded without being named."""
    method = dict(body["method"])
    if method["given"].get("guard") and method["given"]["guard"] == body.get("watched", {}).get("group"):
        method["given"] = {**method["given"], "guard": ""}
    return method


def _given(method: str, set: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a method with all its settings; of one that there is no more, or not with these settings, what was asked for."""
    try:
        return dict(described(unlearning.make(method, set)))
    except BadInput:
        return {"name": method, "given": dict(set or {})}


def _name(given: Mapping[str, Any]) -> str:
    usual = _given(given["name"], None)["given"] if given["name"] in unlearning.classes else given["given"]
    other = words.settings({k.replace("_", " "): v for k, v in given["given"].items() if v != usual.get(k)})
    step = f", step {given['step']['at']:,}" if "step" in given else ""
    return words.title(given["name"]) + step + (f" ({other})" if other else "")


def _made(job: Job) -> Run | None:
    return state.project().run(str(job.result["run"])) if job.state == "done" and job.result else None


def _curves(job: Job) -> live.Curves:
    return _over(str(state.project().path), job.id) if job.over else live.read(queue.metrics(state.project(), job.id))


@st.cache_resource(show_spinner=False, max_entries=64)
def _over(path: str, id: str) -> live.Curves:
    return live.read(queue.metrics(state.project(), id))


def references(found: Sequence[Lane]) -> dict[str, Mapping[str, float]]:
    """Return the live metrics of the original and the retrained model, from whatever lane tells most of them."""
    told: dict[str, Mapping[str, float]] = {}
    for role in live.REFERENCES:
        every = [lane.curves.references[role] for lane in found] + [
            lane.run.body.get("references", {}).get(role, {}) for lane in found if lane.run
        ]
        told[role] = max(every, key=len, default={})
    return told
