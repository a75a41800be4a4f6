"""What every page shares: the project, the run and the group in the address, and the frame of a page.

The truth is in the project and the address; `st.session_state` only carries the address from page to page.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import streamlit as st

from influence.data.dataset import Dataset
from influence.errors import BadInput
from influence.groups import is_group
from influence.store import Project, Run
from influence.types import Selection
from influence.ui import site, words

HOME = Path(__file__).resolve().parents[2] / "projects" / "demo"
CARRIED = ("run", "group")
"""Names in the address that go along from page to page."""
OF_ROWS = ("test", "row", "edit")
"""Names in the address that name rows of a data set."""
SHOWN = "address.shown"
"""Where the session keeps how each widget in the address writes its values."""


def project() -> Project:
    """Return the project of this server: the folder in `INFLUENCE_PROJECT`, or the one that commands use by default.

    Raises:
        BadInput: the folder is no project and cannot become one.
    """
    return _opened(os.environ.get("INFLUENCE_PROJECT") or str(HOME))


@st.cache_resource(show_spinner=False, max_entries=8)
def _opened(path: str) -> Project:
    return Project(path)


def carry() -> None:
    """Take the address along: switching pages empties it, and every address is to say which run and group it shows."""
    back = {name: st.session_state.get(f"carried.{name}") for name in CARRIED if name not in st.query_params}
    st.session_state.update({f"carried.{name}": st.query_params[name] for name in CARRIED if name in st.query_params})
    if any(back.values()):
        st.query_params.update({name: value for name, value in back.items() if value})  # at once: each change is a step back in a browser


def come_back(names: Sequence[str], of: str) -> None:
    """Have a page's own names in the address outlast going away: where it has none of them, those of last time come back.

    `of`: what they were said of, such as a data set; of another one they say nothing.
    """
    here, last = {name: st.query_params[name] for name in names if name in st.query_params}, st.session_state.get(_left(names))
    if here or not last or last["of"] != of:
        st.session_state[_left(names)] = {"of": of, "here": here}
    else:
        st.query_params.update(last["here"])


def forget(names: Sequence[str]) -> None:
    """Let nothing come back of these names."""
    st.session_state.pop(_left(names), None)


def _left(names: Sequence[str]) -> str:
    return f"address.left.{names[0]}"


def show(**params: str) -> None:
    """Put names into the address, and have them carried along; an empty value takes a name out."""
    for name, value in params.items():
        if name in CARRIED:
            st.session_state[f"carried.{name}"] = value
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)


def shared(key: str, shown: Callable[[Any], str] | None = None) -> dict[str, Any]:
    """Return what a widget takes whose value stands in the address under its key, so that a copied link shows the same.

    `shown`: how its options are written, on the page and in the address. What is not in the address is the default.
    """
    st.session_state.setdefault(SHOWN, {})[key] = shown or str
    return {"key": key, "bind": "query-params", "persist_state": "session", **({"format_func": shown} if shown else {})}


def tabs(key: str) -> dict[str, Any]:
    """Return what `st.tabs` takes so that the tab which is open stands in the address, as `shared` does for widgets."""
    st.session_state.setdefault(SHOWN, {})[key] = str
    return {"key": key, "bind": "query-params", "on_change": "rerun"}


def current_run() -> Run | None:
    """Return the run in the address, else the newest made by training or import, else None."""
    for wanted in (st.query_params.get("run"), None):
        try:
            return project().run(wanted) if wanted != "" else None
        except BadInput:
            continue
    return None


def need_run() -> Run:
    """Return the current run; without one, say how to get one and end the page."""
    run = current_run()
    if run is None:
        st.info(
            "There is no trained model in this project yet. Open the demo on Start, or bring your own data on Load.", icon=":material/info:"
        )
        with st.container(horizontal=True):
            link("start", "Open the demo")
            link("load", "Bring your data")
        st.stop()
    return run


def dataset(run: Run) -> Dataset:
    """Return a run's data set, memory-mapped and shared by all sessions: do not change it."""
    return _dataset(str(project().path), run.dataset)


@st.cache_resource(show_spinner=False, max_entries=16)
def _dataset(path: str, digest: str) -> Dataset:
    return _opened(path).dataset(digest)


def selection() -> Selection | None:
    """Return the current selection of the current run's data, or None if nothing is selected."""
    run = current_run()
    chosen = project().current(run.dataset) if run else None
    if chosen is None or run is None or chosen.reason.get("dataset") not in (None, run.dataset):  # older versions kept one for all data
        return None
    return chosen if len(chosen) else None


def groups() -> tuple[str, ...]:
    """Return the columns by which the run's groups are compared: protected ones, then audit columns."""
    run = current_run()
    return tuple(run.body.get("groups", ())) if run else ()


def group() -> str:
    """Return what forms groups by the address, a column or several (`sex & race`), else the run's first group column, else ""."""
    wanted, known, run = st.query_params.get("group", ""), groups(), current_run()
    others = bool(wanted and run) and wanted not in known and is_group(dataset(run).evaluation, wanted)  # type: ignore[arg-type]
    return wanted if wanted in known or others else next(iter(known), "")


def choose_run() -> None:
    """Draw the choice of the run and of the group column; changing one changes the address."""
    run = current_run()
    if run is None:
        st.caption("No model yet")
        return
    runs = [r for r in project().runs() if r.id == run.id or not r.body.get("yardstick")]
    names = words.run_names(runs)
    st.session_state["choice.run"] = run.id
    st.selectbox(
        "Model",
        list(names),
        format_func=names.__getitem__,
        key="choice.run",
        on_change=_run_chosen,
        help=f"The model that pages show: {words.escaped(names[run.id])}",
    )
    simulated(dataset(run))
    show(run=run.id, group=group())
    if group():
        st.session_state["choice.group"] = group()
        about = "Column whose groups are compared."
        offered = list(dict.fromkeys((*groups(), group())))  # Audit can choose others, and several at once
        st.selectbox("Groups by", offered, key="choice.group", on_change=lambda: show(group=st.session_state["choice.group"]), help=about)


def _run_chosen() -> None:
    was, now = current_run(), st.session_state["choice.run"]
    other = was is None or project().run(now).dataset != was.dataset
    show(run=now, group="", job="", **(dict.fromkeys(OF_ROWS, "") if other else {}))


def page(title: str, purpose: str, *, badge: bool = True) -> None:
    """Draw a page's title and purpose; beside it the badge if the current run's data is simulated."""
    run = current_run()
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.title(title, anchor=False, width="content")
        if badge and run:
            simulated(dataset(run))
    st.markdown(purpose)


def simulated(of: Dataset) -> None:
    """Draw the badge if a data set is simulated."""
    if of.simulated:
        st.badge(words.SIMULATED, icon=":material/science:", color="orange", help=words.escaped(of.notes))


def link(page: str, label: str = "", icon: str = "", help: str = "", **params: str | list[str]) -> None:
    """Draw a link to a page by its name; run, group and `params` stand in the address it leads to."""
    place = site.places().get(page)
    if place:
        address = {**_address(), **params}
        st.page_link(place.path, label=label or place.title, icon=icon or place.icon, help=help or None, query_params=address)


def go(page: str, **params: str) -> NoReturn:
    """Leave for another page."""
    st.switch_page(site.places()[page].path, query_params={**_address(), **params})


def _address() -> dict[str, Any]:
    return {name: st.query_params[name] for name in CARRIED if name in st.query_params}
