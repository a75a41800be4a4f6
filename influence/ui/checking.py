"""The last part of Load: check what was chosen, see what was found and what training will cost, mend it, train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from influence.errors import BadInput
from influence.jobs import Job
from influence.ui import checks, columns, jobs, sized, standing, state, words
from influence.ui.loading import Plan, key_of

ASKED = "load.asked"
UNKNOWN = "Check looks at the data and says what training will cost"


def offer(plan: Plan) -> None:
    """Draw the buttons that check and train with what it will cost, how far they are, and what was found."""
    args, refused = plan.args(), ""
    with st.container(horizontal=True, vertical_alignment="center"):
        check = st.button("Check", icon=":material/fact_check:", key="load.check", help="Look whether everything fits, without training")
        train = st.button("Train", icon=":material/play_arrow:", type="primary", key="load.train")
        if check or train:
            refused = _ask("check" if check else "train", plan, args)
        found = _current(args)
        st.caption(_cost(found, args), width="content")
    if refused:
        st.error(words.escaped(refused), icon=":material/error:")
        return
    training = under_way()
    if found is not None and (training is None or training.id != st.query_params.get("job")):
        jobs.follow(found, lambda job: _told(job, plan, args), key="load.checked")


def under_way() -> Job | None:
    """Follow the training that was asked for last."""
    return jobs.follow(jobs.shown("train"), trained, key="load")


def _ask(action: str, plan: Plan, args: Mapping[str, Any]) -> str:
    """Ask for a job and put it into the address; return what is seen to be wrong at once, or ""."""
    try:
        plan.refuse()
    except BadInput as error:
        return str(error)
    known = _current(args) if action == "check" else None
    id = known.id if known and known.state == "done" and _same(known, args) else jobs.submit(action, args)
    if action == "train":
        st.session_state[ASKED] = id
    state.show(job=id)
    return ""


def _current(args: Mapping[str, Any]) -> Job | None:
    """Return the check of exactly these choices, or else the last of the same table that is under way or found something."""
    own = jobs.asked("check", args)
    if own is not None and _fresh(own):
        return own
    other = jobs.latest("check", data=args["data"], sheet=args.get("sheet"))
    return other if other is not None and _fresh(other) and (not other.over or other.state == "done") else None


def _fresh(job: Job) -> bool:
    """Whether the files are as they were when the job was asked for."""
    paths = [Path(job.args[name]) for name in ("data", "eval") if job.args.get(name)]
    there = [place for path in paths if path.exists() for place in (path, *(path.glob("*/") if path.is_dir() else ()))]
    return all(place.stat().st_mtime <= job.created for place in there)


def _cost(job: Job | None, args: Mapping[str, Any]) -> str:
    """Say what training will cost, if these choices were checked."""
    if job is None or job.state != "done" or not _same(job, args):
        return UNKNOWN
    costs = (job.result or {})["costs"]
    return (
        f"Training: {words.about(costs['train'])}. A question to the metagradient: {words.about(costs['walk'])}. "
        f"Checking it by real retraining: at most {words.about(costs['check'])}"
    )


def _same(job: Job, args: Mapping[str, Any]) -> bool:
    found = jobs.asked("check", args)
    return found is not None and found.id == job.id


def _told(job: Job, plan: Plan, args: Mapping[str, Any]) -> None:
    """Draw what a check found: sizes first, then the table of checks with the ways to mend them."""
    result = job.result or {}
    if _same(job, args):
        doubts = sum(check["verdict"] == "doubtful" for check in result["checks"])
        if doubts:
            st.warning(f"This can be trained, but look at {words.count(doubts, 'check')} below first.", icon=":material/visibility:")
        else:
            st.success("Everything fits: this can be trained.", icon=":material/check_circle:")
    else:
        st.info("This was found with other choices than those above. Check again to see what they changed.", icon=":material/history:")
    sized.told(str(job.args["name"]), result["n"], result["notes"], pd.DataFrame(**result["sizes"]))
    checks.told(result["checks"], "load.checks", _mender(plan))


def _mender(plan: Plan) -> Callable[[str], None] | None:
    """Return what draws the button that leaves a column out as a leak; None where columns have no parts."""
    if plan.source.bundled or plan.source.images:
        return None

    def draw(column: str) -> None:
        if plan.parts.choices().part(column) in ("leak", "dropped"):
            st.caption(f":material/check: {words.escaped(column)} is left out now.")
            return
        st.button(
            f"Leave {words.escaped(column)} out as a leak", key=f"load.leak.{column}", icon=":material/block:",
            on_click=columns.leaks, args=(column, key_of(plan.source)),
        )  # fmt: skip

    return draw


def trained(job: Job) -> None:
    """Draw what training made: its figures, the sizes of groups and classes, and the way on."""
    run = state.project().run(str((job.result or {})["run"]))
    if st.session_state.pop(ASKED, "") == job.id:  # whoever asked for it goes on with it
        state.show(run=run.id, group="")
        st.rerun()
    st.success(f"Trained in {words.duration(run.body['seconds'])}. {standing.both(run)}", icon=":material/check_circle:")
    sized.of_dataset(state.dataset(run))
    state.link("audit", "See its groups on Audit", run=run.id, group="")
