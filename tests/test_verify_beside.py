"""What verify tells beside the verdict: the attack at few false alarms, figures of groups, and how fast removed rows are learnt again."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from influence import training
from influence.actions import _judged_groups, _oracles, _relearning, perform
from influence.actions._opened import opened
from influence.actions._verified import (
    as_unusual,
    attack_in_words,
    fairness_in_words,
    in_words,
    meant,
    measured_on,
    relearned_in_words,
    said,
)
from influence.evidence import words
from influence.types import Examples
from influence.verification._pool import PARTS, Pool
from influence.verification._verdict import adjusted, at_rates, judged, overall
from influence.verification.rmia import at_rates as attacked
from tests.test_report import Page
from tests.test_verification import examples, pool
from tests.test_verify import without_planted
from tests.tiny import bind, recipe
from tests.tiny import examples as rows_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a model of simulated loans, retrained without its planted rows, and one that only claims to be, both verified."""
    project, runs = without_planted(tmp_path_factory.mktemp("project") / "p")
    told = {name: perform("verify", project, {"run": run, "oracles": 24}) for name, run in runs.items() if name != "original"}
    return project, runs, told


def test_a_model_that_kept_something_learns_it_again_faster_than_oracles(made):
    _, _, told = made
    kept, right = told["finetune"]["measures"]["relearn"], told["retrain"]["measures"]["relearn"]
    assert kept["value"] < min(kept["oracles"])
    assert kept["verdict"] == "outside"
    assert right["null_low"] < right["value"]
    curves = told["finetune"]["relearned"]
    assert len(curves["judged"]) == len(curves["low"]) == len(curves["original"]) == _oracles.STEPS + 1
    assert curves["original"][0] < curves["judged"][0] < curves["low"][0]
    assert curves["index"] < 0.95
    assert curves["index"] == pytest.approx(curves["needed"]["judged"] / curves["needed"]["oracles"])
    assert "Anamnesis index" in relearned_in_words(told["finetune"])
    assert ", these steps over theirs: ideal 1, below it" in relearned_in_words(told["finetune"])
    assert "learns them faster" in in_words(told["finetune"])
    json.dumps(told, allow_nan=False)


def test_learning_again_is_the_recipes_own_steps_on_the_removed_rows_alone(made):
    """A first step of plain SGD lowers the loss by its size times the squared gradient; the model itself stays as it is."""
    rows = rows_of(30)
    model = bind("mlp", rows, hidden=(5,))
    way = recipe(batch_size=64, lr=1e-3, momentum=0.0, weight_decay=0.0, loss="cross_entropy")
    start = training.load(training.train(model, rows, way))
    before = start.flat.clone()
    losses = _relearning.curve(model, way, start, rows, 4)
    gradient = training.Loop.of(model, rows, replace(way, batch_size=30), None, ())
    gradient.bound.put(start.vector())
    squared = float(gradient.gradient(0).square().sum())
    assert losses.shape == (5,)
    assert losses[0] - losses[1] == pytest.approx(1e-3 * _relearning.SHARE * squared, rel=1e-3)
    assert (np.diff(losses) < 0).all()
    assert start.flat.equal(before)


def test_steps_needed_are_read_off_the_curve():
    falling = np.array([4.0, 3.0, 1.0, 0.5])
    assert _relearning.needed(falling, 2.0) == pytest.approx(1.5)
    assert _relearning.needed(falling, 4.0) == 0.0
    assert _relearning.needed(falling, 0.1) is None


@pytest.mark.parametrize(
    ("judged", "oracles", "said"),
    [
        (0.0, 0.0, "Oracles are at the original's loss from the start; this test shows nothing of these rows."),
        (9.0, 0.0, "Within 32 steps this model or most oracles are not back at the original's loss."),
        (0.0, 9.0, "Within 32 steps this model or most oracles are not back at the original's loss."),
    ],
)
def test_oracles_that_need_no_steps_are_not_said_to_need_too_many(made, judged, oracles, said):
    project, runs, _ = made
    curves = np.full((25, _oracles.STEPS + 1), oracles)
    curves[0] = judged
    found = _relearning.told(opened(project, runs["finetune"]), curves)
    assert found["needed"] == {"judged": None if judged else 0.0, "oracles": None if oracles else 0.0}
    assert found["index"] is None
    assert relearned_in_words({"relearned": found}) == said


def normal_pool(shift: float, unseen: int, models: int = 41) -> Pool:
    """Margins of normal noise, the first model's removed rows shifted; two classes, of which each row's own has the margin."""
    rng = np.random.default_rng(0)
    sizes = {"forget": 400, "retained": 10, "unseen": unseen}
    rows = {part: examples(n, 2, k) for k, (part, n) in enumerate(sizes.items())}
    outputs = {}
    for part in PARTS:
        margin = rng.normal(-6.0, 1.0, (models, sizes[part]))  # far from certain: log p is the margin
        margin[0] += shift * (part == "forget")
        sign = np.where(rows[part].y == 1, 1, -1)
        outputs[part] = np.stack([-margin * sign / 2, margin * sign / 2], 2)
    return Pool(outputs, rows)


@pytest.mark.parametrize("shift", [2.0, -2.0])
def test_attack_at_few_false_alarms_is_that_of_the_normal_distribution(shift):
    told = at_rates(attacked(normal_pool(shift, 4000)), "both", 4000)
    one, thousandth = told
    assert one["value"] == pytest.approx(norm.cdf(norm.ppf(0.01) + shift), abs=0.05)
    assert thousandth["value"] is None, "4,000 rows have four false alarms at 0.1 %"
    assert thousandth["verdict"] == "too few"
    if shift > 0:
        assert one["verdict"] == "outside"
    said = attack_in_words({"attack": told})
    assert "it takes 10,000 holdout rows, there are 4,000" in said[1]
    assert ("still knows the rows" in said[0]) == (shift > 0)


def test_attack_below_the_oracles_is_called_a_failure():
    judged = {
        "rate": 0.01,
        "value": 0.0,
        "null_low": 0.01,
        "null_high": 0.05,
        "middle": 0.03,
        "chance": 0.02,
        "n": 2000,
        "verdict": "outside",
    }
    assert "driven past forgetting, which shows which rows were removed" in attack_in_words({"attack": [judged]})[0]
    each = {"side": "both", "value": -4.0, "null_low": -1.0, "null_high": 1.0, "middle": 0.0, "verdict": "outside"}
    assert meant("margins", each) == "driven past forgetting, which shows which rows were removed"
    assert meant("margins", {**each, "value": 4.0}) == "still knows the rows"
    assert meant("margins", {**each, "verdict": "inside"}) == meant("tow", {**each, "side": "low"}) == ""


def test_a_model_above_the_oracles_is_never_called_driven_past_forgetting():
    """Oracles with a long tail upwards: a model may lie far above their median and still below their highest."""
    oracles = np.r_[np.linspace(0.5, 0.501, 22), 0.52, 0.6]
    each = {"side": "both", **asdict(judged(np.r_[0.61, oracles], "both", 1))}
    assert (each["verdict"], meant("rmia", each)) == ("outside", "still knows the rows")
    assert meant("rmia", {**each, "null_high": 0.7}) == "still knows the rows", "whatever the band, the side is that of the median"
    told = at_rates(np.c_[np.r_[0.61, oracles], np.r_[0.61, oracles]], "both", 100_000)
    assert "still knows the rows" in attack_in_words({"attack": told})[0]


def test_corrected_chances_have_that_of_all_for_their_smallest():
    rng = np.random.default_rng(0)
    values = {str(k): rng.normal(size=25) for k in range(30)}
    values["7"][0] = 9.0
    each, of = adjusted(values, dict.fromkeys(values, "both")), overall(values, dict.fromkeys(values, "both"))
    assert min(each.values()) == each["7"] == of["chance"] == pytest.approx(1 / 25)
    assert sum(chance <= 0.05 for chance in each.values()) == 1, "one figure of thirty is found, not its neighbours"
    alone = [adjusted({name: found}, {name: "both"})[name] for name, found in values.items()]
    assert all(a <= b + 1e-12 for a, b in zip(alone, each.values(), strict=True))


def test_figures_of_groups_are_those_of_the_runs_tables_beside_the_oracles(made):
    project, runs, told = made
    rows = pd.DataFrame(told["finetune"]["fairness"]["rows"])
    assert set(rows["column"]) >= {"", "group"}
    bodies = {name: project.run(runs[name]).body["metrics"] for name in ("original", "finetune")}
    for each in rows.to_dict("records"):
        for kind, name in (("original", "original"), ("value", "finetune")):
            body = bodies[name]
            if not each["column"]:
                kept = body["intervals"][each["metric"]]
            elif each["group"]:
                kept = body["groups"][each["column"]][each["group"]][each["metric"]]
            else:
                kept = body["gaps"][each["column"]][each["metric"]]
            assert each[kind] == pytest.approx(kept["value"], abs=1e-6)
        assert each["n"] >= 10
        assert each["null_low"] <= each["null_high"]
    off = int((rows["verdict"] == "outside").sum())
    assert off > 0
    assert fairness_in_words(told["finetune"]).startswith(
        f"Utility and groups: {off} of {len(rows)} figures lie where removing the rows alone does not put them (24 oracles): "
    )
    assert fairness_in_words(told["retrain"]) == (
        f"Utility and groups: all of {len(rows)} figures lie where removing the rows puts them (24 oracles); no harm by the method shows."
    )


def test_a_harm_to_one_group_is_found_and_the_oracles_own_change_is_not(made):
    project, runs, _ = made
    it = opened(project, runs["retrain"])
    said, rows = _oracles.pooled(it, 24)["unseen"], _oracles.parts(it)["unseen"]
    calm = _judged_groups.told(it, said[1:], rows, None)
    assert calm["overall"]["verdict"] == "inside"
    assert all(each["original"] is None for each in calm["rows"])
    harmed = said.copy()
    group = rows.columns["group"].to_numpy() == sorted(rows.columns["group"].unique())[0]
    harmed[0, group] = np.array([4.0, -4.0])
    found = _judged_groups.told(it, harmed, rows, None)
    assert found["overall"]["verdict"] == "outside"
    off = {(each["metric"], each["group"]) for each in found["rows"] if each["verdict"] == "outside"}
    assert ("demographic_parity_gap", "") in off
    assert "lie where removing the rows alone does not put them" in fairness_in_words({"fairness": found})
    assert "Demographic-parity gap" in fairness_in_words(
        {"fairness": {**found, "rows": [r for r in found["rows"] if "parity" in r["metric"]]}}
    )
    assert _judged_groups.told(it, harmed[:10], rows, None)["overall"]["verdict"] == "too few"


def grouped(models: int, noise: float) -> tuple[SimpleNamespace, Examples, np.ndarray]:
    """A data set of 200 and 20 rows of two groups, and models whose margins differ by noise and by how sure each is of everything."""
    rng = np.random.default_rng(0)
    n, y = 220, np.tile([0, 1], 110)
    rows = Examples(np.zeros((n, 1), np.float32), y, np.arange(n), pd.DataFrame({"group": ["a"] * 200 + ["b"] * 20}), ("no", "yes"))
    data = SimpleNamespace(train=rows, evaluation=rows, protected=("group",), audit=(), encoding={})
    it = SimpleNamespace(dataset=data, trained=SimpleNamespace(removed=()))
    margin = np.where(rng.random(n) < 0.3, -1, 1) * rng.uniform(1, 3, n) * np.where(y == 1, 1, -1)
    margin = margin + noise * rng.normal(size=(models, n))
    margin[:, -1] = 0.01  # a row of the small group, and of its favourable class, that a little more would predict otherwise
    margin *= 1 + 0.02 * rng.normal(size=(models, 1))
    return it, rows, np.stack([-margin / 2, margin / 2], 2)


def test_groups_that_tie_do_not_hide_the_other_figures():
    """One oracle differs by a row of the small group, whose rates tie in all others: that is not more than a clear shift of the loss."""
    it, rows, outputs = grouped(25, 0.05)
    outputs[0] *= 1.3
    for odd in (1, 7, 24):
        given = outputs.copy()
        given[odd, -1] *= -1
        found = _judged_groups.told(it, given, rows, None)
        of = {each["metric"]: each["verdict"] for each in found["rows"] if not each["group"]}
        assert (found["overall"]["verdict"], of["loss"], of["accuracy_gap"]) == ("outside", "outside", "inside")
    table = _judged_groups._figures(it, outputs[0], rows)
    grains = {line["metric"]: _judged_groups._grain(line, table, rows) for line in table.to_dict("records") if not line["group"]}
    own = dict.fromkeys(("equal_opportunity_gap", "predictive_equality_gap", "equalized_odds_gap"), 1 / 10)
    own |= {"accuracy": 1 / 220, "balanced_accuracy": 1 / 220, "accuracy_gap": 1 / 20, "demographic_parity_gap": 1 / 20}
    assert {name: grain for name, grain in grains.items() if grain} == own


def test_models_alike_are_called_harmed_as_often_as_said(monkeypatch):
    """Each of 60 models of one kind beside 24 others: at 5 %, seven or fewer alarms of 60."""
    it, rows, outputs = grouped(60, 0.8)
    tables = {out.tobytes(): _judged_groups._figures(it, out, rows) for out in outputs}
    monkeypatch.setattr(_judged_groups, "_figures", lambda it, out, rows: tables[out.tobytes()])
    rng, chances = np.random.default_rng(1), []
    for one in range(60):
        at = [one, *rng.choice(np.delete(np.arange(60), one), 24, replace=False)]
        chances.append(_judged_groups.told(it, outputs[at], rows, None)["overall"]["chance"])
    assert sum(chance <= 0.05 for chance in chances) <= 7
    assert min(chances) < 0.2


def test_attack_ranks_every_model_by_its_own_unseen_rows():
    given = pool(models=5, rows=1000)
    told = attacked(given)
    assert told.shape == (5, 2)
    assert np.isfinite(told[:, 0]).all()
    assert np.isnan(told[:, 1]).all()


def test_report_and_command_tell_it(made):
    from influence.actions.verify import told as sentences
    from influence.readable.prove import verify as lines

    project, runs, told = made
    path = project.path / perform("report", project, {"run": runs["finetune"]})["html"]
    page = path.read_text(encoding="utf-8")
    text = Page(page).text
    assert "Beside models that never saw the rows" in page
    assert page.count("as these</td>") == len(told["finetune"]["fairness"]["rows"])
    assert "Anamnesis index" in page
    for name, each in told["finetune"]["measures"].items():
        label = each["label"] + (f", {each['unit']}" if each["unit"] else "")
        value, band = words.band(each["value"], each["null_low"], each["null_high"], each["side"])
        cells = [value, words.number(each["original"]), band]
        cells += [f"{as_unusual(each['chance'], len(each['oracles']))} of {len(each['oracles'])}", said(name, each)]
        assert f"{label} {' '.join(cells)}" in text
    assert f"{words.count(len(each['oracles']), 'oracle')}: the same training without the rows, each from a seed of its own." in text
    assert f"Measured on {measured_on(told['finetune'])}. The verdict is corrected" in text
    assert "by Finetune (claim" in page, "a method has the name that it has on pages"
    assert fairness_in_words(told["finetune"]) in sentences(told["finetune"])
    printed = "\n".join(lines(project, told["finetune"]))
    assert all(line in printed for line in (*attack_in_words(told["finetune"]), relearned_in_words(told["finetune"])))
