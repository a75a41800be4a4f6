"""How far methods agree about one question, on the Influence page."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from influence.actions import attribute
from influence.actions.agreement import pairs, sentence
from influence.charts.matrix import matrix
from influence.store import Run
from influence.ui import kept, state, words


def told(run: Run, result: dict[str, Any]) -> None:
    """Show the agreement of all methods that were asked the question of `result`, folded."""
    found = attribute.every(state.project(), run.id, result["query"])
    with st.expander(f"Do methods agree? {words.count(len(found), 'set')} of scores for this question", icon=":material/join_inner:"):
        if len(found) < 2:
            st.caption("Score the rows with a second method: what several methods say is compared here.")
            return
        it = kept.agreement(tuple(f["scores"] for f in found), found)
        names = [_name(name) for name in it["names"]]
        st.markdown(words.escaped(sentence({**it, "names": names})))
        left, right = st.columns(2, gap="large")
        for column, what, low, title in (
            (left, "correlation", -1.0, f"Rank correlation over all {it['n']:,} rows"),
            (right, "overlap", 0.0, f"Share of the first {it['top']:,} rows in common (by chance {words.percent(it['chance'])})"),
        ):
            column.caption(title)
            cells = [[_cell(it, names, a, b, what) for b in range(len(names))] for a in range(len(names))]
            column.plotly_chart(
                matrix(names, it[what], cells, low), key=f"scored.agreement.{what}", config={"displayModeBar": False},
                alt=f"{title}, pair by pair; the table below holds the same figures.",
            )  # fmt: skip
        st.dataframe(
            pd.DataFrame(pairs(it, names)), hide_index=True, alt="Every pair of methods with rank correlation, interval, overlap and n."
        )


def _name(name: str) -> str:
    head, _, rest = name.partition(" (")
    return words.title(head) + (f" ({rest}" if rest else "")


def _cell(it: dict[str, Any], names: list[str], a: int, b: int, what: str) -> str:
    between = f" (95 % {words.interval(it['low'][a][b], it['high'][a][b], 2)})" if what == "correlation" else ""
    return f"{names[a]} and {names[b]}: {words.number(it[what][a][b], 2)}{between}"
