"""The tests of forgetting: each measure against its closed form, and the verdict against its level and power."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from influence.actions._measures import within
from influence.evidence import words
from influence.registry import verification
from influence.types import Examples
from influence.verification._pool import PARTS, Pool, standing
from influence.verification._verdict import FEWEST, extremity, judged, measured, overall
from influence.verification.rmia import area, ratios

NAMES = sorted(verification.classes)
SIDES = {name: cls.side for name, cls in verification.classes.items()}


def examples(n: int, classes: int, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n) if classes else rng.normal(size=n).astype(np.float32)
    return Examples(np.zeros((n, 1), np.float32), y, np.arange(n), pd.DataFrame(index=range(n)), tuple("abcdef"[:classes]))


def pool(models: int = 25, classes: int = 3, seed: int = 0, rows: int = 40, shift: float = 0.0, spread: float = 1.0) -> Pool:
    """Models whose logits are a row's own and noise; `shift` is added to the first one's logits of the true classes."""
    rng = np.random.default_rng(seed)
    parts = {part: examples(rows, classes, seed + k) for k, part in enumerate(PARTS)}
    outputs = {}
    for part in PARTS:
        common = rng.normal(size=(1, rows, max(classes, 1)))
        outputs[part] = common + spread * rng.normal(size=(models, rows, max(classes, 1)))
    if shift:
        gone = outputs["forget"][0]
        if classes:
            gone[np.arange(rows), parts["forget"].y] += shift
        else:
            gone[:, 0] += shift * (parts["forget"].y - gone[:, 0])
    return Pool(outputs, parts)


def permuted(given: Pool, order: np.ndarray) -> Pool:
    return Pool({part: out[order] for part, out in given.outputs.items()}, given.rows)


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_models_are_treated_alike(name, classes):
    """The value of a model does not depend on its place: this is what the verdict's level rests on."""
    given, order = pool(classes=classes), np.random.default_rng(1).permutation(25)
    measure = verification.make(name)
    values = measure(given)
    assert values.shape == (25,)
    assert np.isfinite(values).all()
    np.testing.assert_allclose(measure(permuted(given, order)), values[order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is(name):
    cls = verification.classes[name]
    assert cls.side in ("both", "high", "low")
    assert cls.label
    assert verification.explain(name).endswith(".")


def test_standing_is_of_the_other_models():
    values = np.random.default_rng(0).normal(size=(9, 4)) * 3 + 5
    told = standing(values)
    for j in range(9):
        others = np.delete(values, j, axis=0)
        np.testing.assert_allclose(told[j], (values[j] - others.mean(0)) / others.std(0, ddof=1), rtol=1e-9)


def test_margins_are_log_odds():
    given = pool(models=4, rows=6)
    p = given.chances("forget")
    own = p[:, np.arange(6), given.rows["forget"].y]
    np.testing.assert_allclose(given.margins("forget"), np.log(own / (1 - own)), rtol=1e-9)
    np.testing.assert_allclose(given.log_chances("forget"), np.log(own), rtol=1e-9)
    sure = Pool({part: out * 1000 for part, out in given.outputs.items()}, given.rows)
    assert np.isfinite(sure.margins("forget")).all(), "margins of sure models do not saturate"


def test_jsd_is_the_divergence_of_jensen_and_shannon():
    given = pool(models=5, rows=7)
    p = given.chances("forget")
    for j, value in enumerate(verification.make("jsd")(given)):
        others = np.delete(p, j, axis=0).mean(0)
        assert value == pytest.approx(np.mean([jensenshannon(a, b) ** 2 for a, b in zip(p[j], others, strict=True)]), rel=1e-9)
    apart = np.zeros((2, 7, 3))
    apart[0, :, 0] = apart[1, :, 1] = 1000.0
    told = verification.make("jsd")(Pool({**given.outputs, "forget": apart}, given.rows))
    np.testing.assert_allclose(told, np.log(2)), "in nats, of each row: neither divided by classes nor by rows twice"


def test_tow_by_hand():
    given = pool(models=3, rows=10)
    told = verification.make("tow")(given)
    accuracy = {part: (given.outputs[part].argmax(2) == given.rows[part].y).mean(1) for part in PARTS}
    first = np.prod([1 - abs(a[0] - sorted(a)[1]) for a in accuracy.values()])
    assert told[0] == pytest.approx(first)


def test_tow_of_a_ruined_model_of_numbers_is_no_pass():
    given = pool(models=25, classes=0, rows=20, spread=0.1)
    for part in ("forget", "unseen"):
        given.outputs[part][0] += 30.0
    told = verification.make("tow")(given)
    assert told[0] == 0.0, "two factors that are worse than nothing make no large product"
    assert judged(told, "low", 20).verdict == "outside"
    single = given.rows["unseen"].take(np.arange(1))
    one = Pool({**given.outputs, "unseen": given.outputs["unseen"][:, :1]}, {**given.rows, "unseen": single})
    assert (verification.make("tow")(one) <= 1).all(), "one row has no variance of its own"


def test_measures_that_tie_do_not_hide_the_others():
    """Accuracy on few rows lies on its median in most models; one oracle that differs by a row is not more extreme than a clear shift."""
    rng, found, lost = np.random.default_rng(0), 0, 0
    for _ in range(60):
        tied = np.zeros(25)
        tied[rng.integers(1, 25)] = -0.05
        shifted = rng.normal(size=25)
        shifted[0] += 6.0
        both = {"tow": tied, "margins": shifted}, {"tow": "low", "margins": "both"}
        found += overall(*both, {"tow": 0.05})["verdict"] == "outside"
        lost += overall(*both)["verdict"] == "inside"
    assert found >= 55
    assert lost >= 55, "without a grain the tie is all that is seen"


def test_no_chance_is_smaller_than_the_oracles_allow():
    values = np.r_[np.nan, np.arange(24.0)]
    assert judged(values, "high", 3).chance == pytest.approx(1 / 25)
    assert overall({"a": values}, {"a": "high"})["chance"] == pytest.approx(1 / 25)


def test_attack_is_the_area_under_its_curve():
    given = pool(models=6, rows=30)
    gone, new = ratios(given, "forget"), ratios(given, "unseen")
    told = verification.make("rmia")(given)
    for j in range(6):
        expected = roc_auc_score(np.r_[np.ones(30), np.zeros(30)], np.r_[gone[j], new[j]])
        assert told[j] == pytest.approx(expected)
    assert area(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0.5
    p = np.exp(given.log_chances("forget"))
    np.testing.assert_allclose(gone[2], np.log(p[2] / np.delete(p, 2, axis=0).mean(0)), rtol=1e-9)


def test_attack_on_numbers_does_not_depend_on_their_unit():
    """A price in dollars or in thousands of them: the probability of a large error is 0 in float64, and then all rows look alike."""

    def at(unit: float) -> Pool:
        given = pool(classes=0, shift=0.9)
        rows = {part: replace(rows, y=rows.y * np.float32(unit)) for part, rows in given.rows.items()}
        return Pool({part: out * unit for part, out in given.outputs.items()}, rows)

    one, other = at(1.0), at(1e5)
    np.testing.assert_allclose(ratios(other, "unseen"), ratios(one, "unseen"), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(verification.make("rmia")(other), verification.make("rmia")(one), atol=2e-3)


def test_attack_tells_how_sure_even_the_surest_models_are():
    given = pool(models=5)
    sure = Pool({part: out * 1e4 for part, out in given.outputs.items()}, given.rows)
    logs = sure.log_chances("forget")
    others = np.stack([logsumexp(np.delete(logs, j, axis=0), axis=0) for j in range(5)]) - np.log(4)
    assert (others < -1000).any(), "no such probability is a number above 0"
    np.testing.assert_allclose(ratios(sure, "forget"), logs - others, atol=1e-6)


@pytest.mark.parametrize("classes", [0, 3])
def test_a_model_that_still_knows_the_rows_is_found_and_one_that_shuns_them_too(classes):
    measures = [verification.make(name) for name in NAMES]
    for shift, above in ((3.0, True), (-3.0, False)) if classes else ((1.0, True),):
        values = measured(measures, pool(models=41, classes=classes, shift=shift, spread=0.5))
        assert overall(values, SIDES)["verdict"] == "outside"
        told = judged(values["margins"], "both", 40)
        assert told.verdict == "outside"
        assert (told.value > told.null_high) if above else (told.value < told.null_low)
    attack = judged(measured(measures, pool(models=41, shift=-3.0, spread=0.5))["rmia"], "both", 40)
    assert attack.value < 0.5 < attack.null_high, "less than a guess is a failure, not a win"
    assert attack.verdict == "outside"


def test_one_row_that_is_still_known_is_found_by_the_spread():
    given = pool(models=41, rows=20, spread=0.5)
    given.outputs["forget"][0, :2] += 0.0
    given.outputs["forget"][0, [0, 1], given.rows["forget"].y[:2]] += 8.0
    values = measured([verification.make("margin_spread"), verification.make("margins")], given)
    assert judged(values["margin_spread"], "high", 20).verdict == "outside"


@pytest.mark.parametrize("oracles", [20, 64])
def test_a_retrained_model_passes(oracles):
    """At level 5 % at most 1 in 20, up to chance: 10 or fewer of 100 (that more come has a probability of 1 %)."""
    measures = [verification.make(name) for name in NAMES]
    alarms = [overall(measured(measures, pool(models=oracles + 1, seed=k, rows=15)), SIDES)["chance"] for k in range(100)]
    assert sum(chance <= 0.05 for chance in alarms) <= 10
    assert 0.35 < np.mean(alarms) < 0.65, "the chance value is uniform"


def test_more_measures_do_not_raise_more_alarms():
    rng = np.random.default_rng(0)
    noise = [{str(m): rng.normal(size=21) for m in range(30)} for _ in range(100)]
    alarms = [overall(values, dict.fromkeys(values, "both"))["chance"] for values in noise]
    assert sum(chance <= 0.05 for chance in alarms) <= 10
    alone = [min(float((extremity(v, "both") >= extremity(v, "both")[0]).mean()) for v in values.values()) for values in noise]
    assert sum(chance <= 0.05 for chance in alone) > 50, "uncorrected they would"


def test_too_few_oracles_are_said():
    values = np.r_[100.0, np.arange(FEWEST - 1)]
    assert judged(values, "high", 5).verdict == "too few"
    assert overall({"a": values}, {"a": "high"}) == {"verdict": "too few", "chance": pytest.approx(1 / FEWEST), "oracles": FEWEST - 1}
    assert judged(np.r_[100.0, np.arange(FEWEST)], "high", 5).verdict == "outside"
    assert judged(np.r_[-100.0, np.arange(FEWEST)], "high", 5).verdict == "inside", "only high values are suspicious"
    assert overall({}, {})["verdict"] == "too few"


def test_a_band_ends_where_no_value_can_lie_and_reads_as_its_verdict():
    skewed = np.r_[0.95, np.repeat([0.9, 0.1], [35, 5])]
    told = judged(skewed, "both", 3, (0.0, 1.0))
    assert (told.null_low, told.null_high, told.verdict) == (pytest.approx(0.1), 1.0, "inside")
    assert judged(skewed, "both", 3).null_high == pytest.approx(1.7)
    assert [within(name) for name in ("calibration", "calibration_gap", "accuracy_gap", "r2")] == [(-1, 1), (0, 2), (0, 1), (-np.inf, 1)]
    assert [within(name)[1] for name in ("group_loss_gap", "loss", "mae")] == [np.inf] * 3
    assert words.band(0.91004, 0.90812, 0.91001) == ("0.91004", "0.90812 to 0.91001")
    assert words.band(2.121, 1.961, 2.107, "low") == ("2.121", "1.961 or more"), "slow learners are not suspicious"
    assert words.band(0.3, 0.1, 0.29999, "high") == ("0.30000", "up to 0.29999")


def test_band_is_the_oracles():
    values = np.r_[0.5, np.linspace(0, 1, 101)]
    both, high = judged(values, "both", 3), judged(values, "high", 3)
    # Of 102 models five are 5 %: a model told apart may have four oracles as extreme beside it, and lies beyond the fifth.
    assert (both.null_low, both.null_high) == (pytest.approx(0.02), pytest.approx(0.98))
    assert (high.null_low, high.null_high) == (0.0, pytest.approx(0.96))
    assert (both.n, both.middle) == (3, pytest.approx(0.5))


@pytest.mark.parametrize("side", ["both", "high", "low"])
@pytest.mark.parametrize("oracles", [19, 24, 64, 128])
def test_what_is_outside_lies_outside_the_band_and_what_is_inside_does_not(side, oracles):
    """Skewed oracles: their quantiles lie elsewhere than equal distances from their median."""
    skewed = np.random.default_rng(oracles).lognormal(size=oracles)
    middle, shown = float(np.median(skewed)), {"both": (1, 1), "high": (0, 1), "low": (1, 0)}[side]
    for value in np.linspace(middle - 2 * np.ptp(skewed), middle + 2 * np.ptp(skewed), 400):
        told = judged(np.r_[value, skewed], side, 1)
        beyond = (value < told.null_low and shown[0]) or (value > told.null_high and shown[1])
        assert told.verdict == ("outside" if beyond else "inside")


def test_equal_oracles_do_not_divide_by_zero():
    assert np.isfinite(extremity(np.r_[1.0, np.ones(30)], "both")).all()
    assert judged(np.r_[1.0, np.ones(30)], "both", 1).verdict == "inside"
    assert judged(np.r_[2.0, np.ones(30)], "both", 1).verdict == "outside"
