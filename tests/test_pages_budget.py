"""Budgets on a real small project: what is predicted, what is retrained, the command, and the part of the Plan page."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from influence.__main__ import app
from influence.actions import budget as action
from influence.actions import perform
from influence.actions._measures import evaluated
from influence.actions._opened import opened
from influence.actions._retrained import answers
from influence.actions.confirm import questions_of
from influence.actions.preview import limits
from influence.charts.frontier import ANY
from influence.charts.frontier import frontier as picture
from influence.errors import BadInput
from influence.evidence.budget import spared
from influence.store import Project
from tests import investigation
from tests.investigation import by_key, done, ran, said
from tests.investigation import opened as page

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker
GAP = {"query": "equal_opportunity_gap", "query_set": {"group": "group"}}
GAP_ARGS = ["--query", "equal_opportunity_gap", "--query-set", "group=group"]


def target_of(project: Project, run: str, share: float) -> float:
    return share * perform("attribute", project, {**GAP, "run": run})["value"]["measured"]


def bars(at) -> str:
    return "\n".join(bar.proto.text for bar in at.get("progress"))


@pytest.fixture(scope="module")
def found(made):
    project, runs = made
    args = {**GAP, "run": runs["loans"], "target": target_of(project, runs["loans"], 0.7), "max_accuracy_loss": 0.01, "seeds": 2}
    return perform("budget", project, args), args


def test_the_rows_are_predicted_to_reach_it_within_the_loss(made, found):
    project, (result, args) = made[0], found
    predicted = result["predicted"][result["question"]]
    assert predicted["measured_before"] + predicted["measured_change"] <= args["target"] + 1e-9
    accuracy = result["predicted"][result["spared"]["label"]]
    noted = next(iter(project.notes("budget/").values()))
    scores = project.scores(noted["scores"])
    at = np.isin(scores.ids, result["ids"])
    fall = -scores.values[at, 1].sum() * result["spared"]["slope"]
    assert fall <= args["max_accuracy_loss"] + 1e-9
    if result["spared"]["borne_out"]:
        assert accuracy["measured_change"] == pytest.approx(-fall, abs=1e-9)
    else:
        assert result["spared"]["slope"] == 1.0
    assert set(result["weights"]) == {0.0}
    assert result["least"] <= len(result["ids"]) <= result["least"] + 3
    assert {p["allowed"] for p in result["frontier"]} >= {0.01, None}
    enough = [p["k"] for p in result["frontier"] if p["allowed"] is None and p["value"] <= args["target"]]
    assert min(enough) >= result["least"] - 1


def test_accuracy_is_a_share_however_wide_its_band(made, found):
    project, (result, args) = made[0], found
    noted = next(iter(project.notes("budget/").values()))
    assert limits(noted, noted["accuracy"]) == (0.0, 1.0)
    told = result["predicted"][noted["accuracy"]]
    assert told["measured_before"] + told["measured_low"] >= 0
    assert told["measured_before"] + told["measured_high"] <= 1
    assert all(0 <= point["accuracy"] <= 1 for point in result["frontier"])
    run = project.run(args["run"])
    figure = evaluated(run, project.dataset(run.dataset), noted["queries"][noted["accuracy"]], told["measured_before"])
    assert figure["low"] < told["measured_before"] < figure["high"]


def test_what_is_said_to_be_retrained_is(made, found):
    project, (result, args) = made[0], found
    it = opened(project, args["run"])
    noted = next(iter(project.notes("budget/").values()))
    gone = it.dataset.train.mask(result["ids"])
    truth = answers(it, np.stack([gone, gone]), questions_of(it, noted), [action.FIRST_SEED, action.FIRST_SEED + 1])
    for role, kinds in truth.items():
        mine = result["retrained"][role][result["question"]]
        assert mine["after"] == pytest.approx(kinds["measured"][:, 0].mean())
        assert mine["n"] == 2
    assert {"evaluation", "holdout"} == set(result["retrained"])


def test_one_question_is_prepared_once_however_it_is_asked(made, found):
    project, (result, args) = made[0], found
    named = {**GAP["query_set"], "positive": "granted"}
    again = perform("budget", project, {**args, "query_set": named, "seeds": 0})
    assert again["ids"] == result["ids"]
    assert len(project.notes(f"budget/{args['run']}/")) == 1


def test_reweighting_takes_no_more_than_removal_and_keeps_to_its_part(made, found):
    result, args = found
    less = perform("budget", made[0], {**args, "mode": "reweight", "seeds": 0})
    assert less["taken"] <= result["taken"]
    half = perform("budget", made[0], {**args, "mode": "reweight", "part": 0.5, "seeds": 0})
    assert min(half["weights"]) >= 0.5 - 1e-9
    assert len(half["ids"]) > len(result["ids"])
    assert half["retrained"] == {}


def test_what_is_out_of_reach_is_said_with_what_can_be_had(made, found):
    project, (_, args) = made[0], found
    with pytest.raises(BadInput, match=r"is out of reach with at most 1 rows? .*the nearest predicted is 0\.\d+, and"):
        perform("budget", project, {**args, "most": 0.001})
    for wrong in (-0.1, float("nan"), 2.0):
        with pytest.raises(BadInput, match="share between 0 and 1"):
            perform("budget", project, {**args, "max_accuracy_loss": wrong})
    with pytest.raises(BadInput, match="is what a budget spares"):
        perform("budget", project, {"run": args["run"], "query": "accuracy_margin", "target": 0.99, "max_accuracy_loss": 0.0})


def test_the_command_prints_writes_and_refuses(made, found, tmp_path):
    project, (result, args) = made[0], found
    home = ["--project", str(project.path), "--run", args["run"], "--seeds", "0"]
    asked = ["budget", *GAP_ARGS, "--target", str(args["target"]), "--max-accuracy-loss", "0.01"]
    out = tmp_path / "ids.csv"
    ran_it = CliRunner().invoke(app, [*asked, "--json", "--out", str(out), *home])
    printed = json.loads(ran_it.stdout)
    assert printed["ids"] == result["ids"]
    assert set(printed["predicted"]) == set(result["predicted"])
    table = pd.read_csv(out)
    assert table["id"].tolist() == result["ids"]
    assert (table["weight"] == 0).all()
    told = CliRunner().invoke(app, [*asked, *home]).stdout
    assert f"Without {len(result['ids']):,} row" in told
    assert "smooth version (Smooth accuracy)" in told
    refused = CliRunner().invoke(app, ["budget", *GAP_ARGS, "--target", "0.9", "--max-accuracy-loss", "0.01", *home])
    assert refused.exit_code == 2
    assert "Give a lower target" in refused.stderr


def test_the_page_goes_from_a_target_to_a_selection(made, found):
    project, (_, args) = made[0], found
    at = page("plan", run=args["run"])
    assert "From a target to rows" in said(at)
    label = by_key(at.selectbox, "plan.label").value
    key = f"budget.{args['run']}.{label}"
    ran(by_key(at.number_input, f"{key}.target").set_value(round(args["target"], 4)).run())
    ran(by_key(at.number_input, f"{key}.loss").set_value(1.0).run())
    ran(by_key(at.button, "budget.find").click().run())
    address = {name: value[0] if isinstance(value, list) else value for name, value in at.query_params.items()}
    assert "Looking for the fewest rows: waiting" in bars(page("plan", **address)), "a reload, or somebody with the address, follows it"
    result = done(project)
    assert result["question"] == label
    at.query_params.clear()  # as leaving the page by the navigation does
    at.switch_page(str(investigation.ROOT / "pages" / "audit.py"))
    ran(at.run())
    at.query_params.clear()
    at.switch_page(str(investigation.ROOT / "pages" / "plan.py"))
    ran(at.run())
    assert f"Without {len(result['ids'])} row" in said(at)
    assert "Really retrained with 3 new seeds" in said(at)
    assert f"n = {result['n_evaluation']:,}." not in said(at), "a gap rests on the rows of its kind alone"
    ran(by_key(at.button, "budget.use").click().run())
    assert list(project.current().ids) == result["ids"]
    assert project.current().reason["rule"] == "budget"
    box = by_key(at.selectbox, "plan.label")
    margin = next(option for option in box.options if option == "Accuracy")
    assert "choose a gap or an error above" in said(ran(box.set_value(margin).run()))


def test_a_numeric_target_spares_r2_and_has_its_targets_in_its_own_unit(made):
    """People who read years on Audit ask for years, and what is retrained is told in years."""
    project, runs = made
    run = project.run(runs["numeric"])
    unit = project.dataset(run.dataset).encoding["target"]["sd"]
    now = run.body["evaluation_metrics"]["intervals"]["mae"]["value"]
    args = {"run": run.id, "query": "loss", "target": 0.97 * now, "max_accuracy_loss": 0.2, "most": 0.3, "seeds": 2}
    result = perform("budget", project, args)
    told = result["predicted"][result["question"]]
    assert told["measured_before"] == pytest.approx(now, rel=1e-5)
    assert told["measured_before"] + told["measured_change"] == pytest.approx(args["target"], abs=0.02 * now)
    it = opened(project, run.id)
    noted = next(n for key, n in project.notes("budget/").items() if run.id in key)
    gone = it.dataset.train.mask(result["ids"])
    truth = answers(it, gone[None], questions_of(it, noted), [action.FIRST_SEED])["holdout"]["measured"][0, 0]
    one = perform("budget", project, {**args, "seeds": 1})["retrained"]["holdout"][result["question"]]["after"]
    assert one == pytest.approx(truth * unit, rel=1e-5)
    assert "R² may fall by 0.200" in spared(result)
    with pytest.raises(BadInput, match=r"out of reach .*R² falling by 0"):
        perform("budget", project, {**args, "target": 0.01 * now, "most": 0.001})
    at = page("plan", run=run.id, group="side")
    if any(b.key == "plan.prepare" for b in at.button):
        perform("prepare", project, {"run": run.id, "group": "side"})
        at = page("plan", run=run.id, group="side")
    assert "R² may fall by" in [n.label for n in at.number_input]


def test_the_picture_has_a_curve_for_each_loss(found):
    result = found[0]
    points = pd.DataFrame(result["frontier"])
    points["allowed"] = [ANY if pd.isna(a) else f"{a}" for a in points["allowed"]]
    drawn_picture = picture(points, result["taken"], result["target"], "Gap")
    curves = drawn_picture["layer"][-1]
    assert len(curves["data"]["values"]) == len(points)
    assert set(curves["encoding"]["color"]["scale"]["domain"]) == set(points["allowed"])
    assert drawn_picture["layer"][0]["data"]["values"] == [{"k": result["taken"]}]
