"""The claim told before a model is made to forget is that of the run that is made then."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from influence.actions import _claims, perform
from influence.actions._opened import opened
from influence.data.refit import refusal
from influence.errors import BadInput
from influence.evidence import card, words
from influence.readable import readable
from influence.registry import unlearning
from influence.store import Project
from influence.types import Selection
from influence.ui import claims
from tests import drawing
from tests.drawing import text

no_worker, fresh, shown, trained = drawing.no_worker, drawing.fresh, drawing.shown, drawing.trained
LOANS = {"data": "bundled:loans", "data_set": {"n": 600}, "set": {"epochs": 2}}
DIGITS = {"data": "bundled:digits", "set": {"epochs": 1}}
SHARDED = {**DIGITS, "set": {"epochs": 1, "shards": 2, "slices": 1}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("claims") / "p")
    args = {"loans": LOANS, "digits": DIGITS, "sharded": SHARDED}
    return project, {name: perform("train", project, given)["run"] for name, given in args.items()}


@pytest.mark.parametrize(
    ("data", "method", "given", "level"),
    [
        ("loans", "retrain", {}, "L1"),
        ("loans", "retrain", {"preprocessing": "refitted"}, "L2"),
        ("loans", "noisy_finetune", {}, "L1"),
        ("loans", "scrub", {"epochs": 1}, "L1"),
        ("digits", "retrain", {}, "L2"),
        ("digits", "retrain", {"truth": "fresh"}, "L2"),
        ("digits", "noisy_finetune", {}, "L3"),
        ("digits", "noisy_finetune", {"seed": 1}, "L1"),
        ("sharded", "sisa", {}, "L2"),
    ],
)
def test_a_claim_is_told_before_as_it_is_made(runs, data, method, given, level):
    project, of = runs
    it = opened(project, of[data])
    rows = Selection(tuple(it.dataset.train.ids[:12].tolist()))
    made = perform("unlearn", project, {"run": it.run.id, "method": method, "set": given, "ids": list(rows.ids)})
    told = _claims.foretold(it, rows, unlearning.make(method, given))
    assert told[0] == made["claim"] == level
    assert made["claim_note"].startswith(told[1])


def test_a_whole_class_and_new_labels_are_told_before_too(runs):
    project, of = runs
    it = opened(project, of["digits"])
    train, retrain = it.dataset.train, unlearning.make("retrain")
    ids = train.ids[train.y == 3].tolist()
    made = perform("unlearn", project, {"run": it.run.id, "ids": ids})
    assert _claims.foretold(it, Selection(tuple(ids)), retrain) == (made["claim"], made["claim_note"]) == ("L1", _claims.CLASSES)
    it = opened(project, of["loans"])
    ids, label = it.dataset.train.ids[it.dataset.train.y == 0][:5].tolist(), it.dataset.train.classes[1]
    made = perform("unlearn", project, {"run": it.run.id, "ids": ids, "labels": [label]})
    asked = Selection(tuple(ids), "relabel", labels=(label,) * len(ids))
    assert _claims.foretold(it, asked, retrain) == (made["claim"], made["claim_note"]) == ("L2", "")


def test_what_cannot_be_fitted_again_is_refused_beforehand_in_the_same_words(runs):
    it = opened(runs[0], runs[1]["loans"])
    it.dataset.encoding["brought"] = True
    with pytest.raises(BadInput) as told:
        _claims.foretold(it, Selection(tuple(it.dataset.train.ids[:5].tolist())), unlearning.make("retrain", {"preprocessing": "refitted"}))
    assert str(told.value) == refusal(it.dataset.encoding)


def test_plan_and_run_say_the_claim_where_a_method_is_chosen(trained, shown):
    table = next(frame.value for frame in shown(trained, "plan").dataframe if "claim" in frame.value.columns).set_index("method")
    assert table["claim"].to_dict() == {"Retrain": "L1, approximate", "Influence step": "L1, approximate"}
    at = shown(trained, "run")
    assert "Claim: approximate (L1). Preprocessing kept: " in text(at)
    assert "For L2 choose Retrain with its setting Preprocessing at Refitted." in text(at)
    next(box for box in at.selectbox if box.key == "run.method.retrain.preprocessing").set_value("refitted").run()
    assert "Claim: exact by construction (L2). Preprocessing refitted: " in text(at)
    assert "For L2 choose" not in text(at)
    next(box for box in at.get("button_group") if box.key == "run.many").set_value("Race several").run()
    assert "Claim: L1, approximate." in text(at)


def test_settings_that_do_not_fit_the_rows_close_the_button_and_say_why(trained, shown):
    at = shown(trained, "run")
    next(box for box in at.toggle if box.key == "run.method.all").set_value(True).run()
    next(box for box in at.radio if box.key == "run.method").set_value("noisy_finetune").run()
    start = lambda: next(button for button in at.button if button.key == "run.start")  # noqa: E731
    assert not start().disabled
    next(box for box in at.number_input if box.key == "run.method.noisy_finetune.noisy_steps").set_value(50_000).run()
    assert start().disabled
    assert "so that 50,000 cannot be noisy: one has to follow. Lower noisy_steps, or raise epochs." in text(at)


def test_rows_that_no_method_can_take_close_the_button_and_are_left_out_of_a_race(fresh, shown):
    it = opened(fresh, None)
    train = it.dataset.train
    fresh.choose(Selection(tuple(train.ids[train.y == 0].tolist()), "remove", {"dataset": it.run.dataset}))
    at = shown(fresh, "run")
    assert next(button for button in at.button if button.key == "run.start").disabled
    assert f"Only rows of class {train.classes[1]!r} would remain" in text(at)
    next(box for box in at.get("button_group") if box.key == "run.many").set_value("Race several").run()
    assert next(button for button in at.button if button.key == "run.race").disabled
    assert "Retrain: left out. Only rows of class" in text(at).replace("*", "")


def test_claims_after_both_kinds_of_request_are_of_both():
    for level in ("L0", "L1", "L2"):
        meaning = words.claim(level, ("remove", "relabel")).meaning
        assert {"old", "labels", "rows"} <= set(meaning.replace(".", "").replace(",", "").split())
        assert meaning not in {words.claim(level).meaning, words.claim(level, ("relabel",)).meaning}
    assert words.claim("L3", ("remove", "relabel")) == words.claim("L3"), "which is proven of removed rows alone"


@pytest.mark.parametrize("level", words.CLAIMS)
def test_what_is_claimed_of_relabelled_rows_is_not_that_they_were_left_out(level):
    own = words.claim(level, ("relabel",))
    if level in ("trained", "L3"):  # no method certifies it
        assert own == words.claim(level)
        return
    assert "without" not in own.name + own.meaning
    assert "left out" not in own.meaning
    assert {"new", "old"} <= set(own.meaning.replace(".", "").split())
    assert own != words.claim(level)


def test_the_claim_of_relabelled_rows_is_said_wherever_a_claim_is(fresh, shown, tmp_path):
    it = opened(fresh, None)
    train = it.dataset.train
    ids = train.ids[train.y == 0][:40].tolist()
    fresh.choose(Selection(tuple(ids), "relabel", {"dataset": it.run.dataset}, (train.classes[1],) * 40))
    made = perform("unlearn", fresh, {"method": "retrain"})
    own, other = words.claim("L2", ("relabel",)).meaning, words.claim("L2").meaning
    perform("export_model", fresh, {"run": made["run"], "out": str(tmp_path / "m")})
    told = [
        readable("unlearn", fresh, made),
        (tmp_path / "m" / "README.md").read_text(encoding="utf-8"),
        (fresh.path / perform("report", fresh, {"run": made["run"]})["html"]).read_text(encoding="utf-8"),
        *(text(shown(fresh, page, run=made["run"])) for page in ("run", "compare", "verify")),
    ]
    assert [(own in each, other in each) for each in told] == [(True, False)] * len(told)


def test_the_card_of_relabelled_rows_leaves_open_what_is_left_of_the_old_labels():
    it = SimpleNamespace(data=SimpleNamespace(simulated=False), removed=0, relabelled=3, claim="L1", requests=("relabel",))
    assert card._limits(it)[0].startswith("It is not proven that the model holds no trace of the old labels;")
    it.removed, it.requests = 2, ("relabel", "remove")
    assert card._limits(it)[0].startswith("It is not proven that the model holds no trace of the removed rows and of the old labels;")


def test_preprocessing_that_was_brought_may_have_seen_the_old_labels_not_removed_rows(runs):
    it = opened(runs[0], runs[1]["loans"])
    it.dataset.encoding["brought"] = True
    ids = it.dataset.train.ids[it.dataset.train.y == 0][:5].tolist()
    asked = Selection(tuple(ids), "relabel", labels=(it.dataset.train.classes[1],) * len(ids))
    assert _claims.foretold(it, asked, unlearning.make("retrain")) == ("L1", _claims.BROUGHT_LABELS)


def test_relabelling_is_not_told_to_fit_preprocessing_again(runs):
    run = runs[0].run(runs[1]["loans"])
    assert claims.higher(run, "retrain", _claims.KEPT, relabel=True) == ""
