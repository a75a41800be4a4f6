"""What every registered attribution method must hold to; a new file in `influence/attribution/` is tested here without another line.

The truth is exact: one convex model (logistic regression with weight decay, float64) retrained without each set of rows.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from influence.digest import digest
from influence.errors import BadInput, Cancelled
from influence.grads import outputs
from influence.registry import attribution, settings
from influence.training import bound_at, load, train, train_many
from influence.types import Event, Examples, Question, Scores, Trained, leaves
from influence.workspace import Workspace
from tests.tiny import Mean, bind, examples, question, recipe

METHODS = sorted(attribution.classes)
FINITE = {"newton"}
"""Methods whose score is for the whole removal of a row, and so not the slope at its beginning."""
GUESSES = {"random"}
"""Methods that know nothing of the model."""
ESTIMATES = {"retraining": {"subsets": 2500}}
"""Methods that draw samples, with settings under which their noise is small enough to judge them by the truth."""
QUICK = {"retraining": {"subsets": 20}, "captum_arnoldi": {"steps": 20}}
"""Settings that make a slow method quick where its values do not matter."""
LOOSE = {"activation_similarity": 0.5}
"""Methods that by their meaning leave out part of what retraining does (how hard the model found a row), and how far they agree with it."""
N = 80
SEEN = np.arange(N) % 4 > 0
"""Which rows the model without some rows was trained on: the others stand among them, one in four."""


def made(name: str, **given: Any) -> Any:
    return attribution.make(name, {**QUICK.get(name, {}), **given})


def variants() -> list[tuple[str, dict[str, Any]]]:
    """Every method as it is by default, and with each other choice that one of its settings offers."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name in METHODS:
        own = settings(attribution.classes[name])
        found += [(name, {}), *((name, {s.name: c}) for s in own for c in s.choices if c != s.default)]
    return found


@cache
def problem(kind: str = "logistic", classes: int = 2) -> tuple[Trained, Examples, Question]:
    """A trained model, its rows and three questions of other rows."""
    shape = (1, 8, 8) if kind == "cnn" else (3,)
    rows, ask = examples(N, shape, classes), examples(30, shape, classes, seed=1)
    how = recipe(
        loss="cross_entropy" if classes else "squared",
        batch_size=10,
        epochs=15 if kind == "logistic" else 2,
        weight_decay=0.1,
        lr=0.1 if classes else 0.02,
        checkpoints=4,
    )
    return train(bind(kind, rows), rows, how, record=64), rows, question(ask) if classes else question(ask, Mean())


@cache
def scored(name: str, kind: str = "logistic", classes: int = 2) -> Scores:
    return made(name)(*problem(kind, classes))


@cache
def judged(name: str) -> np.ndarray:
    """Scores of the convex model, precise enough to judge the method by them."""
    return attribution.make(name, ESTIMATES.get(name))(*problem()).values


def realised(weights: np.ndarray) -> np.ndarray:
    """Real change of each value when the convex model is trained with each of these weights, (R, N) -> (R, Q)."""
    trained, rows, asked = problem()
    thetas = train_many(trained.model, rows, trained.recipe, np.concatenate([np.ones((1, N)), weights]))
    values = torch.stack([asked.value(outputs(bound_at(trained.model, trained.recipe, theta), asked.examples)) for theta in thetas])
    return (values[1:] - values[0]).numpy()


@cache
def truth() -> tuple[np.ndarray, np.ndarray]:
    """Sets of one to three rows, (R, N), and the change that really happens without them, (R, Q)."""
    sets, rng = np.zeros((2 * N, N)), np.random.default_rng(0)
    sets[:N] = np.eye(N)
    for row in sets[N:]:
        row[rng.choice(N, rng.integers(2, 4), replace=False)] = 1
    return sets, realised(1 - sets)


def agrees(values: np.ndarray, least: float = 0.7) -> None:
    """Summed scores put sets of rows into the order of what really happens without them, with the right sign."""
    sets, real = truth()
    for q in range(real.shape[1]):
        found = stats.spearmanr(sets @ values[:, q], real[:, q]).statistic
        assert found > least, f"value {q}: rank correlation with retraining is {found:.2f}"


def in_its_unit(values: np.ndarray) -> None:
    """Realised changes are as large as predicted."""
    sets, real = truth()
    for q in range(real.shape[1]):
        slope = np.polyfit(sets @ values[:, q], real[:, q], 1)[0]
        assert slope == pytest.approx(1, abs=0.15), f"value {q}: realised changes are {slope:.2f} times the predicted"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "retraining")) for name in sorted(set(METHODS) - GUESSES)]
)
def test_scores_rank_rows_as_retraining_does(name):
    agrees(judged(name), LOOSE.get(name, 0.7))


@pytest.mark.parametrize("name", [name for name in METHODS if attribution.classes[name].calibrated])
def test_calibrated_scores_are_in_the_questions_unit(name):
    in_its_unit(judged(name))


@pytest.mark.parametrize("name", sorted(set(METHODS) - GUESSES))
def test_a_flipped_sign_would_be_noticed(name):
    with pytest.raises(AssertionError, match="rank correlation"):
        agrees(-judged(name), LOOSE.get(name, 0.7))
    with pytest.raises(AssertionError, match="times the predicted"):
        in_its_unit(-judged(name))


def test_a_guess_would_be_noticed():
    with pytest.raises(AssertionError, match="rank correlation"):
        agrees(judged("random"))


@pytest.mark.parametrize("name", [name for name in METHODS if attribution.classes[name].calibrated and name not in FINITE | set(ESTIMATES)])
def test_error_of_a_calibrated_score_shrinks_with_the_square_of_the_change(name):
    """First order: down-weighting a set by e leaves an error of order e². (Estimates by sampling have their noise instead.)"""
    sets = truth()[0][N : N + 20]
    predicted = sets @ judged(name)
    error = [np.abs(realised(1 - e * sets) - e * predicted).mean(0) for e in (0.08, 0.04, 0.02)]
    for large, small in pairwise(error):
        np.testing.assert_allclose(large / small, 4, rtol=0.15)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("kind", "classes"), [("logistic", 2), ("mlp", 3), ("cnn", 3), ("mlp", 0)])
def test_one_score_for_every_row_and_value(name, kind, classes):
    trained, rows, asked = problem(kind, classes)
    if closed := made(name).unavailable(trained):  # too large a model
        with pytest.raises(BadInput, match=re.escape(closed)):
            scored(name, kind, classes)
        return
    scores = scored(name, kind, classes)
    assert scores.values.shape == (N, len(asked.labels))
    np.testing.assert_array_equal(scores.ids, rows.ids)
    assert scores.labels == asked.labels
    assert scores.method == name
    assert scores.calibrated <= attribution.classes[name].calibrated  # newton: of linear models alone
    assert (scores.values.std(0) > 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_scores_go_with_ids_not_with_positions(name):
    trained, rows, asked = problem()
    turn = np.random.default_rng(0).permutation(N)
    turned = made(name)(trained, rows.take(turn), asked)
    np.testing.assert_array_equal(turned.ids, rows.ids[turn])
    np.testing.assert_allclose(turned.values, scored(name).values[turn], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", METHODS)
def test_the_same_twice(name):
    torch.manual_seed(123)
    again = made(name)(*problem())
    np.testing.assert_array_equal(again.values, scored(name).values)


def state(trained: Trained, rows: Examples, asked: Question) -> str:
    """Everything that a method is given, by content."""
    weights = [{key: value.numpy() for key, value in c.load().items()} for c in trained.checkpoints]
    assert trained.trajectory is not None
    given = [[*leaves(e.x), e.y, e.ids, e.columns] for e in (rows, asked.examples)]
    return digest([weights, dict(trained.trajectory.load()), given, trained.recipe, trained.model, list(asked.queries)])


@pytest.mark.parametrize("name", METHODS)
def test_what_is_given_stays_as_it_was(name):
    given = problem("mlp", 3)
    before, generator, numbers = state(*given), torch.get_rng_state(), np.random.get_state()[1].copy()
    assert made(name).unavailable(given[0]) == ""
    made(name)(*given)
    assert state(*given) == before
    assert torch.equal(torch.get_rng_state(), generator)
    np.testing.assert_array_equal(np.random.get_state()[1], numbers)
    assert torch.get_num_threads() == 1
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in load(given[0]).params)


@pytest.mark.parametrize("name", METHODS)
def test_progress_reaches_its_total(name):
    events: list[Event] = []
    made(name)(*problem(), events.append)
    assert events
    assert all(0 <= event.done <= event.total for event in events)
    last = {event.stage: event for event in events}
    assert all(event.done == event.total for event in [events[-1]] + [e for stage, e in last.items() if stage == events[-1].stage])
    for stage in last:
        done = [event.done for event in events if event.stage == stage]
        assert done == sorted(done), f"{stage} goes back"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("share", [0.0, 0.5], ids=["at once", "half-way"])
def test_stops_when_asked_to(name, share):
    events: list[Event] = []
    made(name)(*problem(), events.append)
    place, seen = int(share * len(events)), 0

    def stop(event: Event) -> None:
        nonlocal seen
        seen += 1
        if seen > place:
            raise Cancelled

    with pytest.raises(Cancelled):
        made(name)(*problem(), stop)
    assert seen == place + 1, "it went on after it was stopped"


@pytest.mark.parametrize("name", METHODS)
def test_is_called_as_all_others(name):
    assert list(inspect.signature(attribution.classes[name].__call__).parameters)[1:] == [
        "trained",
        "train",
        "question",
        "report",
        "workspace",
    ]


@pytest.mark.parametrize("name", METHODS)
def test_kept_state_changes_no_score(name, tmp_path):
    first, again = (made(name)(*problem(), workspace=Workspace(tmp_path)) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_allclose(first.values, scored(name).values, rtol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_explains_itself(name):
    cls = attribution.classes[name]
    source = inspect.getdoc(sys.modules[cls.__module__]) or ""
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|doi:|\b(19|20)\d\d\b", source), "the module docstring names its source"
    assert not (cls.__doc__ or "").startswith(f"{cls.__name__}(")
    for sentence in (cls.needs, cls.cost):
        assert re.fullmatch(r"[A-Z].*\.", sentence)
    assert isinstance(cls.calibrated, bool)
    for setting in settings(cls):
        assert setting.help.strip()


@pytest.mark.parametrize("name", METHODS)
def test_says_in_a_sentence_why_it_is_closed_or_works(name):
    trained, rows, asked = problem()
    assert made(name).unavailable(trained) == ""
    for other in (replace(trained, recipe=None, trajectory=None), replace(trained, claim="L1", trajectory=None)):
        reason = made(name).unavailable(other)
        assert reason == "" or re.fullmatch(r"[A-Z].{20,}\.", reason)
        if not reason:
            assert made(name)(replace(other), as_float32(rows, other), as_question(asked, other)).values.shape == (N, 3)


def as_float32(rows: Examples, trained: Trained) -> Examples:
    return rows if trained.recipe else replace(rows, x=rows.x.astype("f4"))


def as_question(asked: Question, trained: Trained) -> Question:
    return replace(asked, examples=as_float32(asked.examples, trained))


@pytest.mark.parametrize("name", METHODS)
def test_a_model_without_some_rows_scores_the_others(name):
    trained, rows, asked = problem()
    gone = rows.take(np.arange(N) < 3).ids
    rest = rows.take(np.arange(N) >= 3)
    without = train(trained.model, rest, trained.recipe, removed=tuple(gone), record=64)
    scores = made(name)(without, rest, asked)
    np.testing.assert_array_equal(scores.ids, rest.ids)
    if name not in GUESSES | set(ESTIMATES):
        assert stats.spearmanr(scores.values[:, 0], scored(name).values[3:, 0]).statistic > 0.6


@cache
def bereft() -> Trained:
    """The convex model, trained without the rows that are not `SEEN`."""
    trained, rows, _ = problem()
    return train(trained.model, rows.take(SEEN), trained.recipe, removed=tuple(rows.ids[~SEEN]), record=64)


@pytest.mark.parametrize(("name", "given"), variants(), ids=str)
def test_rows_that_training_never_saw_count_for_nothing_whether_or_not_they_are_still_there(name, given):
    _, rows, asked = problem()
    there, gone = (made(name, **given)(bereft(), some, asked).values for some in (rows, rows.take(SEEN)))
    assert (gone.std(0) > 0).all()
    np.testing.assert_array_equal(there[~SEEN], 0)
    np.testing.assert_allclose(there[SEEN], gone, rtol=1e-7, atol=1e-10)
