"""The removal curve: its points are those of retraining, its orders what they say, and the page draws it."""

from __future__ import annotations

import numpy as np
import pytest

from influence.actions import perform, removal_curve
from influence.actions._opened import opened as opened_run
from influence.errors import BadInput
from influence.grads import outputs
from influence.losses import per_example
from influence.registry import queries
from influence.training import load, train
from influence.types import Question
from influence.ui import words
from tests import investigation
from tests.investigation import by_key, done, opened, ran, said

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker
SHARES = [0.01, 0.05]


def test_points_are_those_of_retraining(made):
    project, runs = made
    told = perform("removal_curve", project, {"query": "loss", "run": runs["loans"], "shares": SHARES})
    points = project.table(told["points"])
    it = opened_run(project, runs["loans"])
    rows, n = it.dataset.train, len(it.dataset.train)
    scores = project.scores(perform("attribute", project, {"query": "loss", "run": runs["loans"]})["scores"]).column()
    import torch

    losses = per_example("cross_entropy", outputs(it.bound, rows), torch.tensor(np.array(rows.y))).numpy()
    for name, order in (("influence", np.argsort(scores, kind="stable")), ("loss", np.argsort(-losses, kind="stable"))):
        for share in SHARES:
            k = round(share * n)
            weights = np.ones(n, dtype=np.float32)
            weights[order[:k]] = 0
            bound = load(train(it.trained.model, rows, it.trained.recipe, weights=weights))
            for role in ("evaluation", "holdout"):
                asked = Question((queries.make("loss"),), it.dataset.split(role))
                real = float(asked.measured(outputs(bound, asked.examples))[0])
                own = points[(points["order"] == name) & (points["k"] == k) & (points["role"] == role)]["value"]
                assert own.item() == pytest.approx(real, abs=1e-6)
    random = points[(points["order"] == "random") & (points["k"] > 0)]
    assert random.groupby("k")["draw"].nunique().eq(removal_curve.RANDOM).all()
    predicted = project.table(told["predicted"]).set_index("k")["value"]
    assert predicted[round(0.05 * n)] - predicted[0] == pytest.approx(np.sort(scores)[: round(0.05 * n)].sum())
    again = perform("removal_curve", project, {"query": "loss", "run": runs["loans"], "shares": SHARES})
    assert again["computed"] == told["computed"]
    other = perform("removal_curve", project, {"query": "loss", "run": runs["loans"], "shares": [0.02]})
    assert other["computed"] != told["computed"]


def test_what_should_be_high_is_removed_the_other_way_round(made):
    project, runs = made
    told = perform("removal_curve", project, {"query": "accuracy_margin", "run": runs["loans"], "shares": [0.05]})
    predicted = project.table(told["predicted"]).set_index("k")["value"]
    assert predicted.iloc[-1] > predicted[0]


def test_errors_of_a_number_are_in_its_own_unit(made):
    project, runs = made
    told = perform("removal_curve", project, {"query": "loss", "run": runs["numeric"], "shares": [0.05]})
    found = project.run(runs["numeric"]).body
    points, predicted = project.table(told["points"]), project.table(told["predicted"])
    for role, name in (("evaluation", "evaluation_metrics"), ("holdout", "metrics")):
        start = points[(points["k"] == 0) & (points["role"] == role)]["value"].iloc[0]
        assert start == pytest.approx(found[name]["intervals"]["mae"]["value"], rel=1e-4)
    rmse = found["evaluation_metrics"]["intervals"]["rmse"]["value"]
    assert predicted["value"][0] == pytest.approx(rmse**2, rel=1e-4), "squared errors in the target's square"
    at = opened("influence", run=runs["numeric"], query="loss")
    assert "Errors are in the unit of goal." in said(at)
    assert (
        f"rows Mean absolute error is {words.number(points[(points['k'] == 0) & (points['role'] == 'holdout')]['value'].iloc[0])}"
        in said(at)
    )


@pytest.mark.parametrize("shares", [[], [0.0], [0.95], [0.1, 2]])
def test_shares_that_cannot_be_removed_are_refused(made, shares):
    project, runs = made
    with pytest.raises(BadInput, match=r"lie between 0 and 0\.9"):
        perform("removal_curve", project, {"query": "loss", "run": runs["loans"], "shares": shares})


def test_the_page_draws_it_when_it_was_asked_for(made):
    project, runs = made
    perform("attribute", project, {"query": "loss", "run": runs["loans"], "method": "tracin"})
    at = opened("influence", run=runs["loans"], query="loss")
    investigation.choose(at, "tracin")
    ran(by_key(at.button, "removal.draw").click().run())
    told = done(project)
    ran(at.run())
    assert told["predicted"] is None  # these scores are in no unit
    points = project.table(told["points"])
    own = points[(points["role"] == "holdout") & (points["order"] == "influence")]
    best = own[own["k"] > 0].sort_values("value").iloc[0]
    assert f"Without the {words.count(int(best['k']), 'row')}" in said(at)
    assert f"it becomes **{words.number(best['value'])}**" in said(at)


def test_a_model_without_a_recipe_says_why_not(made):
    project, runs = made
    perform("attribute", project, {"query": "loss", "run": runs["unlearned"], "method": "tracin"})
    at = investigation.choose(opened("influence", run=runs["unlearned"], query="loss"), "tracin")
    assert "Removal curve" in [head.value for head in at.subheader]
    assert "A removal curve" in said(at)
    assert not [b for b in at.button if b.key == "removal.draw"]
