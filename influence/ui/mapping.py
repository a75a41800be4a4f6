"""The map on the Influence page: every training row as a point, and an outline drawn round some of them as a way to a selection.

What is drawn is state, not an event: whatever happens to a message, the next look at the page has the outline that is on the map.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from influence import plane
from influence.actions import coordinates
from influence.charts.density import density
from influence.digest import digest
from influence.finders.polygon import corners, written
from influence.store import Run
from influence.types import Scores
from influence.ui import choosing, colouring, jobs, kept, state, units, words
from influence.ui.map import canvas, held, names, packed

LAYOUTS = {"pca": "Principal components", "umap": "UMAP: neighbours"}
PLAIN = units.Shown()
WAYS = {"Use these": "Replace the selection", "Add these": "Add to the selection", "Take out these": "Take out of the selection"}


def section(run: Run, result: dict[str, Any], scores: Scores) -> None:
    """Draw the map of all training rows with the scores of a question."""
    st.subheader("Map", anchor=False)
    method = st.segmented_control(
        "Layout", list(LAYOUTS), default="pca", required=True, label_visibility="collapsed",
        **state.shared("map.layout", LAYOUTS.__getitem__),
    )  # fmt: skip
    laid = _laid(run, method)
    if laid:
        st.markdown(_meaning(laid))
        # Outside the fragment: what is done on the map need not weigh and compare a million points again.
        held(data=_points(run.dataset, laid["coordinates"]), key=f"map.points.{laid['coordinates'][:12]}")
        st.fragment(_map)(run, result, laid)


def _laid(run: Run, method: str) -> dict[str, Any] | None:
    """Return a run's coordinates; where there are none, have them computed: principal components at once, UMAP when asked."""
    found = coordinates.kept(state.project(), run.id, method)
    if found:
        return found
    args = {"run": run.id, "method": method}
    job = jobs.asked("coordinates", args)
    if method == "umap":
        if plane.umap_library() is None:
            st.info(plane.INSTALL, icon=":material/info:")
            return None
        cost = f"Minutes: it learns of at most {coordinates.SAMPLE:,} rows and places the others among them. It is kept."
        job = jobs.run_button("Lay out by UMAP", "coordinates", args, "map.umap", cost=cost, primary=False)
    elif job is None or job.state == "done":  # done, and deleted since
        job = jobs.get(jobs.submit("coordinates", args))
    jobs.follow(job, key="map.follow")
    return None


def _meaning(laid: dict[str, Any]) -> str:
    """Say what a point is, and what to do."""
    of = f"{laid['of']} ({words.count(laid['width'], 'number')} a row)"
    if laid["method"] == "umap":
        where = f"rows that are neighbours in {of} lie together; distances between clusters mean little"
    else:
        share = words.percent(sum(laid["shares"]), 0)
        where = f"placed by {of}, so that rows which are alike there lie together; the two axes show {share} of how rows differ"
    return f"Each point is a training row, {where}. Draw round some points to count them, then choose them."


def _coloured(run: Run, result: dict[str, Any]) -> str:
    """Say what the colours of scores mean; those of labels, groups and losses stand in the map's legend."""
    scores = kept.scores(result["scores"])
    unit = words.escaped(units.of_scores(run, result, scores).name) or "its own unit"
    unit = f"in {unit}" if scores.calibrated else "as a rank, in no unit"
    metric = words.escaped(result["labels"][0])
    return f"▼ Orange: removing the row is predicted to lower *{metric}*; ▲ violet: to raise it, {unit}. Strong ones lie on top."


def _map(run: Run, result: dict[str, Any], laid: dict[str, Any]) -> None:
    offered = colouring.offered(run, result)
    left, _ = st.columns([1, 2])
    name = left.selectbox("Colour by", list(offered), **state.shared("map.colour"))
    name = name if name in offered else colouring.INFLUENCE
    if name == colouring.INFLUENCE:
        st.caption(_coloured(run, result))
    outline = _drawn(run, result, laid, name)
    answer = st.container()
    outline = _by_numbers(laid, outline)
    with answer:
        if outline:
            _answer(run, result, laid, outline)
        else:
            st.caption("Nothing is outlined yet. The lists below hold the most helpful and the most harmful rows.")
    if st.toggle("Show how many rows lie where", **state.shared("map.density.shown")):
        xy = kept.scores(laid["coordinates"])
        about = f"How many of {len(xy.ids):,} training rows lie where, by {laid['of']}."
        st.plotly_chart(density(xy.values, *xy.labels), key="map.density", alt=about)


def _drawn(run: Run, result: dict[str, Any], laid: dict[str, Any], name: str) -> str:
    """Draw the map and return the outline on it as text, or ""."""
    selection = state.selection()
    colours = _colours(run.id, laid["coordinates"], result["scores"], name, selection.digest if selection else "", run, result, laid)
    drawn = canvas(data=colours, key=f"map.{laid['coordinates'][:12]}", on_outline_change=_taken)
    return rounded(drawn.get("outline"))


def _taken() -> None:
    """Nothing at once: what the map holds is read whenever it is drawn."""


def rounded(outline: Any) -> str:
    """Return an outline that a browser tells as text, its numbers to seven digits; "" for none, or what is none."""
    try:
        found = np.array([[float(f"{value:.7g}") for value in corner] for corner in outline or ()])
        return written(found) if corners(written(found)) is not None else ""
    except (TypeError, ValueError):  # BadInput is a ValueError too
        return ""


@st.cache_resource(show_spinner=False, max_entries=3)
def _points(dataset: str, coordinates: str) -> bytes:
    """Return what does not change with the colours: where each row lies, its label and its id; kept by digests."""
    xy, made = kept.scores(coordinates), state.project().dataset(dataset)
    labels, classes = _labels(made)
    header = {
        "placed": coordinates, "axes": list(xy.labels), "extent": extent(xy.values), "first": first(xy.values), "classes": classes,
        "target": made.target,
    }  # fmt: skip
    return packed(header, {"places": xy.values.astype(np.float32), "labels": labels, "ids": names(xy.ids)})


@st.cache_resource(show_spinner=False, max_entries=12)
def _colours(
    run: str, coordinates: str, scores: str, name: str, selection: str, _run: Run, _result: dict[str, Any], _laid: dict[str, Any]
) -> bytes:
    """Return what each point says and whether it is selected; kept by the digests of what it is made from."""
    chosen, colours = state.selection(), colouring.offered(_run, _result)[name]()
    marks = choosing.places(_run, chosen) if chosen else None
    n = len(colours.values)
    marks = np.zeros(n, dtype=bool) if marks is None else marks
    header = {
        **colours.header(), "key": digest([run, coordinates, scores, name, selection]), "placed": coordinates, "marked": bool(marks.any()),
        "alt": f"Map of {n:,} training rows by {_laid['of']}, coloured by {colours.title}; {int(marks.sum()):,} are selected.",
    }  # fmt: skip
    values = colours.values.astype(np.uint8 if colours.kind == "categories" and len(colours.names) <= 256 else np.float32)
    return packed(header, {"values": values, **({"marks": marks.astype(np.uint8)} if marks.any() else {})})


def _labels(made: Any) -> tuple[np.ndarray, list[str] | None]:
    """Return each row's label as the script reads it, and the names of the classes, if it has any."""
    if made.train.classes:
        return made.train.y.astype(np.uint8 if len(made.train.classes) <= 256 else np.uint32), list(map(str, made.train.classes))
    target = made.encoding.get("target", {})
    return (made.train.y * target.get("sd", 1.0) + target.get("mean", 0.0)).astype(np.float32), None


def first(xy: np.ndarray) -> list[float]:
    """Return the box that is seen at first, as `extent` does: without points far outside, so that a few do not press the rest together.

    Far outside is what lies further from the middle 98 %, along an axis, than half of what these take.
    """
    if not len(xy):
        return extent(xy)
    low, high = np.quantile(xy, [0.01, 0.99], axis=0)
    spare = 0.5 * (high - low)
    return extent(np.clip(xy, low - spare, high + spare))


@st.cache_resource(show_spinner=False, max_entries=16)
def _ends(coordinates: str) -> list[float]:
    return extent(kept.scores(coordinates).values)


def extent(xy: np.ndarray) -> list[float]:
    """Return the box that holds all points, never without width or height: left, low, right, high."""
    if not len(xy):
        return [-1.0, -1.0, 1.0, 1.0]
    low, high = xy.min(0).astype(float), xy.max(0).astype(float)
    spare = np.where(high > low, 0.0, np.maximum(1.0, np.abs(low)) * 0.5)
    return [*(low - spare).tolist(), *(high + spare).tolist()]


def _by_numbers(laid: dict[str, Any], outline: str) -> str:
    """Draw the box by numbers, which needs no mouse; return the outline that was made last, there or on the map."""
    key = f"map.outline.{laid['coordinates'][:12]}"
    seen, box = st.session_state.get(key, ("", ""))
    if outline != seen:
        box = ""
    with st.expander("Choose a box by numbers, without a mouse"), st.form("map.box", border=False):
        ends = _ends(laid["coordinates"])
        fields = zip(st.columns(4), ("Left", "Right", "Bottom", "Top"), (ends[0], ends[2], ends[1], ends[3]), strict=True)
        left, right, low, high = (
            column.number_input(label, value=value, format="%.4g", key=f"{key}.{label}") for column, label, value in fields
        )
        if st.form_submit_button("Count the rows inside", icon=":material/select:"):
            box = rounded([(left, low), (right, low), (right, high), (left, high)])
    st.session_state[key] = (outline, box)
    return box or outline


@st.cache_resource(show_spinner=False, max_entries=16)
def within(coordinates: str, outline: str) -> np.ndarray:
    """Return which rows lie inside an outline, (N,) bool."""
    return plane.inside(kept.scores(coordinates).values, corners(outline))


def _answer(run: Run, result: dict[str, Any], laid: dict[str, Any], outline: str) -> None:
    """Say how many rows are inside and what their removal is predicted to do, and offer to choose them."""
    found, scores = within(laid["coordinates"], outline), kept.scores(result["scores"])
    unit = units.of_scores(run, result, scores)
    n = int(found.sum())
    if not n:
        st.markdown("**No row** lies inside the outline. Draw it round some points.")
        return
    inside = f"**{words.count(n, 'training row')} inside** ({words.percent(n / len(found))} of all)."
    st.markdown(f"{inside} {told(scores, found, result, unit)}")
    given = {"outline": outline, "coordinates": laid["coordinates"]}
    with st.container(horizontal=True):
        for verb, how in WAYS.items() if state.selection() else [next(iter(WAYS.items()))]:
            label = f"{verb} {words.count(n, 'row')}"
            if st.button(label, key=f"map.{how}", icon=":material/lasso_select:"):
                choosing.find(run, "polygon", given, kept.scores(laid["coordinates"]), how)
                st.rerun()


def told(scores: Scores, found: np.ndarray, result: dict[str, Any], unit: units.Shown = PLAIN) -> str:
    """Say what the scores of the rows inside, (N,) bool, add up to in their unit, or how they rank."""
    values, metric = scores.column()[found], words.escaped(result["labels"][0])
    if scores.calibrated:
        total = words.signed(float(values.sum()) * unit.factor) + (f" {words.escaped(unit.name)}" if unit.name else "")
        return f"Without them all *{metric}* is predicted to change by {total}: a sum of scores, which has no interval; Plan tells one."
    lower, all_lower = (values < 0).mean(), (scores.column() < 0).mean()
    return f"Removing {words.percent(lower, 0)} of them is predicted to lower *{metric}*; of all rows it is {words.percent(all_lower, 0)}."
