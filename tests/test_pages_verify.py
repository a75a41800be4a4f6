"""The Verify page: what it costs, the verdict with each measure beside the oracles, and the chart of both."""

from __future__ import annotations

import numpy as np
import pytest

from influence.actions import perform, verify
from influence.charts.relearned import relearned
from influence.charts.standing import FURTHEST, standing
from influence.ui import live
from influence.verification.rmia import Rmia
from tests import investigation
from tests.investigation import ROOT, by_key, done, opened, ran, said, shown

made, here, no_worker = investigation.made, investigation.here, investigation.no_worker


def test_a_model_that_forgot_nothing_is_told_how_to_go_on(made):
    text = said(opened("verify", run=made[1]["classes"]))
    assert "Nothing was unlearned from this model yet" in text


def test_from_the_button_to_the_verdict(made):
    project, runs = made
    at = opened("verify", run=runs["unlearned"])
    assert "64 new oracles to train" in said(at)
    at = ran(by_key(at.segmented_control, "verify.count").set_value(24).run())
    assert "24 new oracles to train" in said(at)
    assert "Kept for every method that forgets the same rows on the same preprocessing" in said(at)
    ran(by_key(at.button, "verify.run").click().run())
    result = done(project)
    at = opened("verify", run=runs["unlearned"])
    assert verify.in_words(result) in said(at)
    boxes = {"inside": at.success, "outside": at.error}[result["overall"]["verdict"]]
    assert len(boxes) == 1
    table = shown(at, "measure", "value")
    assert len(table) == len(result["measures"]) >= 5
    assert "as unusual by it alone" in table
    assert "The verdict above is of all measures together" in said(at)
    assert "20 removed rows" in said(at)
    assert verify.fairness_in_words(result) in said(at)
    assert verify.relearned_in_words(result) in said(at)
    assert all(line in said(at) for line in verify.attack_in_words(result))
    assert "too few to say" in verify.attack_in_words(result)[1]
    groups = shown(at, "figure", "this model")
    assert {"all rows", "all groups"} < set(groups["group"])
    assert set(groups["original"]) != {"-"}


def test_a_pass_that_the_original_has_too_is_a_warning(made):
    project, runs = made
    result = done(project, "verify", {"run": runs["unlearned"], "oracles": 24})
    passed = {"verdict": "inside", "chance": 0.2, "oracles": 24}
    for original, kinds in ((passed, (0, 1)), ({**passed, "verdict": "outside", "chance": 1 / 25}, (1, 0)), ({}, (1, 0))):
        project.note(verify.name_of(runs["unlearned"]), {**result, "overall": passed, "original": original})
        at = opened("verify", run=runs["unlearned"])
        assert (len(at.success), len(at.warning)) == kinds
        assert ("can't even tell the original, which saw them" in said(at)) == (original == passed)
        assert "original" in shown(at, "measure", "value")
        assert not onward(at)
    assert "The original could not be judged beside it" in said(at)
    project.note(verify.name_of(runs["unlearned"]), {**result, "overall": {**passed, "verdict": "outside", "chance": 2 / 25}})
    at = opened("verify", run=runs["unlearned"])
    assert "can be told from 24 models that never saw the rows: 1 of 24 is as unusual." in said(at)
    onward(at)[0].click()
    ran(at.run())
    run = project.run(runs["unlearned"])
    assert project.current().digest == project.selection(run.body["selection"]).digest, "its rows are selected"
    assert "".join(at.query_params["run"]) == run.parent, "from the model that saw the rows"
    assert "20 rows** of" in said(at)


def test_of_rows_that_were_only_relabelled_nothing_is_said_to_be_removed(made):
    project, runs = made
    train = project.dataset(project.run(runs["loans"]).dataset).train
    asked = {"ids": train.ids[train.y == 0][:12].tolist(), "labels": [train.classes[1]], "method": "influence_step"}
    run = perform("unlearn", project, {**asked, "run": runs["loans"]})["run"]
    assert "each then learns the relabelled rows again" in said(opened("verify", run=run))
    result = done(project, "verify", {"run": run, "oracles": 24})
    assert (result["relabelled"], result["removed"], result["forgot"]) == (12, 0, 12)
    at = opened("verify", run=run)
    assert "On 12 relabelled rows by their old labels, " in said(at)
    assert "small steps on the relabelled rows alone, with their old labels" in said(at)
    assert "Margins of relabelled rows, sd" in shown(at, "measure", "value")["measure"].tolist()
    assert not any("removed" in label for label in shown(at, "measure", "value")["measure"])
    assert relearned(result["relearned"], "relabelled rows").layout.yaxis.title.text == "loss on relabelled rows"
    apart = {**result, "overall": {**result["overall"], "verdict": "outside"}}
    apart["measures"] = {name: {**each, "verdict": "outside"} for name, each in result["measures"].items()}
    assert "removed rows" not in verify.in_words(apart) + "".join(verify.attack_in_words(apart))
    mixed = {**result, "removed": 3, "forgot": 15}
    assert verify.said_of("Margins of removed rows", mixed) == "Margins of removed or relabelled rows"


def onward(at):
    return [button for button in at.button if button.label == "Retrain it, or try another method"]


def test_a_method_is_judged_on_request(made):
    project, runs = made
    at = ran(by_key(opened("verify", run=runs["unlearned"]).segmented_control, "verify.runs").set_value(12).run())
    assert "12 runs of the method from new originals" in said(at)
    done(project, "verify", {"run": runs["unlearned"], "oracles": 24, "runs": 6})
    at = opened("verify", run=runs["unlearned"])
    assert "The method, not this model alone" in said(at)
    assert "6 originals" in said(at)
    assert len(shown(at, "measure", "by chance, 95 %")) == 3
    assert "U-LiRA at 1 % false alarms" in said(at).replace("\u00a0", " ").replace("\u202f", " ")


def test_a_run_that_cannot_tell_of_its_method_offers_to_judge_its_model_alone(made, monkeypatch):
    _, runs = made
    at = ran(by_key(opened("verify", run=runs["unlearned"]).segmented_control, "verify.runs").set_value(12).run())
    monkeypatch.setattr(verify, "closed", lambda project, run: "It was taken at a step.")
    at = ran(at.run())
    asked = by_key(at.segmented_control, "verify.runs")
    assert (asked.disabled, asked.help) == (True, "It was taken at a step.")
    assert "runs of the method" not in said(at)


def test_two_attacks_have_two_names():
    """Run and Compare take rows of low loss for members, Verify rows of a high likelihood ratio: their figures differ."""
    assert (live.ATTACK, Rmia.label) == ("Loss attack (AUC)", "Likelihood-ratio attack (AUC)")
    roots = [ROOT / name for name in ("influence", "pages")]
    told = [path for root in roots for path in root.rglob("*.py") if "membership attack" in path.read_text().lower()]
    assert told == []


def test_a_verdict_that_an_older_version_kept_is_asked_for_again(made, monkeypatch):
    project, runs = made
    with monkeypatch.context() as patched:
        patched.setattr(verify, "VERSION", verify.VERSION - 1)
        project.note(verify.name_of(runs["retrained"]), {"overall": {"verdict": "inside"}})
        assert verify.kept(project, runs["retrained"])
    at = opened("verify", run=runs["retrained"])
    assert by_key(at.button, "verify.run")
    assert not at.success


def test_oracles_serve_every_method_that_forgets_the_same_rows(made):
    project, runs = made
    done(project, "verify", {"run": runs["unlearned"], "oracles": 24})
    assert verify.held(project, project.run(runs["retrained"])) == 24
    at = ran(by_key(opened("verify", run=runs["retrained"]).segmented_control, "verify.count").set_value(24).run())
    assert "the oracles are kept" in said(at)


@pytest.mark.parametrize("value", [0.0, 1e6, -1e6])
def test_the_chart_keeps_what_lies_far_out_within_its_frame(value):
    oracles = np.random.default_rng(0).normal(size=40).tolist()
    each = {"label": "a <b>", "value": value, "original": None, "oracles": oracles, "null_low": -2.0, "null_high": 2.0}
    figure = standing([each])
    mark = figure.data[-1]
    assert abs(mark.x[0]) <= FURTHEST
    assert mark.marker.symbol == ("diamond" if value == 0 else "triangle-right" if value > 0 else "triangle-left")
    assert mark.y[0] == "a &lt;b&gt;"
    assert [mark.marker.symbol for mark in standing([{**each, "original": 0.0}]).data[2:]] == [
        "diamond-open",
        figure.data[-1].marker.symbol,
    ]
    assert standing([{**each, "oracles": [1.0] * 5}]).data[-1].x[0] is not None


def test_the_curves_stand_beside_the_oracles_band():
    found = {"judged": [2.0, 1.0], "low": [2.5, 2.0], "middle": [3.0, 2.2], "high": [3.5, 2.6], "original": [1.0, 0.5]}
    lines = {trace.name: list(trace.y) for trace in relearned(found).data if trace.name}
    assert lines == {"oracles, 95 %": [2.5, 2.0], "oracles, middle": [3.0, 2.2], "original": [1.0, 0.5], "this model": [2.0, 1.0]}
    assert "original" not in {trace.name for trace in relearned({**found, "original": None}).data}
