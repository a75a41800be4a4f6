"""What of an address could not be used, and what is shown instead: names of what is not there, and values that widgets do not take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from influence.ui import jobs, site, state, words

TOLD = "address.told"
"""Where the session keeps what was said last, and where it stood."""


def asked() -> dict[str, list[str]]:
    """Return the names in the address that belong to widgets, with their values; see `refused`."""
    return {name: st.query_params.get_all(name) for name in st.query_params if "." in name}


def refused(before: dict[str, list[str]]) -> list[str]:
    """Return a sentence for every value of `before` that a widget did not take: Streamlit then shows the default and clears the name."""
    written = st.session_state.get(state.SHOWN, {})
    gone = {name: said for name, said in before.items() if name not in st.query_params and name in written and name in st.session_state}
    wrong = [name for name, said in gone.items() if not _same(said, st.session_state[name], written[name])]
    return [
        f"The address asks for “{words.escaped(', '.join(gone[name])[:80])}” as {words.title(name.rsplit('.')[-1])}, which is not "
        "open here; the default is shown."
        for name in wrong
    ]


def unknown() -> list[str]:
    """Return a sentence for each part of the address that names what is not there: what it is, and what is shown instead.

    It looks at page, run, group, class and job; what belongs to a widget is told by `refused`.
    """
    return [sentence for sentence in (_unknown_page(), _unknown_run(), _unknown_group(), _unknown_class(), _unknown_job()) if sentence]


def say(place: DeltaGenerator, sentences: list[str], page: str) -> None:
    """Draw these sentences, or those of last time on the same page with the same run and groups: a page may draw itself anew at once."""
    here = (page, *(st.query_params.get(name, "") for name in state.CARRIED))
    if sentences:
        st.session_state[TOLD] = (here, sentences)
    where, said = st.session_state.get(TOLD, (here, []))
    if said and where == here:
        place.warning("\n\n".join(said), icon=":material/warning:")


def _asks(what: str, name: str, why: str, instead: str) -> str:
    return f"The address asks for {what} “{words.escaped(name[:80])}”, {why}; {instead}."


def _unknown_page() -> str:
    page = unquote(urlsplit(st.context.url or "").path).rpartition("/")[2]
    return "" if not page or page in site.places() else _asks("the page", page, "which Lethe does not have", "Start is shown")


def _unknown_run() -> str:
    wanted, run = st.query_params.get("run", ""), state.current_run()
    if not wanted or (run and wanted == run.id):
        return ""
    instead = f"{words.escaped(words.run_name(run))} is shown" if run else "there is none yet"
    return _asks("the model", wanted, "which is not in this project", instead)


def _unknown_group() -> str:
    wanted, shown = st.query_params.get("group", ""), state.group()
    if not wanted or not state.current_run() or wanted == shown or set(wanted.split(" & ")) == set(shown.split(" & ")):
        return ""
    instead = f"groups by {words.escaped(shown)} are shown" if shown else "no groups are shown"
    return _asks("groups by", wanted, "which these data cannot form", instead)


def _unknown_class() -> str:
    wanted, run = st.query_params.get("positive", ""), state.current_run()
    rows = state.dataset(run).evaluation if run and wanted else None
    if rows is None or wanted in rows.classes:
        return ""
    instead = f"rates speak of “{words.escaped(rows.favourable)}”" if rows.classes else "this target has no classes"
    return _asks("the class", wanted, "which is none of this target", instead)


def _unknown_job() -> str:
    wanted = st.query_params.get("job", "")
    known = not wanted or jobs.get(wanted) is not None
    return "" if known else _asks("the job", wanted, "which is not in this project", "the page is shown without it")


def _same(said: list[str], value: Any, shown: Callable[[Any], str]) -> bool:
    """Whether the address says a value, as widgets write it, as plain text or as another form of a number."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return len(said) == len(values) and all(_says(text, one, shown) for text, one in zip(said, values, strict=True))


def _says(text: str, value: Any, shown: Callable[[Any], str]) -> bool:
    if text.casefold() in (str(value).casefold(), str(shown(value)).casefold()):
        return True
    try:
        return not isinstance(value, str | bool) and float(text) == float(value)
    except (TypeError, ValueError):
        return False
