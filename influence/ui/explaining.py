"""What in a row the model's answer rests on, on the page Trace: of the traced row, and beside it of a training row from its rails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from influence.actions import explain
from influence.charts.parts import parts as bars
from influence.data.images import heat
from influence.data.images.thumbnails import drawable, of_pixels
from influence.store import Run
from influence.ui import jobs, state, texts, words

SHOWN = 12
"""Bars of a chart; what else there is adds up in one more."""
OFFERED = {"proponent": 5, "opponent": 5, "most alike": 3}
"""Rows of each list that can be set beside."""
WIDE = 176
"""Pixels of an image on the page at most."""
FOR, AGAINST = "0, 114, 178", "213, 94, 0"
DEEPEST = 0.6
"""Opacity of the strongest word's ground: letters stay readable on light and on dark."""


def draw(run: Run, place: int, result: Mapping[str, Any], edit: Mapping[str, Any], lists: Mapping[str, Sequence[Any]]) -> None:
    """Draw the parts of the traced row and of one training row of `lists` (ids by what they are), or the button that asks for them."""
    id, name = str(state.dataset(run).evaluation.ids[place]), result["query"]["given"]["class_"]
    traced = explain.kept(state.project(), run.id, "evaluation", id, name, edit)
    with st.expander("What in the rows does the answer rest on?", icon=":material/align_horizontal_center:", expanded=traced is not None):
        beside = _beside(lists)
        other = explain.kept(state.project(), run.id, "train", beside, name) if beside else None
        if traced is None or (beside and other is None):
            args = {"run": run.id, "id": id, "row": beside, "class_": name, "edit": dict(edit) or None}
            label = "Explain both rows" if beside else "Explain the row"
            job = jobs.run_button(
                label, "explain", args, "trace.explain", cost="Some hundred forward and backward passes of single rows", primary=False
            )
            jobs.follow(job, key="trace.explain.follow")
        if traced is None:
            return
        st.caption(_means(run, traced))
        _both(run, traced, other)


def _beside(lists: Mapping[str, Sequence[Any]]) -> str:
    """Draw the choice of the training row that is set beside, the strongest proponent at first; return its id, or "" if there is none."""
    offered = {str(id): f"Row {id}, {what} {k}" for what, n in reversed(OFFERED.items()) for k, id in enumerate(lists[what][:n], 1)}
    ordered = [str(id) for what, n in OFFERED.items() for id in lists[what][:n]]
    options = list(dict.fromkeys(ordered))
    if not options:
        return ""
    if st.session_state.get("trace.beside") not in options:
        st.session_state["trace.beside"] = options[0]
    return str(st.selectbox("Beside it, the training row", options, format_func=offered.__getitem__, key="trace.beside", width=320))


def _means(run: Run, found: Mapping[str, Any]) -> str:
    """Say what the parts are."""
    target = words.escaped(state.dataset(run).target)
    of = f"the log-odds of **{words.escaped(found['class'])}**" if found["class"] else target
    start = "padding in place of every token" if found["of"] == "tokens" else "the mean of the training rows"
    each = {"columns": "column", "tokens": "word", "pixels": "pixel", "inputs": "input"}[found["of"]]
    colours = "" if found["of"] in ("tokens", "pixels") else " Blue speaks for it, orange against."
    return (
        f"Integrated gradients (Captum): what each {each} adds to {of} on the straight way from {start} to the row.{colours} They say what "
        "the model reads in this row, not what a change of the row would do."
    )


def _both(run: Run, traced: dict[str, Any], other: dict[str, Any] | None) -> None:
    dataset = state.dataset(run)
    sides = [("The traced row" + (", changed" if traced["edit"] else ""), traced)]
    sides += [] if other is None else [(f"Training row {words.escaped(other['id'])}", other)]
    values = [kept_array(found["parts"]) for _, found in sides]
    reach = max(_reach(found, v) for (_, found), v in zip(sides, values, strict=True)) or 1.0
    order = np.argsort(-np.abs(values[0]), axis=None, kind="stable")[:SHOWN]
    for column, (head, found), v in zip(st.columns(2, gap="medium"), sides, values, strict=False):
        with column:
            st.markdown(f"**{head}**")
            row, x = explain.row_of(dataset, found)
            if found["of"] == "tokens" and (name := texts.column_of(dataset)):
                st.html(shaded(*explain.spans_of(dataset, "" if pd.isna(row[name]) else str(row[name])), v, reach))
            elif found["of"] == "pixels" and drawable(v.shape):
                plain, over = st.columns(2, gap="small")
                plain.image(of_pixels(x, heat.SIDE), width=WIDE, caption="The image")
                over.image(heat.of_parts(x, v, reach), width=WIDE, caption=f"What pixels add; strongest: {words.signed(_strongest(v))}")
            else:
                _bars(found, explain.names_of(dataset, found), dataset.target, v.ravel(), order, reach)
            st.caption(sums(found))
    if traced["of"] in ("tokens", "pixels"):
        st.html(legend(traced, reach, dataset.target))


def _reach(found: Mapping[str, Any], values: np.ndarray) -> float:
    """Return the strongest part that is drawn: of a pixel all channels together."""
    return float(np.abs(values.sum(0) if found["of"] == "pixels" and values.ndim == 3 else values).max())


def legend(found: Mapping[str, Any], reach: float, target: str) -> str:
    """Return as HTML what the colours mean: from what is strongest against to what is strongest for, in the unit of the parts."""
    power, most = (heat.WEAK, 1.0) if found["of"] == "pixels" else (1.0, DEEPEST)
    stops = [(k / 10, FOR if k > 0 else AGAINST) for k in range(-10, 11)]
    ground = ", ".join(f"rgba({colour}, {most * abs(at) ** power:.2f}) {50 + 50 * at:.0f}%" for at, colour in stops)
    under = ", #808080" if found["of"] == "pixels" else ""  # the grey that what adds nothing has in the image
    of, unit = (found["class"], "log-odds") if found["class"] else (f"a higher {target}", target)
    ends = (f"against {of}: {words.signed(-reach)}", f"0, in {unit}", f"for {of}: {words.signed(reach)}")
    told = "".join(f"<span>{escape(end)}</span>" for end in ends)
    return (
        f'<div style="max-width: 480px; font-size: 0.875rem"><div style="height: 10px; border-radius: 3px; '
        f'background: linear-gradient(to right, {ground}){under}"></div>'
        f'<div style="display: flex; justify-content: space-between">{told}</div></div>'
    )


@st.cache_resource(show_spinner=False, max_entries=64)
def kept_array(digest: str) -> np.ndarray:
    """Return a kept array; do not change it."""
    return state.project().array(digest)


def _strongest(values: np.ndarray) -> float:
    flat = values.sum(0).ravel()
    return float(flat[np.abs(flat).argmax()])


def sums(found: Mapping[str, Any]) -> str:
    """Say from where to where the parts lead, and whether they add up."""
    way = f"From {words.number(found['baseline'])} to {words.number(found['value'])}"
    if found["complete"]:
        return (
            f"{way}: the parts add up to the difference, but for {words.number(found['gap'], 2)} (completeness, {found['steps']:,} steps)."
        )
    return f"{way}: the parts miss the difference by {words.number(found['gap'], 2)} even in {found['steps']:,} steps; read them roughly."


def _bars(found: Mapping[str, Any], names: Sequence[str], target: str, values: np.ndarray, order: np.ndarray, reach: float) -> None:
    """Draw the strongest parts, in one order on both sides, and what all others are together: all bars add up."""
    rest = np.setdiff1d(np.arange(len(values)), order)
    drawn = [(names[k], float(values[k])) for k in order]
    drawn += [(f"all {len(rest)} others", float(values[rest].sum()))] if len(rest) else []
    st.plotly_chart(
        bars(
            [name for name, _ in drawn], [value for _, value in drawn], "log-odds" if found["class"] else target,
            max(reach, *(abs(value) for _, value in drawn)),
        ),
        key=f"trace.parts.{found['role']}", config={"displayModeBar": False},
        alt=f"What each part adds: {'; '.join(f'{name} {words.signed(value)}' for name, value in drawn[:5])}.",
    )  # fmt: skip


def shaded(text: str, spans: Sequence[tuple[int, int]], values: np.ndarray, strongest: float) -> str:
    """Return a text as HTML in which each token has the ground of what it adds: blue for, orange (and underlined with dots) against.

    What comes after the last token that the model reads is pale.
    """
    parts, last = [], 0
    for (start, end), value in zip(spans, values.tolist(), strict=False):
        if end <= start:
            continue
        parts.append(escape(text[last:start]))
        depth = DEEPEST * min(1.0, abs(value) / max(strongest, 1e-12))
        ground, line = (FOR, "none") if value >= 0 else (AGAINST, f"2px dotted rgba({AGAINST}, {min(1.0, 2 * depth):.2f})")
        style = f"background: rgba({ground}, {depth:.2f}); border-bottom: {line}; border-radius: 3px; padding: 1px 2px"
        parts.append(f'<span style="{style}" title="{escape(words.signed(value))}">{escape(text[start:end])}</span>')
        last = end
    rest = escape(text[last : last + texts.SHOWN])
    tail = f'<span style="opacity: 0.55">{rest}</span>' if rest.strip() else ""
    return f'<div style="line-height: 1.9; overflow-wrap: anywhere">{"".join(parts)}{tail}</div>'
