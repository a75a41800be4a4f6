"""Trace: which training rows speak for one prediction, and which against it? Or, from a training row: which predictions does it sway?"""

from __future__ import annotations

from influence.registry import attribution
from influence.ui import choosing, costs, jobs, predicted, state, swaying, tracing

state.page(
    "Trace",
    "One prediction: which training rows speak for it, which against it, and which merely look like it? "
    "Or the other way: which predictions does one training row sway?",
)
run = state.need_run()
if tracing.way(run) == "test":
    place = predicted.chosen(run)
    one = predicted.row(run, "evaluation", place, predicted.told(run, place))
    method = tracing.best(run)
    found = tracing.found(run, place, method)
    if found is None:
        args = {"run": run.id, "id": tracing.question(run, place)["id"], "method": method}
        price = costs.told(run, attribution, method, {}) + "; then as much again at most"
        job = jobs.run_button("Trace this prediction", "trace", args, "trace.trace", cost=price)
        jobs.follow(job, key="trace.follow")
    else:
        tracing.results(run, place, one, found)
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
