"""Trace: which training rows speak for one prediction, and which against it? Or, from a training row: which predictions does it sway?"""

from __future__ import annotations

from functools import partial

import streamlit as st

from influence.registry import attribution
from influence.ui import choosing, costs, editing, jobs, methods, predicted, state, swaying, tracing

state.page(
    "Trace",
    "One prediction: which training rows speak for it, which against it, and which merely look like it? "
    "Or the other way: which predictions does one training row sway?",
)
run = state.need_run()
if tracing.way(run) == "test":
    line = st.container(horizontal=True, vertical_alignment="bottom")
    place = predicted.chosen(run, line)
    with line:
        method = methods.chosen(run)
    cells = editing.current(run, place)
    one, found = editing.row(run, place, cells), tracing.found(run, place, method, cells)
    price = costs.told(run, attribution, method, {}) + "; then as much again at most"
    if found is None:
        label = "Trace the changed row" if cells else "Trace this prediction"
        job = jobs.run_button(label, "trace", tracing.asked(run, place, method, cells), "trace.trace", cost=price)
        jobs.follow(job, key="trace.follow")
    else:
        what_if = partial(editing.form, run, place, cells, price, partial(tracing.submit, run, place, method))
        tracing.results(run, place, one, found, what_if)
else:
    place = swaying.chosen(run)
    one = predicted.row(run, "train", place, swaying.told(run, place))
    found = swaying.found(run, place)
    if found is None:
        args = {"run": run.id, "row": str(state.dataset(run).train.ids[place])}
        price = "About one pass over the evaluation rows per kept checkpoint"
        job = jobs.run_button("Find the predictions that it sways", "swayed", args, "trace.sway", cost=price)
        jobs.follow(job, key="trace.sway.follow")
    else:
        swaying.results(run, place, one, found)
choosing.current(run)
