"""Each query against the truth: other libraries, closed forms, and the groups counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from fairlearn.metrics import demographic_parity_difference, equal_opportunity_difference, equalized_odds_difference
from scipy.special import logsumexp, softmax
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error, r2_score

from influence.actions._standard import standard
from influence.errors import BadInput
from influence.registry import queries
from influence.types import Examples, Question
from tests.questions import outputs, rows

GAPS = ("demographic_parity_gap", "equal_opportunity_gap", "equalized_odds_gap", "calibration_gap", "group_loss_gap")


def value(name: str, logits: torch.Tensor, examples: Examples, **given: object) -> float:
    return float(queries.make(name, given).value(logits, examples)[0])


def measured(name: str, logits: torch.Tensor, examples: Examples, **given: object) -> float:
    return float(queries.make(name, given).measured(logits, examples)[0])


def groups(examples: Examples) -> np.ndarray:
    return examples.columns["group"].to_numpy(dtype=str)


def by_group(per_row: np.ndarray, examples: Examples, keep: np.ndarray | bool = True) -> pd.Series:
    """Means per group, for groups with at least ten kept rows."""
    table = pd.DataFrame({"v": per_row, "g": groups(examples)})[np.broadcast_to(keep, len(per_row))].groupby("g")["v"]
    return table.mean()[table.size() >= 10]


def spread(means: pd.Series) -> float:
    return float(means.max() - means.min())


@pytest.mark.parametrize("kind", ["binary", "three"])
def test_loss_and_accuracy(kind):
    examples = rows(kind)
    z = outputs(examples)
    p = softmax(z.numpy(), 1)
    assert value("loss", z, examples) == pytest.approx(log_loss(examples.y, p))
    assert measured("loss", z, examples) == pytest.approx(log_loss(examples.y, p))
    assert measured("accuracy_margin", z, examples) == pytest.approx(accuracy_score(examples.y, p.argmax(1)))
    own = p[np.arange(len(p)), examples.y]
    assert value("accuracy_margin", z, examples) == pytest.approx(np.log(own / (1 - own)).mean())


def test_a_number_is_measured_by_its_errors():
    examples = rows("number")
    z = outputs(examples)
    y, said = examples.y, z[:, 0].numpy()
    assert value("loss", z, examples) == pytest.approx(mean_squared_error(y, said))
    assert measured("loss", z, examples) == pytest.approx(mean_absolute_error(y, said))
    assert value("accuracy_margin", z, examples) == measured("accuracy_margin", z, examples) == pytest.approx(r2_score(y, said))
    squared, absolute = by_group((said - y) ** 2, examples), by_group(np.abs(said - y), examples)
    assert value("group_loss_gap", z, examples, group="group") == pytest.approx(spread(squared))
    assert measured("group_loss_gap", z, examples, group="group") == pytest.approx(spread(absolute))
    assert measured("worst_group_loss", z, examples, group="group") == pytest.approx(absolute.max())
    assert value("worst_group_loss", z, examples, group="group", tau=0.001) == pytest.approx(squared.max(), abs=0.005)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("loss", ("Mean squared error", "Mean absolute error")),
        ("accuracy_margin", ("R²", "R²")),
        ("group_loss_gap", (None, "Mean absolute error gap by group")),
        ("worst_group_loss", ("Worst group loss by group", "Worst group mean absolute error by group")),
        ("prediction", ("Prediction for row 107", "Prediction for row 107")),
    ],
)
def test_words_for_numbers_are_not_those_for_classes(name, labels):
    examples = rows("number")
    given = {"group": "group"} if "group" in name else {"id": 107} if name == "prediction" else {}
    query = queries.make(name, given).oriented(outputs(examples), examples)
    assert query.measured_label == labels[1]
    assert labels[0] in (None, query.labels[0])


def test_r2_of_a_constant_is_refused():
    examples = rows("number")
    same = replace(examples, y=np.ones(len(examples), dtype=np.float32))
    with pytest.raises(BadInput, match="the same in all 150 rows"):
        value("accuracy_margin", outputs(examples), same)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("demographic_parity_gap", demographic_parity_difference),
        ("equal_opportunity_gap", equal_opportunity_difference),
        ("equalized_odds_gap", equalized_odds_difference),
    ],
)
def test_measured_gaps_are_fairlearns(name, oracle, seed):
    examples = rows(n=400, seed=seed)
    z = outputs(examples, seed)
    expected = oracle(examples.y, z.argmax(1).numpy(), sensitive_features=groups(examples))
    assert measured(name, z, examples, group="group") == pytest.approx(expected)
    turned = oracle(1 - examples.y, 1 - z.argmax(1).numpy(), sensitive_features=groups(examples))
    assert measured(name, z, examples, group="group", positive="no") == pytest.approx(turned)


@pytest.mark.parametrize("kind", ["binary", "three"])
@pytest.mark.parametrize("positive", ["", "first"])
def test_gaps_are_differences_of_group_means(kind, positive):
    examples = rows(kind, n=400)
    z = outputs(examples)
    own = 0 if positive else len(examples.classes) - 1
    given = {"group": "group", "positive": examples.classes[0] if positive else ""}
    p, said, real = softmax(z.numpy(), 1)[:, own], (z.argmax(1) == own).numpy(), examples.y == own
    assert value("demographic_parity_gap", z, examples, **given) == pytest.approx(spread(by_group(p, examples)))
    assert measured("demographic_parity_gap", z, examples, **given) == pytest.approx(spread(by_group(said, examples)))
    positives, negatives = by_group(p, examples, real), by_group(p, examples, ~real)
    assert value("equal_opportunity_gap", z, examples, **given) == pytest.approx(spread(positives))
    assert measured("equal_opportunity_gap", z, examples, **given) == pytest.approx(spread(by_group(said, examples, real)))
    assert value("equalized_odds_gap", z, examples, **given) == pytest.approx((spread(positives) + spread(negatives)) / 2)
    hard = max(spread(by_group(said, examples, real)), spread(by_group(said, examples, ~real)))
    assert measured("equalized_odds_gap", z, examples, **given) == pytest.approx(hard)
    excess = spread(by_group(p - real, examples))
    assert value("calibration_gap", z, examples, **given) == pytest.approx(excess)
    assert measured("calibration_gap", z, examples, **given) == pytest.approx(excess)
    loss = by_group(logsumexp(z.numpy(), 1) - z.numpy()[np.arange(len(z)), examples.y], examples)
    assert value("group_loss_gap", z, examples, group="group") == pytest.approx(spread(loss))
    assert measured("group_loss_gap", z, examples, group="group") == pytest.approx(spread(loss))
    assert measured("worst_group_loss", z, examples, group="group") == pytest.approx(loss.max())


@pytest.mark.parametrize(("of", "kept"), [("all", [0, 1]), ("positives", [1]), ("negatives", [0])])
def test_rate_of_one_group(of, kept):
    examples = rows()
    z = outputs(examples)
    inside = (groups(examples) == "b") & np.isin(examples.y, kept)
    given = {"group": "group", "which": "b", "of": of}
    assert value("group_rate", z, examples, **given) == pytest.approx(softmax(z.numpy(), 1)[inside, 1].mean())
    assert measured("group_rate", z, examples, **given) == pytest.approx((z.argmax(1).numpy() == 1)[inside].mean())
    with pytest.raises(BadInput, match=r"'d' has no row .* the groups are: a, b, c, missing"):
        value("group_rate", z, examples, **{**given, "which": "d"})


def test_group_rates_tell_which_side_of_a_gap_moves():
    examples = rows(n=400)
    z = outputs(examples)
    gap = queries.make("equal_opportunity_gap", {"group": "group"}).oriented(z, examples)
    high, low = (value("group_rate", z, examples, group="group", which=which) for which in (gap.high, gap.low))
    assert gap.value(z, examples).item() == pytest.approx(high - low)
    rates = [queries.make("group_rate", {"of": of}).better for of in ("positives", "negatives", "all")]
    assert rates == ["higher", "lower", "neither"]


@pytest.mark.parametrize("tau", [0.001, 0.1, 1.0])
def test_smooth_maximum_is_near_the_maximum(tau):
    examples = rows()
    z = outputs(examples)
    top, smooth = (f("worst_group_loss", z, examples, group="group", tau=tau) for f in (measured, value))
    assert top <= smooth <= top + tau * np.log(4)


def test_signs_stay_with_the_groups():
    examples = rows(n=400)
    z = outputs(examples)
    for name in GAPS:
        query = queries.make(name, {"group": "group"}).oriented(z, examples)
        assert query.value(z, examples) > 0
    gap = queries.make("demographic_parity_gap", {"group": "group"}).oriented(z, examples)
    turned = replace(gap, high=gap.low, low=gap.high)
    assert turned.value(z, examples) == -gap.value(z, examples)
    assert turned.measured(z, examples) == gap.measured(z, examples), "what people read has no sign"


def test_labels_name_the_groups_once_they_are_fixed():
    rng = np.random.default_rng(0)
    men = np.arange(60) % 2 == 0
    examples = Examples(
        rng.normal(size=(60, 1)),
        np.ones(60, dtype=int),
        np.arange(60),
        pd.DataFrame({"sex": np.where(men, "Male", "Female")}),
        ("no", "yes"),
    )
    examples.y[::3] = 0
    z = torch.from_numpy(np.where(men, 1.0, -1.0)[:, None] * [0.0, 1.0])
    for name, label in (
        ("equal_opportunity_gap", "Equal-opportunity gap by sex"),
        ("demographic_parity_gap", "Demographic-parity gap by sex"),
        ("equalized_odds_gap", "Equalized-odds gap by sex"),
    ):
        query = queries.make(name, {"group": "sex"})
        assert query.labels == (label,)
        assert query.oriented(z, examples).labels == (f"{label} (Male \N{MINUS SIGN} Female)",)
        assert query.oriented(z, examples).measured_label == label
    crossed = torch.from_numpy(np.where(men == (examples.y == 1), 1.0, -1.0)[:, None] * [0.0, 1.0])
    label = queries.make("equalized_odds_gap", {"group": "sex"}).oriented(crossed, examples).labels[0]
    assert label.endswith("(true positives Male \N{MINUS SIGN} Female, false Female \N{MINUS SIGN} Male)")


def test_equal_groups_still_have_two_sides():
    examples = rows()
    for name in GAPS[:3]:
        query = queries.make(name, {"group": "group"}).oriented(torch.zeros(len(examples), 2, dtype=torch.float64), examples)
        pair = (query.high, query.low) if hasattr(query, "high") else query.among_positive
        assert pair[0] != pair[1]


def test_orienting_fixes_the_class_and_the_bins():
    examples = rows(n=400)
    query = queries.make("equal_opportunity_gap", {"group": "age"}).oriented(outputs(examples), examples)
    assert query.positive == "yes"
    assert len(query.edges) == 3
    older = rows(n=300, seed=3)
    older.columns["age"] += 20
    by_hand = pd.cut(older.columns["age"], [-np.inf, *query.edges, np.inf], labels=False).to_numpy()
    p, real = softmax(outputs(older).numpy(), 1)[:, 1], older.y == 1
    names = [f"up to {query.edges[0]:.0f}", None, None, f"over {query.edges[2]:.0f}"]
    names[1:3] = [f"over {a:.0f} to {b:.0f}" for a, b in zip(query.edges, query.edges[1:], strict=False)]
    means = [p[real & (by_hand == place)].mean() if (real & (by_hand == place)).any() else np.nan for place in range(4)]
    expected = means[names.index(query.high)] - means[names.index(query.low)]
    assert query.value(outputs(older), older).item() == pytest.approx(expected)


def test_uncut_numbers_stay_uncut_where_more_values_appear():
    examples, holdout = rows(n=200, stage=np.arange(200) % 3), rows(n=200, seed=1, stage=np.arange(200) % 9)
    query = queries.make("group_loss_gap", {"group": "stage"}).oriented(outputs(examples), examples)
    assert query.edges == ()
    assert {query.high, query.low} < {"0", "1", "2"}
    losses = torch.nn.functional.cross_entropy(outputs(holdout), torch.from_numpy(holdout.y.copy()), reduction="none").numpy()
    stage = holdout.columns["stage"].astype(str).to_numpy()
    expected = losses[stage == query.high].mean() - losses[stage == query.low].mean()
    assert query.value(outputs(holdout), holdout).item() == pytest.approx(expected)


def test_small_groups_take_no_part():
    examples = rows(n=200, tribe=np.repeat(["a", "b", "rare"], [100, 91, 9]))
    z = outputs(examples)
    z[191:] = torch.tensor([-9.0, 9.0], dtype=torch.float64)
    query = queries.make("demographic_parity_gap", {"group": "tribe"}).oriented(z, examples)
    assert {query.high, query.low} == {"a", "b"}
    assert query.measured(z, examples).item() == pytest.approx(
        measured("demographic_parity_gap", z[:191], examples.take(np.arange(191)), group="tribe")
    )


@pytest.mark.parametrize("name", [*GAPS, "worst_group_loss"])
def test_too_few_rows_are_refused_with_the_counts(name):
    examples = rows(n=40, tribe=np.repeat(["a", "b"], [32, 8]))
    for act in ("value", "measured", "oriented"):
        with pytest.raises(BadInput, match=r"there are a: \d+, b: \d+\. Choose another group column"):
            getattr(queries.make(name, {"group": "tribe"}), act)(outputs(examples), examples)


def test_only_rows_of_the_kind_count():
    examples = rows(n=60, tribe=np.repeat(["a", "b"], [30, 30]))
    y = np.zeros(60, dtype=int)
    y[:30:2] = y[30:39] = 1
    with pytest.raises(BadInput, match="there are a: 15, b: 9"):
        measured("equal_opportunity_gap", outputs(examples), replace(examples, y=y), group="tribe")
    assert measured("demographic_parity_gap", outputs(examples), replace(examples, y=y), group="tribe") >= 0


@pytest.mark.parametrize("name", GAPS[:4])
def test_rates_of_a_number_are_refused(name):
    examples = rows("number")
    with pytest.raises(BadInput, match=r"this target is a number\. Ask group_loss_gap"):
        queries.make(name, {"group": "group"}).oriented(outputs(examples), examples)


def test_one_prediction():
    examples = rows("three")
    z = outputs(examples)
    p = softmax(z.numpy(), 1)
    assert measured("prediction", z, examples, id=107) == pytest.approx(p[7, 2])
    assert queries.classes["prediction"](id=107).measured(z, examples) == queries.classes["prediction"](id="107").measured(z, examples)
    assert value("prediction", z, examples, id="107", class_="fair") == pytest.approx(np.log(p[7, 1] / (1 - p[7, 1])))
    query = queries.make("prediction", {"id": "107"}).oriented(z, examples)
    assert (query.labels, query.measured_label) == (("Log-odds of good for row 107",), "Probability of good for row 107")
    number = rows("number")
    assert value("prediction", outputs(number), number, id=110) == measured("prediction", outputs(number), number, id=110)
    assert value("prediction", outputs(number), number, id=110) == outputs(number)[10, 0]


def test_one_prediction_by_a_name():
    examples = replace(rows(), ids=np.array([f"p{i}" for i in range(150)], dtype=object))
    z = outputs(examples)
    assert measured("prediction", z, examples, id="p3") == pytest.approx(softmax(z.numpy(), 1)[3, 1])
    for given, says in (
        ({"id": "p150"}, r"no evaluation row with id 'p150'; their ids are like p0, p1, p2\."),
        ({"id": "p1", "class_": "x"}, "no class 'x'"),
    ):
        with pytest.raises(BadInput, match=says):
            queries.make("prediction", given).oriented(z, examples)


def test_standard_questions():
    examples = rows(n=400)
    assert [type(query).id for query in standard(examples)] == ["loss", "accuracy_margin"]
    asked = standard(examples, "group", "no")
    assert [type(query).id for query in asked[:2]] == ["loss", "accuracy_margin"]
    assert {*GAPS, "worst_group_loss", "group_rate"} == {type(query).id for query in asked[2:]}
    assert {query.positive for query in asked if hasattr(query, "positive")} == {"no"}
    assert [query.which for query in asked if type(query).id == "group_rate"] == ["a", "b", "c", "missing"]
    assert len(asked) <= 16
    question = Question(asked, examples).oriented(outputs(examples))
    assert len(set(question.labels)) == len(question.labels) == len(question.value(outputs(examples)))
    assert torch.isfinite(question.measured(outputs(examples))).all()


def test_standard_questions_fit_the_data():
    many = rows(n=400, tribe=[f"t{i % 7}" for i in range(400)])
    assert "group_rate" not in {type(query).id for query in standard(many, "tribe")}
    number = rows("number")
    question = Question(standard(number, "group"), number).oriented(outputs(number))
    assert [type(query).id for query in question.queries] == ["loss", "accuracy_margin", "group_loss_gap", "worst_group_loss"]
    assert torch.isfinite(question.value(outputs(number))).all()
    with pytest.raises(BadInput, match="no column 'tribe'"):
        standard(rows(), "tribe")


@pytest.mark.parametrize("kind", ["binary", "three"])
def test_a_soft_gap_becomes_the_hard_one_as_the_model_grows_sure(kind):
    examples = rows(kind, n=400)
    z = outputs(examples) * 1e6
    for name in ("demographic_parity_gap", "equal_opportunity_gap"):
        assert value(name, z, examples, group="group") == pytest.approx(measured(name, z, examples, group="group"), abs=1e-9)
