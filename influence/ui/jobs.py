"""Jobs on pages: ask for one, follow it, see them all. The truth is the catalogue, so a reload or a second browser sees the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal

import streamlit as st

from influence import jobs
from influence.errors import BadInput
from influence.jobs import Job
from influence.store.formats import canonical
from influence.ui import state, words

TICK, DRAWN = 0.5, 0.8  # seconds between looks at a job that a page follows, and where curves are drawn at each
SLOW, FAST = 5.0, 1.0  # seconds between looks of the tray: nothing under way, and something
LOOKED_AT = 200  # jobs among which the latest of a kind is looked for
SHOWN = 4  # jobs that are over in the tray
PAUSABLE = ("unlearn",)  # actions whose seconds leave out what a pause takes
MARKS = {
    "queued": ":material/schedule:", "running": ":material/progress_activity:", "done": ":material/check_circle:",
    "failed": ":material/error:", "cancelled": ":material/cancel:", "lost": ":material/error:",
}  # fmt: skip


def submit(action: str, args: Mapping[str, Any]) -> str:
    """Ask for an action and return the job's id; the same question while it waits or runs is the same job."""
    return jobs.submit(state.project(), action, args)


def get(id: str | None) -> Job | None:
    """Return a job, or None if there is none of this id."""
    if not id:
        return None
    try:
        return jobs.get(state.project(), id)
    except BadInput:
        return None


def latest(action: str, **args: Any) -> Job | None:
    """Return the newest job of an action that was given these arguments, whatever else it was given; or None."""
    wanted = {name: canonical(value) for name, value in args.items()}
    for job in jobs.listed(state.project(), LOOKED_AT):
        if job.action == action and all(canonical(job.args.get(name)) == value for name, value in wanted.items()):
            return job
    return None


def asked(action: str, args: Mapping[str, Any]) -> Job | None:
    """Return the newest job of an action that was given exactly these arguments; or None."""
    wanted = canonical(args)
    found = jobs.listed(state.project(), LOOKED_AT)
    return next((job for job in found if job.action == action and canonical(job.args) == wanted), None)


def shown(action: str, **args: Any) -> Job | None:
    """Return the job in the address if it is of this action with these arguments, else the newest such that is under way, or None."""

    def fits(job: Job) -> bool:
        return job.action == action and all(job.args.get(name) == value for name, value in args.items())

    job = get(st.query_params.get("job"))
    if job is not None and fits(job):
        return job
    return next((job for job in jobs.listed(state.project(), LOOKED_AT) if fits(job) and not job.over), None)


def run_button(
    label: str,
    action: str,
    args: Mapping[str, Any],
    key: str,
    help: str = "",
    cost: str = "",
    *,
    primary: bool = True,
    icon: str = ":material/play_arrow:",
    disabled: bool = False,
) -> Job | None:
    """Draw a button that asks for an action, with its cost beside it; return the newest job with exactly these arguments, or None."""
    job = asked(action, args)
    busy = job is not None and not job.over
    with st.container(horizontal=True, vertical_alignment="center"):
        kind: Literal["primary", "secondary"] = "primary" if primary else "secondary"
        pressed = {"on_click": ask, "args": (action, args, key), "disabled": disabled or busy}
        st.button(label, key=key, help=help or None, type=kind, icon=icon, **pressed)  # type: ignore[arg-type]
        if cost:
            st.caption(cost, width="content")
    return job


def ask(action: str, args: Mapping[str, Any], key: str) -> None:
    """Ask for an action as the button of this key does when it is pressed."""
    id = submit(action, args)
    st.query_params["job"] = id  # so that a reload, or somebody with this address, follows it
    st.session_state[f"{key}.asked"] = id


def follow(
    job: Job | str | None, on_done: Callable[[Job], None] | None = None, body: Callable[[Job], None] | None = None, key: str = "follow"
) -> Job | None:
    """Show how far a job is until it is over, then what became of it; return it.

    While it is under way this is redrawn at least once a second with `body(job)` below the bar, and when it ends the page is run once more.
    `on_done(job)` draws what comes after success; `body` is drawn for a job that is over too, so that its curves stay.
    """
    job = get(job) if isinstance(job, str) else job
    if job is None:
        return None
    if job.over:
        _ended(job, on_done, key)
        if body:
            body(job)
    else:
        st.fragment(_progress, run_every=DRAWN if body else TICK)(job.id, body, key)
    return job


def _progress(id: str, body: Callable[[Job], None] | None, key: str) -> None:
    job = get(id)
    if job is None or job.over:
        st.rerun()
    bar(job, key)
    if body:
        body(job)


def bar(job: Job, key: str, name: str = "") -> None:
    """Draw how far a job is, with the buttons that stop it, now or for a while; `name`: what it is called here."""
    pausable = job.action in PAUSABLE and job.state == "running"
    with st.container(border=True):
        line, *buttons = st.columns([5, 1, 1] if pausable else [5, 1], vertical_alignment="center")
        with line:
            st.progress(share(job), text=sentence(job, words.escaped(name)))
        if pausable:
            with buttons[0]:
                _pause_button(job, f"{key}.pause")
        with buttons[-1]:
            _cancel_button(job.id, f"{key}.cancel")


def _pause_button(job: Job, key: str) -> None:
    label, icon, act = ("Go on", ":material/play_arrow:", resume) if job.paused else ("Pause", ":material/pause:", pause)
    about = "" if job.paused else "It stands still until you let it go on, also when the app is restarted. Jobs behind it wait."
    st.button(label, key=key, icon=icon, on_click=act, args=(job.id,), width="stretch", help=about or None)


def pause(id: str) -> None:
    """Let a job stand still."""
    jobs.pause(state.project(), id)


def resume(id: str) -> None:
    """Let a job go on."""
    jobs.resume(state.project(), id)


def share(job: Job) -> float:
    """Return how much of the present stage is done, from 0 to 1."""
    return min(1.0, job.done / job.total) if job.total else 0.0


def sentence(job: Job, name: str = "") -> str:
    """Return what a job is doing, how far it is and how long it will take, in one line; `name`: of what stands for the action."""
    what = name or words.verb(job.action)
    if job.state == "queued":
        return f"{what}: waiting to start"
    if job.paused:
        return f"{what}: paused {words.ago(job.paused)}, {job.done:,} of {job.total:,}"
    stage = "" if job.stage in ("", "start") else words.title(job.stage)
    done = f"{job.done:,} of {job.total:,}" if job.total > 1 else ""
    return ", ".join(filter(None, [f"{what}: {stage or 'starting'}", words.escaped(job.note), done, words.lasting(job.eta)]))


def named(job: Job) -> str:
    """Return what a job does, with the method that does it and of how many rows, where it was asked with such."""
    method, selection = job.args.get("method"), job.args.get("selection")
    by = f" by {words.title(str(method))}" if method else ""
    rows = _rows(str(state.project().path), str(selection)) if selection else ""
    return words.escaped(words.verb(job.action) + by + (f", {rows}" if rows else ""))


@st.cache_resource(show_spinner=False, max_entries=64)
def _rows(_path: str, selection: str) -> str:
    with suppress(BadInput):  # the tray is on every page: what was asked for wrongly fails in its job, not there
        return words.count(len(state.project().selection(selection)), "row")
    return ""


def _cancel_button(id: str, key: str, kind: Literal["secondary", "tertiary"] = "secondary") -> None:
    asked = st.session_state.get("cancelled") == id
    label = "Cancelling" if asked else "Cancel"
    width: Literal["content", "stretch"] = "content" if kind == "tertiary" else "stretch"
    st.button(label, key=key, icon=":material/close:", type=kind, disabled=asked, on_click=cancel, args=(id,), width=width)


def cancel(id: str) -> None:
    """Stop a job."""
    st.session_state["cancelled"] = id
    jobs.cancel(state.project(), id)


def _ended(job: Job, on_done: Callable[[Job], None] | None, key: str) -> None:
    if job.state == "done":
        if on_done:
            on_done(job)
        return
    if job.state == "cancelled":
        st.info(
            f"{words.verb(job.action)} was cancelled after {words.duration(job.seconds)}. Nothing unfinished was kept.",
            icon=MARKS["cancelled"],
        )
    else:
        st.error(words.escaped(job.error) or "The work did not end well. Start it again.", icon=MARKS[job.state])
    st.button("Start again", key=f"{key}.again", icon=":material/refresh:", on_click=again, args=(job,))


def again(job: Job) -> None:
    """Ask for the same once more; a page that showed the old job by its address shows the new one."""
    new = jobs.restart(state.project(), job.id)
    if st.query_params.get("job") == job.id:
        st.query_params["job"] = new


def tray() -> None:
    """Show the jobs under way and the last ones that are over."""
    active = [job.id for job in jobs.listed(state.project(), 20) if not job.over]
    st.fragment(_tray, run_every=FAST if active else SLOW)(tuple(active))


def _tray(active: tuple[str, ...]) -> None:
    found = jobs.listed(state.project(), 20)
    if any(job.over for job in found if job.id in active):
        st.rerun()
    running = [job for job in reversed(found) if not job.over]  # in the order of their turns
    over = [job for job in found if job.over][:SHOWN]
    if running:
        st.caption("**Jobs**")
    for job in running:
        st.progress(share(job), text=sentence(job, named(job)))
        _cancel_button(job.id, f"tray.{job.id}", "tertiary")
    if over:
        with st.expander("Recent jobs", icon=":material/history:"):
            for job in over:
                st.caption(f"{MARKS[job.state]} {named(job)}: {job.state} {words.ago(job.ended or job.created)}")
