"""What the Compare page begins with: which run is compared, its comparison, the claim, and the random removal beside it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from influence.actions import _comparison, preview
from influence.actions._requests import requests
from influence.actions._untouched import UNTOUCHED, touched
from influence.charts.colours import ROLES
from influence.repeatable import no_recipe
from influence.store import Run
from influence.ui import asking, costs, jobs, state, trust, words

NAMES = {"original": "Original", "unlearned": "Unlearned", "retrained": "Retrained", "random": "Random removal"}
RANDOM = "Retrained without as many random rows: what differs from the original here, removing any rows would do."


def choose() -> Run | None:
    """Return the unlearned run that a page is about: the current one, or the one chosen among those made from it."""
    current = state.need_run()
    if current.kind == "unlearn":
        return current
    made = [r for r in state.project().runs() if r.parent == current.id and not r.body.get("random")]
    own = [r for r in made if not r.body.get("yardstick")]
    weights = [r.body["checkpoints"] for r in own]  # a yardstick that was asked for by name, too, stands there once
    made = own + [r for r in made if r.body.get("yardstick") and r.body["checkpoints"] not in weights]
    if not made:
        st.info(
            "Nothing was unlearned from this model yet. Choose rows on Plan, unlearn them on Run, then come back here.",
            icon=":material/info:",
        )
        state.link("plan", "Plan a removal")
        return None
    names = words.run_names(made)
    chosen = st.selectbox("Unlearned model", list(names), **state.shared("compare.which", names.__getitem__))
    return next(r for r in made if r.id == chosen)


def relabelled(run: Run) -> bool:
    """Whether the run's rows were given other labels, not removed."""
    return bool(run.body.get("n_relabelled"))


def rows(run: Run) -> str:
    """Return what the rows are called that a run and those before it were made to forget."""
    return f"{words.asked(requests(state.project(), run)).done} rows"


def part_name(run: Run, part: str) -> str:
    """Return what a part of the rows is called: forgotten rows that got other labels are relabelled ones."""
    return "relabelled" if part == "forgotten" and relabelled(run) else part


def kept_comparison(run: Run) -> dict[str, Any] | None:
    """Return the comparison made for this run and group column, or None."""
    return _comparison.kept(state.project(), run.id, state.group())


def older(run: Run) -> bool:
    """Whether an older version has compared this run by the group column, so that it has to be compared again."""
    return kept_comparison(run) is None and state.project().noted(_comparison.key(run.id, state.group())) is not None


def claim(run: Run) -> None:
    """Say how the model came to be, what may be claimed, and what it cost."""
    body, level = run.body, words.claim(run.body["claim"], requests(state.project(), run))
    cost = f"It took {words.duration(body['seconds'])}"
    whole = body.get("retrain_seconds")
    if whole and body["method"]["name"] != "retrain":
        cost += f", {words.percent(body['seconds'] / whole, 0)} of the {words.duration(whole)} that retraining took"
    if once := costs.prepared(body):
        cost += f"; {once}"
    done = words.became(body, "training row")
    st.markdown(
        f"**{words.title(body['method']['name'])}** {done}. {cost}. "
        f"Claim level **{body['claim']}, {level.name.lower()}**: {level.meaning} {body.get('claim_note', '')}"
    )


def untouched(run: Run) -> None:
    """Say whether the rows on which models are compared had no part in how this one came to be."""
    if why := touched(state.project(), run):
        st.warning(why, icon=":material/visibility:")
    else:
        st.caption(UNTOUCHED)


def after_others(run: Run) -> None:
    """Say which model stands as the original beside one that followed earlier requests."""
    if run.parent and state.project().run(run.parent).kind == "unlearn":
        st.caption("“Original” on this page is the model before this request, itself made by unlearning.")


def roles(found: dict[str, Any], first: bool = True) -> list[str]:
    """Return which models are compared, in their order; without the original unless `first`."""
    return [role for role in ROLES if role in found["runs"] and (first or role != "original")]


def well(found: dict[str, Any], told: str) -> str:
    """Return what one sees of an unlearned model beside the retrained one if forgetting went well; "" where there are not both."""
    return f" {told}" if {"unlearned", "retrained"} <= set(found["runs"]) else ""


def beside(run: Run, found: dict[str, Any]) -> None:
    """Offer to train a model without as many random rows, if there is none and the original can be trained again."""
    if (
        relabelled(run)
        or "random" in found["runs"]
        or no_recipe(asking.trained(found["runs"]["original"], str(state.project().path)), "", "")
    ):
        return
    args = {"run": run.id, "group": found["group"], "random": True}
    job = jobs.run_button("Add a random removal", "compare", args, "compare.random", help=RANDOM, primary=False, icon=":material/casino:")
    if job is not None and job.state != "done":
        jobs.follow(job, key="compare.random.follow")


def trusted(original: str, group: str, key: str) -> None:
    """Draw how well the original model's preview predicts retraining, for the metric that stands first on Plan."""
    note = preview.kept(state.project(), original, group)
    if note is None:
        return
    label = trust.labels(note)[0]
    st.caption(f"Predictions for {words.escaped(label)}:")
    trust.of_preview(state.project().run(original), note, label, key)
