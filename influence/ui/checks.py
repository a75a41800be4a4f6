"""The table of checks: what was looked at, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import streamlit as st

from influence.ui import words

MARKS: dict[str, tuple[str, Literal["green", "orange", "gray"], str]] = {
    "good": ("Good", "green", ":material/check_circle:"),
    "doubtful": ("Look", "orange", ":material/warning:"),
    "none": ("To know", "gray", ":material/info:"),
}
WIDTHS = (1, 2, 5)


def told(checks: Sequence[dict[str, Any]], key: str, mend: Callable[[str], None] | None = None) -> None:
    """Draw checks as rows, those to look at first, each with its way to mend it and the code that does.

    `mend` draws what says that a column is a leak, where that is a way.
    """
    doubtful = sum(check["verdict"] == "doubtful" for check in checks)
    said = f"**{words.count(doubtful, 'check')} to look at**" if doubtful else "**Nothing to worry about**"
    st.markdown(f"{said} among {len(checks)}.")
    order = ("doubtful", "none", "good")
    with st.container(border=True, key=key):
        for check in sorted(checks, key=lambda c: order.index(c["verdict"])):
            _row(check, mend)


def _row(check: dict[str, Any], mend: Callable[[str], None] | None) -> None:
    label, colour, icon = MARKS[check["verdict"]]
    mark, name, rest = st.columns(WIDTHS, vertical_alignment="top")
    mark.badge(label, color=colour, icon=icon)
    name.markdown(f"**{words.escaped(check['check'])}**")
    with rest:
        found = check["found"]
        st.markdown(words.escaped(found[:1].upper() + found[1:]))
        if check["mend"]:
            st.caption(f":material/build: {words.escaped(check['mend'])}")
        if mend and check.get("leak"):  # what older jobs found has none
            mend(check["leak"])
        if check["code"]:
            with st.expander("What to add to your program", icon=":material/code:"):
                st.code(check["code"], language="python")
