"""What methods that forget would cost, told on Plan: counted steps beside those really taken, earlier requests, and what is made once."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from influence.actions import _prices, perform
from influence.registry import unlearning
from influence.types import Selection
from influence.ui import costs, priced, words
from tests import investigation
from tests.investigation import by_key, opened, ran, said, shown

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker


def asked(project, run, n=40):
    rows = project.dataset(run.dataset).train.ids[:n]
    return Selection(tuple(rows.tolist()), reason={"rule": "rows", "dataset": run.dataset})


def told(project, run, selection, name):
    return _prices.price(project, run, project.trained(run.id), project.dataset(run.dataset).train, selection, name)


@pytest.mark.parametrize("name", ["finetune", "salun", "scrub"])
def test_counted_steps_are_those_that_the_method_takes(made, name):
    project, runs = made
    run, selection, steps = project.run(runs["classes"]), asked(project, project.run(runs["classes"])), []
    count = _prices._counted(unlearning.make(name), project.trained(run.id), project.dataset(run.dataset).train, selection)
    new = unlearning.make(name)(
        project.trained(run.id), project.dataset(run.dataset).train, selection, report=lambda event: steps.append(event.total)
    )
    recipe = project.trained(run.id).recipe
    whole = recipe.epochs * -(-run.body["n"]["train"] // recipe.batch_size)
    real = new.final.step
    assert steps[-1] == real
    assert count[0] * whole == pytest.approx(real + min(real, max(5, real // 10)))


def test_retraining_costs_a_training_and_earlier_requests_tell_what_others_do(made):
    project, runs = made
    run = project.run(runs["classes"])
    selection = asked(project, run, 30)
    before = told(project, run, selection, "finetune")
    assert before.least
    assert told(project, run, selection, "retrain") == (run.body["seconds"], 1.0, "this model's own training", False)
    new = perform("unlearn", project, {"run": run.id, "method": "finetune", "ids": list(selection.ids), "set": {"epochs": 2}})
    assert told(project, run, selection, "finetune")[1:] == before[1:], "other settings tell nothing of the default ones"
    again = told(project, run, selection, "retrain")
    assert (again.seconds, again.basis) == (new["retrain_seconds"], "1 retraining of this model")
    new = perform("unlearn", project, {"run": run.id, "method": "finetune", "ids": list(selection.ids)})
    after = told(project, run, selection, "finetune")
    assert after == (new["seconds"], pytest.approx(new["seconds"] / new["retrain_seconds"]), "1 request of this model", False)
    other = project.run(runs["numeric"])
    assert other.body["model"]["name"] == run.body["model"]["name"]
    theirs = told(project, other, asked(project, other), "finetune")
    assert (theirs.share, theirs.basis) == (after.share, "1 request of other models of its kind")


def test_what_is_made_once_is_divided_by_the_requests_that_it_served(made):
    project, runs = made
    run = project.run(runs["loans"])
    assert _prices.once(project, run, "finetune") == (False, None, 0, False)
    assert _prices.once(project, run, "influence_step") == (True, None, 0, True)
    for n in (10, 12):
        new = perform("unlearn", project, {"run": run.id, "method": "influence_step", "ids": list(asked(project, run, n).ids)})
    it = _prices.once(project, run, "influence_step")
    assert it == (True, new["prepare_seconds"], 2, False)
    assert priced._once(it) == f"{words.duration(it.seconds)} for 2 requests so far, {words.duration(it.seconds / 2)} each"
    other = project.run(runs["classes"])
    assert other.body["model"]["name"] == run.body["model"]["name"]
    share = new["prepare_seconds"] / run.body["seconds"]
    it = _prices.once(project, other, "influence_step")
    assert it == (True, pytest.approx(share * other.body["seconds"]), 0, True), "as it was for others of the architecture, in trainings"
    assert priced._once(it) == f"{words.about(it.seconds)} once, not made yet"


def test_what_is_told_follows_the_settings(made):
    project, runs = made
    run = project.run(runs["loans"])
    trained, train, rows = project.trained(run.id), project.dataset(run.dataset).train, asked(project, run, 17)

    def share(name, **given):
        return _prices.price(project, run, trained, train, rows, name, given).share

    whole = trained.recipe.epochs
    assert share("scrub", epochs=60 * whole) / share("scrub", epochs=6 * whole) == pytest.approx(10, rel=0.05)
    assert share("salun", epochs=30, lr=0.1) == pytest.approx(share("salun", epochs=30) / 1.1, rel=0.05), "no step size is looked for"
    assert share("salun", epochs=30, batch_size=128) < share("salun", epochs=30)
    assert share("noisy_finetune", epochs=3 * whole) == pytest.approx(3, rel=0.1)
    assert share("influence_step", rows=100, turns=6) == pytest.approx(2 * share("influence_step", rows=100, turns=3))
    assert share("influence_step", rows=100, turns=3, products=8) > 1.2 * share("influence_step", rows=100, turns=3)


def test_requests_of_about_as_many_rows_tell_the_cost_where_there_are_some(made):
    project, runs = made
    run = project.run(runs["numeric"])
    given = {"epochs": 3}

    def basis(n):
        rows = asked(project, run, n)
        return _prices.price(project, run, project.trained(run.id), project.dataset(run.dataset).train, rows, "scrub", given).basis

    for n in (4, 40):
        perform("unlearn", project, {"run": run.id, "method": "scrub", "ids": list(asked(project, run, n).ids), "set": given})
    assert basis(16) == "2 requests of this model"
    assert basis(17) == "1 request of this model"
    assert basis(161) == "2 requests of this model, of another number of rows"


def test_run_tells_the_cost_of_the_settings_chosen(made, here):
    project, runs = made
    run = project.run(runs["loans"])
    project.choose(asked(project, run, 15))
    at = opened("run", run=run.id)
    ran(by_key(at.toggle, "run.method.all").set_value(True).run())
    ran(by_key(at.radio, "run.method").set_value("scrub").run())
    cost = costs.of_method(run, "scrub", asked(project, run, 15))
    assert cost.startswith("At least ")
    assert cost in said(at)
    ran(by_key(at.number_input, "run.method.scrub.epochs").set_value(300).run())
    count = 300 / project.trained(run.id).recipe.epochs
    assert float(re.search(r"At least ([\d,.]+) trainings, .*; rests on 300 of \d+ epochs", said(at))[1]) >= count
    ran(by_key(at.radio, "run.method").set_value("influence_step").run())
    assert re.search(r"(At least|About) (\d+\s?% of a training|[\d.]+ trainings), [\d.]+\s?s; rests on ", said(at))


def test_plan_lists_what_every_open_method_costs_and_leads_to_run_with_the_one_ticked(made):
    project, runs = made
    run = project.run(runs["loans"])
    project.choose(asked(project, run))
    at = opened("plan", run=run.id)
    table = shown(at, "method", "share of retraining")
    names = [name for name, cls in unlearning.classes.items() if not cls().unavailable(project.trained(run.id))]
    good = [name for name in names if not unlearning.classes[name].reservation]
    assert set(table["method"]) == {words.title(name) for name in good}
    ran(by_key(at.toggle, "plan.priced.all").set_value(True).run())
    table = shown(at, "method", "share of retraining")
    assert len(table) == len(names) > 8
    assert table["method"].iloc[0] == "Retrain"
    assert (table["rests on"] != "").all()
    assert not table["time"].eq(priced.UNKNOWN).all()
    assert "Whichever other method runs first also retrains the model once" in said(at)


def test_every_method_tells_its_cost_also_one_with_a_setting_called_share(made, here):
    project, runs = made
    run = project.run(runs["loans"])
    for name in unlearning.classes:
        if not unlearning.classes[name]().unavailable(project.trained(run.id)):
            assert told(project, run, asked(project, run), name)
    assert any(hasattr(cls, "share") and not callable(cls.share) for cls in unlearning.classes.values())
    project.choose(asked(project, run))
    at = opened("run", run=run.id)
    ran(by_key(at.toggle, "run.method.all").set_value(True).run())
    ran(by_key(at.radio, "run.method").set_value("msg").run())
    assert re.search("of a training, .*; rests on .* epochs", said(at))


def test_a_whole_class_is_selected_on_plan(made):
    project, runs = made
    run = project.run(runs["classes"])
    project.choose(Selection(()))
    at = opened("plan", run=run.id)
    train = project.dataset(run.dataset).train
    ran(by_key(at.selectbox, f"plan.class.{run.id}").set_value(train.classes[1]).run())
    assert by_key(at.button, "plan.class.select").label == f"Select its {(train.y == 1).sum():,} rows"
    ran(by_key(at.button, "plan.class.select").click().run())
    assert set(project.current().ids) == set(train.ids[train.y == 1].tolist())
    project.choose(Selection(()))
    at = opened("plan", run=runs["numeric"])
    assert not [box for box in at.selectbox if str(box.key).startswith("plan.class")]


def test_an_unlearned_runs_own_seconds_are_not_told_as_a_trainings():
    run = SimpleNamespace(id="u", kind="unlearn", body={"seconds": 0.1, "retrain_seconds": 9.0})
    assert costs.training_seconds(run) == 9.0
    assert _prices._training(SimpleNamespace(runs=list), run, SimpleNamespace(recipe=object()))[0] == 9.0
    assert costs.training_seconds(SimpleNamespace(kind="train", body={"seconds": 2.0})) == 2.0
